# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The files in which Hugging Face keeps weights <-> {name: Tensor}, the names as the file has them.

    model.safetensors                       mapped (pali/checkpoints/safetensors_files.py)
    model.safetensors.index.json            the same in shards
    pytorch_model.bin, and its index        torch's weights-only reader, mapped but for files from
                                            before torch 1.6: needs torch
    flax_model.msgpack                      read whole: the format has no index

Nothing is ever unpickled without restrictions. A folder that holds several of these is read from
the first. Written are safetensors alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import ml_dtypes
import numpy as np
import safetensors

from pali.checkpoints import safetensors_files
from pali.checkpoints.folders import cause
from pali.checkpoints.weights import Tensor, by_name, listed

SAFETENSORS, TORCH, FLAX = "model.safetensors", "pytorch_model.bin", "flax_model.msgpack"

SHARD_BYTES = 5 * 10**9
"""What Hugging Face cuts at, too."""


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
        return safetensors_files.open_file(path)
    except safetensors.SafetensorError as error:
        raise _damaged(path, error) from error


def open_torch(path: Path) -> dict[str, Tensor]:
    """The arrays of a `pytorch_model.bin`, by torch's weights-only reader."""
    try:
        import torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path} is a torch checkpoint, which only torch reads safely: pip install "
            "'open-pali[hf]'. Where the same model has a model.safetensors, that needs nothing."
        ) from None
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty, it has 0 bytes. Copy or download it again.")
    mapped = zipfile.is_zipfile(path)  # Torch before 1.6 wrote another format, of one pickle.
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # Whatever zip, pickle and torch meet in a damaged file.
        raise ValueError(f"{path} {_why_not_torch(path, error)}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise ValueError(f"{path} holds no state_dict, a dict of name and tensor; save that alone")
    return {name: _torch_tensor(name, value, path) for name, value in state.items()}


_TYPES_OF_TORCH: dict[str, Any] = {
    **{np.dtype(dtype).name: dtype for dtype in safetensors_files.TYPES.values()},
    "complex128": np.complex128,
}


def open_flax(path: Path) -> dict[str, Tensor]:
    """The arrays of a `flax_model.msgpack` of Hugging Face, by the names that torch would give.

    Flax keeps the kernel of a linear map transposed, of a convolution as [h w in out], and calls a
    norm's scale "scale".
    """
    from flax import serialization

    try:
        tree = serialization.msgpack_restore(path.read_bytes())
        flat = list(_flatten(tree))
    except Exception as error:  # Whatever msgpack, flax and NumPy make of other bytes.
        raise _damaged(path, error) from error
    return by_name((_renamed_flax(name, array, path) for name, array in flat), str(path))


def save(
    folder: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    limit: int = SHARD_BYTES,
) -> None:
    """Writes `model.safetensors`, or shards of at most `limit` bytes with an index.

    Only one array is in memory at a time; one of more than `limit` bytes is a shard of its own.
    Each file is written under another name first, so that what is there already stays whole until
    it is replaced.

    Raises:
      OSError: a file cannot be written, the disk being full perhaps; nothing is left of that one.
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
        with _written(folder / name) as unfinished:
            safetensors_files.write(unfinished, shard, metadata)
    if count > 1:
        size = sum(tensor.nbytes for tensor in tensors.values())
        places = {n: name for name, shard in zip(names, shards, strict=True) for n in shard}
        index = {"metadata": {"total_size": size}, "weight_map": places}
        with _written(folder / f"{SAFETENSORS}.index.json") as unfinished:
            unfinished.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A file to write into, which becomes `path` at the end of the block, or is removed."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {cause(error)}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _open_shards(index: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    places = _places(index)
    names = sorted(set(places.values()))
    missing = [name for name in names if not os.path.isfile(index.parent / name)]
    if missing:
        raise FileNotFoundError(
            f"{index} names {len(names)} shards, and {listed(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not beside it: download the rest."
        )
    shards = {name: read(index.parent / name) for name in names}
    for name, place in places.items():
        if name not in shards[place]:
            raise ValueError(
                f"{index} says that {name} is in {place}, and it is not: the two are of different "
                "downloads. Get all files of one revision."
            )
    extra = sorted(n for shard in shards.values() for n in shard if n not in places)
    if extra:
        raise ValueError(
            f"the shards beside {index} hold {len(extra)} arrays that it does not name, first "
            f"{extra[0]}: the two are of different downloads. Get all files of one revision."
        )
    found = ((name, tensor) for shard in shards.values() for name, tensor in shard.items())
    return by_name(found, f"what {index} puts together")


def _places(index: Path) -> dict[str, str]:
    """The shard of each array, by its name."""
    try:
        said = json.loads(index.read_text(encoding="utf-8"))
        places = said.get("weight_map") if isinstance(said, dict) else None
        if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
            raise ValueError("it has no weight_map, an object of arrays and their files")
    except (ValueError, RecursionError) as error:
        raise _damaged(index, error) from error
    for name in places.values():
        # A path of Windows knows the separators of all systems.
        if name in ("", "..") or PureWindowsPath(name).name != name:
            raise ValueError(
                f"{index} names a shard {name!r}. Shards lie beside their index, and pali opens no "
                "file elsewhere: get all files of one revision into one folder."
            )
    return places


def _torch_tensor(name: str, value: Any, path: Path) -> Tensor:
    kind = str(value.dtype).removeprefix("torch.")
    dtype = _TYPES_OF_TORCH.get(kind)
    if value.is_nested or value.is_meta:
        dtype, kind = None, "nested" if value.is_nested else "meta, without numbers"
    elif str(value.layout) != "torch.strided":
        dtype, kind = None, str(value.layout).removeprefix("torch.")
    if dtype is None:
        raise ValueError(
            f"{name} in {path} is a tensor of type {kind}, which pali does not read: save the "
            "state_dict in float32 or bfloat16, dense, and as it was before it was quantised."
        )
    return Tensor.stored(value.shape, dtype, _torch_reader(value), f"{name} in {path}")


def _why_not_torch(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        if not any(file.read(512)):
            return "begins with nothing but zeros: a download broke off. Copy or download it again."
    with contextlib.suppress(tarfile.TarError, ValueError, OSError), tarfile.open(path, "r:"):
        return (
            "is a tar archive, as torch wrote before 0.1.11, or a package of several files. That "
            "format can run any code when it is read: unpack it, or save the state_dict again "
            "with a newer torch, best as model.safetensors."
        )
    said = " ".join(str(error).split("WeightsUnpickler error:")[-1].split())
    reason = said.split(". ")[0][:500]  # What follows is how to run the file all the same.
    return (
        f"cannot be read by torch's weights-only reader ({reason or type(error).__name__}). It is "
        "damaged, or holds more than arrays, which pali does not run: save the state_dict alone, "
        "best as model.safetensors."
    )


def _torch_reader(value: Any) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        import torch

        plain = value.detach().resolve_conj().resolve_neg()
        if value.dtype == torch.bfloat16:  # NumPy knows it by its bits only.
            return plain.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        return plain.numpy()

    return read


def _renamed_flax(name: str, array: np.ndarray, path: Path) -> tuple[str, Tensor]:
    *folders, leaf = name.split("/")
    what = f"{name} in {path}"
    if leaf == "kernel":
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    if leaf in ("kernel", "scale", "embedding"):
        leaf = "weight"
    tensor = Tensor.stored(array.shape, array.dtype, _constant(array), what)
    return ".".join([*folders, leaf]), tensor


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
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    return ValueError(
        f"{path} is damaged or of another kind than its name says ({reason}); it has "
        f"{path.stat().st_size:,} bytes. Copy or download it again."
    )
