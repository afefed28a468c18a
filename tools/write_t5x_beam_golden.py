# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/t5x_beam.json: what T5X's own beam search answers on a small random model.

T5X is not on PyPI and its package asks for much that beam search does not need, so its one file is
loaded by itself, from a checkout (written with commit cc342d4):

    git clone https://github.com/google-research/t5x && python tools/write_t5x_beam_golden.py t5x
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

VOCABULARY, WIDTH, ROWS, MAX_LENGTH, EOS = 9, 4, 5, 7, 1


def load_t5x_decoding(checkout: Path) -> types.ModuleType:
    """T5X's decoding.py; all it lacks is a module it does not use here, and an old JAX name."""
    sys.modules["t5x"] = types.ModuleType("t5x")
    sys.modules["t5x"].binary_search = types.ModuleType("t5x.binary_search")
    jax.tree_map = jax.tree.map
    spec = importlib.util.spec_from_file_location("decoding", checkout / "t5x" / "decoding.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["decoding"] = module
    spec.loader.exec_module(module)
    return module


def random_model(seed: int = 26) -> dict[str, np.ndarray]:
    """A recurrent model: state = tanh(embedding[token] - state); logits = state @ out + bias."""
    draw = np.random.default_rng(seed)
    out, bias = draw.normal(size=(WIDTH, VOCABULARY)), draw.normal(size=(ROWS, VOCABULARY))
    out[:, EOS] *= 2
    bias[:, EOS] = [-9, -4, -3, -2, -1]  # from a row that never ends to one that ends soon
    bias[:, 0] = -30  # padding is never chosen, so that answers can be compared without lengths
    embedding = draw.normal(size=(VOCABULARY, WIDTH))
    return {"embedding": embedding.round(3), "out": out.round(3), "bias": bias.round(3)}


def main() -> None:
    """Runs T5X on every case and writes the model, the cases and the answers."""
    t5x = load_t5x_decoding(Path(sys.argv[1]))
    model = random_model()
    embedding, out, bias = (jnp.asarray(value, jnp.float32) for value in model.values())

    def tokens_to_logits(state: t5x.DecodingState) -> tuple:
        hidden, row = state.cache["state"][0], state.cache["row"][0]
        hidden = jnp.tanh(embedding[state.cur_token[:, 0]] - hidden)
        logits = hidden @ out + bias[row]
        return logits, {"state": hidden[None], "row": row[None]}

    cases = []
    for beam_size in (1, 2, 4):
        for alpha in (0.0, 0.6, 1.0, 2.5):
            cache = {"state": jnp.zeros((1, ROWS, WIDTH)), "row": jnp.arange(ROWS)[None]}
            tokens, scores = t5x.beam_search(
                jnp.zeros((ROWS, MAX_LENGTH), jnp.int32),
                cache,
                tokens_to_logits,
                eos_id=EOS,
                num_decodes=beam_size,
                alpha=alpha,
                cache_offset=1,
            )
            best = {"tokens": tokens[:, -1].tolist(), "scores": scores[:, -1].tolist()}
            cases.append({"beam_size": beam_size, "alpha": alpha, **best})
    arrays = ",\n".join(f' "{name}": {value.tolist()}' for name, value in model.items())
    rows = ",\n".join(f"  {json.dumps(case)}" for case in cases)
    settings = f' "eos_id": {EOS},\n "max_length": {MAX_LENGTH}'
    golden = f'{{\n{arrays},\n{settings},\n "cases": [\n{rows}\n ]\n}}\n'
    json.loads(golden)
    (Path(__file__).parent.parent / "tests" / "golden" / "t5x_beam.json").write_text(golden)


if __name__ == "__main__":
    main()
