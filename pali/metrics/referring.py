# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Referring expressions (RefCOCO, RefCOCO+, RefCOCOg): is the thing meant the one that was found.

    IoU      = intersection / union, of two boxes or of two masks
    accuracy = share of expressions whose box has an IoU of at least 0.5 (comprehension)
    mIoU     = mean over expressions of the IoU (segmentation, as PaliGemma reports it)

in 0..1. mIoU is not the pooled IoU of older papers, which sums intersections and unions first.
Every *expression* counts once, though several may mean one object. An expression without a
prediction (None: no box could be read) has an IoU of 0, and so has everything with an empty union.
A box that is not finite is an error: a NaN says that something went wrong, not that nothing was
found.

Boxes are (ymin, xmin, ymax, xmax) in any unit that both sides share (pali/boxes.py).
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from pali.boxes import Box
from pali.metrics.detection import iou
from pali.metrics.exact_match import check_lengths

THRESHOLD = 0.5

Corners = Sequence[float | int]
"""ymin, xmin, ymax, xmax."""


def referring(
    targets: Sequence[Corners], predictions: Sequence[Corners | None]
) -> dict[str, float]:
    """Accuracy and mIoU of a split.

    Args:
      targets: per expression the box of the object.
      predictions: per expression a box, or None where none was found.

    Returns:
      `{"accuracy": x, "miou": y}` in 0..1.

    Raises:
      ValueError: the two differ in length or are empty, or a box is none.
    """
    overlaps = box_ious(targets, predictions)
    return {
        "accuracy": float((overlaps >= THRESHOLD).mean()),
        "miou": float(overlaps.mean()),
    }


def box_ious(
    targets: Sequence[Corners], predictions: Sequence[Corners | None]
) -> Float[np.ndarray, " n"]:
    """The IoU of each expression; the arguments are those of `referring`."""
    check_lengths(targets, predictions)
    overlaps = np.zeros(len(targets))
    for i, (target, found) in enumerate(zip(targets, predictions, strict=True)):
        true = _box(target, f"target {i}")
        if found is not None:
            overlaps[i] = iou(true, _box(found, f"prediction {i}"))
    return overlaps


def mask_iou(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """The pixels that two masks share, divided by those that either has.

    Raises:
      ValueError: the masks are not of the same size.
    """
    if one.shape != other.shape:
        raise ValueError(f"masks of {one.shape} and {other.shape} pixels cannot be compared")
    covered = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / covered if covered else 0.0


def _box(box: Corners, what: str) -> Box:
    if len(box) != 4 or not all(math.isfinite(number) for number in box):
        raise ValueError(f"{what} is {list(box)}: a box is four finite numbers, no box is None")
    ymin, xmin, ymax, xmax = map(float, box)
    if ymax < ymin or xmax < xmin:
        raise ValueError(
            f"{what} is {list(box)}: (ymin, xmin, ymax, xmax) wants the smaller corner first"
        )
    return Box(ymin, xmin, ymax, xmax, "")
