# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Objects365, version 2: photos, with the boxes of the objects of 365 classes.

Records: pali/data/raw/boxed.py. The format is COCO's (pali/data/raw/coco_format.py). What the file
of annotations calls "images/v1/patch8/objects365_v1_00420917.jpg" lies in the patch as it was
unpacked, train/patch8/objects365_v1_00420917.jpg, or in train/ itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from pali.data.raw.coco_format import CocoFormat
from pali.data.raw.dataset import Dataset


def picture(folder: Path, split: str, file_name: str) -> Path:
    """Where a picture is, of the places where it may be; the first if in none."""
    pictures = folder / {"train": "train", "validation": "val"}[split]
    *_, patch, name = ("", *Path(file_name).parts)
    places = (pictures / patch / name, pictures / file_name, pictures / name)
    return next((place for place in places if os.path.isfile(place)), places[0])


_FILES = CocoFormat(
    name="objects365",
    files=(("train", "zhiyuan_objv2_train.json"), ("validation", "zhiyuan_objv2_val.json")),
    picture=picture,
    advice="put the files of annotations of version 2 there",
)

OBJECTS365 = Dataset(
    name="objects365",
    about="photos with the boxes of 365 classes",
    documented="https://www.objects365.org/download.html",
    licence="annotations CC BY 4.0; the photos under those of Flickr, each with its own",
    files="""
DIR/zhiyuan_objv2_train.json
DIR/zhiyuan_objv2_val.json
DIR/train/patch0/objects365_v1_00000000.jpg …    the patches, each unpacked in a folder of its name
DIR/val/patch0/objects365_v1_00000016.jpg …
""",
    parts=_FILES.parts,
    read=_FILES.read,
    sizes={"validation": 80_000},
    languages=("en",),
)
