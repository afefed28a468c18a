# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures in, rows out: what `pali caption`, `answer`, `ocr`, `classify` and `detect` share.

A command adds its own arguments and says, once the model is loaded, what rows a picture gives. A
picture that cannot be used is one row {"picture", "error"}, the others get theirs all the same, and
the exit status is 1. A picture named twice is done once. Rows come in the order of the pictures and
are written as soon as they are made; those of a file can be gone on with after a kill
(pali/commands/resuming.py). What is held is the names of all pictures, and a few batches of pixels.
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

from pali.commands import CommandError, load_model, picture_lists, progress, resuming
from pali.commands.mesh import MESH_HELP, read_mesh
from pali.commands.resuming import Journal, Mark
from pali.commands.rows import FORMATS, Column, Row, check_output, format_of, open_rows
from pali.config import ImageSize, PixelConfig, Precision

if TYPE_CHECKING:
    from pali.image import Region
    from pali.predict import Model

PICTURES = """\
PICTURES are files; folders (the pictures directly inside, by name); quoted globs, where ** goes
through whole trees; .jsonl or .csv files with a field "picture" or "image", a path that counts from
their folder; or - for standard input, which is either one picture or a list of such names, one on
each line. A picture that is named twice is done once."""

_READ_AHEAD = 2  # Batches of pictures that are decoded while the model works on another.


@dataclass(frozen=True, slots=True)
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
        "--resume",
        action="store_true",
        help="go on with --output where the same command was interrupted or killed, or begin it",
    )
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
    output, resume = arguments.output, arguments.resume
    kind = format_of(output, arguments.format)
    _check_resume(arguments, kind)
    sources = itertools.chain(arguments.pictures, (item.source for item in items))
    check_output(output, arguments.overwrite, sources, resume=resume)
    verb, size, pixels, known = Verb(lambda _: []), 0, PixelConfig(), 0
    if not all(item.error for item in items):
        mesh = None if arguments.mesh is None else read_mesh(arguments.mesh)
        model = load_model(arguments.model, mesh, arguments.precision)
        size, pixels = model.config.vit.image_size, model.config.vit.pixels
        known = resuming.model_print(arguments.model) if output else 0
        try:
            verb = prepare(model)
        except ValueError as error:
            raise CommandError(str(error)) from None
    now = resuming.settings(arguments, rows=kind, model=known, together=verb.together)
    mark = Mark()
    if resume and os.path.exists(output):
        mark = resuming.read(output, now, [item.name for item in items])
    if mark.pictures:
        _say(arguments, f"{mark.pictures:,} of {_count(len(items), 'picture')} are in {output}")
    journal = Journal(output if kind != "table" else None, now, mark, keep=resume)
    try:
        batches = decoded(items[mark.pictures :], verb.together, size, pixels)
        mark = _write(arguments, kind, columns, verb, batches, mark, len(items), journal)
    finally:
        journal.close(complete=mark.pictures == len(items))
    if output and mark.rows:
        done = _count(len(items) - mark.failed, "picture")
        _say(arguments, f"{_count(mark.rows, 'row')} of {done} in {output}")
    if mark.failed and (output or len(items) > 1):
        _say(arguments, f"{mark.failed} of {_count(len(items), 'picture')} could not be {failure}")
    return 1 if mark.failed else 0


def _check_resume(arguments: argparse.Namespace, kind: str) -> None:
    if not arguments.resume:
        return
    if arguments.output is None:
        raise CommandError("--resume goes on with a file of rows: give its --output")
    if arguments.overwrite:
        raise CommandError("--resume goes on with --output, and --overwrite replaces it: give one")
    if kind == "table":
        raise CommandError("--resume needs rows that are written one by one: --format jsonl or csv")


def _write(
    arguments: argparse.Namespace,
    kind: str,
    columns: Sequence[Column],
    verb: Verb,
    batches: Iterable[list[Seen | Item]],
    mark: Mark,
    total: int,
    journal: Journal,
) -> Mark:
    """Writes the rows of all that is left after `mark`, and returns the last mark."""
    output, replace = arguments.output, arguments.overwrite or arguments.resume
    bar = bool(output or not arguments.format)
    begun = (mark.bytes, mark.crc)
    with (
        open_rows(output, kind, replace, columns, *begun) as (write, file),
        progress.shown(arguments.prog, mark.pictures, total, bar) as show,
    ):
        for batch in batches:
            failed = written = 0
            for row in itertools.chain.from_iterable(rows_of(verb, batch)):
                failed += "error" in row
                written += "error" not in row
                write(row)
            mark = Mark(
                pictures=mark.pictures + len(batch),
                names=resuming.names_crc([_item(seen).name for seen in batch], mark.names),
                failed=mark.failed + failed,
                rows=mark.rows + written,
                bytes=file.bytes if file else 0,
                crc=file.crc if file else 0,
            )
            if file:
                journal.add(mark, file)
            show(mark.pictures)
    return mark


def _say(arguments: argparse.Namespace, message: str) -> None:
    print(f"{arguments.prog}: {message}", file=sys.stderr)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def expand(arguments: Iterable[str]) -> Iterator[Item]:
    """The pictures that the arguments mean, each once.

    What leads to none becomes an item with an error.

    Raises:
      CommandError: a list of pictures cannot be read.
    """
    seen: set[str] = set()
    for argument in arguments:
        for item in _standard_input() if argument == "-" else _named(argument):
            if item.name not in seen:
                seen.add(item.name)
                yield item


def _named(argument: str) -> Iterator[Item]:
    from pali.image import SUFFIXES, ImageError, decode_image, display_name

    name = display_name(argument)
    if argument.lower().endswith(picture_lists.SUFFIXES) and os.path.isfile(argument):
        yield from _listed(argument, name)
    elif os.path.isdir(argument):
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


def _listed(path: str, name: str) -> Iterator[Item]:
    from pali.image import display_name

    empty = True
    for found, error in picture_lists.read(path, name):
        empty = False
        yield Item(found, error=error) if error else Item(display_name(found), found)
    if empty:
        yield Item(name, error=f"{name} names no picture")


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


def rows_of(verb: Verb, batch: Sequence[Seen | Item]) -> Iterator[list[Row]]:
    """For each item of a batch its rows, in order."""
    usable = [seen for seen in batch if isinstance(seen, Seen)]
    made = iter(verb.rows(usable) if usable else [])
    for seen in batch:
        if isinstance(seen, Seen):
            yield [{"picture": seen.item.name, **row} for row in next(made)]
        else:
            yield [{"picture": seen.name, "error": seen.error}]


def _item(seen: Seen | Item) -> Item:
    return seen.item if isinstance(seen, Seen) else seen


def decoded(
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
