# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Open Images, V6 and V7: photos with boxes of 600 classes, and with what people said is there.

    oidv6-train-annotations-bbox.csv                ImageID,Source,LabelName,Confidence,XMin,XMax,
                                                    YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,…
    oidv6-train-annotations-human-imagelabels.csv   ImageID,Source,LabelName,Confidence
    oidv7-class-descriptions.csv                    LabelName,DisplayName

One record (pali/data/raw/boxed.py) for each picture that has a row of boxes; the id is ImageID.
Edges are shares of the picture. A box around a group of more than five objects (IsGroupOf) is no
box of one object, and is left out; its name stays in "present". So do the labels of the whole
picture that people confirmed (Confidence 1); those that they denied (0) are "absent". Rows of
classes without a name, or without numbers, are left out.

The files may be in any order. A process reads them once, and keeps 30 bytes for each box and 13 for
each label of a picture that has boxes.
"""

from __future__ import annotations

import contextlib
import csv
import functools
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt64

from pali.data.pipeline import Example
from pali.data.raw.boxed import boxed_record, clean_label
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError

PICTURES_PER_PART = 4096
_ROWS_AT_ONCE = 1 << 20

_SPLITS = ("train", "validation", "test")
_DESCRIPTIONS = (
    "oidv7-class-descriptions.csv",
    "oidv6-class-descriptions.csv",
    "oidv7-class-descriptions-boxable.csv",
    "class-descriptions-boxable.csv",
)


@dataclass(frozen=True)
class Index:
    """What the files say about the pictures of a split, by their numbers."""

    names: list[str]
    """Of the labels."""
    pictures: UInt64[np.ndarray, " pictures"]
    """ImageID as a number; sorted."""
    box_starts: Int[np.ndarray, " pictures_and_1"]
    box_labels: Int32[np.ndarray, " n"]
    boxes: Float32[np.ndarray, "n 4"]
    """ymin xmin ymax xmax"""
    groups: Bool[np.ndarray, " n"]
    label_starts: Int[np.ndarray, " pictures_and_1"]
    labels: Int32[np.ndarray, " m"]
    """Of whole pictures."""
    confirmed: Bool[np.ndarray, " m"]
    """False: denied."""


def parts(folder: Path) -> list[Part]:
    """Ranges of the pictures of each split whose files are there."""
    there = [split for split in _SPLITS if _first(folder, _box_files(split))]
    if not there:
        raise FileNotFoundError(
            f"{folder} has no {_box_files('train')[0]} or {_box_files('validation')[0]}"
        )
    found = []
    for split in there:
        if not _first(folder, _label_files(split)):
            raise FileNotFoundError(
                f"{folder} has no {_label_files(split)[0]}, which says what is not there"
            )
        count = len(_read(folder, split).pictures)
        found += [
            Part(split, _first(folder, _box_files(split)), start, min(start + size, count))
            for size in [PICTURES_PER_PART]
            for start in range(0, count, size)
        ]
    return found


def read(folder: Path, part: Part) -> Iterator[Example | RecordError]:
    """A record for every picture of a part."""
    index = _read(folder, part.split)
    for number in range(part.start, part.stop or len(index.pictures)):
        identifier = f"{int(index.pictures[number]):016x}"
        span = slice(int(index.box_starts[number]), int(index.box_starts[number + 1]))
        names = [index.names[label] for label in index.box_labels[span].tolist()]
        single = np.flatnonzero(~index.groups[span])
        about = slice(int(index.label_starts[number]), int(index.label_starts[number + 1]))
        said = [
            (index.names[label], there)
            for label, there in zip(
                index.labels[about].tolist(), index.confirmed[about].tolist(), strict=True
            )
        ]
        yield boxed_record(
            identifier,
            folder / part.split / f"{identifier}.jpg",
            index.boxes[span][single].astype(np.float64),
            [names[i] for i in single],
            present=[*names, *(name for name, there in said if there)],
            absent=[name for name, there in said if not there],
        )


def read_index(folder: Path, split: str) -> Index:
    """The files of a split.

    Raises:
      FileNotFoundError: there are no class descriptions.
      ValueError: a file is not UTF-8, lacks a column, or no row of boxes can be used.
    """
    numbers, names = _descriptions(folder)
    path = folder / _first(folder, _box_files(split))
    pictures, labels, boxes, groups = array("Q"), array("i"), array("f"), array("b")
    columns = ("ImageID", "LabelName", "YMin", "XMin", "YMax", "XMax", "IsGroupOf")
    for picture, label, *edges, group in _rows(path, columns):
        try:
            found = int(picture, 16), numbers[label], [float(edge) for edge in edges]
        except (KeyError, ValueError):
            continue
        if 0 <= found[0] < 2**64:
            pictures.append(found[0])
            labels.append(found[1])
            boxes.extend(found[2])
            groups.append(group == "1")
    if not pictures:
        raise ValueError(f"{path} has no row of boxes that can be used")
    where = np.array(pictures, np.uint64)
    order = np.argsort(where, kind="stable")
    different = np.unique(where)
    label_places, label_numbers, confirmed = _image_labels(folder, split, different, numbers)
    edges = np.arange(len(different) + 1)
    return Index(
        names=names,
        pictures=different,
        box_starts=np.append(np.searchsorted(where[order], different), len(where)),
        box_labels=np.array(labels, np.int32)[order],
        boxes=np.array(boxes, np.float32).reshape(-1, 4)[order],
        groups=np.array(groups, np.bool_)[order],
        label_starts=np.searchsorted(label_places, edges),
        labels=label_numbers,
        confirmed=confirmed,
    )


def _read(folder: Path, split: str) -> Index:
    files = [_first(folder, files) for files in (_box_files(split), _label_files(split))]
    return _cached(folder, split, *((folder / file).stat().st_mtime_ns for file in files))


@functools.lru_cache(maxsize=1)  # A process reads one split after the other.
def _cached(folder: Path, split: str, *changed: int) -> Index:
    del changed
    return read_index(folder, split)


def _box_files(split: str) -> list[str]:
    plain = f"{split}-annotations-bbox.csv"
    return [f"oidv6-{plain}", plain] if split == "train" else [plain]


def _label_files(split: str) -> list[str]:
    short = "val" if split == "validation" else split
    plain = "annotations-human-imagelabels"
    return [
        *(f"{version}-{split}-{plain}.csv" for version in ("oidv6", "oidv7")),
        f"oidv7-{short}-{plain}.csv",
        f"{split}-{plain}.csv",
        f"{split}-{plain}-boxable.csv",
    ]


def _first(folder: Path, names: list[str]) -> str:
    """The first of the files that is there; "" if none is."""
    return next((name for name in names if (folder / name).is_file()), "")


def _descriptions(folder: Path) -> tuple[dict[str, int], list[str]]:
    """LabelName -> number, and the names by number."""
    numbers: dict[str, int] = {}
    names: list[str] = []
    for file in _DESCRIPTIONS:
        if not (folder / file).is_file():
            continue
        for row in _cells(folder / file):  # The header, where there is one, is no harm.
            if len(row) == 2 and row[0] not in numbers and clean_label(row[1]):
                numbers[row[0]] = len(names)
                names.append(clean_label(row[1]))
    if not names:
        raise FileNotFoundError(f"{folder} has no {' or '.join(_DESCRIPTIONS)}")
    return numbers, names


def _image_labels(
    folder: Path, split: str, pictures: UInt64[np.ndarray, " p"], numbers: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place among the pictures, label, whether confirmed; in the order of the pictures."""
    path = folder / _first(folder, _label_files(split))
    ids, labels, confirmed = array("Q"), array("i"), array("b")
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def keep() -> None:
        found = np.array(ids, np.uint64)
        places = np.minimum(np.searchsorted(pictures, found), len(pictures) - 1)
        known = pictures[places] == found
        columns = (places, np.array(labels, np.int32), np.array(confirmed, np.bool_))
        kept.append(tuple(column[known] for column in columns))  # type: ignore[arg-type]
        del ids[:], labels[:], confirmed[:]

    for picture, label, confidence in _rows(path, ("ImageID", "LabelName", "Confidence")):
        try:
            found, sure = int(picture, 16), float(confidence)
        except ValueError:
            continue
        if label in numbers and sure in (0, 1) and 0 <= found < 2**64:
            ids.append(found)
            labels.append(numbers[label])
            confirmed.append(sure == 1)
        if len(ids) == _ROWS_AT_ONCE:
            keep()
    keep()
    places, label_numbers, sure = (np.concatenate(c) for c in zip(*kept, strict=True))
    order = np.argsort(places, kind="stable")
    return places[order], label_numbers[order], sure[order]


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[list[Any]]:
    """These columns of every row that has them."""
    rows = _cells(path)
    header = next(rows, [])
    if missing := [column for column in columns if column not in header]:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}; fetch it again")
    places = [header.index(column) for column in columns]
    for row in rows:
        if len(row) >= len(header):
            yield [row[place] for place in places]


