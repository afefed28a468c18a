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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import ml_dtypes
import numpy as np

from pali.checkpoints import merge
from pali.config import MT5Config, PaLIConfig, ViTConfig

T = TypeVar("T")

_TYPES = tuple(np.dtype(t) for t in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16))
"""Types in which weights are stored; whatever is of another has to be made into one of them."""

_MOST_LAYERS = 10_000


@dataclass(frozen=True)
class Tensor:
    """An array in a file."""

    shape: tuple[int, ...]
    dtype: Any
    """As it is stored; bfloat16 is `ml_dtypes.bfloat16`."""
    read: Callable[[], np.ndarray]
    """Reads it, anew every time."""

    @classmethod
    def stored(
        cls, shape: Sequence[int], dtype: Any, read: Callable[[], np.ndarray], what: str
    ) -> Tensor:
        """An array of a file, which can be read if it is of a type that weights have.

        Of any other type, integers or eight bits, reading it raises ValueError, and not before:
        old checkpoints carry such arrays, the numbers of positions among them, that nobody reads.

        Args:
          shape: of the array.
          dtype: as it is stored.
          read: reads it.
          what: its name and the file, for the error.
        """

        def checked() -> np.ndarray:
            _check_type(dtype, what)
            return read()

        return cls(tuple(shape), np.dtype(dtype), checked)

    @classmethod
    def of(cls, array: Any) -> Tensor:
        """An array that is in memory already."""
        return cls(tuple(array.shape), array.dtype, lambda: np.asarray(array))

    def astype(self, dtype: Any, what: str = "an array") -> Tensor:
        """The same in another type.

        Reading it raises ValueError if a finite number becomes infinite in that type, as 1e39 does
        in float32; the message says `what` holds it.
        """
        return Tensor(self.shape, np.dtype(dtype), lambda: _cast(self.read(), dtype, what))

    def then(self, shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
        """The array that `change` makes of this one when it is read, of the given shape."""
        return Tensor(shape, self.dtype, lambda: change(self.read()))

    def read_finite(self, name: str, where: str) -> np.ndarray:
        """Reads it as a weight; float64 comes as float32, the widest that pali computes with.

        Raises:
          ValueError: it holds infinite numbers or NaN, or such as are beyond float32; it is of a
            type that no weight has, or of another shape than was said. The message names it.
        """
        array, what = self.read(), f"{name} in {where}"
        _check_type(array.dtype, what)
        if array.shape != self.shape:
            raise ValueError(
                f"{what} has shape {array.shape} now that it is read, and {self.shape} was said "
                "before: the file is damaged, or was changed meanwhile"
            )
        if not _all_finite(array):
            raise ValueError(
                f"{where} holds infinite numbers or NaN, first in {name}: the training that made "
                "it went astray, or the file is damaged"
            )
        return _cast(array, np.float32, what) if array.dtype.itemsize > 4 else array

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
    spelled: Mapping[str, str] = field(default_factory=dict)
    """Of the names in `tensors`, and of those that should be there, what the file calls them."""
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


def separate_layers(tensors: Mapping[str, Tensor], axis: int, where: str) -> dict[str, Tensor]:
    """Splits stacked arrays (`layers/…`, `encoderblock/…`) into one for each layer, unread.

    Args:
      tensors: by name; those below a stack have the layers along `axis`.
      axis: 0 in big_vision, 1 in T5X.
      where: what they are in, for errors.

    Returns:
      By names with separate layers, the layers of one array next to each other. Reading one of them
      reads the stack, which is kept until the last layer or another stack is read: in this order
      every stack is read once.

    Raises:
      ValueError: an array is there both stacked and of a layer of its own, or is no stack.
    """
    whole = functools.lru_cache(maxsize=1)(lambda name: tensors[name].read())

    def read(name: str, layer: int) -> np.ndarray:
        stack = whole(name)
        if layer == stack.shape[axis] - 1:
            whole.cache_clear()
        return stack.take(layer, axis)

    separate = {}
    for name, tensor in tensors.items():
        if name in merge.separate(name, (1,)):  # it is in no stack
            separate[name] = tensor
            continue
        if len(tensor.shape) <= axis or tensor.shape[axis] > _MOST_LAYERS:
            raise ValueError(
                f"{where}: {name} has shape {tensor.shape}, which is no stack of layers along axis "
                f"{axis}: it is damaged, or another model's"
            )
        depth, rest = tensor.shape[axis], tensor.shape[:axis] + tensor.shape[axis + 1 :]
        for number, layer in enumerate(merge.separate(name, (depth, *rest))):
            if layer in tensors:
                raise ValueError(
                    f"{where} holds both {name}, which are all layers, and {layer}: two different "
                    "models were saved into it. Remove the one that is not wanted."
                )
            slice_of = functools.partial(read, name, number)
            separate[layer] = Tensor(rest, tensor.dtype, slice_of)
    return separate


def by_name(pairs: Iterable[tuple[str, T]], where: str) -> dict[str, T]:
    """A dict of names and values.

    Raises:
      ValueError: a name is there twice, of which a dict would keep the last.
    """
    found: dict[str, T] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(
                f"{where} holds two arrays that are both {name}, and which of them is meant cannot "
                "be known: save it again with one"
            )
        found[name] = value
    return found


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


def _all_finite(array: np.ndarray) -> bool:
    """`np.isfinite(array).all()`, which takes 15 times as long over bfloat16."""
    if array.dtype != ml_dtypes.bfloat16:
        return bool(np.isfinite(array).all())
    # An exponent of ones alone is infinite or NaN.
    exponent, block = np.uint16(0x7F80), 1 << 22
    bits = np.ascontiguousarray(array).view(np.uint16).reshape(-1)
    parts = (bits[start : start + block] & exponent for start in range(0, bits.size, block))
    return all(part.max() < exponent for part in parts)


def _check_type(dtype: Any, what: str) -> None:
    if np.dtype(dtype).newbyteorder("=") not in _TYPES:
        raise ValueError(
            f"{what} is stored as {np.dtype(dtype).name}, and a weight is one of "
            f"{', '.join(known.name for known in _TYPES)}: it is quantised, or damaged. Give the "
            "checkpoint that it was made from, or save it in one of these types."
        )


def _cast(array: np.ndarray, dtype: Any, what: str) -> np.ndarray:
    _check_type(array.dtype, what)
    with np.errstate(over="ignore"):  # it is looked for below, where it has a name
        made = array.astype(dtype, copy=False)
    if np.isinf(made).any() and (lost := np.isinf(made) & np.isfinite(array)).any():
        raise ValueError(
            f"{what} holds {array[lost].flat[0]:g}, which {np.dtype(dtype).name} cannot: its "
            f"numbers end at {float(ml_dtypes.finfo(dtype).max):g}. No sound weight is that large: "
            "the training that made it went astray, or the file is damaged."
        )
    return made
