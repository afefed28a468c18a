# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""WebDataset tars as a source: samples are neighbouring files of one name up to its first dot.

    WebDataset("birds/train-{000..009}.tar")

Nothing is unpacked: the headers of a tar are read once in each process, for where each sample
begins and ends, and a sample is one read of that part. A folder or a pattern does as well as
braces.

| file of a sample           | in the record                                  |
|----------------------------|------------------------------------------------|
| jpg, jpeg, png, webp       | "image", its bytes                             |
| txt                        | "text"                                         |
| cls                        | "label", a number                              |
| json                       | its keys, beside the others                    |
| any other, as a.seg.png    | its bytes, under what follows the first dot    |
| the name itself            | "__key__"; "image_key" is "TAR#NAME"           |

A damaged sample, or one without a picture, raises RecordError. A tar that is damaged or cut short
stops at once, because how many samples it had cannot be known.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import tarfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pali.data.rows import FileRows, as_tuple, files_of
from pali.data.skipping import RecordError

_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
"""What WebDataset splits a file's name by: folders and name, and all after the first dot."""

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}


@dataclass(frozen=True)
class WebDataset:
    """Samples of tar files, in the order of the tars and of the samples in them.

    Raises on first use:
      FileNotFoundError: no such tar.
      ValueError: a file is no tar, is compressed, damaged or cut short, or the files of a sample do
        not stand together in it.
    """

    paths: str | Sequence[str]
    """Tars, folders with *.tar, or patterns (`pali.data.rows.files_of`)."""
    images: Sequence[str] = ("jpg", "jpeg", "png", "webp")
    """Which file of a sample is its picture: the first of these that it has. () is for samples of
    text alone; otherwise one without a picture cannot be used."""

    def __len__(self) -> int:
        """Samples of all tars."""
        return len(_open(as_tuple(self.paths))[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The sample as a record; RecordError names it, if it cannot be used."""
        rows, ranges = _open(as_tuple(self.paths))
        place, number = rows.find(index)
        begin, end = ranges[place][number].tolist()
        with open(rows.files[place], "rb") as file:
            file.seek(begin)
            part = file.read(end - begin)
        key, files = _unpack(part, f"{rows.files[place]}, sample {number}")
        return _to_record(key, files, as_tuple(self.images), rows.files[place])


def _unpack(part: bytes, where: str) -> tuple[str, dict[str, bytes]]:
    """The name of a sample, and what its files hold, by what follows the first dot of theirs."""
    key, files = "", {}
    try:
        with tarfile.open(fileobj=io.BytesIO(part), mode="r:") as tar:
            for member in tar:
                if not (found := _split(member)):
                    continue
                key, field = found
                if field in files:
                    message = f"{where} has two files {key}.{field}"
                    raise RecordError("row", message)
                content: Any = tar.extractfile(member)
                files[field] = content.read()
    except tarfile.TarError as error:
        message = f"{where} is damaged, or the tar was changed meanwhile: {error}"
        raise RecordError("row", message) from None
    return key, files


def _to_record(
    key: str, files: dict[str, bytes], images: tuple[str, ...], tar: str
) -> dict[str, Any]:
    where = f"{tar}, sample {key!r}"
    named: dict[str, Any] = {"__key__": key}
    listed = ", ".join(files)
    described = _json(files.pop("json"), where) if "json" in files else {}
    if images:
        found = next((name for name in images if name in files), None)
        if found is None:
            raise RecordError("picture", f"{where} has no {' or '.join(images)}, only {listed}")
        named["image"] = files.pop(found)
    if "txt" in files:
        named["text"] = _text(files.pop("txt"), where)
    if "cls" in files:
        named["label"] = _number(files.pop("cls"), where)
    return described | files | named | {"image_key": f"{tar}#{key}"}


def _json(content: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecordError("row", f"{where}: its json cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise RecordError("row", f"{where}: its json is not an object but a {type(value).__name__}")
    return value


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{where}: its txt is not UTF-8 (byte {error.start})"
        raise RecordError("text", message) from None


def _number(content: bytes, where: str) -> int:
    try:
        return int(content)
    except ValueError:
        raise RecordError("row", f"{where}: its cls is not a number: {content[:40]!r}") from None


@functools.cache
def _open(paths: tuple[str, ...]) -> tuple[FileRows, tuple[np.ndarray, ...]]:
    """Which tar has which samples; of each tar i64[samples 2], where they begin and end."""
    files = files_of(paths, ("*.tar",))
    ranges = tuple(_scan(file) for file in files)
    return FileRows.of(files, [len(found) for found in ranges]), ranges


def _scan(path: str) -> np.ndarray:
    """i64[samples 2]: the bytes of each sample in a tar, headers included."""
    with open(path, "rb") as file:
        _refuse_compressed(path, file.read(6))
        file.seek(0)
        begins, ends, seen, last = array("q"), array("q"), set(), None
        try:
            tar: Any
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # It would keep them all.
                    found = _split(member)
                    if not found:
                        continue
                    if found[0] != last:
                        last = found[0]
                        if last in seen:
                            raise ValueError(_scattered(path, last))
                        seen.add(last)
                        begins.append(member.offset)
                        ends.append(0)
                    ends[-1] = tar.offset
                stopped = tar.offset
        except tarfile.TarError as error:
            raise ValueError(
                f"{path} is not a tar, or is damaged or cut short ({error}): download or write it "
                "again"
            ) from None
        file.seek(stopped)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError(
                f"{path} is damaged or cut short: after {len(begins)} samples, at byte {stopped} "
                f"of {os.path.getsize(path)}, there is neither a file nor the end mark of a tar. "
                "Download or write it again"
            )
    return np.stack([np.array(begins, np.int64), np.array(ends, np.int64)], axis=1)


def _refuse_compressed(path: str, start: bytes) -> None:
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise ValueError(
                f"{path} is compressed ({name}), and cannot be read at random: unpack it to a "
                "plain .tar; the pictures in it are compressed anyway"
            )


def _scattered(path: str, key: str) -> str:
    return (
        f"{path}: the files of sample {key!r} do not stand together, or two samples have that "
        "name. Pack it in the order of names: tar --sort=name -cf …"
    )


def _split(member: tarfile.TarInfo) -> tuple[str, str] | None:
    """(name, what follows its first dot) of a file of a sample; None for anything else.

    Endings are lower case, as WebDataset reads them.
    """
    # A sparse file may say that it is larger than any memory; pictures and texts are none.
    plain = member.isreg() and not member.issparse()
    found = _NAME.fullmatch(member.name) if plain else None
    return (found[1], found[2].lower()) if found else None