def _cells(path: Path) -> Iterator[list[str]]:
    """The cells of every line. No cell of these files has a line end in it: a quotation mark that
    is never closed costs its own line, and not those that follow."""
    with open(path, encoding="utf-8-sig", newline="") as lines:
        try:
            for line in lines:
                if '"' not in line:
                    yield line.rstrip("\r\n").split(",")
                    continue
                with contextlib.suppress(csv.Error):
                    yield next(csv.reader([line], strict=True), [])
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is damaged ({error}); fetch it again") from None


OPEN_IMAGES = Dataset(
    name="open_images",
    about="photos with boxes of 600 classes, and labels that people confirmed or denied",
    documented="https://storage.googleapis.com/openimages/web/download_v7.html",
    licence="annotations CC BY 4.0; the photos are listed as CC BY 2.0, each to be verified",
    files="""
DIR/oidv6-train-annotations-bbox.csv                 of each split that you want
DIR/validation-annotations-bbox.csv
DIR/test-annotations-bbox.csv
DIR/oidv6-train-annotations-human-imagelabels.csv    of the same splits
DIR/validation-annotations-human-imagelabels.csv     (or those of V7)
DIR/test-annotations-human-imagelabels.csv
DIR/oidv7-class-descriptions.csv                     (or class-descriptions-boxable.csv)
DIR/train/0001eeaf4aed83f9.jpg …                     and validation/, test/
""",
    parts=parts,
    read=read,
    languages=("en",),
)
