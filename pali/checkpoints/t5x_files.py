# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a T5X checkpoint: a folder -> arrays by name, each opened and read when asked for.

T5X has written two formats. The older one ("version 3", that of the public checkpoints):

    checkpoint                        msgpack: {version, optimizer: {state: {step, …}, target}}
    target.encoder.layers_0…kernel/   a zarr array, for which `target` has its TensorStore spec

and today's, of Orbax:

    state/                            all arrays in one OCDBT store, named `target.encoder.…`

Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.serialization
import ml_dtypes
import numpy as np
import tensorstore

from pali.checkpoints import weights
from pali.checkpoints.folders import cause
from pali.checkpoints.weights import Tensor

INDEX = "checkpoint"
"""Name of the msgpack file of the older format."""

_VERSIONS = (2, 3)
"""Of the older format; before 3, bfloat16 was written as integers. T5X reads no others either."""

_CHUNK_BYTES = 64 * 2**20


def open_all(folder: Path) -> dict[str, Callable[[], Tensor]]:
    """What opens each array of a checkpoint, by its whole name (`optimizer/target/encoder/…`).

    Raises:
      ValueError: the index of the checkpoint cannot be read.
    """
    return _legacy(folder) if (folder / INDEX).is_file() else _orbax(folder)


def find(folder: Path) -> Path:
    """The folder of one checkpoint, given that or the one above it."""
    if not folder.exists():
        raise weights.not_found(folder)
    if is_checkpoint(folder):
        return folder
    found = [path.name for path in folder.glob("checkpoint_*") if path.name[11:].isdecimal()]
    if len(found) == 1:
        return find(folder / found[0])
    if found:
        raise ValueError(f"{folder} holds several checkpoints: give one of {', '.join(found)}.")
    inside = weights.listed(path.name for path in folder.iterdir()) if folder.is_dir() else "a file"
    raise FileNotFoundError(
        f"{folder} is no checkpoint of T5X: that is a folder with a file `checkpoint` or a folder "
        f"`state`, usually named checkpoint_<step>. Found: {inside}."
    )


def is_checkpoint(folder: Path) -> bool:
    """Whether this very folder is one."""
    return (folder / INDEX).is_file() or any(map(_is_orbax, (folder, folder / "state")))


