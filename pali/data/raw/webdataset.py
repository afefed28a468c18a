# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Samples of a WebDataset: files with one name and several endings, one sample after the other.

    DIR/train/00000.tar         000000000.jpg, 000000000.txt, 000000000.json, 000000001.jpg, …
    DIR/train/00000/            the same as files of a folder

img2dataset writes both (`--output_format webdataset` or `files`), with what it knows of a picture
as JSON. A tar is read from front to back, once, and never unpacked. The format is described at
https://github.com/webdataset/webdataset: a sample's name ends at the first dot of its file name.
"""

from __future__ import annotations

import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pali.data.raw import fields
from pali.data.raw.dataset import Part
from pali.data.skipping import RecordError

SPLITS = ("train", "validation")
PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")


class Sample(NamedTuple):
    """One sample."""

    key: str
    """Its name, with the folders before it."""
    files: dict[str, bytes]
    """Ending in lower case, without the dot -> content."""
    where: str
    """For people: tar or folder, and name."""

    @property
    def picture(self) -> bytes:
        """The file of the picture; RecordError if there is none, or an empty one."""
        found = [self.files[ending] for ending in PICTURES if ending in self.files]
        if not found or not found[0]:
            message = f"{self.where} has {'an empty' if found else 'no'} picture"
            raise RecordError("picture", message)
        return found[0]

    @property
    def text(self) -> str:
        """What .txt says, without space around it; RecordError if that is missing or empty."""
        try:
            text = self.files.get("txt", b"").decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise RecordError("row", f"{self.where}.txt is not UTF-8: {error}") from None
        if not text:
            raise RecordError("text", f"{self.where}.txt is missing or empty")
        return text

    @property
    def about(self) -> dict[str, Any]:
        """What .json says; RecordError if that is missing or no JSON object."""
        return fields.json_object(self.files.get("json", b""), f"{self.where}.json")


def parts(folder: Path) -> list[Part]:
    """A part for every tar, and for every folder of files, of DIR/train and DIR/validation.

    Raises:
      FileNotFoundError: there is none.
    """
    found = []
    for split in SPLITS:
        shards = [path for path in sorted((folder / split).glob("*")) if _is_shard(path)]
        found += [Part(split, f"{split}/{path.name}") for path in shards]
    if not found:
        raise FileNotFoundError(
            f"{folder} has no tar like train/00000.tar, and no folder like train/00000: let "
            "img2dataset write there with --output_format webdataset or files"
        )
    return found


def samples(path: Path) -> Iterator[Sample]:
    """The samples of a tar or of a folder of files, in its order.

    Raises:
      ValueError: the tar is damaged, or ends before its end.
    """
    files = _in_folder(path) if path.is_dir() else _in_tar(path)
    split = ((*_split(name), content) for name, content in files)
    for key, group in itertools.groupby(split, key=lambda file: file[0]):
        yield Sample(key, {ending: content for _, ending, content in group}, f"{path}: {key}")


def _is_shard(path: Path) -> bool:
    return path.is_dir() or path.suffix == ".tar"


def _split(name: str) -> tuple[str, str]:
    folder, slash, file = name.removeprefix("./").rpartition("/")
    key, _, ending = file.partition(".")
    return f"{folder}{slash}{key}", ending.lower()


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    # By name and then by ending: a name may be the beginning of another.
    files = [file for file in path.iterdir() if file.is_file()]
    for file in sorted(files, key=lambda file: _split(file.name)):
        yield file.name, file.read_bytes()


def _in_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                # A sparse file may say that it is larger than any memory; pictures are none.
                plain = member.isfile() and not member.issparse()
                content = tar.extractfile(member) if plain else None
                if content is not None:
                    yield member.name, content.read()
                # It would remember every file of the tar.
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
            # tarfile takes anything that is no header for the end, and so what an interrupted
            # writer left; the end is an empty block.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it ends before its end, or is no tar from some place on")
    except tarfile.TarError as error:
        raise ValueError(f"{path} is damaged: {error}; write it again") from None
