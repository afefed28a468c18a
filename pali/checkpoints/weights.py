# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What every reader of a foreign format returns: arrays by name, each read only when it is asked.

A checkpoint of 50 GB is looked at whole before a number of it is read: names and shapes come from
the file's own index. Then one array after the other goes to where it is wanted, so that memory
holds the model and one array more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

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

    @property
    def part(self) -> Literal["vit", "mt5", "pali"]:
        """Which part of a PaLI it is."""
        if isinstance(self.config, PaLIConfig):
            return "pali"
        return "vit" if isinstance(self.config, ViTConfig) else "mt5"
