# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Average precision of COCO detection, by pycocotools: its twelve numbers.

Formula: precision at 101 recalls, averaged over classes and over IoU 0.50 to 0.95 in steps of 0.05;
at one IoU; of small, medium and large objects; and recall with 1, 10 and 100 boxes a picture. The
definitions are those of pycocotools, which computes them here; -1 says that there is nothing to
average, for want of objects of that size.

AP ranks boxes by a score. Texts carry none; a model's likelihood of a box can stand for it, and an
AP without scores (all equal, in the order written) is not comparable with published ones.

In:  dicts as in COCO's files: images {id, width, height}, categories {id}, annotations {id,
     image_id, category_id, bbox [x, y, width, height], area, iscrowd}, detections {image_id,
     category_id, bbox, score}.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

VARIANT = "pycocotools|bbox"
STATS = (
    *("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
)
_FIELDS = ("image_id", "category_id", "bbox", "score")


def coco_ap(
    truth: Mapping[str, Sequence[Mapping[str, Any]]], detections: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """The twelve numbers of COCO, in 0..1, by the names of STATS.

    Args:
      truth: "images", "categories" and "annotations", as in instances_val2017.json.
      detections: found boxes; may be empty.

    Raises:
      ValueError: a detection lacks a field, is not finite, or is of an unknown picture or class.
      ModuleNotFoundError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "COCO's average precision needs pycocotools: pip install 'open-pali[metrics]'",
            name=error.name,
        ) from error

    _check(truth, detections)
    if not detections:  # pycocotools refuses an empty list; a box of no size finds nothing either.
        nothing = {"bbox": [0, 0, 0, 0], "score": 0}
        nothing["image_id"] = truth["images"][0]["id"]
        nothing["category_id"] = truth["categories"][0]["id"]
        detections = [nothing]
    with contextlib.redirect_stdout(io.StringIO()):  # It says at length what it does.
        known: Any = COCO()
        # Copies: pycocotools writes into its annotations.
        known.dataset = {"info": {}} | {
            name: [dict(row) for row in truth[name]]
            for name in ("images", "categories", "annotations")
        }
        known.createIndex()
        # Of these fields alone: of others it takes a "caption" for a result of another kind.
        found = known.loadRes([{name: row[name] for name in _FIELDS} for row in detections])
        evaluation = COCOeval(known, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(STATS, map(float, evaluation.stats), strict=True))


def _check(
    truth: Mapping[str, Sequence[Mapping[str, Any]]], detections: Sequence[Mapping[str, Any]]
) -> None:
    pictures = {image["id"] for image in truth["images"]}
    classes = {category["id"] for category in truth["categories"]}
    for i, row in enumerate(detections):
        lacking = set(_FIELDS) - row.keys()
        if lacking:
            raise ValueError(f"detection {i} has no {', '.join(sorted(lacking))}: {dict(row)}")
        numbers = [*row["bbox"], row["score"]]
        if len(numbers) != 5 or not all(math.isfinite(number) for number in numbers):
            raise ValueError(
                f"detection {i} has box {row['bbox']} and score {row['score']}: [x, y, width, "
                "height] and the score are finite numbers"
            )
        if row["image_id"] not in pictures:
            raise ValueError(f"detection {i} is of picture {row['image_id']!r}, which is not here")
        if row["category_id"] not in classes:
            raise ValueError(f"detection {i} is of class {row['category_id']!r}, which is not here")
