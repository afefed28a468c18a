# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Visual Genome: photos with boxes that people named in their own words.

    image_data.json   [{"image_id": 1, "url": ".../VG_100K_2/1.jpg", "width": 800, "height": 600,
                        "coco_id": null, …}, …]
    objects.json      [{"image_id": 1, "objects": [{"x": 421, "y": 91, "w": 79, "h": 339,
                        "names": ["clock"], …}, …], …}, …]

One record (pali/data/raw/boxed.py) for each picture, with or without boxes; there is one split. An
object's label is the first of its names; the others are "present" too. Objects without a name or a
box are left out. Not everything that is seen was named, and one thing has many names: "absent" is
drawn from the most frequent names, but for those that share a word with what is there, and may now
and then be wrong. About half of the photos are COCO's, of its training and its validation.
"""

from __future__ import annotations

import functools
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32

from pali.data.pipeline import Example
from pali.data.raw.boxed import (
    MAX_SIDE,
    boxed_record,
    clean_label,
    draw_absent,
    is_inside,
    shares_of,
)
from pali.data.raw.dataset import Dataset, Part
from pali.data.raw.json_stream import elements
from pali.data.skipping import RecordError

PICTURES_PER_PART = 4096

FREQUENT = 1000
"""Names from which "absent" is drawn."""

_PICTURES, _OBJECTS = "image_data.json", "objects.json"


@dataclass(frozen=True)
class PictureRow:
    """What image_data.json says of a picture."""

    id: int
    file: str
    """Below the raw folder."""
    height: int
    width: int


@dataclass(frozen=True)
class Index:
    """Both files; objects in the order of their pictures."""

    rows: list[PictureRow | None]
    """None: the row lacks something."""
    names: list[str]
    classes: list[str]
    """The most frequent names."""
    starts: Int[np.ndarray, " pictures_and_1"]
    labels: Int32[np.ndarray, " n"]
    boxes: Float32[np.ndarray, "n 4"]
    """x, y, width, height; NaN for a second name of the object before."""


def parts(folder: Path) -> list[Part]:
    """Ranges of the pictures."""
    for file in (_PICTURES, _OBJECTS):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} has no {file}; unpack {file}.zip there")
    count = len(_read(folder).rows)
    return [
        Part("train", _OBJECTS, start, min(start + PICTURES_PER_PART, count))
        for start in range(0, count, PICTURES_PER_PART)
    ]


def read(folder: Path, part: Part) -> Iterator[Example | RecordError]:
    """A record for every picture of a part."""
    index = _read(folder)
    for number in range(part.start, part.stop or len(index.rows)):
        row = index.rows[number]
        if row is None:
            yield RecordError("row", f"{_PICTURES}, element {number} lacks id, url or size")
            continue
        if not is_inside(folder / row.file, folder):
            message = f"{_PICTURES} names the picture {row.file}, which is outside {folder}"
            yield RecordError("picture", message)
            continue
        span = slice(int(index.starts[number]), int(index.starts[number + 1]))
        labels = [index.names[label] for label in index.labels[span].tolist()]
        there = frozenset[str]().union(*map(_words, labels))
        classes = [name for name in index.classes if _words(name).isdisjoint(there)]
        yield boxed_record(
            str(row.id),
            folder / row.file,
            shares_of(index.boxes[span].astype(np.float64), row.height, row.width),
            labels,
            absent=draw_absent(f"visual_genome/{row.id}", classes, labels),
            drawn_on=(row.height, row.width),
        )


def read_index(folder: Path) -> Index:
    """Both files.

    Raises:
      FileNotFoundError: one is not there.
      ValueError: one is damaged, or no object is on a picture.
    """
    rows = [_picture_row(element) for _, element in elements(folder / _PICTURES)]
    numbers = {row.id: number for number, row in enumerate(rows) if row}
    vocabulary: dict[str, int] = {}
    counts: Counter[str] = Counter()
    places, labels, boxes = array("q"), array("i"), array("f")
    for _, element in elements(folder / _OBJECTS):
        number, objects = _objects_of(element, numbers)
        for thing in objects:
            names, box = _thing(thing)
            for i, name in enumerate(names):
                places.append(number)
                labels.append(vocabulary.setdefault(name, len(vocabulary)))
                boxes.extend([float("nan")] * 4 if i else box)
                counts[name] += 1
    if not places:
        raise ValueError(f"{folder / _OBJECTS} has no object on a picture of {_PICTURES}")
    where = np.array(places, np.int64)
    order = np.argsort(where, kind="stable")
    by_count = sorted(counts, key=lambda name: (-counts[name], name))
    return Index(
        rows=rows,
        names=list(vocabulary),
        classes=by_count[:FREQUENT],
        starts=np.searchsorted(where[order], np.arange(len(rows) + 1)),
        labels=np.array(labels, np.int32)[order],
        boxes=np.array(boxes, np.float32).reshape(-1, 4)[order],
    )


def _read(folder: Path) -> Index:
    changed = [(folder / file).stat().st_mtime_ns for file in (_PICTURES, _OBJECTS)]
    return _cached(folder, *changed)


@functools.lru_cache(maxsize=1)
def _cached(folder: Path, *changed: int) -> Index:
    del changed
    return read_index(folder)


def _picture_row(element: Any) -> PictureRow | None:
    try:
        file = "/".join(PurePosixPath(element["url"]).parts[-2:])
        numbers = (int(element[key]) for key in ("image_id", "height", "width"))
        identifier, height, width = numbers
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    good = 0 < height < MAX_SIDE and 0 < width < MAX_SIDE
    return PictureRow(identifier, file, height, width) if good else None


def _objects_of(element: Any, numbers: dict[int, int]) -> tuple[int, list[Any]]:
    """Number of the picture, and its objects; none if the picture is unknown."""
    try:
        return numbers[element["image_id"]], list(element["objects"])
    except (KeyError, TypeError):
        return -1, []


def _thing(thing: Any) -> tuple[list[str], list[float]]:
    """Names and x, y, width, height of an object; no names if it lacks something."""
    try:
        box = [float(thing[key]) for key in ("x", "y", "w", "h")]
        names = dict.fromkeys(clean_label(name) for name in thing["names"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return [], []
    return [name for name in names if name], box


@functools.lru_cache(maxsize=100_000)
def _words(name: str) -> frozenset[str]:
    return frozenset(word.rstrip("s") for word in name.split())


VISUAL_GENOME = Dataset(
    name="visual_genome",
    about="photos with boxes that are named in free words",
    documented="https://visualgenome.org/api/v0/api_readme",
    licence="annotations CC BY 4.0; the photos under the terms of Flickr",
    files="""
DIR/image_data.json         image_data.json.zip, version 1.2 or later
DIR/objects.json            objects.json.zip
DIR/VG_100K/2.jpg …         images.zip
DIR/VG_100K_2/1.jpg …       images2.zip
""",
    parts=parts,
    read=read,
    sizes={"train": 108_077},
    languages=("en",),
)
