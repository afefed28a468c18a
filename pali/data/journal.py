# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What `pali data prepare` has written so far, line by line, and that nobody else writes there.

    DATA/NAME/journal.jsonl    {"format", "dataset"}, then a `Written` for each file that is whole
    DATA/NAME/lock             held by the process that writes, and gone with it

Both are there only until the manifest is (pali/data/prepared.py).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pali.data.prepared import ids_file

JOURNAL = "journal.jsonl"
_LOCK = "lock"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Written:
    """One file of records, and what its part had beside them."""

    name: str
    split: str
    records: int
    bytes: int
    sha256: str
    skipped: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that say nothing usable."""
    errors: dict[str, str] = field(default_factory=dict)
    """Reason -> what was wrong with the first of them."""
    languages: dict[str, int] = field(default_factory=dict)
    """Language -> records, of those that say theirs."""


def read_journal(folder: Path, head: dict[str, Any]) -> list[Written]:
    """The files that were written before; begins the journal if there is none."""
    path = folder / JOURNAL
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    # A line that was cut short stands for a part that is written again.
    first, *lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")] or [""]
    found: list[Written] = []
    if first:
        try:
            before = dict(json.loads(first))
            found = [Written(**json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            message = f"{path} is damaged ({error}): delete {folder}, and begin again"
            raise ValueError(message) from None
        if before != head:
            raise FileExistsError(
                f"{folder} was begun by another pali: give another --to, or delete it"
            )
    found = [file for file in found if is_whole(folder, file)]
    write_journal(folder, head, found)
    return found


def write_journal(folder: Path, head: dict[str, Any], found: list[Written]) -> None:
    """Begins the journal anew, with these files."""
    lines = [json.dumps(head), *(json.dumps(asdict(file)) for file in found)]
    replace(folder / JOURNAL, "".join(f"{line}\n" for line in lines))


def replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    unfinished = path.with_suffix(".tmp")
    with naming(path):
        unfinished.write_text(text, encoding="utf-8")
        unfinished.rename(path)


def is_whole(folder: Path, file: Written) -> bool:
    """Whether a file is there as it was written, by its size."""
    path = folder / file.name
    return path.exists() and path.stat().st_size == file.bytes and ids_file(path).exists()


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """ValueError if a file of a finished dataset is not there as it was written."""
    for file in manifest["files"]:
        if not is_whole(folder, Written(**file)):
            path = folder / file["name"]
            raise ValueError(f"{path} is gone or was changed: delete {folder}, and begin again")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """FileExistsError if another process is in such a block; the lock ends with its process."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows, which has no such lock.
        yield
        return
    path = folder / _LOCK
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except BlockingIOError:
            mine = False
        except OSError:  # A file system without locks.
            mine = True
        if not mine:
            raise FileExistsError(
                f"{folder} is being written by another process: wait for it, or give another --to"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file that cannot be written, where the system does not: a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(f"{path} cannot be written: {os.strerror(error.errno)}") from None
