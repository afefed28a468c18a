# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes of answers against objects: by hand, by the definition, and by COCO's evaluator."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.boxes import Box, format_boxes, parse_boxes
from pali.metrics import detection

GOLDEN = Path(__file__).parents[1] / "golden" / "coco_recall.json"
CAT, DOG = "100 100 300 300 cat", "500 500 700 900 dog"

SIDES = st.tuples(st.integers(0, 19), st.integers(0, 19)).map(sorted)
BOXES = st.lists(st.tuples(SIDES, SIDES, st.sampled_from(["cat", "dog"])), max_size=4).map(
    lambda rows: [Box(y0 / 20, x0 / 20, (y1 + 1) / 20, (x1 + 1) / 20, label)
                  for (y0, y1), (x0, x1), label in rows]
)  # fmt: skip


def test_by_hand():
    targets = [f"{CAT} {DOG}", CAT, DOG]
    predictions = [
        f"{DOG} 100 100 300 210 cat",  # Both, the cat with an overlap of 0.55.
        "100 100 300 290 cat and more",  # Another label.
        f"{DOG} {DOG}",  # An object is taken once.
    ]
    assert detection.detection(targets, predictions) == {
        "recall": pytest.approx(100 * 3 / 4),
        "precision": pytest.approx(100 * 3 / 5),
        "unparsed": 0.0,
    }


def test_a_piece_that_is_no_box_is_a_wrong_box_and_counted():
    found = detection.detection([CAT, DOG], [f"what {CAT}", "1 2 3"])
    assert found == {"recall": 50.0, "precision": pytest.approx(100 / 3), "unparsed": 100.0}


def test_overlap_decides_at_one_half():
    for width, hit in ((101, 1), (99, 0)):
        taken, *_ = detection.statistics(f"100 100 300 {100 + width} cat", CAT)
        assert taken == hit


def test_the_best_free_object_is_taken():
    near, far = Box(0, 0, 0.5, 0.5, "cat"), Box(0, 0.1, 0.5, 0.6, "cat")
    assert detection.match([far, near], [near, far]) == {1: 0, 0: 1}
    assert detection.match([near, near], [near, far]) == {0: 0, 1: 1}
    assert detection.match([near, near], [near]) == {0: 0}


@given(BOXES, BOXES)
def test_overlap_is_that_of_the_pixels(found, objects):
    def pixels(box):
        mask = np.zeros((20, 20), bool)
        rows, columns = (slice(round(20 * a), round(20 * b)) for a, b in (box[::2][:2], box[1:4:2]))
        mask[rows, columns] = True
        return mask

    for one in found:
        for other in objects:
            shared, covered = pixels(one) & pixels(other), pixels(one) | pixels(other)
            assert detection.iou(one, other) == pytest.approx(shared.sum() / covered.sum())


@given(BOXES, BOXES)
def test_matching_keeps_to_its_rule(found, objects):
    taken = detection.match(found, objects)
    assert len(set(taken.values())) == len(taken)
    for place, index in taken.items():
        assert found[index].label == objects[place].label
        assert detection.iou(found[index], objects[place]) >= 0.5
    for index in set(range(len(found))) - set(taken.values()):
        for place in set(range(len(objects))) - set(taken):
            same = found[index].label == objects[place].label
            assert not same or detection.iou(found[index], objects[place]) < 0.5


@given(BOXES)
def test_the_right_answer_scores_everything(objects):
    text = format_boxes(objects)
    taken, count, boxes, unparsed, _ = detection.statistics(text, text)
    assert (taken, count, boxes, unparsed) == (len(objects), len(objects), len(objects), 0)


def test_recall_is_that_of_pycocotools():
    golden = json.loads(GOLDEN.read_text())
    found = detection.detection(golden["targets"], golden["predictions"])
    assert found["recall"] == pytest.approx(100 * golden["recall"], abs=1e-9)
    assert 20 < found["recall"] < 80
    assert all(not parse_boxes(text).unparsed for text in golden["predictions"])


def test_a_reference_that_is_no_box_is_named():
    with pytest.raises(ValueError, match="'a cat' has"):
        detection.detection(["a cat"], [CAT])
    with pytest.raises(ValueError, match="1 predictions for 2 targets"):
        detection.detection([CAT, DOG], [CAT])
