# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali caption`: pictures in, one row for each picture and language out.

A row is {"picture", "lang", "caption", "log_prob"}; a picture that cannot be used is one row
{"picture", "error"}, the others are captioned all the same, and the exit status is 1. Rows come in
the order of the pictures and are written as soon as they are made.
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
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, Once, load_model
from pali.commands.rows import FORMATS, Row, check_output, open_rows
from pali.languages import GROUPS, resolve_many

if TYPE_CHECKING:
    from pali.predict import Model

SUMMARY = """Captions for pictures, in one or many languages.

PICTURES are files; folders (the pictures directly inside, by name); quoted globs, where ** goes
through whole trees; or - for standard input, which is either one picture or a list of such names,
one on each line."""

EXAMPLE = """examples:
  pali caption dog.jpg --langs en,fr,hi,sw,th,zh,ar
  pali caption 'photos/**/*.jpg' --langs xm3600 --output captions.jsonl
  curl -s https://example.org/dog.jpg | pali caption - --langs Swahili"""

_READ_AHEAD = 2  # Batches of pictures that are decoded while the model works on another.


@dataclass(frozen=True)
class Item:
    """A picture to caption, or why there is none."""

    name: str
    source: str | bytes = b""
    error: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali caption`."""
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURES", help="files, folders, globs, or -"
    )
    parser.add_argument(
        "--langs",
        action=Once,
        default="en",
        help="languages by code or name, with commas, or lists of them: all, "
        f"{', '.join(GROUPS)} (default: %(default)s)",
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


def run(arguments: argparse.Namespace) -> int:
    """Captions everything that can be captioned; 0, or 1 when a picture failed."""
    _languages(arguments.langs)  # A misspelt language should be known before a model is loaded.
    items = list(expand(arguments.pictures))
    output = arguments.output
    check_output(output, arguments.overwrite, [item.source for item in items])
    model, codes = None, []
    if not all(item.error for item in items):
        model = load_model(arguments.model)
        codes = _languages(arguments.langs, model.languages or None)
    failed = written = 0
    with open_rows(output, arguments.format, arguments.overwrite) as write:
        rows = caption_rows(model, codes, items)
        for row in rows if arguments.format and not output else _progress(rows, len(items)):
            failed += "error" in row
            written += "caption" in row
            write(row)
    if output and written:
        _say(f"{_count(written, 'caption')} of {_count(len(items) - failed, 'picture')}: {output}")
    if failed and (output or len(items) > 1):
        _say(f"{failed} of {_count(len(items), 'picture')} could not be captioned")
    return 1 if failed else 0


def _say(message: str) -> None:
    print(f"pali caption: {message}", file=sys.stderr)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _languages(spec: str, known: Iterable[str] | None = None) -> list[str]:
    try:
        return resolve_many(spec, known)
    except ValueError as error:
        raise CommandError(str(error)) from None


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


def caption_rows(model: Model | None, codes: list[str], items: list[Item]) -> Iterator[Row]:
    """The rows of every item, in order; there is no model where all items are errors."""
    size = model.config.vit.image_size if model else 0
    # Enough pictures to fill a batch with their languages, few enough to see results come.
    together = min(64, max(8, 64 // max(1, len(codes))))
    for batch in _decoded(items, size, together):
        pixels = [image for _, image in batch if not isinstance(image, str)]
        captions = iter(model.caption(pixels, codes) if model and pixels else [])
        for item, image in batch:
            if isinstance(image, str):
                yield {"picture": item.name, "error": image}
                continue
            for code, text in next(captions).items():
                log_prob = round(text.log_prob, 4)
                yield {
                    "picture": item.name,
                    "lang": code,
                    "caption": str(text),
                    "log_prob": log_prob,
                }


def _decoded(items: list[Item], size: int, together: int) -> Iterator[list[tuple[Item, Any]]]:
    """Batches of (item, u8[size size 3] or an error), decoded in threads a little ahead."""
    from pali.image import ImageError, load_image

    def decode(item: Item) -> Any:
        if item.error:
            return item.error
        try:
            return load_image(item.source, size, item.name)
        except ImageError as error:
            return str(error)

    batches = (items[start : start + together] for start in range(0, len(items), together))
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        waiting: deque[tuple[list[Item], list[Any]]] = deque()
        try:
            for batch in itertools.chain(batches, [None] * _READ_AHEAD):
                if batch:
                    waiting.append((batch, [threads.submit(decode, item) for item in batch]))
                if waiting and (batch is None or len(waiting) > _READ_AHEAD):
                    ready, images = waiting.popleft()
                    yield [
                        (item, image.result()) for item, image in zip(ready, images, strict=True)
                    ]
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
