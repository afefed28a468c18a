# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of reading a language model from each format, as a ratio to the model's own size.

    python benchmarks/load_memory.py [--width 1024] [--folder /tmp/load_memory]

Writes one random mT5 (by default of 0.4 billion numbers) in every format with the libraries that
these formats come from, then reads each in a process of its own into the float32 arrays of the
model. Counted is memory that is the process's own (RssAnon), sampled every two milliseconds: the
pages of a mapped file belong to the system, which takes them back when it needs them. "largest" is
the largest array, the embedding.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from pathlib import Path

FORMATS = ("safetensors", "shards", "torch", "t5x", "flax")


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
    before, peak, ended = own_memory(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.002):
            peak[0] = max(peak[0], own_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    component = components.open_source(next(folder.glob("checkpoint_*"), folder))
    shapes = pretrained.expected_params(component.config)
    params = merge.fill(component.tensors, shapes, component.origin)
    ended.set()
    thread.join()
    sizes = [array.nbytes for array in jax.tree.leaves(params)]
    single = [tensor.size * 4 for tensor in component.tensors.values()]
    return {"model": sum(sizes), "largest": max(single), "peak": peak[0] - before}


def own_memory() -> int:
    """Bytes of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("there is no RssAnon in /proc/self/status: this needs Linux")


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
    write_t5x(folder / "t5x", folder / "safetensors")


def write_t5x(folder: Path, source: Path) -> None:
    """The one format that pali itself must write: T5X is not to be had as a package."""
    from pali.checkpoints import huggingface, t5x

    component = huggingface.read(source)
    folder.mkdir()
    t5x.write(folder, component.config, component.tensors)


if __name__ == "__main__":
    main()
