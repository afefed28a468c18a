# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""VQA accuracy, ANLS and relaxed accuracy against golden outputs of the official scripts.

tests/golden/official_metrics.json: its "meta" names the scripts and their versions.
"""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from pali.metrics import vqa_normalisation
from pali.metrics.anls import anls, anls_per_item, in_any_order
from pali.metrics.relaxed_accuracy import is_near, relaxed_accuracy
from pali.metrics.vqa_accuracy import VARIANTS, vqa_accuracy, vqa_accuracy_per_item

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "official_metrics.json").read_text("utf-8")
)
CASES = GOLDEN["vqa"]["cases"]


def test_golden_accuracy():
    answers, said = [c["answers"] for c in CASES], [c["prediction"] for c in CASES]
    scores = vqa_accuracy_per_item(answers, said)
    for case, score in zip(CASES, scores, strict=True):
        assert score == pytest.approx(case["accuracy"], abs=1e-9), case["id"]
    overall = vqa_accuracy(answers, said)["vqa_accuracy"]
    assert round(100 * overall, 2) == GOLDEN["vqa"]["overall_percent_2dp"]
    for key, field in (("per_answer_type", "answer_type"), ("per_question_type", "question_type")):
        for kind, percent in GOLDEN["vqa"][f"{key}_percent_2dp"].items():
            own = scores[[case[field] == kind for case in CASES]]
            assert round(100 * float(own.mean()), 2) == percent, kind


def test_golden_normalisation():
    for row in GOLDEN["vqa_norm"]:
        assert vqa_normalisation.official(row["text"]) == row["normalized"], row
        assert vqa_normalisation.m4c(row["text"]) == row["normalized_textvqa_mmf"], row


def test_accuracy_is_a_matter_of_how_many_agree():
    for matches, expected in enumerate([0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1]):
        answers = ["cat"] * matches + ["dog"] * (10 - matches)
        for variant in ("official", "m4c", "vizwiz"):
            assert vqa_accuracy_per_item([answers], ["cat"], variant)[0] == pytest.approx(expected)
        naive = vqa_accuracy_per_item([answers], ["cat"], "bv")[0]
        assert naive == pytest.approx(min(1, matches / 3))


def test_what_the_variants_normalise():
    alike, mixed = ["The Cat"] * 10, ["The Cat"] * 9 + ["dog"]

    def score(answers, said):
        return [round(vqa_accuracy([answers], [said], v)["vqa_accuracy"], 9) for v in VARIANTS]

    assert list(VARIANTS) == ["official", "m4c", "vizwiz", "bv"]
    assert score(alike, "cat") == [0, 1, 0, 0]
    assert score(mixed, "cat") == [1, 1, 0, 0]
    assert score(mixed, "The Cat") == [1, 1, 0, 1]
    assert score(["cat"] * 9 + ["dog"], "The Cat.") == [1, 1, 1, 0]


def test_vizwiz_writes_most_contractions_with_a_curly_apostrophe():
    assert vqa_normalisation.vizwiz("dont") == "don’t"
    assert vqa_normalisation.vizwiz("cant weve") == "can't we've"
    assert vqa_normalisation.vizwiz("couldn'tve couldnt’ve") == "couldn’t’ve couldn’t’ve"
    assert vqa_normalisation.official("dont couldnt've somebody'd Im") == (
        "don't couldn't've somebodyd im"
    )


def test_only_32_full_stops_are_deleted():
    assert vqa_normalisation.official("." * 40 + "a b") == "." * 8 + "a b"


def test_the_order_of_answers_and_questions_does_not_matter():
    order = random.Random(0).sample(range(len(CASES)), len(CASES))
    answers = [CASES[i]["answers"][::-1] for i in order]
    said = [CASES[i]["prediction"] for i in order]
    expected = np.mean([case["accuracy"] for case in CASES])
    assert vqa_accuracy(answers, said)["vqa_accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("variant", "key"),
    [("rrc", "rrc"), ("paper", "big_vision"), ("paper-lower", "big_vision_lower"), ("mmf", "mmf")],
)
def test_golden_anls(variant, key):
    for row in GOLDEN["anls"]:
        score = anls_per_item([row["answers"]], [row["prediction"]], variant)[0]
        assert score == pytest.approx(row[key], abs=1e-9), row


def test_anls_at_its_limits():
    for variant in ("rrc", "paper", "paper-lower", "mmf"):
        assert anls([["", "x"], "ab"], ["", "ab"], variant) == {"anls": 1}
        assert anls(["x"], [""], variant) == {"anls": 0}
    # The length is that of the text as it was given: three of ten, not three of four.
    assert anls_per_item(["abcd"], ["a         "], "rrc")[0] == pytest.approx(0.7)


def test_a_list_is_right_in_any_order():
    assert in_any_order("b, a") == ["b, a", "a, b"]
    assert len(in_any_order("a, b, c, d, e, f")) == 720
    assert in_any_order("g, a, b, c, d, e, f") == ["g, a, b, c, d, e, f", "a, b, c, d, e, f, g"]


def test_golden_relaxed_accuracy():
    for row in GOLDEN["relaxed"]:
        target, said = row["target"], row["prediction"]
        assert is_near(target, said, "exact") == row["big_vision"], row
        assert is_near(target, said, "lower") == row["lowercase_fallback"], row
        assert is_near(target.lower(), said.lower(), "exact") == row["big_vision_lower"], row
    assert relaxed_accuracy([["7", "8"], "x"], ["8.1", "y"]) == {"relaxed_accuracy": 0.5}


@pytest.mark.parametrize("metric", [vqa_accuracy, anls, relaxed_accuracy])
def test_what_cannot_be_scored_is_refused(metric):
    with pytest.raises(ValueError, match="no variant 'best'"):
        metric(["a"], ["a"], "best")
    with pytest.raises(ValueError, match="2 predictions for 1 targets"):
        metric(["a"], ["a", "b"])
    if metric is not relaxed_accuracy:
        with pytest.raises(ValueError, match="question 0 has no answer"):
            metric([[]], ["a"])
