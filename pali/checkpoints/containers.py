# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The files in which Hugging Face keeps weights <-> {name: Tensor}, the names as the file has them.

    model.safetensors                       mapped; an array is copied when it is read
    model.safetensors.index.json            the same in shards
    pytorch_model.bin, and its index        torch's weights-only reader, mapped: needs torch
    flax_model.msgpack                      read whole: the format has no index

Nothing is ever unpickled without restrictions. A folder that holds several of these is read from
the first. Written are safetensors alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import safetensors
import safetensors.numpy

from pali.checkpoints.weights import Tensor, listed

SAFETENSORS, TORCH, FLAX = "model.safetensors", "pytorch_model.bin", "flax_model.msgpack"

SHARD_BYTES = 5 * 10**9
"""What Hugging Face cuts at, too."""

_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def open_folder(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The arrays of a folder by Hugging Face's names, and the file they were found in.

    Raises:
      FileNotFoundError: there is no such file, or a shard that the index names is missing.
      ValueError: a file is damaged, or holds something else.
      ModuleNotFoundError: `pytorch_model.bin` without torch.
    """
    readers: dict[str, Callable[[Path], dict[str, Tensor]]] = {
        SAFETENSORS: open_safetensors,
        TORCH: open_torch,
        FLAX: open_flax,
    }
    for name, read in readers.items():
        if (folder / name).is_file():
            return read(folder / name), name
        if (folder / f"{name}.index.json").is_file():
            return _open_shards(folder / f"{name}.index.json", read), f"{name}.index.json"
    found = listed(path.name for path in folder.iterdir()) if folder.is_dir() else "nothing"
    raise FileNotFoundError(
        f"{folder} holds no weights: there is none of {', '.join(readers)} in it, whole or as "
        f"shards with an index. It holds: {found}."
    )


def open_safetensors(path: Path) -> dict[str, Tensor]:
    """The arrays of a `.safetensors` file."""
    try:
        file = safetensors.safe_open(path, framework="np")
        tensors = {}
        for name in file.keys():  # noqa: SIM118, it is no mapping
            part = file.get_slice(name)
            dtype = _TYPES.get(part.get_dtype())
            if dtype is None:
                raise ValueError(
                    f"{name} in {path} is of type {part.get_dtype()}, which is not known here: "
                    "convert it to bfloat16 or float32 first"
                )
            read = _safetensors_reader(file, name)
            tensors[name] = Tensor(tuple(part.get_shape()), np.dtype(dtype), read)
    except safetensors.SafetensorError as error:
        raise _damaged(path, error) from error
    return tensors


def open_torch(path: Path) -> dict[str, Tensor]:
    """The arrays of a `pytorch_model.bin`, by torch's weights-only reader."""
    try:
        import torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path} is a torch checkpoint, which only torch reads safely: pip install "
            "'open-pali[hf]'. Where the same model has a model.safetensors, that needs nothing."
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # Whatever zip, pickle and torch meet in a damaged file.
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} cannot be read by torch's weights-only reader ({reason}). It is damaged, or "
            "holds more than arrays, which pali does not run: save the state_dict alone, best as "
            "model.safetensors."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(hasattr(v, "numpy") for v in state.values()):
        raise ValueError(f"{path} holds no state_dict, a dict of name and tensor; save that alone")
    return {
        name: Tensor(
            tuple(value.shape),
            np.dtype(_TYPES_OF_TORCH.get(str(value.dtype).removeprefix("torch."), np.float32)),
            _torch_reader(value),
        )
        for name, value in state.items()
    }


_TYPES_OF_TORCH = {
    "bfloat16": ml_dtypes.bfloat16,
    **{name: np.dtype(name) for name in ("float64", "float32", "float16", "int64", "int32")},
    "bool": np.bool_,
}


def open_flax(path: Path) -> dict[str, Tensor]:
    """The arrays of a `flax_model.msgpack` of Hugging Face, by the names that torch would give.

    Flax keeps the kernel of a linear map transposed, of a convolution as [h w in out], and calls a
    norm's scale "scale".
    """
    from flax import serialization

    try:
        tree = serialization.msgpack_restore(path.read_bytes())
        flat = dict(_flatten(tree))
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise _damaged(path, error) from error
    tensors = {}
    for name, array in flat.items():
        *folders, leaf = name.split("/")
        name = ".".join([*folders, {"kernel": "weight", "scale": "weight"}.get(leaf, leaf)])
        if leaf == "embedding":
            name = ".".join([*folders, "weight"])
        if leaf == "kernel":
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        tensors[name] = Tensor(array.shape, array.dtype, _constant(array))
    return tensors


def save(
    folder: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    limit: int = SHARD_BYTES,
) -> None:
    """Writes `model.safetensors`, or shards of at most `limit` bytes with an index.

    Only the arrays of one shard are in memory at a time; one of more than `limit` bytes is a shard
    of its own. Each file is written under another name first, so that what is there already stays
    whole until it is replaced.
    """
    shards: list[dict[str, Tensor]] = [{}]
    room = limit
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shards[-1]:
            shards.append({})
            room = limit
        shards[-1][name] = tensor
        room -= tensor.nbytes
    count = len(shards)
    stem, suffix = SAFETENSORS.split(".")
    names = [f"{stem}-{i:05}-of-{count:05}.{suffix}" for i in range(1, count + 1)]
    for name, shard in zip(names if count > 1 else [SAFETENSORS], shards, strict=True):
        unfinished = folder / f"{name}.part"
        unfinished.touch()
        mode = unfinished.stat().st_mode  # safetensors would leave the file to its owner alone
        arrays = {n: np.ascontiguousarray(tensor.read()) for n, tensor in shard.items()}
        safetensors.numpy.save_file(arrays, unfinished, metadata=dict(metadata))
        del arrays
        unfinished.chmod(mode)
        unfinished.replace(folder / name)
    if count > 1:
        size = sum(tensor.nbytes for tensor in tensors.values())
        places = {n: name for name, shard in zip(names, shards, strict=True) for n in shard}
        index = {"metadata": {"total_size": size}, "weight_map": places}
        (folder / f"{SAFETENSORS}.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _open_shards(index: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    try:
        places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(index, error) from error
    names = sorted(set(places.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{index} names {len(names)} shards, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not beside it: download the rest."
        )
    shards = {name: read(index.parent / name) for name in names}
    tensors = {}
    for name, place in places.items():
        if name not in shards[place]:
            raise ValueError(
                f"{index} says that {name} is in {place}, and it is not: the two are of different "
                "downloads. Get all files of one revision."
            )
        tensors[name] = shards[place][name]
    extra = sorted(n for shard in shards.values() for n in shard if n not in places)
    if extra:
        raise ValueError(
            f"the shards beside {index} hold {len(extra)} arrays that it does not name, first "
            f"{extra[0]}: the two are of different downloads. Get all files of one revision."
        )
    return tensors


def _safetensors_reader(file: Any, name: str) -> Callable[[], np.ndarray]:
    return lambda: file.get_tensor(name)


def _torch_reader(value: Any) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        import torch

        if value.dtype == torch.bfloat16:  # NumPy knows it by its bits only.
            return value.detach().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        return value.detach().numpy()

    return read


def _constant(array: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: array


def _flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _flatten(value, f"{prefix}{name}/")
    elif isinstance(tree, np.ndarray):
        yield prefix[:-1], tree
    else:
        raise ValueError(f"{prefix[:-1] or 'the file'} is a {type(tree).__name__}, no array")


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ValueError(
        f"{path} is damaged or of another kind than its name says ({reason}); it has "
        f"{path.stat().st_size:,} bytes. Copy or download it again."
    )
