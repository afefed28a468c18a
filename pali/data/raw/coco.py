# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""COCO 2017: photos, with the boxes of the objects of 80 classes.

Records: pali/data/raw/boxed.py; the id is COCO's number, as "139", by which other datasets name the
same photos. The format of the boxes: pali/data/raw/coco_format.py.
"""

from __future__ import annotations

from pathlib import Path

from pali.data.raw.coco_format import CocoFormat
from pali.data.raw.dataset import Dataset


def picture(folder: Path, split: str, file_name: str) -> Path:
    """train2017/000000000009.jpg"""
    return folder / {"train": "train2017", "validation": "val2017"}[split] / file_name


_FILES = CocoFormat(
    name="coco",
    files=(
        ("train", "annotations/instances_train2017.json"),
        ("validation", "annotations/instances_val2017.json"),
    ),
    picture=picture,
    advice="unpack annotations_trainval2017.zip there",
)

COCO = Dataset(
    name="coco",
    about="photos with the boxes of 80 classes; other datasets are about its photos",
    documented="https://cocodataset.org/#format-data",
    licence="annotations CC BY 4.0; the photos under those of Flickr, each with its own",
    files="""
DIR/annotations/instances_train2017.json    of annotations_trainval2017.zip
DIR/annotations/instances_val2017.json
DIR/train2017/000000000009.jpg …            train2017.zip
DIR/val2017/000000000139.jpg …              val2017.zip
""",
    parts=_FILES.parts,
    read=_FILES.read,
    sizes={"train": 118_287, "validation": 5_000},
    languages=("en",),
)
