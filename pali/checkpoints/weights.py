# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What every reader of a foreign format returns: arrays by name, each read only when it is asked.

A checkpoint of 50 GB is looked at whole before a number of it is read: names and shapes come from
the file's own index. Then one array after the other goes to where it is wanted, so that memory
holds the model and one array more.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pali.checkpoints import merge
from pali.config import MT5Config, PaLIConfig, ViTConfig


@dataclass(frozen=True)
class Tensor:
    """An array in a file."""

    shape: tuple[int, ...]
    dtype: Any
    """As it is stored; bfloat16 is `ml_dtypes.bfloat16`."""
    read: Callable[[], np.ndarray]
    """Reads it, anew every time."""

    @classmethod
    def of(cls, array: Any) -> Tensor:
        """An array that is in memory already."""
        return cls(tuple(array.shape), array.dtype, lambda: np.asarray(array))

    def astype(self, dtype: Any) -> Tensor:
        """The same in another type."""
        return Tensor(self.shape, np.dtype(dtype), lambda: self.read().astype(dtype, copy=False))

    def then(self, shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
        """The array that `change` makes of this one when it is read, of the given shape."""
        return Tensor(shape, self.dtype, lambda: change(self.read()))

    def read_finite(self, name: str, where: str) -> np.ndarray:
        """Reads it; ValueError names an array that holds infinite numbers or NaN."""
        array = self.read()
        if not np.isfinite(array).all():
            raise ValueError(
                f"{where} holds infinite numbers or NaN, first in {name}: the training that made "
                "it went astray, or the file is damaged"
            )
        return array

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array as stored."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Component:
    """A ViT, an mT5 or a whole PaLI from somewhere else, under pali's names, not read yet."""

    config: ViTConfig | MT5Config | PaLIConfig
    tensors: Mapping[str, Tensor]
    """By name with separate layers, below the component: `encoder/layers_0/…`, `embedding/…`."""
    origin: str
    """Format and place, for people: "MT5ForConditionalGeneration of Hugging Face in …"."""
    tokenizer: Path | None = None
    """The SentencePiece model that lay beside a language model."""
    sentinels: int = 0
    """How many sentinels its vocabulary has after the pieces of that model, which lacks them."""
    unused: tuple[str, ...] = ()
    """Names in the file that no part of pali wants, such as the text half of a SigLIP."""
    licence: str = ""
    """What the card beside it says; empty where it does not."""
    public: str = ""
    """`origin` without the folders of this machine, for what is shared."""
    folder: Path | None = None
    """The model folder of pali that it is."""

    @property
    def part(self) -> Literal["vit", "mt5", "pali"]:
        """Which part of a PaLI it is."""
        if isinstance(self.config, PaLIConfig):
            return "pali"
        return "vit" if isinstance(self.config, ViTConfig) else "mt5"


def separate_layers(tensors: Mapping[str, Tensor], axis: int) -> dict[str, Tensor]:
    """Splits stacked arrays (`layers/…`, `encoderblock/…`) into one for each layer, unread.

    Args:
      tensors: by name; those below a stack have the layers along `axis`.
      axis: 0 in big_vision, 1 in T5X.

    Returns:
      By names with separate layers, the layers of one array next to each other. Reading one of them
      reads the stack, which is kept until the last layer or another stack is read: in this order
      every stack is read once.
    """
    whole = functools.lru_cache(maxsize=1)(lambda name: tensors[name].read())

    def read(name: str, layer: int) -> np.ndarray:
        stack = whole(name)
        if layer == stack.shape[axis] - 1:
            whole.cache_clear()
        return stack.take(layer, axis)

    separate = {}
    for name, tensor in tensors.items():
        depth, rest = tensor.shape[axis : axis + 1], tensor.shape[:axis] + tensor.shape[axis + 1 :]
        for layer, number in merge.separate(name, (*depth, *rest)).items():
            if number is None:
                separate[layer] = tensor
            else:
                slice_of = functools.partial(read, name, number)
                separate[layer] = Tensor(rest, tensor.dtype, slice_of)
    return separate


def not_found(path: str | os.PathLike) -> FileNotFoundError:
    """The error for a path where nothing is."""
    bucket = "gs:/" in os.fspath(path)
    fix = " pali reads from disks: copy it first, gcloud storage cp -r gs://… DIR" if bucket else ""
    return FileNotFoundError(f"There is no {os.fspath(path)!r}.{fix}")


def listed(names: Iterable[str]) -> str:
    """The first few of many names, for an error message."""
    names = sorted(names)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5]) or 'nothing'}{more}"
