# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Detection: which boxes of an answer are where an object of that label is.

Boxes are texts (pali/boxes.py). Variant `iou-0.5-greedy`: an answer's boxes, in the order written,
each take the free object of the same label with which they overlap most, if the intersection is at
least half of the union; an object is taken once. Over a split:

  recall     objects that were taken, of all objects
  precision  boxes that took one, of all boxes; a piece of an answer that is no box counts as one
  unparsed   answers with a piece that is no box

Texts carry no confidence, so there is no average precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from pali.boxes import Box, parse_boxes
from pali.metrics.exact_match import as_references, check_lengths, normalise

VARIANT = "iou-0.5-greedy"
THRESHOLD = 0.5


def detection(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """Recall, precision and unparsed answers of a split, in 0..100; a metric function for SeqIO.

    Args:
      targets: per example the text of all boxes.
      predictions: per example one text.

    Raises:
      ValueError: the two differ in length, or are empty; a target cannot be read.
    """
    check_lengths(targets, predictions)
    rows = [
        statistics(prediction, as_references(target)[0])
        for target, prediction in zip(targets, predictions, strict=True)
    ]
    sums = np.array(rows, np.float64).sum(axis=0)
    return {name: float(finish(sums)) for name, finish in SCORES.items()}


def statistics(prediction: str, reference: str) -> tuple[int, int, int, int, int]:
    """Of one example: objects taken, objects, boxes and other pieces, 1 if there is one, 1.

    Raises:
      ValueError: the reference cannot be read.
    """
    objects, unparsed = parse_boxes(reference)
    if unparsed:
        raise ValueError(f"the reference {reference!r} has {unparsed}, which is no box")
    found, unparsed = parse_boxes(prediction)
    taken = match(found, objects)
    boxes = len(found) + len(unparsed)
    return len(taken), len(objects), boxes, int(bool(unparsed)), 1


def match(
    found: Sequence[Box], objects: Sequence[Box], threshold: float = THRESHOLD
) -> dict[int, int]:
    """{index of an object: index of the box that takes it}, by the rule of the variant."""
    taken: dict[int, int] = {}
    for index, box in enumerate(found):
        free = [
            (iou(box, thing), -place)  # Of equal overlaps the first object.
            for place, thing in enumerate(objects)
            if place not in taken and normalise(thing.label) == normalise(box.label)
        ]
        overlap, place = max(free, default=(0.0, 0))
        if free and overlap >= threshold:
            taken[-place] = index
    return taken


def iou(one: Box, other: Box) -> float:
    """The area that two boxes share, divided by the area that they cover together."""
    height = min(one.ymax, other.ymax) - max(one.ymin, other.ymin)
    width = min(one.xmax, other.xmax) - max(one.xmin, other.xmin)
    shared = max(height, 0.0) * max(width, 0.0)
    areas = [(box.ymax - box.ymin) * (box.xmax - box.xmin) for box in (one, other)]
    covered = sum(areas) - shared
    return shared / covered if covered > 0 else 0.0


def _share(part: int, whole: int) -> Callable[[np.ndarray], np.ndarray]:
    def finish(sums: Float[np.ndarray, "*batch 5"]) -> Float[np.ndarray, "*batch"]:
        return np.asarray(100.0 * sums[..., part] / np.maximum(sums[..., whole], 1))

    return finish


SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "recall": _share(0, 1),
    "precision": _share(0, 2),
    "unparsed": _share(3, 4),
}
"""Summed `statistics` [..., 5] -> score [...]."""
