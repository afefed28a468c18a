# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes become text and come back; what is no box is kept apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.boxes import BINS, Box, format_boxes, parse_boxes
from pali.data.demo_corpus import load_corpus

LABELS = st.sampled_from(sorted(load_corpus().names("en").values()))


@st.composite
def boxes(draw):
    sides = []
    for _ in "yx":
        low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
        sides.append((low, high) if low < high else (0.0, 1.0))
    (ymin, ymax), (xmin, xmax) = sides
    return Box(ymin, xmin, ymax, xmax, draw(LABELS))


@given(st.lists(boxes(), max_size=5))
def test_boxes_come_back_within_half_a_bin(given_boxes):
    found, unparsed = parse_boxes(format_boxes(given_boxes))
    assert not unparsed
    assert [box.label for box in found] == [box.label for box in given_boxes]
    for box, given_box in zip(found, given_boxes, strict=True):
        for back, share in zip(box[:4], given_box[:4], strict=True):
            assert abs(back - share) <= 0.5 / BINS + 1e-9


@given(st.lists(boxes(), min_size=1, max_size=5))
def test_text_of_parsed_boxes_is_the_same_text(given_boxes):
    text = format_boxes(given_boxes)
    found, _ = parse_boxes(text)
    if all(box.ymin < box.ymax and box.xmin < box.xmax for box in found):
        assert format_boxes(found) == text


def test_the_order_is_ymin_xmin_ymax_xmax_label():
    box = Box(ymin=0.01, xmin=0.02, ymax=0.09, xmax=0.1, label="cat")
    assert format_boxes([box, box._replace(label="hot dog")]) == (
        "10 20 90 100 cat 10 20 90 100 hot dog"
    )
    assert format_boxes([Box(0, 0, 1, 1, "sky")]) == "0 0 999 999 sky"
    assert format_boxes([]) == ""


@pytest.mark.parametrize(
    ("text", "labels", "unparsed"),
    [
        ("", [], []),
        ("cat", [], ["cat"]),
        ("10 20 90 cat", [], ["10 20 90 cat"]),
        ("10 20 90 100", [], ["10 20 90 100"]),
        ("a 10 20 90 100 cat", ["cat"], ["a"]),
        ("90 20 10 100 cat 1 2 3 4 dog", ["dog"], ["90 20 10 100 cat"]),
        ("10 20 90 1000 cat", [], ["10 20 90 1000 cat"]),
        ("  1 2 3   4 hot \n dog ", ["hot dog"], []),
        ("5 10 20 90 100 cat", [], ["5 10 20 90 100 cat"]),
        ("1 2 3 4 area 51 5 6 7 8 dog", ["area"], ["51 5 6 7 8 dog"]),
    ],
)
def test_what_is_no_box_is_kept_apart(text, labels, unparsed):
    found = parse_boxes(text)
    assert [box.label for box in found.boxes] == labels
    assert found.unparsed == unparsed


@pytest.mark.parametrize(
    "box",
    [
        Box(0.5, 0.1, 0.5, 0.2, "cat"),
        Box(0.1, 0.3, 0.2, 0.2, "cat"),
        Box(-0.1, 0.1, 0.2, 0.2, "cat"),
        Box(0.1, 0.1, 0.2, 1.1, "cat"),
        Box(float("nan"), 0.1, 0.2, 0.3, "cat"),
    ],
)
def test_a_box_outside_the_picture_is_refused(box):
    with pytest.raises(ValueError, match="no box inside the picture"):
        format_boxes([box])


def test_a_box_without_a_label_is_refused():
    with pytest.raises(ValueError, match="no label"):
        format_boxes([Box(0, 0, 1, 1, " ")])


def test_a_label_that_could_not_be_read_back_is_refused():
    with pytest.raises(ValueError, match="a number in its label"):
        format_boxes([Box(0, 0, 1, 1, "area 51")])
    assert parse_boxes(format_boxes([Box(0, 0, 1, 1, "B-52 bomber")])).boxes[0].label
