# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali detect`: boxes around the things of some classes.

A row is {"picture", "label", "xmin", "ymin", "xmax", "ymax"}, in pixels of the upright picture from
its top left corner; "label" is what the model wrote. A picture in which nothing was found is a row
{"picture", "label": null}. With --raw each row has also "raw", the whole answer.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pali import asking
from pali.boxes import Box, in_whole
from pali.commands import CommandError, decoding_flags, pictures, read_names
from pali.commands.rows import Column, Row, printable

if TYPE_CHECKING:
    from pali.predict import Model

SUMMARY = f"""Boxes around the things of some classes, in pixels of the upright picture.

Any class can be asked for; of one that the model never saw it may find nothing, or something else.
Boxes have no score. What the model writes that is no box is counted, and shown by --raw.

{pictures.PICTURES}"""

EXAMPLE = """examples:
  pali detect street.jpg --classes car,dog,'traffic light' --draw found/
  pali detect photos/ --classes @classes.txt --output boxes.csv"""

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali detect`."""
    parser.add_argument(
        "--classes",
        required=True,
        metavar="A,B|@FILE",
        help="what to look for, with commas; or a file with one name on each line",
    )
    parser.add_argument(
        "--draw",
        metavar="FOLDER",
        help="write each picture there with its boxes, at its own size, as PNG; files that are "
        "there already are replaced with --overwrite alone",
    )
    parser.add_argument(
        "--raw", action="store_true", help="show what the model wrote, boxes or not"
    )
    pictures.add_arguments(parser)
    decoding_flags.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Looks for the classes in every picture; 0, or 1 when one failed."""
    try:
        arguments.classes = classes = asking.names(read_names(arguments.classes), "classes")
    except ValueError as error:
        raise CommandError(str(error)) from None
    decoding = decoding_flags.read(arguments)
    items = list(pictures.expand(arguments.pictures))
    redraw = arguments.overwrite or arguments.resume
    drawings = _drawings(arguments.draw, items, redraw) if arguments.draw else {}
    unparsed = []

    def prepare(model: Model) -> pictures.Verb:
        from pali.detecting import MAX_DETECTION_LENGTH

        chosen = decoding_flags.fit(arguments, decoding, model, MAX_DETECTION_LENGTH)

        def rows(seen: Sequence[pictures.Seen]) -> Iterator[list[Row]]:
            pixels = [picture.pixels for picture in seen]
            answers = model.detect(pixels, classes, decoding=chosen)
            for picture, found in zip(seen, answers, strict=True):
                boxes = in_whole(found.boxes, picture.region)
                if drawings:
                    _draw(picture, boxes, drawings[picture.item.name])
                unparsed.append(len(found.unparsed))
                more = {"raw": str(found.answer)} if arguments.raw else {}
                more |= decoding_flags.values(arguments, "raw", found.answer)
                yield [{**_row(box, picture), **more} for box in boxes] or [{"label": None, **more}]

        return pictures.Verb(rows)

    columns: Any = [Column("label", "label", _label)]
    columns += [Column(corner, corner, lambda pixels: f"{pixels:.0f}") for corner in CORNERS]
    columns += [Column("raw", "what the model wrote")] if arguments.raw else []
    columns += decoding_flags.columns(arguments)
    status = pictures.run(arguments, items, columns, prepare, failure="looked at")
    if sum(unparsed):
        advice = "" if arguments.raw else "; --raw shows what the model wrote"
        print(
            f"pali detect: {sum(unparsed)} pieces of {sum(map(bool, unparsed))} answers are no "
            f"boxes and were left out{advice}",
            file=sys.stderr,
        )
    return status


def _row(box: Box, picture: pictures.Seen) -> Row:
    ends = {"xmin": box.xmin, "ymin": box.ymin, "xmax": box.xmax, "ymax": box.ymax}
    sides = {"x": picture.region.width, "y": picture.region.height}
    pixels = {corner: round(share * sides[corner[0]], 1) for corner, share in ends.items()}
    return {"label": box.label, **pixels}


def _label(label: str | None) -> str:
    return "nothing found" if label is None else printable(label)


def _drawings(folder: str, items: Sequence[pictures.Item], overwrite: bool) -> dict[str, str]:
    """For each picture the file to draw it into: its own name, numbered where two are alike.

    Raises:
      CommandError: a file is there already or is itself one of the pictures, or the folder cannot
        be made.
    """
    files: dict[str, str] = {}
    taken: set[str] = set()
    for item in items:
        if item.error or item.name in files:
            continue
        stem = os.path.splitext(os.path.basename(item.name))[0]
        endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
        name = next(name for end in endings if (name := f"{stem}{end}.png") not in taken)
        taken.add(name)
        files[item.name] = os.path.join(folder, name)
    originals = {os.path.realpath(i.source) for i in items if isinstance(i.source, str)}
    for path in files.values():
        if os.path.realpath(path) in originals:
            raise CommandError(f"{path} is itself one of the pictures; give another --draw")
        if os.path.exists(path) and not overwrite:
            raise CommandError(
                f"{path} is there already; give another --draw, or --overwrite to replace it"
            )
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{folder} cannot be made a folder: {error.strerror}") from None
    return files


def _draw(picture: pictures.Seen, boxes: Sequence[Box], path: str) -> None:
    from PIL import Image

    from pali.drawing import draw_boxes
    from pali.image import ImageError, decode_image

    try:
        pixels = decode_image(picture.item.source, picture.item.name)
        Image.fromarray(draw_boxes(pixels, boxes)).save(path)
    except ImageError as error:  # It changed since it was looked at, or a pipe is read only once.
        raise CommandError(f"cannot draw on {error}") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}") from None
