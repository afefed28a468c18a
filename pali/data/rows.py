# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Rows by number: which files a set of data has, and which of them holds row i.

What all sources over files (parquet.py, webdataset.py, tfrecord.py) share, whatever is in them.
"""

from __future__ import annotations

import bisect
import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class FileRows:
    """A row of a set of files <-> its file, and its number there."""

    files: tuple[str, ...]
    ends: tuple[int, ...]
    """Rows up to the end of each file, all files before it included."""

    @classmethod
    def of(cls, files: Sequence[str], counts: Sequence[int]) -> FileRows:
        """`counts`: rows of each file."""
        return cls(tuple(files), tuple(itertools.accumulate(counts)))

    def __len__(self) -> int:
        """Rows of all files."""
        return self.ends[-1] if self.ends else 0

    def find(self, index: int) -> tuple[int, int]:
        """(number of the file, number of the row in it), both from 0; IndexError if none is."""
        checked(index, len(self))
        place = bisect.bisect_right(self.ends, index)
        return place, index - (self.ends[place - 1] if place else 0)


def checked(index: int, length: int) -> int:
    """The index of a record; IndexError where there is none, as sources must raise it."""
    if not 0 <= index < length:
        raise IndexError(f"record {index} of {length}")
    return index


def as_tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as what can be the key of a cache."""
    return (names,) if isinstance(names, str) else tuple(names)


def files_of(paths: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The files of a set of data, in the order in which their rows count.

    Args:
      paths: each is a file; a folder, of which it means the files that match `patterns`; or a
        pattern, with `*`, `?`, `[…]`, `**`, and braces as in `train-{000..009}.tar`. What one
        folder or `*` stands for is taken by name; otherwise the order is that of `paths`.
      patterns: what such files are called, as "*.tar".

    Raises:
      FileNotFoundError: one of the paths leads to no file.
    """
    if not paths:
        raise FileNotFoundError("no path is given: name at least one file, folder or pattern")
    # Once each: braces in braces would come to some names twice.
    names = [n for path in paths for n in dict.fromkeys(_unbraced(os.path.expanduser(path)))]
    return tuple(file for name in names for file in _files(name, patterns))


def _files(path: str, patterns: Sequence[str]) -> list[str]:
    if os.path.isfile(path):
        return [path]
    if re.match(r"\w+://|pipe:", path):
        raise FileNotFoundError(
            f"{path} is an address, and records are read from this machine's files, at random: "
            "download it, or mount it as a folder"
        )
    wanted = " or ".join(patterns)
    if os.path.isdir(path):
        found = [
            os.path.join(path, name)
            for name in sorted(os.listdir(path))
            if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        ]
        if not found:
            raise FileNotFoundError(
                f"the folder {path} has no {wanted}; if they lie deeper or are called otherwise, "
                f"give a pattern such as {os.path.join(path, '**', patterns[0])}"
            )
        return [file for file in found if os.path.isfile(file)]
    found = sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file))
    if not found:
        raise FileNotFoundError(
            f"{path}: no such file or folder, and no file matches it (working directory: "
            f"{os.getcwd()})"
        )
    return found


def _unbraced(path: str) -> list[str]:
    """`a{0..2}` -> a0, a1, a2; `a{b,c}` -> ab, ac; zeros before a number are kept."""
    braces = _BRACES.search(path)
    if not braces or os.path.exists(path):
        return [path]
    inside = braces[1]
    if numbers := _RANGE.fullmatch(inside):
        first, last = numbers.groups()
        step = 1 if int(first) <= int(last) else -1
        width = len(first) if first.startswith("0") else 0
        parts = [f"{n:0{width}}" for n in range(int(first), int(last) + step, step)]
    else:
        parts = inside.split(",")
    before, after = path[: braces.start()], path[braces.end() :]
    return [one for part in parts for one in _unbraced(before + part + after)]
