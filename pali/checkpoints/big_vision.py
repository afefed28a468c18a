# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ViTs of big_vision and of its forerunner vit_jax: a file.npz -> a `Component`, not read yet.

An archive of arrays by name. The ViT is at `params/` (a ViT), at `params/img/` (the image tower of
SigLIP, LiT or PaliGemma), in old files at `opt/target/` or at the top. Names are pali's already
(docs/checkpoints.md), but for three things: layers may be stacked, `Transformer/encoderblock/…`
with the layers as axis 0; vit_jax numbered the modules of a block through (`LayerNorm_0`,
`MultiHeadDotProductAttention_1`, `LayerNorm_2`, `MlpBlock_3`); and it kept the positions in
`Transformer/posembed_input`, with one for the class token, which is added to that token here.

All of the configuration is told by names and shapes except what every ViT of big_vision shares: the
tanh approximation of GELU, an epsilon of 1e-6, pixels from -1 to 1.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from pali.checkpoints import weights
from pali.checkpoints.weights import Component, Tensor
from pali.config import ViTConfig

_PLACES = ("params/", "params/img/", "opt/target/", "opt/target/img/", "img/", "")
"""Where a ViT is looked for, the likeliest first."""

_PARTS = (
    *("embedding", "cls", "pos_embedding", "Transformer"),
    *("MAPHead_0", "pre_logits", "head"),
)
"""What a ViT consists of."""

_NUMBERED_THROUGH = {
    "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
    "LayerNorm_2": "LayerNorm_1",
    "MlpBlock_3": "MlpBlock_0",
}

_UNKNOWN = np.dtype("V2")
"""What NumPy writes for bfloat16, which it does not know."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(file: str | os.PathLike) -> Component:
    """Looks at a ViT in a file of big_vision or vit_jax; arrays are read when they are asked for.

    Args:
      file: path of the .npz file.

    Returns:
      The ViT: with `pool="map"` or `"token"` where the file has such a head, and with classes if
      there is a classifier on it. What belongs to something else, such as the text tower, is in
      `unused`; so is a head on the patches themselves, such as PaliGemma's projection.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, holds pickled objects, several ViTs or none that pali knows, or
        its positions are no square grid of patches.
    """
    path = Path(file)
    members = _members(path)
    places = [place for place in _PLACES if f"{place}embedding/kernel" in members]
    if not places:
        raise ValueError(
            f"{path} holds no ViT that pali knows: there is no embedding/kernel in it, at the top "
            f"or below {', '.join(p for p in _PLACES if p)}. It holds {weights.listed(members)}. "
            "Give the .npz of a ViT of big_vision or vit_jax; pali has no hybrids with a ResNet."
        )
    if len(places) > 1:
        raise ValueError(
            f"{path} holds several ViTs, at {' and '.join(p or 'the top' for p in places)}, and "
            "which of them is meant cannot be known: save the arrays of one into a file."
        )
    place = places[0]
    found = {n.removeprefix(place): n for n in members if n.startswith(place)}
    found = {name: n for name, n in found.items() if name.split("/")[0] in _PARTS}
    renamed = ((_rename(name), members[n]) for name, n in found.items())
    tensors = weights.separate_layers(weights.by_name(renamed, f"{path}"), 0, f"{path}")
    config = _config(path, tensors)
    if config.pool == "none":
        heads = [n for name, n in found.items() if name.startswith(("pre_logits/", "head/"))]
        for n in heads:
            del tensors[n.removeprefix(place)], found[n.removeprefix(place)]
    if config.class_token:
        tensors |= _without_class_position(tensors, math.prod(config.grid))
    unused = tuple(sorted(members.keys() - found.values()))
    return Component(config, tensors, f"ViT of big_vision in {path}", unused=unused)


def _rename(name: str) -> str:
    if name == "Transformer/posembed_input/pos_embedding":
        return "pos_embedding"
    first, *rest = name.split("/")
    if first == "Transformer" and len(rest) > 1:
        rest[1] = _NUMBERED_THROUGH.get(rest[1], rest[1])
    return "/".join([first, *rest])


def _config(path: Path, tensors: Mapping[str, Tensor]) -> ViTConfig:
    """What names and shapes tell."""

    def shape(name: str, rank: int) -> tuple[int, ...]:
        if name not in tensors:
            raise ValueError(
                f"{path} holds no ViT that pali knows: it lacks {name}. It holds "
                f"{weights.listed(tensors)}."
            )
        found = tensors[name].shape
        if len(found) != rank or 0 in found:
            raise ValueError(f"{path}: {name} has shape {found}, not {rank} axes with numbers.")
        return found

    patch, other, channels, width = shape("embedding/kernel", 4)
    if patch != other or channels != 3:
        raise ValueError(
            f"{path}: its patches are {patch} x {other} pixels of {channels} channels; pali reads "
            "square patches of 3."
        )
    one, count, wide = shape("pos_embedding", 3)
    if (one, wide) != (1, width):
        raise ValueError(
            f"{path}: pos_embedding has shape {(one, count, wide)}, not (1, positions, {width})."
        )
    if "cls" in tensors and tensors["cls"].shape != (1, 1, width):
        raise ValueError(f"{path}: cls has shape {tensors['cls'].shape}, not (1, 1, {width}).")
    block = "Transformer/encoderblock_0"
    numbers = {m[1] for n in tensors if (m := re.match(r"Transformer/encoderblock_(\d+)/", n))}
    parts = {name.split("/")[0] for name in tensors}
    classifies = "cls" in parts and parts & {"head", "pre_logits"}
    pool = "map" if "MAPHead_0" in parts else "token" if classifies else "none"
    with_head = pool != "none" and "head" in parts
    mlp_dim = shape(f"{block}/MlpBlock_0/Dense_0/kernel", 2)[1]
    num_heads = shape(f"{block}/MultiHeadDotProductAttention_0/query/kernel", 3)[1]
    image_size = _image_size(path, count, patch, "cls" in parts)
    num_classes = shape("head/kernel", 2)[1] if with_head else 0
    try:
        return ViTConfig(
            width=width,
            depth=len(numbers),
            mlp_dim=mlp_dim,
            num_heads=num_heads,
            patch_size=patch,
            image_size=image_size,
            class_token="cls" in parts,
            pool=pool,
            pre_logits=pool != "none" and "pre_logits" in parts,
            num_classes=num_classes,
        )
    except ValueError as error:
        raise ValueError(f"{path} holds no ViT that pali knows: {error}") from error


def _image_size(path: Path, count: int, patch: int, class_token: bool) -> int:
    """Of the pictures that `count` positions are for, one of them perhaps the class token's."""
    for patches in (count, count - 1) if class_token else (count,):
        if patches and math.isqrt(patches) ** 2 == patches:
            return math.isqrt(patches) * patch
    raise ValueError(
        f"{path}: its {count} positions are no square grid of patches, and nothing in the file "
        "says how many rows and columns they are. pali reads square ones: bring pos_embedding to a "
        "square grid first, as pali.checkpoints.positions.resample does, and save it in its place."
    )


