# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a command go: a table for people, JSON lines or CSV for programs.

A row is a dict of a "picture" and what the command's columns name, or of a "picture" and an
"error". JSON lines and CSV are written row by row, so that an interruption loses nothing that was
made; a file of them ends with a whole row, also when the disk is full. A table needs every row to
know its widths: it is printed at the end, also when that comes early.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pali.commands import CommandError, result_console

FORMATS = ("table", "jsonl", "csv")

RESUME = ".resume"
"""Ends the name of the file that stands beside one of rows (pali/commands/resuming.py)."""

Row = dict[str, Any]


def check_output(
    path: str | None,
    overwrite: bool,
    sources: Iterable[str | bytes] = (),
    option: str = "--output",
    resume: bool = False,
) -> None:
    """Refuses a file that an option names for output, before any work is done for it.

    With `resume` it may be there, to be gone on with.

    Raises:
      CommandError: the file is there already and is not to be replaced, its folder is missing, or
        it is one of the `sources`, files that are still to be read.
    """
    if path is None:
        return
    folder = os.path.dirname(path) or "."
    if not path:
        raise CommandError(f"{option} is empty: give the name of a file")
    if os.path.isdir(path):
        raise CommandError(f"{option} {path} is a folder: give the name of a file")
    if not os.path.isdir(folder):
        raise CommandError(f"{path} cannot be written: there is no folder {folder}")
    if not os.path.lexists(path):
        return
    if not (overwrite or resume):
        begun = option == "--output" and os.path.exists(path + RESUME)
        go_on = ", or --resume to go on with it" if begun else ""
        raise CommandError(
            f"{path} is there already; give another {option}, or --overwrite to replace it{go_on}"
        )
    for source in sources:
        if isinstance(source, str) and os.path.exists(source) and os.path.samefile(source, path):
            raise CommandError(f"{path} is one of the pictures; give another {option}")


def printable(text: str) -> str:
    """One line of a text, without what would steer a terminal: control characters become U+FFFD."""
    one_line = " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" else c for c in one_line)


@dataclass(frozen=True)
class Column:
    """A key of a command's rows, between "picture" and "error"."""

    key: str
    title: str = ""
    """Its heading in the table; a column without one is for programs only."""
    cell: Callable[[Any], str] = printable
    """How the table shows a value."""


class RowsFile(io.TextIOBase):
    """The file that rows go to: what is written is with the system at once, as a whole or not.

    Attributes:
      bytes: its length.
      crc: CRC-32 of all that is in it.
    """

    def __init__(self, path: str, overwrite: bool, size: int = 0, crc: int = 0):
        """Makes it, or keeps the first `size` bytes of what is there, whose CRC-32 is `crc`.

        Raises:
          OSError: it cannot be made, or is there already and not to be replaced.
        """
        mode = "r+b" if size else "wb" if overwrite else "xb"
        self._file = open(path, mode, buffering=0)  # noqa: SIM115
        self.bytes, self.crc = size, crc
        if size:
            if self._file.seek(0, os.SEEK_END) > size:
                self._file.truncate(size)
            self._file.seek(size)

    def write(self, text: str, /) -> int:
        """Appends a text; where there is no room for it the file is as before."""
        data = memoryview(text.encode("utf-8"))
        try:
            rest = data
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):  # A device has no length.
                self._file.truncate(self.bytes)
            raise
        self.bytes += len(data)
        self.crc = zlib.crc32(data, self.crc)
        return len(text)

    def sync(self) -> None:
        """Returns when the disk has it all."""
        with suppress(OSError):  # A pipe has no disk.
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


def format_of(path: str | None, kind: str | None) -> str:
    """One of FORMATS: what was asked for, else what the name of the file or the terminal says."""
    if kind:
        return kind
    if path is None:
        return "table" if sys.stdout.isatty() else "jsonl"
    return {".csv": "csv", ".txt": "table"}.get(os.path.splitext(path)[1], "jsonl")


@contextmanager
def open_rows(
    path: str | None,
    kind: str,
    overwrite: bool,
    columns: Sequence[Column],
    size: int = 0,
    crc: int = 0,
) -> Iterator[tuple[Callable[[Row], None], RowsFile | None]]:
    """Gives the function that writes one row to the file `path`, and that file; or to stdout.

    At least two of the columns have a title: the table shows errors in them. Of a file that is
    there the first `size` bytes, whose CRC-32 is `crc`, are gone on with.

    Raises:
      CommandError: the file cannot be made, or not be written to its end.
    """
    if path is None:
        with _WRITERS[kind](sys.stdout, columns) as write:
            yield write, None
        return
    try:
        file = RowsFile(path, overwrite, size, crc)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with file, _WRITERS[kind](file, columns) as write:
            yield write, file
    except OSError as error:  # A full disk, a share that went away.
        raise CommandError(f"{path} cannot be written further: {error.strerror}") from None


@contextmanager
def _json_lines(stream: Any, _: Sequence[Column]) -> Iterator[Callable[[Row], None]]:
    def write(row: Row) -> None:
        stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        stream.flush()

    yield write


@contextmanager
def _csv(stream: Any, columns: Sequence[Column]) -> Iterator[Callable[[Row], None]]:
    keys = ["picture", *(column.key for column in columns), "error"]
    writer: csv.DictWriter[str] = csv.DictWriter(stream, keys, restval="", lineterminator="\n")
    begun = isinstance(stream, RowsFile) and stream.bytes > 0

    def write(row: Row) -> None:
        nonlocal begun
        if not begun:
            writer.writeheader()
        begun = True
        writer.writerow({key: _cell(value) for key, value in row.items()})
        stream.flush()

    yield write


def _cell(value: Any) -> Any:
    """A list or a truth value is JSON in CSV, too."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | bool) else value


@contextmanager
def _table(stream: Any, columns: Sequence[Column]) -> Iterator[Callable[[Row], None]]:
    rows: list[Row] = []
    try:
        yield rows.append
    finally:
        if rows:
            _print_table(rows, stream, [column for column in columns if column.title])


def _print_table(rows: list[Row], stream: Any, columns: Sequence[Column]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("picture", *(column.title for column in columns)):
        table.add_column(title, overflow="fold")
    last = None
    for row in rows:
        # Text, not str: a file name in [brackets] is no markup.
        name = Text("" if row["picture"] == last else printable(row["picture"]))
        last = row["picture"]
        if "error" in row:
            table.add_row(name, Text("error", "bold red"), Text(printable(row["error"]), "red"))
            continue
        cells = [column.cell(row[column.key]) if column.key in row else "" for column in columns]
        table.add_row(name, *map(Text, cells))
    console = result_console(stream)
    if stream.isatty():
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    stream.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


_WRITERS = {"table": _table, "jsonl": _json_lines, "csv": _csv}
