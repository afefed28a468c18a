# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Overlaps and average precision of boxes: pycocotools beside us, cases worked by hand."""

import math

import numpy as np
import pytest

from pali.metrics.coco_ap import STATS, coco_ap
from pali.metrics.referring import box_ious, mask_iou, referring


def boxes(seed: int, count: int) -> np.ndarray:
    """ymin, xmin, ymax, xmax."""
    rng = np.random.default_rng(seed)
    corner, size = rng.random((count, 2)) * 50, rng.random((count, 2)) * 60
    return np.concatenate([corner, corner + size], axis=1)


def test_overlaps_equal_pycocotools():
    mask = pytest.importorskip("pycocotools.mask")
    targets, found = boxes(0, 200), boxes(1, 200)

    def xywh(b):
        return np.stack([b[:, 1], b[:, 0], b[:, 3] - b[:, 1], b[:, 2] - b[:, 0]], axis=1)

    expected = np.diag(mask.iou(xywh(found), xywh(targets), [0] * 200))
    assert box_ious(targets.tolist(), found.tolist()) == pytest.approx(expected, abs=1e-12)
    one, other = np.random.default_rng(0).random((2, 30, 20)) < 0.4
    encoded = [mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in (one, other)]
    assert mask_iou(one, other) == pytest.approx(mask.iou([encoded[0]], [encoded[1]], [0])[0, 0])


def test_referring_by_hand():
    targets = [(0, 0, 1, 1), (0, 0, 2, 2), (0, 0, 1, 1), (0, 0, 4, 1)]
    found = [(0, 0, 1, 1), (0, 1, 2, 3), None, (0, 0, 2, 1)]
    # 1, 2 / 6, nothing found, and just a half.
    miou = (1 + 1 / 3 + 0 + 0.5) / 4
    assert referring(targets, found) == pytest.approx({"accuracy": 0.5, "miou": miou})
    empty = np.zeros((2, 2), bool)
    assert mask_iou(empty, empty) == 0


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((0, 0, math.nan, 1), r"prediction 0 is \[0, 0, nan, 1\]"),
        ((0, 0, math.inf, 1), "four finite numbers, no box is None"),
        ((0, 0, 1), "four finite numbers"),
        ((1, 0, 0, 1), "smaller corner first"),
    ],
)
def test_a_box_that_is_none_is_refused(found, message):
    with pytest.raises(ValueError, match=message):
        referring([(0, 0, 1, 1)], [found])
    with pytest.raises(ValueError, match="target 0 is"):
        referring([found], [(0, 0, 1, 1)])


def annotation(number, image, category, box):
    row = {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
    return row | {"area": box[2] * box[3]}


TRUTH = {
    "images": [{"id": i, "width": 100, "height": 100} for i in (4, 9)],
    "categories": [{"id": 1, "name": "cat"}, {"id": 18, "name": "dog"}],
    "annotations": [
        annotation(1, 4, 1, [0, 0, 50, 50]),
        annotation(2, 9, 1, [5, 5, 40, 40]),
        annotation(3, 9, 18, [50, 5, 9, 9]),
    ],
}


def detected(image, category, box, score=1.0):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_average_precision_by_hand():
    pytest.importorskip("pycocotools")
    perfect = [detected(a["image_id"], a["category_id"], a["bbox"]) for a in TRUTH["annotations"]]
    stats = coco_ap(TRUTH, perfect)
    assert list(stats) == list(STATS)
    # No object is large.
    assert {k: v for k, v in stats.items() if "large" not in k} == pytest.approx(
        dict.fromkeys([s for s in STATS if "large" not in s], 1.0)
    )
    assert stats["ap_large"] == -1
    # The cats are found, the dog is not: one class of two.
    assert coco_ap(TRUTH, perfect[:2])["ap"] == pytest.approx(0.5)
    # One cat at an IoU of 0.64: right at 0.5, 0.55 and 0.6. The other box of it came too late.
    part = [detected(4, 1, [0, 0, 40, 40], 0.9), detected(4, 1, [0, 0, 41, 40], 0.1)]
    one_cat = {**TRUTH, "annotations": TRUTH["annotations"][:1]}
    assert coco_ap(one_cat, part)["ap_50"] == pytest.approx(1.0)
    assert coco_ap(one_cat, part[:1])["ap"] == pytest.approx(0.3)
    nothing = coco_ap(TRUTH, [])
    assert (nothing["ap"], nothing["ar_100"], nothing["ap_large"]) == (0, 0, -1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (detected(4, 1, [0, 0, math.nan, 5]), "detection 0 has box"),
        (detected(4, 1, [0, 0, 5, 5], math.nan), "detection 0 has box"),
        (detected(5, 1, [0, 0, 5, 5]), "of picture 5, which is not here"),
        (detected(4, 2, [0, 0, 5, 5]), "of class 2, which is not here"),
        ({"image_id": 4, "bbox": [0, 0, 1, 1]}, "detection 0 has no category_id, score"),
    ],
)
def test_bad_detections_are_refused(row, message):
    pytest.importorskip("pycocotools")
    with pytest.raises(ValueError, match=message):
        coco_ap(TRUTH, [row])
