# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""COCO's JSON of boxes, which others use as well.

    {"images": [{"id": 139, "file_name": "000000000139.jpg", "width": 640, "height": 426, …}, …],
     "annotations": [{"image_id": 139, "category_id": 62, "bbox": [x, y, width, height],
                      "iscrowd": 0, …}, …],
     "categories": [{"id": 62, "name": "chair", …}, …]}

Boxes are in pixels from the left and the top, in fractions too; the numbers of categories have
gaps. One record (pali/data/raw/boxed.py) for each picture, with or without boxes. A crowd is no box
of one object, and is left out; its name stays in "present". An annotation without a box, or of an
unknown picture or category, is left out. "absent" is drawn from the categories of the file, for
everything that belongs to them is annotated.

A file is read once by every process, element by element, and kept as arrays: 30 bytes for each box.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pali.data.pipeline import Example
from pali.data.raw.boxed import (
    MAX_SIDE,
    boxed_record,
    clean_label,
    draw_absent,
    is_inside,
    shares_of,
)
from pali.data.raw.dataset import Part
from pali.data.raw.json_stream import elements
from pali.data.skipping import RecordError

PICTURES_PER_PART = 4096


@dataclass(frozen=True)
class CocoFormat:
    """Datasets in COCO's format: where their files are."""

    name: str
    files: tuple[tuple[str, str], ...]
    """(split, file of annotations below the raw folder), those that may be there."""
    picture: Callable[[Path, str, str], Path]
    """(raw folder, split, file_name) -> path of a picture."""
    advice: str
    """What to do where no file is found."""

    def parts(self, folder: Path) -> list[Part]:
        """Ranges of the pictures of each file of annotations that is there."""
        there = [(split, file) for split, file in self.files if (folder / file).is_file()]
        if not there:
            names = " or ".join(file for _, file in self.files)
            raise FileNotFoundError(f"{folder} has no {names}; {self.advice}")
        return [
            Part(split, file, start, min(start + PICTURES_PER_PART, count))
            for split, file in there
            for count in [len(_read(folder / file).rows)]
            for start in range(0, count, PICTURES_PER_PART)
        ]

    def read(self, folder: Path, part: Part) -> Iterator[Example | RecordError]:
        """A record for every picture of a part."""
        annotations = _read(folder / part.file)
        for number in range(part.start, part.stop or len(annotations.rows)):
            row = annotations.rows[number]
            if row is None:
                yield RecordError("row", f"{part.file}, images[{number}] lacks id, name or size")
                continue
            categories, boxes, crowd = annotations.of(number)
            labels = [annotations.labels[category] for category in categories]
            single = np.flatnonzero(~crowd)
            path = self.picture(folder, part.split, row.file_name)
            if not is_inside(path, folder):
                message = f"{part.file} names the picture {path}, which is outside {folder}"
                yield RecordError("picture", message)
                continue
            yield boxed_record(
                str(row.id),
                path,
                shares_of(boxes[single], row.height, row.width),
                [labels[i] for i in single],
                present=labels,
                absent=draw_absent(f"{self.name}/{row.id}", annotations.classes, labels),
                drawn_on=(row.height, row.width),
            )


@dataclass(frozen=True)
class PictureRow:
    """What a file of annotations says of a picture."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class Annotations:
    """A file of annotations; boxes in the order of their pictures."""

    rows: list[PictureRow | None]
    """None: the row lacks something."""
    labels: dict[int, str]
    """Category -> label."""
    starts: Int[np.ndarray, " pictures_and_1"]
    categories: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    """x, y, width, height."""
    crowd: Bool[np.ndarray, " n"]
    classes: list[str] = field(init=False)
    """The labels, sorted."""

    def __post_init__(self):
        object.__setattr__(self, "classes", sorted(set(self.labels.values())))

    def of(self, number: int) -> tuple[list[int], Float[np.ndarray, "k 4"], Bool[np.ndarray, " k"]]:
        """Categories, boxes, crowds of a picture."""
        span = slice(int(self.starts[number]), int(self.starts[number + 1]))
        return self.categories[span].tolist(), self.boxes[span].astype(float), self.crowd[span]


def read_annotations(path: Path) -> Annotations:
    """Everything in a file of annotations that is about boxes.

    Raises:
      FileNotFoundError: no such file.
      ValueError: it is damaged, or has no picture, no category, or annotations that fit none.
    """
    rows: list[PictureRow | None] = []
    labels: dict[int, str] = {}
    pictures, categories, crowd, boxes = array("q"), array("i"), array("b"), array("f")
    annotations = 0
    for key, element in elements(path):
        if key == "images":
            rows.append(_picture_row(element))
        elif key == "categories":
            labels |= _category(element)
        elif key == "annotations":
            annotations += 1
            if found := _box(element):
                pictures.append(found[0])
                categories.append(found[1])
                crowd.append(found[2])
                boxes.extend(found[3])
    if not rows or not labels:
        raise ValueError(f'{path} has no "images", or no "categories"; expected COCO\'s format')
    numbers = {row.id: number for number, row in enumerate(rows) if row}
    where = np.array([numbers.get(picture, -1) for picture in pictures], np.int64)
    category = np.array(categories, np.int32)
    good = (where >= 0) & np.isin(category, list(labels))
    if annotations and not good.any():
        raise ValueError(f"{path} has {annotations:,} annotations, and none fits its pictures")
    order = np.flatnonzero(good)[np.argsort(where[good], kind="stable")]
    return Annotations(
        rows=rows,
        labels=labels,
        starts=np.searchsorted(where[order], np.arange(len(rows) + 1)),
        categories=category[order],
        boxes=np.array(boxes, np.float32).reshape(-1, 4)[order],
        crowd=np.array(crowd, np.bool_)[order],
    )


def _read(path: Path) -> Annotations:
    return _cached(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)  # A process reads one file of annotations after the other.
def _cached(path: Path, changed: int) -> Annotations:
    del changed
    return read_annotations(path)


def _picture_row(element: Any) -> PictureRow | None:
    try:
        row = PictureRow(
            int(element["id"]), element["file_name"], int(element["height"]), int(element["width"])
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    named = isinstance(row.file_name, str) and row.file_name and abs(row.id) < 2**63
    return row if named and 0 < row.height < MAX_SIDE and 0 < row.width < MAX_SIDE else None


def _category(element: Any) -> dict[int, str]:
    try:
        number, label = int(element["id"]), clean_label(element["name"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return {}
    return {number: label} if abs(number) < 2**31 else {}


def _box(element: Any) -> tuple[int, int, bool, list[float]] | None:
    """Picture, category, crowd, box of an annotation; None if it lacks one."""
    try:
        box = [float(number) for number in element["bbox"]]
        picture, category = int(element["image_id"]), int(element["category_id"])
        if len(box) != 4 or abs(picture) >= 2**63 or abs(category) >= 2**31:
            return None
        return picture, category, bool(element.get("iscrowd")), box
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
