# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""GQA, xGQA, MaXM, ChartQA, AI2D, TallyQA: scores worked by hand on raw files."""

import pytest

from tests.benchmarks.layouts import GQA, XGQA_LANGUAGES


def test_gqa_wants_the_very_string(run):
    said = {"201307251": "No", "201640614": "woman", "202225914": "no"}
    found = run("gqa", "testdev", said)
    assert list(found["per_item"].values()) == [0, 1, 1]
    assert found["groups"]["structural/verify"]["exact_match"] == 0.5
    assert "|var:raw|" in found["signature"]
    # As numbers, and in the names of big_vision.
    rows = [{"question_id": int(key), "prediction": text} for key, text in said.items()]
    again = run("gqa", "testdev", rows)
    assert again["per_item"] == found["per_item"]
    assert any("numbers in" in note for note in again["notes"])


def test_xgqa_has_two_means(run):
    said = {f"{lang}/{key}": row["answer"] for lang in XGQA_LANGUAGES for key, row in GQA.items()}
    said |= {key: "wrong" for key in said if key.startswith("en/")}
    found = run("xgqa", "testdev", said)
    assert found["scores"]["exact_match_mean"] == 7 / 8
    assert found["scores"]["exact_match_mean_without_en"] == 1
    assert found["score"] == found["scores"]["exact_match_mean"]
    alone = run("xgqa", "testdev-bn", {key: row["answer"] for key, row in GQA.items()})
    assert (alone["score"], alone["metric"]) == (1, "exact_match")


def test_maxm_is_forgiving_where_its_rule_is(run):
    said = {"fr/0a1_0": "Bleu  clair.", "th/0b2_0": "บน หญ้า", "fr/0c3_0": "non"}
    found = run("maxm", "test", said)
    assert found["per_item"] == {"fr/0a1_0": 1, "th/0b2_0": 1, "fr/0c3_0": 0}
    assert found["groups"]["lang/fr"] == {"exact_match": 0.5, "exact_match_raw": 0}
    assert found["score"] == found["scores"]["exact_match_mean"] == 0.75
    assert found["scores"]["exact_match"] == pytest.approx(2 / 3)
    assert found["scores"]["exact_match_raw"] == pytest.approx(1 / 3)
    assert "|var:maxm;joined:ja,th,zh|" in found["signature"]
    assert "|var:raw|" in found["signatures"]["exact_match_raw"]
    assert run("maxm", "test-fr", {"0a1_0": "bleu", "0c3_0": "oui"})["score"] == 1


def test_chartqa_is_the_mean_of_its_halves(run):
    said = {"human/0": "14.5", "human/1": "yes", "augmented/0": "0.06"}
    found = run("chartqa", "test", said)
    assert found["per_item"] == {"human/0": 1, "human/1": 0, "augmented/0": 1}
    assert found["score"] == found["scores"]["relaxed_accuracy_mean"] == 0.75
    assert found["scores"]["relaxed_accuracy"] == pytest.approx(2 / 3)
    human = run("chartqa", "test-human", {"human/0": "14", "human/1": "no"})
    assert human["score"] == 1
    exact = run("chartqa", "test-human", {"human/0": "14", "human/1": "no"}, "--variant", "exact")
    assert exact["score"] == 0.5


def test_ai2d_compares_the_text_of_the_option(run):
    found = run("ai2d", "test", {"0.png-0": "C", "0.png-1": "hawk"})
    assert found["per_item"] == {"0.png-0": 1, "0.png-1": 0}
    assert found["groups"] == {
        "labels/as drawn": {"exact_match": 0},
        "labels/letters": {"exact_match": 1},
    }


def test_tallyqa_reads_words_and_numbers(run):
    found = run("tallyqa", "test", {"2412548/20001": "Ten", "2412548/20002": 1})
    assert found["per_item"] == {"2412548/20001": 1, "2412548/20002": 0}
    assert found["groups"]["kind/simple"] == {"exact_match": 1}
    assert "it must be a string" in run("tallyqa", "test", {"2412548/20001": 1.0})
