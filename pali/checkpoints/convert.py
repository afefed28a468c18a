# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Weights from anywhere -> a model folder of pali; and a PaLI -> folders that others read.

    write_pali         config.json, model.safetensors, spiece.model, README.md
    write_huggingface  language/ for MT5 or UMT5, vision/ for SigLIP, ViT or CLIP
    write_t5x          a T5X legacy checkpoint

A folder is made under another name and gets its own when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from pali import shortlist
from pali.checkpoints import containers, folders, huggingface, pretrained, t5x
from pali.checkpoints.components import Joined
from pali.checkpoints.weights import Tensor
from pali.config import Dtype

Progress = Callable[[str], None]
"""Called with the name of every array before it is read."""


def ignore(name: str) -> None:
    """No progress is shown."""


def write_pali(
    joined: Joined,
    dest: Path,
    *,
    dtype: Dtype = "bfloat16",
    compute: Dtype | None = None,
    progress: Progress = ignore,
) -> None:
    """A model folder. What a whole PaLI says of itself, and its model card, goes with it.

    Args:
      joined: the model.
      dest: the folder, which must not exist.
      dtype: how arrays are stored.
      compute: operands of the model's matrix products; None is what a whole PaLI has, and bfloat16
        for one that was joined.
      progress: see `Progress`.

    Raises:
      FileExistsError: `dest` is there already.
      ValueError: an array holds infinite numbers or NaN.
    """
    config = joined.config
    if compute is None and joined.fresh:
        compute = "bfloat16"
    if compute is not None:
        vit, mt5 = replace(config.vit, dtype=compute), replace(config.mt5, dtype=compute)
        config = replace(config, vit=vit, mt5=mt5)
    with folders.made(dest) as folder:
        containers.save(folder, _tensors(joined, "", dtype, progress), {"format": "pali"})
        (folder / pretrained.TOKENIZER).write_bytes(joined.tokenizer)
        shortlist.copy_beside(joined.tokenizer_path, folder)
        untrained = joined.metadata.untrained or bool(joined.fresh)
        metadata = replace(joined.metadata, sources=joined.sources, untrained=untrained)
        pretrained.write_config(folder, config, metadata)
        (folder / pretrained.CARD).write_text(joined.card or card(joined), encoding="utf-8")


def write_huggingface(
    joined: Joined,
    dest: Path,
    *,
    dtype: Dtype = "float32",
    progress: Progress = ignore,
) -> tuple[str, ...]:
    """Two folders inside `dest` that `transformers` reads; arguments as `write_pali`.

    Returns:
      Names of what it has no place for: the projection, and a ViT's classes where that is so.

    Raises:
      FileExistsError: `dest` is there already.
      ValueError: `transformers` has no class for such a ViT; or an array holds NaN.
    """
    with folders.made(dest) as folder:
        (folder / "language").mkdir()
        (folder / "vision").mkdir()
        language = _tensors(joined, "mt5/", dtype, progress)
        huggingface.write_language(
            folder / "language", joined.config.mt5, language, joined.tokenizer
        )
        vision = _tensors(joined, "vit/", dtype, progress)
        left = huggingface.write_vision(folder / "vision", joined.config.vit, vision)
    projection = (name for name in joined.tensors if name.startswith("projection/"))
    return (*projection, *(f"vit/{name}" for name in left))


def write_t5x(
    joined: Joined,
    dest: Path,
    *,
    dtype: Dtype = "float32",
    progress: Progress = ignore,
) -> tuple[str, ...]:
    """A T5X legacy checkpoint, `checkpoint_0` in `dest`, the tokenizer beside it.

    Arguments and errors as `write_pali`.

    Returns:
      Nothing: it has a place for all.
    """
    with folders.made(dest) as folder:
        t5x.write(folder, joined.config, _tensors(joined, "", dtype, progress))
        (folder / pretrained.TOKENIZER).write_bytes(joined.tokenizer)
    return ()


def card(joined: Joined) -> str:
    """The beginning of a model card."""
    note = ""
    if joined.fresh:
        note = (
            "\nIts projection from visual tokens to text embeddings is random: it writes nothing "
            "sensible before it is trained.\n"
        )
    return pretrained.stub_card("Converted", joined.sources, note)


def _tensors(joined: Joined, prefix: str, dtype: Dtype, progress: Progress) -> dict[str, Tensor]:
    """The arrays of a part in the wanted type, which are checked when they are read."""
    origins = {source.part: source.origin for source in joined.sources}
    whole = " and ".join(origins.values())

    def watched(name: str, tensor: Tensor) -> Tensor:
        def read() -> np.ndarray:
            progress(name)
            return tensor.read_finite(name, origins.get(name.split("/")[0], whole))

        return replace(tensor, read=read).astype(dtype, name)

    return {
        name.removeprefix(prefix): watched(name, tensor)
        for name, tensor in joined.tensors.items()
        if name.startswith(prefix)
    }
