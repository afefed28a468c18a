# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about pictures with boxes: right answers, and boxes that survive the resize."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali import prompts
from pali.boxes import BINS, Box, in_whole, parse_boxes
from pali.config import PixelConfig
from pali.data.ask_objects import AskObjects, can_be_told
from pali.data.object_prompts import FORMS, MAX_BOXES, thinned
from pali.data.pipeline import Task, fit_to_model
from pali.data.skipping import RecordError
from pali.image import resize, seen_region
from pali.tasks import DEMO_TOKENIZER
from pali.tokenizer import load_tokenizer

CROP = PixelConfig(fit="crop")


def record(shape=(40, 60), boxes=(), absent=("bus", "tie", "hot dog"), present=(), draw="0/t/0/0"):
    boxes = sorted(boxes)
    labels = [box[4] for box in boxes]
    return {
        "image_key": "photos/1",
        "shape": np.array(shape, np.int32),
        "boxes": np.array([box[:4] for box in boxes], np.float32).reshape(-1, 4),
        "labels": labels,
        "present": list(dict.fromkeys([*labels, *present])),
        "absent": list(absent),
        "draw": draw,
    }


BOXES = [
    (0.1, 0.2, 0.5, 0.6, "dog"),
    (0.3, 0.1, 0.9, 0.9, "cat"),
    (0.2, 0.0, 0.4, 0.3, "dog"),
    (0.0, 0.0, 0.1, 0.1, "cup"),
]


@pytest.mark.parametrize("form", FORMS)
def test_answers_are_right_and_drawn_anew_in_every_epoch(form):
    answers, asked = Counter(), set()
    for epoch in range(200):
        example = record(boxes=BOXES, present=["sky"], draw=f"0/t/7/{epoch}")
        found = AskObjects(form, 224)(example)
        prompts.get(FORMS[form]).fill(found | {"lang": "en"})
        there = {"dog", "cat", "cup", "sky"}
        asked.add(str(found.get("objects", found.get("classes"))))
        if form == "list_objects":
            assert found["answer"] == ["cup", "dog", "cat", "sky"]
            continue
        if form == "detect":
            there.remove("sky")
            boxes, unparsed = parse_boxes(found["answer"])
            assert not unparsed
            wanted = [box[4] for box in sorted(BOXES) if box[4] in found["classes"]]
            assert [box.label for box in boxes] == wanted
            assert 0 < len(there & {*found["classes"]}) < len(found["classes"]) <= 4
        elif form == "which_objects":
            assert found["answer"] == [name for name in found["objects"] if name in there]
        else:
            assert found["answer"] == ("Yes" if {*found["objects"]} <= there else "No")
            answers[found["answer"]] += 1
    if answers:
        assert answers["Yes"] == pytest.approx(100, abs=25)
    assert len(asked) > 5 or form == "list_objects"


@pytest.mark.parametrize(
    ("form", "boxes", "absent"),
    [
        ("list_objects", [], ["bus"]),
        ("object_presence", BOXES, []),
        ("all_objects", [], ["bus", "tie"]),
        ("all_objects", BOXES, []),
        ("which_objects", [], ["bus"]),
        ("detect", [(0, 0, 1, 1, "formula 1")], ["bus"]),
        ("detect", BOXES, ["salt and pepper"]),
    ],
)
def test_what_cannot_be_asked_is_skipped(form, boxes, absent):
    with pytest.raises(RecordError, match=f"photos/1 shows .* {form} needs") as error:
        AskObjects(form, 224)(record(boxes=boxes, absent=absent))
    assert error.value.reason == "boxes"


def test_labels_that_could_not_be_told_apart():
    assert [
        name
        for name in ("dog", "salt and pepper", "a, b", "formula 1", "band-aid", "")
        if can_be_told(name)
    ] == ["dog", "band-aid"]


