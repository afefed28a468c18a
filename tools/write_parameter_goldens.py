# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the names and shapes of every parameter of some models into tests/golden.

    parameters_*.json     whole models with their configuration
    presets_vit.json      every ViT that has a name; layers that are alike share a line
    presets_language.json every language model that has a name, likewise

Names are public: checkpoints, freezing patterns and sharding rules are written in them. A diff in
these files is a change of format, to be made on purpose and named in the CHANGELOG.

    python tools/write_parameter_goldens.py
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jax

from pali.checkpoints import merge, pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.models.mt5 import MT5
from pali.models.mt5_sizes import LANGUAGE_MODELS
from pali.models.vit import ViT
from pali.models.vit_sizes import VITS

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
    flat = pretrained.expected_arrays(config)
    return {name: list(flat[name].shape) for name in sorted(flat)}


def chosen(config: ViTConfig | MT5Config) -> dict[str, object]:
    """The fields of a configuration that are not as they would be anyway."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    required = {
        name: values[name]
        for name, field in type(config).__dataclass_fields__.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    usual = type(config)(**required)
    return {
        name: value
        for name, value in values.items()
        if value != getattr(usual, name, None) or name in required
    }


def compact_shapes(config: ViTConfig | MT5Config) -> dict[str, list[int]]:
    """The same of half a model; equal layers share a name: `layers_{0..7}/mlp/wo/kernel`."""
    if isinstance(config, ViTConfig):
        inputs = [jax.ShapeDtypeStruct((1, *config.image_shape, 3), "uint8")]
        init = ViT(config).init
    else:
        inputs = [jax.ShapeDtypeStruct((1, 1), "int32")] * 2
        init = MT5(config).init
    tree = jax.eval_shape(init, jax.random.key(0), *inputs)["params"]
    flat = merge.flatten(merge.unstack_layers(tree))
    layers: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for name, leaf in flat.items():
        numbers = [int(number) for number in re.findall(r"_(\d+)(?=/)", name)[:1]]
        common = re.sub(r"(encoderblock|layers)_\d+(?=/)", r"\1_#", name)
        layers.setdefault((common, leaf.shape), []).extend(numbers)
    return {
        name.replace("#", f"{{{min(numbers, default=0)}..{max(numbers, default=0)}}}"): list(shape)
        for (name, shape), numbers in sorted(layers.items())
    }


def write_presets(path: Path, presets: dict[str, ViTConfig] | dict[str, MT5Config]) -> None:
    """One block of lines for each preset."""
    blocks = []
    for preset, config in presets.items():
        rows = (f'  "{name}": {shape}' for name, shape in compact_shapes(config).items())
        blocks.append(f' "{preset}": {{\n' + ",\n".join(rows) + "\n }")
    golden = "{\n" + ",\n".join(blocks) + "\n}\n"
    json.loads(golden)
    path.write_text(golden)


def main() -> None:
    """Writes every file."""
    folder = Path(__file__).parent.parent / "tests" / "golden"
    for name, config in MODELS.items():
        halves = {"vit": chosen(config.vit), "mt5": chosen(config.mt5)}
        golden = json.dumps({"config": halves}, indent=1)[:-2]
        rows = (f'  "{path}": {shape}' for path, shape in parameter_shapes(config).items())
        golden += ',\n "parameters": {\n' + ",\n".join(rows) + "\n }\n}\n"
        json.loads(golden)
        (folder / f"parameters_{name}.json").write_text(golden)
    write_presets(folder / "presets_vit.json", VITS)
    write_presets(folder / "presets_language.json", LANGUAGE_MODELS)


if __name__ == "__main__":
    main()
