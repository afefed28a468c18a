# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali caption`: {"picture", "lang", "caption", "log_prob"} for each picture and language.

With --explain a web page shows, for each word, where the model looked (pali/attention_page.py).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from pali.commands import CommandError, by_language, pictures
from pali.commands.rows import check_output

if TYPE_CHECKING:
    from pali.image import Region
    from pali.predict import Model, VisualTokens

SUMMARY = f"""Captions for pictures, in one or many languages.

{pictures.PICTURES}"""

EXAMPLE = """examples:
  pali caption dog.jpg --langs en,fr,hi,sw,th,zh,ar
  pali caption 'photos/**/*.jpg' --langs xm3600 --output captions.jsonl
  pali caption catalogue.csv --langs sw,th --output captions.csv --resume
  pali caption dog.jpg --langs en,th --explain dog.html
  curl -s https://example.org/dog.jpg | pali caption - --langs Swahili"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Languages and pictures, and the page."""
    by_language.add_arguments(parser)
    parser.add_argument(
        "--explain",
        metavar="FILE.html",
        help="write a web page there that shows which patches the model looked at for each word; "
        "a file that is there already is replaced with --overwrite alone",
    )


def run(arguments: argparse.Namespace) -> int:
    """Captions everything that can be captioned; 0, or 1 when a picture failed."""
    ask = ("caption", lambda model: model.caption, "captioned")
    if arguments.explain is None:
        return by_language.run(arguments, *ask)
    if arguments.resume:
        raise CommandError("--explain makes one page of one start: give it without --resume")
    path, output = arguments.explain, arguments.output
    page = _Page(path, arguments.overwrite)

    def begin(items: Sequence[pictures.Item]) -> by_language.AlsoDone:
        check_output(path, arguments.overwrite, [item.source for item in items], "--explain")
        if output and os.path.realpath(output) == os.path.realpath(path):
            raise CommandError(f"{path} is --output too; give another --explain")
        return page.add

    try:
        status = by_language.run(arguments, *ask, begin)
    finally:
        page.close()
    if page.error:
        raise CommandError(f"{path} cannot be written{page.error}; the captions are complete")
    if page.pictures:
        print(
            f"pali caption: {page.pictures:,} picture{'s' * (page.pictures != 1)} in {path}",
            file=sys.stderr,
        )
    return status


class _Page:
    """The file of --explain: made with the first picture, and whole after each.

    When it cannot be written the captions go on, and `error` says why.
    """

    def __init__(self, path: str, overwrite: bool):
        self.path, self.mode = path, "w" if overwrite else "x"
        self.file: IO[str] | None = None
        self.pictures = 0
        self.error = ""

    def add(
        self,
        model: Model,
        seen: Sequence[pictures.Seen],
        tokens: VisualTokens,
        found: Sequence[dict[str, Any]],
    ) -> None:
        """Explains the captions of some pictures."""
        if self.error:
            return
        from pali.attention_page import HEAD, picture_section
        from pali.predict import VisualTokens

        try:
            if self.file is None:
                self.file = open(self.path, self.mode, encoding="utf-8")  # noqa: SIM115
                self.file.write(HEAD)
            for row, (picture, texts) in enumerate(zip(seen, found, strict=True)):
                alone = VisualTokens(tokens.array[row : row + 1])
                words = [made.words for made in model.explain(alone, list(texts.values()))]
                answers = dict(zip(texts, words, strict=True))
                self.pictures += 1
                name, (pixels, region) = picture.item.name, _shown(picture)
                self.file.write(picture_section(self.pictures, name, pixels, answers, region))
                self.file.flush()
        except OSError as error:  # No permission, a full disk, a share that went away.
            self.error = f": {error.strerror or error}"

    def close(self) -> None:
        """Ends the page."""
        if self.file is None:
            return
        from pali.web_page import TAIL

        try:
            with self.file:
                self.file.write(TAIL)
        except OSError as error:
            self.error = self.error or f": {error.strerror or error}"


def _shown(picture: pictures.Seen) -> tuple[Any, Region]:
    """The picture itself, u8[h w 3], or what the model saw of it where it is gone meanwhile.

    With it which part of that the model saw.
    """
    from pali.image import ImageError, Region, decode_image

    try:
        return decode_image(picture.item.source, picture.item.name), picture.region
    except ImageError:
        height, width = picture.pixels.shape[:2]
        return picture.pixels, Region(0, 0, height, width, height, width)
