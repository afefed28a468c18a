# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a model wrote about the things in a picture, as boxes in the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pali.boxes import Box, in_whole, parse_boxes
from pali.generation import Text
from pali.image import Region

MAX_DETECTION_LENGTH = 256
"""Longest answer of `detect` in tokens: a box takes about ten."""


class Detected(NamedTuple):
    """What `detect` found in one picture."""

    boxes: list[Box]
    """In shares of the picture's height and width, even if the ViT sees its middle alone; under the
    labels that the model wrote, which need not be among the classes asked for. They have no scores:
    the model gives none. Of visual tokens without regions: in shares of what the ViT saw."""
    unparsed: list[str]
    """The pieces of the answer that are no box, as written."""
    answer: Text
    """All that the model wrote."""


def detected(texts: Sequence[Text], regions: Sequence[Region]) -> list[Detected]:
    """What each answer says; `regions`: what the ViT saw of each picture, empty where unknown."""
    found = []
    for text, region in zip(texts, regions or [None] * len(texts), strict=True):
        boxes, unparsed = parse_boxes(text)
        found.append(Detected(in_whole(boxes, region) if region else boxes, unparsed, text))
    return found
