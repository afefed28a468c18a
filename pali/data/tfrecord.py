# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""TFRecord files of tf.train.Example as a source, read without TensorFlow.

    TFRecord("birds/train.tfrecord-*", image="image/encoded")

A TFRecord file is a row of records, each u64 length, u32 checksum of it, data, u32 checksum of them
(masked CRC-32C, little-endian). The lengths are read once in each process, for where each record
begins; the checksum of the data is compared whenever a record is read.

An Example says neither what is text nor what is a list, so the source says it:

| feature                        | in the record                                          |
|--------------------------------|--------------------------------------------------------|
| the picture's                  | "image", its bytes; "image_key" is "FILE#NUMBER"       |
| bytes                          | str; bytes if `binary` names it                        |
| int64, float                   | int, float                                             |
| one with more values than one, | list of str or bytes, or NumPy array i64[n], f32[n]    |
| or that `lists` names          |                                                        |
| one without a value            | None; an empty list, if `lists` names it               |

An Example need not have every feature; a record then lacks the key. A damaged record raises
RecordError. A file in which the lengths are damaged, or that is cut short, stops at once, because
the records behind that place cannot be found.

Examples are parsed by the message classes that tensorflow_datasets carries for its own reading
without TensorFlow: protobuf's own parser, in C, and no definition to keep here.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np

from pali.data.rows import FileRows, as_tuple, files_of
from pali.data.skipping import RecordError

PATTERNS = ("*.tfrecord*", "*.tfrec*")
"""What TFRecord files are called; a file named by itself may be called anything."""

_HEAD = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True)
class TFRecord:
    """Examples of TFRecord files, in the order of the files and of the records in them.

    Raises on first use:
      FileNotFoundError: no such file.
      ValueError: a file is no TFRecord file, is compressed, damaged or cut short.
    """

    paths: str | Sequence[str]
    """Files, folders with *.tfrecord* or *.tfrec*, or patterns (`pali.data.rows.files_of`)."""
    image: str | None = "image"
    """The feature with the bytes of a picture file; None if there is none. A record without it
    cannot be used, unless no picture is asked for."""
    binary: Sequence[str] = ()
    """Other features that are bytes and not text."""
    lists: Sequence[str] = ()
    """Features that are lists, even where they have one value."""

    def __len__(self) -> int:
        """Records of all files."""
        return len(_open(as_tuple(self.paths))[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The Example as a record; RecordError names it, if it cannot be used."""
        rows, begins = _open(as_tuple(self.paths))
        place, number = rows.find(index)
        file = rows.files[place]
        where = f"{file}, record {number}"
        data = read_record(file, int(begins[place][number]), where)
        record = {
            name: self._value(name, feature, where)
            for name, feature in sorted(_features(data, where).items())
        }
        if self.image is None:
            return record
        picture = record.pop(self.image, None)
        if not isinstance(picture, bytes):
            raise RecordError("picture", f"{where} has no picture in its feature {self.image!r}")
        return {"image_key": f"{file}#{number}"} | record | {"image": picture}

    def _value(self, name: str, feature: Any, where: str) -> Any:
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else ()
        if kind == "bytes_list" and name != self.image and name not in self.binary:
            values = [as_text(value, f"{where}: the feature {name!r}") for value in values]
        if name not in self.lists and len(values) <= 1:
            return values[0] if values else None
        if kind == "int64_list":
            return np.array(values, np.int64)
        return np.array(values, np.float32) if kind == "float_list" else list(values)


def as_text(value: bytes, what: str) -> str:
    """Bytes as text; RecordError says that `what` is none, and how to say so."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise RecordError(
            "text",
            f"{what} is not UTF-8 text (byte {error.start}); if it is data, name it in binary=(…)",
        ) from None


def find_records(path: str) -> np.ndarray:
    """i64[records]: where each record of a TFRecord file begins.

    Raises:
      ValueError: it is no TFRecord file, is compressed, damaged or cut short.
    """
    size = os.path.getsize(path)
    begins, at = array("q"), 0
    if not size:  # Empty shards are common, and nothing can be mapped of them.
        return np.zeros(0, np.int64)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while at < size:
            if at + _HEAD.size > size:
                raise ValueError(_cut_short(path, len(begins), at, size))
            length, expected = _HEAD.unpack_from(data, at)
            if checksum(data[at : at + 8]) != expected:
                raise ValueError(_damaged(path, len(begins), at, data[:2]))
            begins.append(at)
            at += _HEAD.size + length + _CHECKSUM.size
            if at > size:
                raise ValueError(_cut_short(path, len(begins) - 1, begins[-1], size))
    return np.array(begins, np.int64)


def checksum(data: bytes) -> int:
    """CRC-32C as TFRecord stores it: turned by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_record(path: str, begin: int, where: str) -> bytes:
    """The data of a record; RecordError, which begins with `where`, if their checksum is wrong."""
    with open(path, "rb") as file:
        file.seek(begin)
        # Filled up, in case that the file was cut meanwhile: the checksum then is wrong.
        length, _ = _HEAD.unpack(file.read(_HEAD.size).ljust(_HEAD.size, b"\0"))
        data = file.read(length)
        expected = file.read(_CHECKSUM.size)
    if _CHECKSUM.pack(checksum(data)) != expected:
        raise RecordError("row", f"{where} is damaged: its checksum is wrong")
    return data


@functools.cache
def _open(paths: tuple[str, ...]) -> tuple[FileRows, tuple[np.ndarray, ...]]:
    files = files_of(paths, PATTERNS)
    begins = tuple(find_records(file) for file in files)
    return FileRows.of(files, [len(found) for found in begins]), begins


def _features(data: bytes, where: str) -> Any:
    """{name: tensorflow.Feature} of an Example."""
    decode_error, example = _messages()
    try:
        found = example.FromString(data).features.feature
    except decode_error as error:
        raise RecordError("row", f"{where} is not a tf.train.Example: {error}") from None
    if not found:
        raise RecordError("row", f"{where} has no features: is it a tf.train.Example?")
    return found


@functools.cache
def _messages() -> tuple[type[Exception], Any]:
    try:
        from google.protobuf.message import DecodeError
        from tensorflow_datasets.proto import tf_example_pb2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_NEEDS.format(error.name), name=error.name) from None
    messages: Any = tf_example_pb2  # Generated, and so without types.
    return DecodeError, messages.Example


_NEEDS = "Reading TFRecord files needs {}: pip install 'open-pali[train]'"


def _cut_short(path: str, records: int, at: int, size: int) -> str:
    return (
        f"{path} is cut short: record {records} begins at byte {at}, and the file ends at {size}. "
        "Download or write it again"
    )


def _damaged(path: str, records: int, at: int, start: bytes) -> str:
    if records:
        return f"{path} is damaged at byte {at}, where record {records} begins: write it again"
    # gzip begins by 1f 8b, zlib by 78.
    if start == b"\x1f\x8b" or start[:1] == b"\x78":
        return (
            f"{path} is compressed, and cannot be read at random: write it without compression "
            "(TFRecordWriter without options); the pictures in it are compressed anyway"
        )
    return f"{path} is not a TFRecord file: its first checksum is wrong"
