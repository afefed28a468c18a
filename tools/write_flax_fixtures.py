# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/flax_*/: tiny models in Flax, saved by transformers 4, the last to have them.

    python3.11 -m venv /tmp/transformers4
    /tmp/transformers4/bin/pip install transformers==4.46.3 flax==0.8.5 jax==0.4.30 \
        jaxlib==0.4.30 "numpy<2" "scipy<1.13"
    /tmp/transformers4/bin/python tools/write_flax_fixtures.py

Every array is random, also the scales and biases. Beside the weights lie inputs.npz and outputs of
the model itself.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import transformers
from flax import traverse_util

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"

VISION = dict(
    hidden_size=8,
    num_hidden_layers=2,
    intermediate_size=12,
    num_attention_heads=2,
    patch_size=4,
    image_size=12,
)
LANGUAGE = dict(
    vocab_size=40,
    d_model=8,
    d_ff=12,
    num_heads=3,
    d_kv=2,
    num_layers=2,
    num_decoder_layers=1,
    tie_word_embeddings=False,
)


def main() -> None:
    """Writes one folder for each model."""
    language = transformers.FlaxMT5ForConditionalGeneration(transformers.MT5Config(**LANGUAGE))
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, 40, (2, 7)).astype(np.int32)
    tokens[1, 4:] = 0
    targets = rng.integers(2, 40, (2, 5)).astype(np.int32)
    _save(
        language,
        "flax_mt5",
        lambda: {
            "logits": language(
                input_ids=tokens, attention_mask=tokens > 0, decoder_input_ids=targets
            ).logits
        },
        {"input_ids": tokens, "decoder_input_ids": targets},
    )
    image = rng.normal(size=(2, 3, 12, 12)).astype(np.float32)
    vit = transformers.FlaxViTModel(transformers.ViTConfig(**VISION), input_shape=(1, 12, 12, 3))
    clip = transformers.FlaxCLIPVisionModel(
        transformers.CLIPVisionConfig(**VISION), input_shape=(1, 12, 12, 3)
    )
    for model, name in ((vit, "flax_vit"), (clip, "flax_clip")):
        _save(model, name, lambda m=model: dict(m(pixel_values=image)), {"pixel_values": image})


def _save(model, name: str, run, inputs: dict) -> None:
    flat = traverse_util.flatten_dict(model.params)
    rng = np.random.default_rng(1)
    for path, leaf in flat.items():
        scale = path[-1] == "scale" or path[-2:-1] == ("layer_norm",)
        scale = scale or path[-2:-1] == ("final_layer_norm",)
        flat[path] = (scale + rng.normal(size=leaf.shape) * 0.4).astype(np.float32)
    model.params = traverse_util.unflatten_dict(flat)
    folder = GOLDEN / name
    model.save_pretrained(folder)
    outputs = {key: np.asarray(jax.device_get(value)) for key, value in run().items()}
    np.savez_compressed(folder / "inputs_and_outputs.npz", **inputs, **outputs)


if __name__ == "__main__":
    main()