def store(folder: Path, name: str, array: np.ndarray) -> dict[str, Any]:
    """Writes one array; returns the spec by which T5X finds it.

    Raises:
      OSError: it cannot be written, the disk being full perhaps.
    """
    row = max(1, math.prod(array.shape[1:])) * array.dtype.itemsize
    rows = min(max(1, _CHUNK_BYTES // row), array.shape[0])
    metadata = {
        "shape": list(array.shape),
        "chunks": [rows, *array.shape[1:]],
        "compressor": {"id": "gzip", "level": 1},
    }
    path = f"{name.replace('/', '.')}/"
    spec = {"driver": "zarr", "dtype": array.dtype.name, "metadata": metadata}
    place = {"driver": "file", "path": f"{folder}/{path}"}
    try:
        tensorstore.open({**spec, "kvstore": place}, create=True).result().write(array).result()
    except (ValueError, OSError) as error:  # TensorStore has no errors of its own.
        raise OSError(f"{folder / path} cannot be written: {cause(error)}") from error
    return {**spec, "kvstore": {"driver": "file", "path": path}}


def _is_orbax(folder: Path) -> bool:
    return (folder / "_METADATA").is_file() or (folder / "manifest.ocdbt").is_file()


def _legacy(folder: Path) -> dict[str, Callable[[], Tensor]]:
    """What opens each array of the older format, by its whole name."""
    content = (folder / INDEX).read_bytes()
    if content.startswith(b"model_checkpoint_path"):
        raise ValueError(
            f"{folder} holds a TensorFlow checkpoint of Mesh TensorFlow's T5, not one of T5X. "
            "Convert it with t5x/scripts/convert_tf_checkpoint.py, or take the T5X checkpoint of "
            "the same model."
        )
    try:
        tree: Any = flax.serialization.msgpack_restore(content)
    except Exception as error:  # whatever msgpack and NumPy make of bytes that are something else
        raise ValueError(
            f"{folder / INDEX} is damaged or no file of T5X: it is not msgpack ({error}). "
            "Copy or download it again."
        ) from error
    if not isinstance(tree, dict):
        raise ValueError(
            f"{folder / INDEX} is damaged or no file of T5X: it holds a {type(tree).__name__}, not "
            "a tree. Copy or download it again."
        )
    version = tree.get("version", max(_VERSIONS))
    if not isinstance(version, int | np.integer) or version not in _VERSIONS:
        raise ValueError(
            f"{folder / INDEX} is of version {version!r} of T5X's format; pali reads "
            f"{' and '.join(map(str, _VERSIONS))}. Save it with a T5X that writes one of these."
        )
    leaves = weights.by_name(_leaves(tree), f"{folder / INDEX}")
    return {
        name: functools.partial(_leaf, folder, name, leaf)
        for name, leaf in leaves.items()
        if leaf is not None  # slots of a parameter that was frozen
    }


def _leaves(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and not tree.keys() >= {"driver", "kvstore"}:
        for key, value in tree.items():
            yield from _leaves(value, (*above, str(key)))
    else:
        yield "/".join(above), tree


def _leaf(folder: Path, name: str, leaf: Any) -> Tensor:
    index = folder / INDEX
    if isinstance(leaf, np.ndarray):
        return _tensor(leaf.shape, leaf.dtype, leaf.copy, f"{name} in {index}")
    if not isinstance(leaf, dict) or leaf["driver"] != "zarr":
        kind = leaf["driver"] if isinstance(leaf, dict) else type(leaf).__name__
        raise ValueError(f"{index}: {name} is a {kind}, neither array nor zarr.")
    path, said = _noted(index, name, leaf)
    # Wherever it was written, a bucket perhaps: the arrays lie beside the file.
    array = folder / path.rstrip("/").split("/")[-1]
    if not (array / ".zarray").is_file():
        raise FileNotFoundError(
            f"{folder} lacks the folder {array.name} of the array {name}, or the file .zarray in "
            "it: it was copied in part. Copy or download it again."
        )
    tensor = _zarr(f"{array}", {"driver": "file", "path": f"{os.path.abspath(array)}/"})
    found = {"shape": tensor.shape, "type": tensor.dtype.name}
    for what, value in said.items():
        if value != found[what]:
            raise ValueError(
                f"{array} has {what} {found[what]}, but the file `checkpoint` says {value}: they "
                "come from different checkpoints. Copy or download the folder again."
            )
    return tensor


def _noted(index: Path, name: str, leaf: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the index says of an array: the path, and where it is said the shape and the type."""
    place, metadata = leaf["kvstore"], leaf.get("metadata", {})
    if isinstance(place, dict) and isinstance(metadata, dict):
        path = place.get("path") or leaf.get("path")
        shape, dtype = metadata.get("shape", ()), leaf.get("dtype", "")
        if (
            isinstance(path, str)
            and path.rstrip("/").split("/")[-1] not in ("", ".", "..")
            and isinstance(shape, list | tuple)
            and isinstance(dtype, str)
        ):
            said = {"shape": tuple(shape)} if "shape" in metadata else {}
            return path, said | ({"type": _BFLOAT16.get(dtype, dtype)} if dtype else {})
    raise ValueError(
        f"{index} is damaged: of {name} it says {str(leaf)[:200]}, which is no place of an array. "
        "Copy or download it again."
    )


def _orbax(folder: Path) -> dict[str, Callable[[], Tensor]]:
    """What opens each array of today's format, by its whole name."""
    state = folder / "state" if _is_orbax(folder / "state") else folder
    base = {"driver": "file", "path": f"{os.path.abspath(state)}/"}
    if (state / "manifest.ocdbt").is_file():
        base = {"driver": "ocdbt", "base": base}
    with _damage(f"{state}"):
        keys = tensorstore.KvStore.open(base).result().list().result()
        names = sorted(
            key.decode().removesuffix("/.zarray") for key in keys if key.endswith(b"/.zarray")
        )
    return {
        name.replace(".", "/"): functools.partial(
            _zarr, f"{state}: {name}", {**base, "path": f"{base.get('path', '')}{name}/"}
        )
        for name in names
    }


def _zarr(where: str, kvstore: Mapping[str, Any]) -> Tensor:
    # Zarr reads a chunk that is not there as zeros, unless it is told not to.
    spec = {"driver": "zarr", "kvstore": kvstore, "fill_missing_data_reads": False}
    with _damage(where):
        store = tensorstore.open(spec, open=True, read=True).result()

    def read() -> np.ndarray:
        with _damage(where):
            # Where there is no such memory, NumPy says so; TensorStore would end the process.
            np.empty(store.shape, store.dtype.numpy_dtype)
            return np.asarray(store.read().result())

    return _tensor(store.shape, store.dtype.numpy_dtype, read, where)


_BFLOAT16 = {"uint16": "bfloat16"}
"""Before version 3, T5X wrote bfloat16 as the integers of the same bits."""


def _tensor(
    shape: Sequence[int], dtype: np.dtype, read: Callable[[], np.ndarray], what: str
) -> Tensor:
    if dtype.name not in _BFLOAT16:
        return Tensor.stored(shape, dtype, read, what)
    return Tensor.stored(shape, ml_dtypes.bfloat16, lambda: read().view(ml_dtypes.bfloat16), what)


@contextlib.contextmanager
def _damage(where: str) -> Iterator[None]:
    """Says which array it was that TensorStore could not read."""
    try:
        yield
    except Exception as error:  # TensorStore's are NumPy's, the system's and Python's own.
        reason = " ".join(str(error).split("[tensorstore_spec")[0].split())
        raise ValueError(
            f"{where} cannot be read, it is damaged or was copied in part ({reason}). Copy or "
            "download the checkpoint again."
        ) from error
