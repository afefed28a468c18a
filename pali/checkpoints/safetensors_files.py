# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A `.safetensors` file <-> {name: Tensor}.

A file is mapped, not read: an array of it is a read-only view of the file's pages, which are read
when they are looked at, and which all processes of a machine share. Files are written so that all
arrays whose bytes are a multiple of 64 lie at one: such a view JAX uses on a CPU as it is, where it
would copy another. The library writes them at any multiple of 8.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from pali.checkpoints.weights import Tensor

ALIGNMENT = 64
"""Bytes; what XLA wants of an array that it does not own."""

TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    "BOOL": np.bool_,
    "C64": np.complex64,
}
"""The types of safetensors; not all are those of weights (see `Tensor.stored`)."""

_NAMES = {np.dtype(dtype): name for name, dtype in TYPES.items()}


def open_file(path: Path) -> dict[str, Tensor]:
    """The arrays of a file, none of them read yet.

    Raises:
      safetensors.SafetensorError: the file is damaged, or of another kind.
      ValueError: an array is of a type that is not known here.
    """
    with safetensors.safe_open(path, framework="np") as checked:  # Sizes and offsets fit, then.
        names = list(checked.keys())
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin = 8 + int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8:begin])
    tensors = {}
    for name in names:
        said = header[name]
        if (dtype := TYPES.get(said["dtype"])) is None:
            raise ValueError(
                f"{name} in {path} is of type {said['dtype']}, which is not known here: "
                "convert it to bfloat16 or float32 first"
            )
        place = begin + said["data_offsets"][0]
        read = _reader(mapped, np.dtype(dtype), tuple(said["shape"]), place)
        tensors[name] = Tensor.stored(said["shape"], dtype, read, f"{name} in {path}")
    return tensors


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes a file; of the arrays only one is in memory at a time.

    Raises:
      OSError: it cannot be written.
    """
    names = sorted(tensors, key=lambda name: tensors[name].nbytes % ALIGNMENT > 0)
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.nbytes
        offsets = {"shape": list(tensor.shape), "data_offsets": [begin, end]}
        header[name] = {"dtype": _NAMES[tensor.dtype.newbyteorder("=")], **offsets}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            array = np.ascontiguousarray(
                tensors[name].read(), tensors[name].dtype.newbyteorder("<")
            )
            file.write(array.reshape(-1).view(np.uint8).data)


def _reader(
    mapped: mmap.mmap, dtype: np.dtype, shape: tuple[int, ...], place: int
) -> Callable[[], np.ndarray]:
    size = math.prod(shape) * dtype.itemsize
    return lambda: np.frombuffer(mapped, np.uint8, size, place).view(dtype).reshape(shape)
