# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of reading a language model from each format, as a ratio to the model's own size.

    python benchmarks/load_memory.py [--width 1024] [--folder /tmp/load_memory]

Writes one random mT5 (by default of 0.4 billion numbers) in every format with the libraries that
these formats come from, and for big_vision's .npz a ViT of the same width, then reads each in a
process of its own into the float32 arrays of the model. Counted is memory that is the process's own
(RssAnon), sampled every two milliseconds: the pages of a mapped file belong to the system, which
takes them back when it needs them. "largest" is the largest array, in an mT5 the embedding.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from own_memory import Peak

FORMATS = ("safetensors", "shards", "torch", "t5x", "orbax", "npz", "flax")


def main() -> None:
    """Writes the files, reads each in a process of its own, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/load_memory"))
    parser.add_argument("--read", choices=FORMATS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.folder / arguments.read)))
        return
    if not arguments.folder.exists():
        write(arguments.folder, arguments.width)
    print("format       model GB  largest GB  peak GB  peak / model  (peak - model) / largest")
    for name in FORMATS:
        command = [sys.executable, __file__, "--folder", str(arguments.folder), "--read", name]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        model, largest, peak = found["model"] / 1e9, found["largest"] / 1e9, found["peak"] / 1e9
        print(
            f"{name:<12} {model:8.2f}  {largest:10.2f}  {peak:7.2f}  {peak / model:12.2f}  "
            f"{(peak - model) / largest:24.2f}"
        )


def read(folder: Path) -> dict[str, int]:
    """Bytes of the model, of its largest array, and the highest own memory while it is read."""
    import jax

    from pali.checkpoints import components, merge, pretrained
    from pali.models import presets

    pretrained.expected_params(presets.DEMO.mt5)  # What tracing itself needs is no array.
    with Peak() as peak:
        inside = (path for pattern in ("checkpoint_*", "*.npz") for path in folder.glob(pattern))
        component = components.open_source(next(inside, folder))
        shapes = expected(component.config)
        params = merge.fill(component.tensors, shapes, component.origin)
    sizes = [array.nbytes for array in jax.tree.leaves(params)]
    single = [tensor.size * 4 for tensor in component.tensors.values()]
    return {"model": sum(sizes), "largest": max(single), "peak": peak.most - peak.before}


def expected(config: Any) -> Any:
    """Shapes of the parameters of a ViT or an mT5."""
    import jax

    from pali.checkpoints import pretrained
    from pali.config import ViTConfig
    from pali.models.vit import ViT

    if not isinstance(config, ViTConfig):
        return pretrained.expected_params(config)
    image = jax.ShapeDtypeStruct((1, *config.image_shape, 3), "uint8")
    return jax.eval_shape(ViT(config).init, jax.random.key(0), image)["params"]


def write(folder: Path, width: int) -> None:
    """One random mT5 in every format."""
    import torch
    import transformers
    from flax import serialization, traverse_util

    config = transformers.MT5Config(
        vocab_size=100_096, d_model=width, d_ff=2 * width, num_heads=16, num_layers=8
    )
    model = transformers.MT5ForConditionalGeneration(config)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight))
    model.save_pretrained(folder / "safetensors", max_shard_size="100GB")
    model.save_pretrained(folder / "shards", max_shard_size="500MB")
    said = (folder / "safetensors" / "config.json").read_text()
    for name in ("torch", "flax"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(said)
    torch.save(model.state_dict(), folder / "torch" / "pytorch_model.bin")
    tree = {}
    for name, tensor in model.state_dict().items():
        *path, leaf = name.split(".")
        array = tensor.numpy()
        matrix = array.ndim == 2 and "relative" not in name and "shared" not in name
        if name.endswith("embed_tokens.weight"):
            continue
        leaf = "kernel" if matrix else "embedding" if array.ndim == 2 else leaf
        tree[(*path, leaf)] = array.T if matrix else array
    content = serialization.msgpack_serialize(traverse_util.unflatten_dict(tree))
    (folder / "flax" / "flax_model.msgpack").write_bytes(content)
    write_t5x(folder, folder / "safetensors")
    write_npz(folder / "npz", width)


def write_t5x(folder: Path, source: Path) -> None:
    """The layouts that pali itself must lay out: T5X is not to be had as a package."""
    import orbax.checkpoint as ocp

    from pali.checkpoints import huggingface, merge, t5x

    component = huggingface.read(source)
    (folder / "t5x").mkdir()
    t5x.write(folder / "t5x", component.config, component.tensors)
    target = merge.unflatten({name: x.read() for name, x in component.tensors.items()})
    state = {"target": target, "state": {"step": np.int32(0)}}
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute() / "orbax" / "checkpoint_0" / "state", state)


def write_npz(folder: Path, width: int) -> None:
    """A ViT with a pooling head, in the names of big_vision, which are pali's."""
    from pali.checkpoints import merge
    from pali.config import ViTConfig

    config = ViTConfig(width, 24, 4 * width, 16, patch_size=16, image_size=224, pool="map")
    shapes = merge.flatten(merge.unstack_layers(expected(config)))
    draw = np.random.default_rng(0).standard_normal
    folder.mkdir()
    arrays: dict[str, Any] = {f"params/img/{n}": draw(x.shape, "f4") for n, x in shapes.items()}
    np.savez(folder / "vit.npz", **arrays)


if __name__ == "__main__":
    main()
