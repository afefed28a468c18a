# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures in, rows out: what `pali caption`, `answer`, `ocr`, `classify` and `detect` share.

A command adds its own arguments and says, once the model is loaded, what rows a picture gives. A
picture that cannot be used is one row {"picture", "error"}, the others get theirs all the same, and
the exit status is 1. Rows come in the order of the pictures and are written as soon as they are
made.
"""

from __future__ import annotations

import argparse
import codecs
import glob
import itertools
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pali.commands import CommandError, load_model
from pali.commands.mesh import MESH_HELP, read_mesh
from pali.commands.rows import FORMATS, Column, Row, check_output, open_rows
from pali.config import ImageSize, PixelConfig, Precision

if TYPE_CHECKING:
    from pali.image import Region
    from pali.predict import Model

PICTURES = """\
PICTURES are files; folders (the pictures directly inside, by name); quoted globs, where ** goes
through whole trees; or - for standard input, which is either one picture or a list of such names,
one on each line."""

_READ_AHEAD = 2  # Batches of pictures that are decoded while the model works on another.


@dataclass(frozen=True)
class Item:
    """A picture that was asked for, or why there is none."""

    name: str
    source: str | bytes = b""
    error: str = ""


@dataclass(frozen=True)
class Seen:
    """A picture that could be read."""

    item: Item
    pixels: Any
    """u8[h w 3], as the model reads it."""
    region: Region
    """Which part that is of the picture itself, upright."""


@dataclass(frozen=True)
class Verb:
    """What a command does with the pictures that can be used."""

    rows: Callable[[Sequence[Seen]], Iterable[list[Row]]]
    """For each picture its rows, without "picture"."""
    together: int = 64
    """At most so many pictures at once: enough to fill a batch, few enough to see rows come."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """PICTURES and the options that every such command has."""
    parser.set_defaults(prog=parser.prog)
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURES", help="files, folders, globs, or -"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="default: a table on a terminal, else jsonl, or as the name of --output says",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="write there, row by row, instead of stdout"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --output if it exists")
    parser.add_argument(
        "--model", metavar="FOLDER", help="a model folder (default: the embedded one)"
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        help="numbers to compute in; int8 needs a quarter of the memory of float32, and is the "
        "fastest for few pictures (default: as the model says, mostly bfloat16)",
    )
    parser.add_argument("--mesh", metavar="AXIS=N,…", help=MESH_HELP)


def run(
    arguments: argparse.Namespace,
    items: Sequence[Item],
    columns: Sequence[Column],
    prepare: Callable[[Model], Verb],
    failure: str,
) -> int:
    """Writes the rows of every item; 0, or 1 when a picture failed.

    Args:
      arguments: those of `add_arguments`.
      items: the pictures, from `expand`.
      columns: what rows hold.
      prepare: called with the model before anything is written, unless no picture can be used.
      failure: what the failed pictures could not be, "captioned".

    Raises:
      CommandError: the model cannot be loaded, `prepare` raised ValueError, or --output cannot be
        written.
    """
    output = arguments.output
    check_output(output, arguments.overwrite, [item.source for item in items])
    verb, size, pixels = Verb(lambda _: []), 0, PixelConfig()
    if not all(item.error for item in items):
        mesh = None if arguments.mesh is None else read_mesh(arguments.mesh)
        model = load_model(arguments.model, mesh, arguments.precision)
        size, pixels = model.config.vit.image_size, model.config.vit.pixels
        try:
            verb = prepare(model)
        except ValueError as error:
            raise CommandError(str(error)) from None
    failed = written = 0
    with open_rows(output, arguments.format, arguments.overwrite, columns) as write:
        rows = _rows(verb, _decoded(items, verb.together, size, pixels))
        for row in rows if arguments.format and not output else _progress(rows, len(items)):
            failed += "error" in row
            written += "error" not in row
            write(row)

    def say(message: str) -> None:
        print(f"{arguments.prog}: {message}", file=sys.stderr)

    if output and written:
        say(f"{_count(written, 'row')} of {_count(len(items) - failed, 'picture')} in {output}")
    if failed and (output or len(items) > 1):
        say(f"{failed} of {_count(len(items), 'picture')} could not be {failure}")
    return 1 if failed else 0


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def expand(arguments: Iterable[str]) -> Iterator[Item]:
    """The pictures that the arguments mean; what leads to none becomes an item with an error."""
    for argument in arguments:
        yield from _standard_input() if argument == "-" else _named(argument)


def _named(argument: str) -> Iterator[Item]:
    from pali.image import SUFFIXES, ImageError, decode_image, display_name

    name = display_name(argument)
    if os.path.isdir(argument):
        try:
            entries = list(os.scandir(argument))
        except OSError as error:
            yield Item(name, error=f"{name} cannot be read: {error.strerror}")
            return
        inside = sorted(
            entry.path
            for entry in entries
            if entry.name.lower().endswith(SUFFIXES) and entry.name[0] != "." and entry.is_file()
        )
        if not inside:
            error = f"{name} is a folder without pictures directly inside; try '{name}/**/*.jpg'"
            yield Item(name, error=error)
        for path in inside:
            yield Item(display_name(path), path)
    elif os.path.exists(argument):
        yield Item(name, argument)
    elif glob.has_magic(argument):
        found = sorted(
            path for path in glob.iglob(argument, recursive=True) if os.path.isfile(path)
        )
        if not found:
            yield Item(name, error=f"{name} matches no file")
        for path in found:
            yield Item(display_name(path), path)
    else:
        try:
            decode_image(argument)
        except ImageError as error:  # Nothing is there: this says so, and names a neighbour.
            yield Item(name, error=str(error))


def _standard_input() -> Iterator[Item]:
    if sys.stdin is None or sys.stdin.isatty():
        raise CommandError(
            "- reads a picture or a list of files from a pipe, as in `ls *.jpg | ...`"
        )
    content = sys.stdin.buffer.read()
    if not content.strip():
        yield Item("standard input", error="standard input is empty")
        return
    lines = content.removeprefix(codecs.BOM_UTF8).splitlines()
    # File names hold no NUL byte and are short; pictures have NULs or one very long first line.
    # What begins as markup or as a PNM picture is no list either, and is told apart later.
    if b"\0" in content or len(lines[0]) > 4096 or re.match(rb"\s*<|P[1-6]\s", content):
        yield Item("standard input", content)
        return
    for line in lines:
        if line.strip():
            yield from _named(os.fsdecode(line.rstrip(b"\r")))


def _rows(verb: Verb, batches: Iterable[list[Seen | Item]]) -> Iterator[Row]:
    """The rows of every item, in order."""
    for batch in batches:
        usable = [seen for seen in batch if isinstance(seen, Seen)]
        made = iter(verb.rows(usable) if usable else [])
        for seen in batch:
            if isinstance(seen, Seen):
                yield from ({"picture": seen.item.name, **row} for row in next(made))
            else:
                yield {"picture": seen.name, "error": seen.error}


def _decoded(
    items: Sequence[Item], together: int, size: ImageSize, pixels: PixelConfig
) -> Iterator[list[Seen | Item]]:
    """Batches of pictures, decoded in threads a little ahead; in place of a bad one its error."""
    from pali.image import ImageError, decode_image, resize, seen_region

    def decode(item: Item) -> Seen | Item:
        if item.error:
            return item
        try:
            image = decode_image(item.source, item.name)
        except ImageError as error:
            return Item(item.name, error=str(error))
        region = seen_region(image.shape, size, pixels)
        return Seen(item, resize(image, size, pixels), region)

    batches = (items[start : start + together] for start in range(0, len(items), together))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        waiting: deque[list[Any]] = deque()
        try:
            for batch in itertools.chain(batches, [None] * _READ_AHEAD):
                if batch:
                    waiting.append([threads.submit(decode, item) for item in batch])
                if waiting and (batch is None or len(waiting) > _READ_AHEAD):
                    yield [seen.result() for seen in waiting.popleft()]
        finally:  # After Ctrl-C nothing that has not begun should begin.
            threads.shutdown(wait=False, cancel_futures=True)


def _progress(rows: Iterable[Row], total: int) -> Iterator[Row]:
    """Passes rows on; on a terminal a bar on stderr counts the pictures, where there are many."""
    if total <= 8 or not sys.stderr.isatty():
        yield from rows
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pictures", total=total)
        last = None
        for row in rows:
            if last is not None and row["picture"] != last:
                bar.advance(task)
            last = row["picture"]
            yield row
