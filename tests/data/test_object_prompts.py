# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Object-aware forms and detection: right answers, absent negatives, and no hint in the prompt."""

from collections import Counter

import pytest

from pali.boxes import parse_boxes
from pali.data import object_prompts
from pali.data.demo_corpus import load_corpus
from pali.data.object_prompts import FORMS, fields
from pali.data.scenes import describe

SCENES = [describe("train", number) for number in range(200)]
NAMES = load_corpus().names("en")


def shown(scene):
    return {NAMES[code] for code in scene.counts}


def asked(form):
    return [
        (scene, fields(scene, form, number))
        for scene in SCENES
        if object_prompts.suits(form, scene.number)
        for number in range(3)
    ]


def test_a_list_names_each_kind_of_thing_once_from_top_to_bottom():
    for scene, found in asked("list_objects"):
        assert found["answer"] == list(dict.fromkeys(NAMES[t.code] for t in scene.objects))


@pytest.mark.parametrize("form", ["object_presence", "all_objects"])
def test_yes_and_no(form):
    answers, lengths = Counter(), {"Yes": Counter(), "No": Counter()}
    for scene, found in asked(form):
        assert found["answer"] == ("Yes" if set(found["objects"]) <= shown(scene) else "No")
        assert len(set(found["objects"])) == len(found["objects"])
        answers[found["answer"]] += 1
        lengths[found["answer"]][len(found["objects"])] += 1
    assert answers["Yes"] == pytest.approx(answers.total() / 2, rel=0.2)
    assert set(lengths["Yes"]) == set(lengths["No"]) == ({1} if form[0] == "o" else {2, 3})
    for length in lengths["Yes"]:
        shares = [lengths[answer][length] / answers[answer] for answer in lengths]
        assert shares[0] == pytest.approx(shares[1], abs=0.12)


def test_which_are_there_keeps_the_order_of_the_question():
    for scene, found in asked("which_objects"):
        assert 2 <= len(found["objects"]) <= 4
        assert found["answer"] == [name for name in found["objects"] if name in shown(scene)]
        assert 0 < len(found["answer"]) < len(found["objects"])


def test_detection_gives_every_box_of_the_classes_asked_for():
    place = Counter()
    for scene, found in asked("detect"):
        boxes, unparsed = parse_boxes(found["answer"])
        assert not unparsed
        wanted = [t for t in scene.objects if NAMES[t.code] in found["classes"]]
        assert [box.label for box in boxes] == [NAMES[t.code] for t in wanted]
        for box, thing in zip(boxes, wanted, strict=True):
            assert box[:4] == pytest.approx(thing.extent, abs=0.00051)
        assert sorted(boxes, key=lambda box: box[:2]) == boxes
        absent = set(found["classes"]) - shown(scene)
        assert 1 <= len(absent) < len(found["classes"]) <= 4
        place[found["classes"][0] in absent] += 1
    assert 0.3 < place[True] / place.total() < 0.7  # The order says nothing.


def test_names_can_be_told_apart_in_the_prompts():
    for _, found in asked("detect"):
        assert not any("and" in name.split() or "," in name for name in found["classes"])


@pytest.mark.parametrize("form", FORMS)
def test_questions_are_functions_of_scene_form_and_number(form):
    scene = SCENES[4]
    assert fields(scene, form, 5) == fields(describe("train", 4), form, 5)
    if form != "list_objects":
        assert len({str(fields(scene, form, number)) for number in range(16)}) > 5


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown form 'find'; known: list_objects"):
        fields(SCENES[0], "find", 0)
    with pytest.raises(ValueError, match="cannot be asked for all_objects"):
        fields(SCENES[2], "all_objects", 0)
