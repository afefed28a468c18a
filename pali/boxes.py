# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes as text: what the detection task writes, and how its answers are read.

    10 20 90 100 cat 20 30 100 100 dog

Each box is ymin xmin ymax xmax, in thousandths of what the ViT sees of the picture, then its label;
plain text, no new vocabulary (PaLI, arXiv 2209.06794; the order and the range as recalled there).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pali.image import Region

BINS = 1000
"""Coordinates are the integers 0 … BINS - 1; each stands for the middle of its bin."""

_NUMBERS = r"\d{1,3} \d{1,3} \d{1,3} \d{1,3}"
_BOX = re.compile(rf"(?<!\S)({_NUMBERS}) (.+?)(?= {_NUMBERS}(?: |$)|$)")


class Box(NamedTuple):
    """An object's place and name; shares of the picture's height and width, 0 at top and left."""

    ymin: float
    xmin: float
    ymax: float
    xmax: float
    label: str


class ParsedBoxes(NamedTuple):
    """What `parse_boxes` found in an answer."""

    boxes: list[Box]
    unparsed: list[str]
    """The pieces of the text that are no box, as written."""


def format_boxes(boxes: Iterable[Box]) -> str:
    """Boxes as the text of an answer, in the order given; a coordinate becomes its bin.

    Raises:
      ValueError: a coordinate is outside [0, 1], a box has no area, or a label is empty or has a
        number as a word.
    """
    return " ".join(_format(box) for box in boxes)


def parse_boxes(text: str) -> ParsedBoxes:
    """The boxes of an answer; what cannot be read is kept apart and never guessed at.

    A box needs four numbers, ymin <= ymax, xmin <= xmax, and a label without a number as a word:
    of five numbers in a row nobody knows which four are meant. Each coordinate comes back as
    the middle of its bin, so within half a bin of what `format_boxes` was given.
    """
    text = " ".join(text.split())
    boxes, unparsed, end = [], [], 0
    for match in _BOX.finditer(text):
        if before := text[end : match.start()].strip():
            unparsed.append(before)
        end = match.end()
        ymin, xmin, ymax, xmax = (int(number) for number in match[1].split())
        if ymin <= ymax and xmin <= xmax and not _has_number(match[2]):
            middles = ((number + 0.5) / BINS for number in (ymin, xmin, ymax, xmax))
            boxes.append(Box(*middles, label=match[2]))
        else:
            unparsed.append(match[0])
    if after := text[end:].strip():
        unparsed.append(after)
    return ParsedBoxes(boxes, unparsed)


def in_whole(boxes: Iterable[Box], region: Region) -> list[Box]:
    """Boxes in shares of what a ViT saw of a picture, as boxes in shares of the picture."""
    top, left, bottom, right = region.shares
    return [
        Box(
            top + box.ymin * (bottom - top),
            left + box.xmin * (right - left),
            top + box.ymax * (bottom - top),
            left + box.xmax * (right - left),
            box.label,
        )
        for box in boxes
    ]


def _format(box: Box) -> str:
    if not (0 <= box.ymin < box.ymax <= 1 and 0 <= box.xmin < box.xmax <= 1):
        raise ValueError(f"{box} is no box inside the picture: 0 <= min < max <= 1 is needed")
    if not box.label.strip():
        raise ValueError(f"{box} has no label")
    if _has_number(box.label):
        raise ValueError(f"{box} has a number in its label, which could not be told from a place")
    bins = (min(int(share * BINS), BINS - 1) for share in box[:4])
    return " ".join((*map(str, bins), box.label))


def _has_number(label: str) -> bool:
    return any(word.isdecimal() for word in label.split())