def _without_class_position(tensors: Mapping[str, Tensor], patches: int) -> dict[str, Tensor]:
    """Class token and positions, the token's own position added to it."""
    token, positions = tensors["cls"], tensors["pos_embedding"]
    if positions.shape[1] == patches:
        return {}

    def add(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float32) + positions.read()[:, :1].astype(np.float32)

    width = positions.shape[2]
    return {
        "cls": Tensor(token.shape, np.dtype(np.float32), lambda: add(token.read())),
        "pos_embedding": positions.then((1, patches, width), lambda array: array[:, 1:]),
    }


def _members(path: Path) -> dict[str, Tensor]:
    """Every array of the archive, of which only the header is read."""
    if not path.exists():
        raise weights.not_found(path)
    if not zipfile.is_zipfile(path):
        what = "a folder" if path.is_dir() else f"a file of {path.stat().st_size} bytes"
        raise ValueError(
            f"{path} is {what}, not the .npz archive that big_vision writes, or it is damaged. "
            "Give the .npz file; if it is one, copy or download it again."
        )
    with _damage(path, "its list of arrays"):
        archive = zipfile.ZipFile(path)
    with archive:
        opened = ((info.filename, _member(path, archive, info)) for info in archive.infolist())
        return weights.by_name(((n.removesuffix(".npy"), t) for n, t in opened), f"{path}")


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    """An array of the archive, of which the header is read."""
    name = info.filename
    with _damage(path, name), archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _HEADERS.get(version, _HEADERS[2, 0])(stream)
        held = info.file_size - stream.tell()
    if dtype.hasobject:
        raise ValueError(
            f"{path}: {name} holds pickled Python objects, which can run any code when "
            "they are read; pali does not. Save it again as plain arrays."
        )
    if (stated := math.prod(shape) * dtype.itemsize) != held:
        raise ValueError(
            f"{path} is damaged: {name} has {held:,} bytes, and {stated:,} by its header. Copy or "
            "download it again."
        )

    def read() -> np.ndarray:
        with _damage(path, name), zipfile.ZipFile(path) as again, again.open(name) as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        return array.view(ml_dtypes.bfloat16) if array.dtype == _UNKNOWN else array

    dtype = np.dtype(ml_dtypes.bfloat16) if dtype == _UNKNOWN else dtype
    return Tensor.stored(shape, dtype, read, f"{name} in {path}")


@contextlib.contextmanager
def _damage(path: Path, member: str) -> Iterator[None]:
    """Says which file and array it was that could not be read."""
    try:
        yield
    except RuntimeError as error:  # zipfile says so, or NotImplementedError, which is one
        raise ValueError(
            f"{path}: {member} is encrypted, or packed as NumPy does not ({error}). Save it again "
            "with numpy.savez."
        ) from error
    except Exception as error:  # whatever zipfile, its decompressors and NumPy meet
        raise ValueError(
            f"{path} is damaged: {member} cannot be read ({error}). Copy or download it again."
        ) from error
