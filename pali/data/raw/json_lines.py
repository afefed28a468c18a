# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Files with one JSON object a line, as they are or packed (.bz2, .gz), read in pieces.

A packed file is read by one process, from front to back. One that is unpacked is cut into pieces,
which are read at once; where both are there, it is the one that is read.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pali.data.raw.dataset import Part

PIECE = 2**28
"""Bytes of an unpacked file that one process reads."""

_OPEN: dict[str, Callable[[Path], Any]] = {
    ".jsonl": lambda path: path.open("rb"),
    ".bz2": bz2.open,
    ".gz": gzip.open,
}


def parts(folder: Path, files: Mapping[str, str]) -> list[Part]:
    """Pieces of the files that are there; `files` are split -> name, which ends in .jsonl.

    Raises:
      FileNotFoundError: none of them is.
      ValueError: one is empty.
    """
    found = []
    for split, file in files.items():
        plain, *packed = (folder / file, folder / f"{file}.bz2", folder / f"{file}.gz")
        there = [path for path in (plain, *packed) if path.is_file()][:1]
        for path in there:
            if not path.stat().st_size:
                raise ValueError(f"{path} is empty; fetch it again, or put it elsewhere")
        if there == [plain]:
            size = plain.stat().st_size
            starts = range(0, size, PIECE)
            found += [Part(split, file, start, min(start + PIECE, size)) for start in starts]
        else:
            found += [Part(split, path.name) for path in there]
    if not found:
        names = " and no ".join(files.values())
        raise FileNotFoundError(f"{folder} has no {names}, nor any of them as .bz2 or .gz")
    return found


def lines(folder: Path, part: Part) -> Iterator[tuple[int, bytes]]:
    """First byte (of what is unpacked) and content of every line that begins in a piece.

    Raises:
      ValueError: a packed file is damaged.
    """
    path = folder / part.file
    try:
        with _OPEN[path.suffix](path) as file:
            place = part.start
            if place:  # A line that began before belongs to the piece before.
                file.seek(place - 1)
                place += len(file.readline()) - 1
            while part.stop is None or place < part.stop:
                line = file.readline()
                if not line:
                    return
                yield place, line
                place += len(line)
    except (EOFError, OSError, zlib.error) as error:
        if getattr(error, "errno", None) is not None:
            raise  # It is the disk that is damaged, or full, and not what is read.
        raise ValueError(f"{path} is damaged ({error}); fetch it again") from None