@st.composite
def photographs(draw):
    """(height, width), a box in pixels: of any ratio of sides."""
    shape = draw(st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
    edges = []
    for side in shape:
        low = draw(st.floats(0, side * 0.99))
        edges.append((low, draw(st.floats(low + side * 0.005, side))))
    (top, bottom), (left, right) = edges
    return shape, (top, left, bottom, right)


def through_tokens(shape, box, size, pixels):
    """A box in pixels -> the answer's tokens -> boxes in pixels."""
    height, width = shape
    shares = np.array(box) / [height, width, height, width]
    example = AskObjects("detect", size, pixels)(record(shape, [(*shares, "dog")]))
    tokenizer = load_tokenizer(DEMO_TOKENIZER)
    text = tokenizer.decode(tokenizer.encode(example["answer"]))
    found, unparsed = parse_boxes(text)
    assert not unparsed
    (back,) = in_whole(found, seen_region(shape, size, pixels))
    return np.array(back[:4]) * [height, width, height, width]


@given(photographs())
def test_boxes_survive_squashing_within_half_a_bin(photograph):
    shape, box = photograph
    back = through_tokens(shape, box, 224, PixelConfig())
    half = np.array([*shape, *shape]) * 0.5 / BINS
    assert (abs(back - box) <= half * (1 + 1e-3)).all()  # float32 takes a little.


@given(photographs(), st.sampled_from([224, (112, 448)]))
def test_boxes_survive_the_crop_or_are_outside(photograph, size):
    shape, box = photograph
    seen = seen_region(shape, size, CROP)
    edges = np.array([seen.top, seen.left, seen.bottom, seen.right])
    low, high = edges[[0, 1, 0, 1]], edges[[2, 3, 2, 3]]
    inside = np.clip(box, low, high)
    margin = (high - low) * 1e-4
    if ((inside[2:] - inside[:2]) > margin[:2]).all():
        back = through_tokens(shape, box, size, CROP)
        assert (abs(back - inside) <= (high - low) * 0.5 / BINS + margin / 10).all()
    elif (inside[2:] <= inside[:2]).any():
        with pytest.raises(RecordError):
            through_tokens(shape, box, size, CROP)


@pytest.mark.parametrize("pixels", [PixelConfig(), CROP])
@pytest.mark.parametrize("shape", [(300, 100), (90, 400), (200, 200)])
def test_a_box_is_where_the_resized_picture_shows_it(shape, pixels):
    height, width = shape
    top, left, bottom, right = (height // 3, width // 3, height // 2, 2 * width // 3)
    picture = np.zeros((*shape, 3), np.uint8)
    picture[top:bottom, left:right] = 255
    resized = resize(picture, 224, pixels)[..., 0] > 127
    rows, columns = np.flatnonzero(resized.any(axis=1)), np.flatnonzero(resized.any(axis=0))
    shares = np.array([top / height, left / width, bottom / height, right / width])
    answer = AskObjects("detect", 224, pixels)(record(shape, [(*shares, "dog")]))["answer"]
    (box,), _ = parse_boxes(answer)
    seen = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / 224
    np.testing.assert_allclose(box[:4], seen, atol=1.5 / 224)


def test_what_the_model_does_not_see_is_neither_there_nor_absent():
    outside = (0.4, 0.0, 0.6, 0.1, "cat")  # Of a wide picture, at its left edge.
    example = record((100, 300), [(0.4, 0.4, 0.6, 0.6, "dog"), outside], present=["sky"])
    assert AskObjects("list_objects", 224, CROP)(example)["answer"] == ["dog", "sky"]
    assert AskObjects("list_objects", 224)(example)["answer"] == ["cat", "dog", "sky"]
    for epoch in range(50):
        found = AskObjects("object_presence", 224, CROP)(example | {"draw": f"0/t/0/{epoch}"})
        assert found["objects"] != ["cat"]


def test_the_model_decides_what_is_seen():
    task = Task("t", [], (AskObjects("detect", 224),))  # type: ignore[arg-type]
    ((fitted, _),) = fit_to_model([(task, 1.0)], image_size=(64, 128), pixels=CROP)
    assert fitted.functions == (AskObjects("detect", (64, 128), CROP),)


def test_more_boxes_than_fit_are_thinned_out_by_turns():
    people = [Box(i / 40, 0, i / 40 + 0.01 + i / 100, 1, "person") for i in range(25)]
    cup = Box(0.9, 0.9, 0.91, 0.91, "cup")
    kept = thinned([*people, cup, people[0]])
    assert len(kept) == MAX_BOXES
    assert kept == [*people[25 - MAX_BOXES + 1 :], cup]
    assert thinned([cup, cup]) == [cup]


def test_a_form_that_is_none_is_named():
    with pytest.raises(ValueError, match="unknown form 'find'"):
        AskObjects("find", 224)
