# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/parameters_*.json: the names and shapes of every parameter of some models.

Names are public: checkpoints, freezing patterns and sharding rules are written in them. A diff in
these files is a change of format, to be made on purpose and named in the CHANGELOG.

    python tools/write_parameter_goldens.py
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from pali.checkpoints import merge, pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig

MODELS = {
    "tiny": PaLIConfig(
        ViTConfig(
            width=12,
            depth=2,
            mlp_dim=20,
            num_heads=2,
            patch_size=4,
            image_size=12,
            class_token=True,
            pool="map",
            num_classes=5,
        ),
        MT5Config(
            vocab_size=50,
            width=16,
            mlp_dim=24,
            num_heads=2,
            head_dim=6,
            encoder_layers=2,
            decoder_layers=3,
        ),
    ),
    "mt5_small_siglip_b16": PaLIConfig(
        ViTConfig(
            width=768,
            depth=12,
            mlp_dim=3072,
            num_heads=12,
            patch_size=16,
            image_size=224,
            pool="map",
        ),
        MT5Config(
            vocab_size=250112,
            width=512,
            mlp_dim=1024,
            num_heads=6,
            head_dim=64,
            encoder_layers=8,
            decoder_layers=8,
        ),
    ),
}


def parameter_shapes(config: PaLIConfig) -> dict[str, list[int]]:
    """Unscanned name -> shape, without making a single array."""
    flat = merge.flatten(merge.unstack_layers(pretrained.expected_params(config)))
    return {name: list(flat[name].shape) for name in sorted(flat)}


def main() -> None:
    """Writes one file for each model."""
    folder = Path(__file__).parent.parent / "tests" / "golden"
    for name, config in MODELS.items():
        golden = json.dumps({"config": dataclasses.asdict(config)}, indent=1)[:-2]
        rows = (f'  "{path}": {shape}' for path, shape in parameter_shapes(config).items())
        golden += ',\n "parameters": {\n' + ",\n".join(rows) + "\n }\n}\n"
        json.loads(golden)
        (folder / f"parameters_{name}.json").write_text(golden)


if __name__ == "__main__":
    main()
