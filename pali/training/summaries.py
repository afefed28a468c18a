# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers as TensorBoard reads them: event files, written without TensorFlow or torch.

An event file is a TFRecord file (u64 length, masked CRC-32C of it, data, masked CRC-32C of them) of
`tensorflow.Event` messages (tensorflow/core/util/event.proto, framework/summary.proto); of these
only a time, a step and scalars are needed, which is why they are put together here: the packages
that write them import TensorFlow or torch wherever one is installed.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from pali.data.tfrecord import checksum

VERSION = b"brain.Event:2"
"""What every event file begins with."""


class Summaries:
    """Appends scalars to an event file of its own; use it in a `with` statement or `close` it."""

    def __init__(self, folder: Path):
        """Makes the folder and the file; TensorBoard shows all files of a folder as one run."""
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        name = f"events.out.tfevents.{int(now):010}.{os.uname().nodename}.{os.getpid()}"
        self._file = (folder / name).open("ab")
        self._write(_double(1, now) + _bytes(3, VERSION))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Scalars of a step, by tag (`train/loss`)."""
        values = (
            _bytes(1, _bytes(1, tag.encode()) + _float(2, value)) for tag, value in scalars.items()
        )
        self._write(_double(1, time.time()) + _integer(2, step) + _bytes(5, b"".join(values)))

    def close(self) -> None:
        """Ends the file."""
        self._file.close()

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        for data in (length, event):
            self._file.write(data + struct.pack("<I", checksum(data)))
        self._file.flush()


# Fields of a protocol buffer: number and wire type, then the value.


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes((*found, value))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
