# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/coco_recall.json: random boxes, and their recall by COCO's own evaluator.

    pip install pycocotools
    python tools/write_coco_recall_golden.py

Boxes are written as text and read back, so that both sides score the same numbers. COCO ranks the
boxes of an answer by confidence; they get it in the order written. Its recall is a mean over
classes, so there is one class here.
"""

import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pali.boxes import Box, format_boxes, parse_boxes

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "coco_recall.json"
PICTURES = 40


def main() -> None:
    """Draws the boxes, scores them, writes the file."""
    rng = np.random.default_rng(0)
    targets, predictions = [], []
    for _ in range(PICTURES):
        objects = [_random(rng) for _ in range(rng.integers(1, 5))]
        near = [_moved(rng, box) for box in objects for _ in range(rng.integers(3))]
        found = [*near, *(_random(rng) for _ in range(rng.integers(2)))]
        order = rng.permutation(len(found))
        targets.append(format_boxes(objects))
        predictions.append(format_boxes([found[i] for i in order]))
    golden = {"recall": coco_recall(targets, predictions)}
    golden |= {"targets": targets, "predictions": predictions}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


def coco_recall(targets: list[str], predictions: list[str]) -> float:
    """Recall at an overlap of one half, all sizes, by pycocotools."""
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i, "width": 1000, "height": 1000} for i in range(len(targets))],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {**_annotation(picture, box), "iscrowd": 0}
            for picture, text in enumerate(targets)
            for box in parse_boxes(text).boxes
        ],
    }
    for number, annotation in enumerate(truth.dataset["annotations"], start=1):
        annotation["id"] = number
    truth.createIndex()
    found = truth.loadRes(
        [
            {**_annotation(picture, box), "score": 1 - 0.01 * rank}
            for picture, text in enumerate(predictions)
            for rank, box in enumerate(parse_boxes(text).boxes)
        ]
    )
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.evaluate()
    evaluation.accumulate()
    # [thresholds classes areas most], area "all", up to 100 boxes.
    return float(evaluation.eval["recall"][0, 0, 0, -1])


def _annotation(picture: int, box: Box) -> dict:
    x, y, right, bottom = (1000 * box[i] for i in (1, 0, 3, 2))
    width, height = right - x, bottom - y
    return {
        "image_id": picture,
        "category_id": 1,
        "bbox": [x, y, width, height],
        "area": width * height,
    }


def _random(rng: np.random.Generator) -> Box:
    height, width = rng.uniform(0.1, 0.5, 2)
    y, x = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
    return Box(y, x, y + height, x + width, "cat")


def _moved(rng: np.random.Generator, box: Box) -> Box:
    shift = rng.normal(scale=0.06, size=4)
    ymin, ymax = np.sort(np.clip([box.ymin + shift[0], box.ymax + shift[1]], 0, 1))
    xmin, xmax = np.sort(np.clip([box.xmin + shift[2], box.xmax + shift[3]], 0, 1))
    return Box(float(ymin), float(xmin), float(ymax), float(xmax), "cat")


if __name__ == "__main__":
    main()
