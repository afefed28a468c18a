# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What lets a command of pictures go on where it was killed: a file beside --output.

    OUTPUT          the rows
    OUTPUT.resume   a line with the settings, then a `Mark` for each batch whose rows are written

The file is gone when all pictures are done, or, where --resume was given, says so to the next
start. After a kill OUTPUT is cut where its last mark says, and the batch that was interrupted is
done again: batches are then made of the same pictures as without the kill, and so are the rows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

from pali.commands import CommandError
from pali.commands.rows import RESUME, RowsFile

# Where rows go and come from, and what changes none of them.
_NO_SETTINGS = ("draw", "explain", "format", "mesh", "model", "output", "overwrite", "pictures")
_NO_SETTINGS += ("prog", "resume")


@dataclass(frozen=True)
class Mark:
    """All that is done after a batch."""

    pictures: int = 0
    names: int = 0
    """CRC-32 of the pictures' names."""
    failed: int = 0
    rows: int = 0
    """Without those of errors."""
    bytes: int = 0
    """So long is OUTPUT."""
    crc: int = 0
    """CRC-32 of OUTPUT."""


def settings(arguments: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """What rows depend on besides the pictures: all other arguments, and `more`."""
    given = {
        name: value
        for name, value in vars(arguments).items()
        if name not in _NO_SETTINGS and not name.endswith("_given")
    }
    # As JSON has them: a tuple that was written comes back as a list.
    return json.loads(json.dumps({**given, **more}, default=str))


def names_crc(names: Sequence[str], before: int = 0) -> int:
    """What `Mark.names` is after further pictures."""
    return zlib.crc32("".join(f"{name}\n" for name in names).encode("utf-8", "replace"), before)


def model_print(model: str | None) -> int:
    """By what the model that --model names is known again: its files' sizes, and samples of them.

    The whole of a large model would take longer to read than to caption a picture with.
    """
    from pali.checkpoints.hub import locate
    from pali.checkpoints.pretrained import EMBEDDED

    folder, crc = EMBEDDED if model is None else locate(model), 0
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or name.endswith(".md"):
            continue
        size = os.path.getsize(path)
        crc = zlib.crc32(f"{name} {size}\n".encode(), crc)
        with open(path, "rb") as file:
            for start in range(0, size, max(1 << 16, size // 64)):
                file.seek(start)
                crc = zlib.crc32(file.read(1 << 16), crc)
    return crc


def read(output: str, now: dict[str, Any], names: Sequence[str]) -> Mark:
    """Where to go on: the last mark that OUTPUT reaches.

    Args:
      output: the file of rows, which is there.
      now: the `settings` of this start.
      names: the pictures of this start.

    Raises:
      CommandError: it was begun with other settings or pictures, or by something else, or was
        changed since.
    """
    path = output + RESUME
    if not os.path.getsize(output):  # Killed before anything was written.
        return Mark()
    advice = "give another --output, or --overwrite to begin anew"
    try:
        with open(path, encoding="utf-8") as file:
            before = _json(file.readline())
            marks = [Mark(), *_marks(file, os.path.getsize(output))]
    except FileNotFoundError:
        raise CommandError(
            f"{output} cannot be gone on with, because {path} is not there: it is complete, or "
            f"was not written with --output; {advice}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from None
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            what = "another model" if name == "model" else f"{name} = {_short(before.get(name))}"
            here = "" if name == "model" else f", and here it is {_short(now.get(name))}"
            raise CommandError(f"{output} was begun with {what}{here}; {advice}")
    # At the end of a run a batch is shorter: with more pictures now it is done again as a whole.
    whole = [m for m in marks if m.pictures in (0, len(names)) or not m.pictures % now["together"]]
    mark = whole[-1]
    if names_crc(names[: mark.pictures]) != mark.names or mark.pictures > len(names):
        raise CommandError(
            f"the first {mark.pictures:,} pictures in {output} are not those of this command; "
            f"{advice}"
        )
    if _crc(output, mark.bytes) != mark.crc:
        raise CommandError(f"{output} was changed since it was written; {advice}")
    return mark


def _marks(file: IO[str], size: int) -> Iterator[Mark]:
    """The marks that were written whole, up to the size of OUTPUT, the latest last."""
    for line in file:
        fields = _json(line)
        if fields and fields["bytes"] <= size:
            yield Mark(**fields)


def _json(line: str) -> dict[str, Any]:
    """A line, or nothing where it was cut short."""
    try:
        return json.loads(line) if line.endswith("\n") else {}
    except ValueError:
        return {}


def _crc(path: str, size: int) -> int:
    crc = 0
    with open(path, "rb") as file:
        while size > 0 and (block := file.read(min(size, 1 << 20))):
            crc = zlib.crc32(block, crc)
            size -= len(block)
    return crc


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]} …"


class Journal:
    """OUTPUT.resume while rows are written; of rows that go to no file nothing is kept."""

    def __init__(self, output: str | None, now: dict[str, Any], mark: Mark, keep: bool):
        """Begins it, or goes on after `mark`.

        Args:
          output: the file of rows, not open yet.
          now: the `settings`.
          mark: what is done.
          keep: whether it stays when all is done.

        Raises:
          CommandError: it cannot be written, or another process writes it.
        """
        self._path = f"{output}{RESUME}"
        self._keep = keep
        self._file: IO[str] | None = None
        if output is None or (os.path.exists(output) and not os.path.isfile(output)):
            return  # A pipe and a device keep nothing.
        with self._naming():
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
            self._lock(output)
            if mark.pictures:
                # The last line may be cut short. This mark is the latest, whatever stood there.
                self._write("\n", asdict(mark))
            else:
                self._file.truncate(0)
                self._write("", now)

    def add(self, mark: Mark, rows: RowsFile) -> None:
        """Keeps what is done, once the rows are on the disk."""
        if self._file:
            rows.sync()
            with self._naming():
                self._write("", asdict(mark))

    def close(self, complete: bool) -> None:
        """Ends it; of a complete run nothing stays, unless it is to be kept."""
        if not self._file:
            return
        with contextlib.suppress(OSError):
            self._file.close()
        if complete and not self._keep:
            with contextlib.suppress(OSError):
                os.remove(self._path)

    def _write(self, before: str, fields: dict[str, Any]) -> None:
        assert self._file
        self._file.write(f"{before}{json.dumps(fields)}\n")
        self._file.flush()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CommandError(f"{self._path} cannot be written: {error.strerror}") from None

    def _lock(self, output: str) -> None:
        try:
            import fcntl
        except ModuleNotFoundError:  # Windows, which has no such lock.
            return
        assert self._file
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CommandError(f"{output} is being written by another process") from None
        except OSError:  # A file system without locks.
            return
