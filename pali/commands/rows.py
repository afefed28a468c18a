# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a command go: a table for people, JSON lines or CSV for programs.

A row is a dict of a "picture" and what the command's columns name, or of a "picture" and an
"error". JSON lines and CSV are flushed row by row, so that an interruption loses nothing that was
made. A table needs every row to know its widths: it is printed at the end, also when that comes
early.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pali.commands import CommandError, result_console

FORMATS = ("table", "jsonl", "csv")

Row = dict[str, Any]


def check_output(
    path: str | None,
    overwrite: bool,
    sources: Iterable[str | bytes] = (),
    option: str = "--output",
) -> None:
    """Refuses a file that an option names for output, before any work is done for it.

    Raises:
      CommandError: the file is there already and is not to be replaced, its folder is missing, or
        it is one of the `sources`, files that are still to be read.
    """
    if path is None:
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not path:
        raise CommandError(f"{option} {path!r} is no name for a file")
    if not os.path.isdir(folder):
        raise CommandError(f"{path} cannot be written: there is no folder {folder}")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise CommandError(
            f"{path} is there already; give another {option}, or --overwrite to replace it"
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


@contextmanager
def open_rows(
    path: str | None, kind: str | None, overwrite: bool, columns: Sequence[Column]
) -> Iterator[Callable[[Row], None]]:
    """Gives the function that writes one row to the file `path`, or to stdout where that is None.

    At least two of the columns have a title: the table shows errors in them.

    Raises:
      CommandError: the file cannot be made, or not be written to its end.
    """
    if path is None:
        kind = kind or ("table" if sys.stdout.isatty() else "jsonl")
        with _WRITERS[kind](sys.stdout, columns) as write:
            yield write
        return
    kind = kind or {".csv": "csv", ".txt": "table"}.get(os.path.splitext(path)[1], "jsonl")
    try:
        file = open(path, "w" if overwrite else "x", encoding="utf-8", newline="")  # noqa: SIM115
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with file, _WRITERS[kind](file, columns) as write:
            yield write
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
    writer.writeheader()

    def write(row: Row) -> None:
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
