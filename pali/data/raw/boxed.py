# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Records of pictures with boxes: what COCO, Objects365, Open Images and Visual Genome become.

  id       text
  image    bytes of the picture file
  shape    i32[2], its height and width, upright
  boxes    f32[n 4], (ymin xmin ymax xmax) in shares of the picture, from top to bottom, at the same
           height from left to right
  labels   the name of each box's object, in lower case
  present  every name that is known to be there, each once: those of the boxes, and of what has
           none, such as a crowd
  absent   names that are known, or were drawn, not to be there

A box that is partly outside the picture is clipped; one that is wholly outside, or has no area, is
left out, and so is the second of two alike. A picture without boxes stays a record.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pali.data.drawing import seeded
from pali.data.pipeline import Example
from pali.data.skipping import RecordError
from pali.image import ImageError, check_is_file, display_name, upright_size

DRAWN_ABSENT = 16
"""Names that are drawn for "absent", where a dataset does not say what is missing."""

MAX_SIDE = 2**31
"""Pixels; what an annotation says to be as wide or high is no picture."""

RATIO_TOLERANCE = 0.02
"""By so much the ratio of sides may differ from that which the annotation says: rounding, where all
pictures were made smaller."""


def boxed_record(
    identifier: str,
    path: Path,
    boxes: Float[np.ndarray, "n 4"],
    labels: list[str],
    *,
    present: Iterable[str] = (),
    absent: Iterable[str] = (),
    drawn_on: tuple[int, int] | None = None,
) -> Example | RecordError:
    """The record of a picture, or why there is none.

    Args:
      identifier: the record's id.
      path: of the picture.
      boxes: (ymin xmin ymax xmax) in shares of the picture.
      labels: one for each box.
      present: names of what is there without a box.
      absent: names of what is not there.
      drawn_on: height and width of the picture when the boxes were drawn, where that is known. A
        picture that is turned since, or cut, has no place for them.
    """
    try:
        check_is_file(path)
        content = path.read_bytes()
        shape = upright_size(content, str(path))
    except OSError as error:
        return RecordError("picture", f"{path} cannot be read: {error.strerror}")
    except ImageError as error:
        return RecordError("picture", str(error))
    except ValueError as error:  # A name that no file can have: with NUL, or half a character.
        return RecordError("picture", f"{display_name(path)[:200]!r} cannot be read: {error}")
    if drawn_on and not _same_ratio(shape, drawn_on):
        return RecordError(
            "boxes",
            f"{path} is {shape[0]} x {shape[1]} pixels, and its boxes were drawn on "
            f"{drawn_on[0]} x {drawn_on[1]}",
        )
    kept, names = _clean_boxes(boxes, labels)
    # Also what has no usable box is there, and must not be asked for as absent.
    there = list(dict.fromkeys([*names, *sorted({*labels, *present})]))
    return {
        "id": identifier,
        "image": content,
        "shape": np.array(shape, np.int32),
        "boxes": kept,
        "labels": names,
        "present": there,
        "absent": [name for name in dict.fromkeys(absent) if name not in there],
    }


def clean_label(name: str) -> str:
    """A published name as records have it: lower case, single spaces.

    Raises:
      ValueError: it has half a character, which no record can hold.
    """
    name.encode()
    return " ".join(name.lower().split())


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path that annotations name is below the raw folder; links in it are yours."""
    below = os.path.relpath(os.path.normpath(path), os.path.normpath(folder))
    return below.split(os.sep)[0] != os.pardir


def draw_absent(name: str, classes: list[str], present: Iterable[str]) -> list[str]:
    """Some classes that a picture does not show, a pure function of its `name`.

    Right where everything of these classes is annotated wherever it is seen.
    """
    there = set(present)
    order = seeded(f"{name}/absent").permutation(len(classes)).tolist()
    found = [classes[i] for i in order if classes[i] not in there]
    return found[:DRAWN_ABSENT]


def shares_of(xywh: Float[np.ndarray, "n 4"], height: int, width: int) -> Float[np.ndarray, "n 4"]:
    """(x y width height) in pixels, from the left and top -> (ymin xmin ymax xmax) in shares."""
    x, y, wide, high = xywh.T
    with np.errstate(invalid="ignore"):  # Infinities; such boxes are left out.
        return np.stack([y, x, y + high, x + wide], axis=1) / [height, width, height, width]


def _same_ratio(shape: tuple[int, int], other: tuple[int, int]) -> bool:
    ratio = shape[0] * other[1] / (shape[1] * max(other[0], 1))
    return abs(ratio - 1) <= RATIO_TOLERANCE


def _clean_boxes(
    boxes: Float[np.ndarray, "n 4"], labels: list[str]
) -> tuple[Float[np.ndarray, "m 4"], list[str]]:
    finite = np.asarray(np.isfinite(boxes).all(axis=1))
    clipped = np.clip(np.where(finite[:, None], boxes, 0), 0, 1).astype(np.float32)
    rows = zip(clipped.tolist(), labels, finite.tolist(), strict=True)
    found = sorted(
        {
            (ymin, xmin, ymax, xmax, label)
            for (ymin, xmin, ymax, xmax), label, usable in rows
            if usable and ymin < ymax and xmin < xmax
        }
    )
    kept = np.array([box[:4] for box in found], np.float32).reshape(-1, 4)
    return kept, [box[4] for box in found]
