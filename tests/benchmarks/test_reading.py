# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""OCRBench, transcription, XNLI, XQuAD: scores worked by hand on raw files."""

import json

import pytest

from tests.benchmarks.more_layouts import XNLI, XQUAD


def test_ocrbench_counts_what_is_contained(run):
    said = {0: "It says centre.", 1: "1972", 2: r"\frac{A}{b}"}
    found = run("ocrbench", "test", said)
    assert (found["metric"], found["score"]) == ("ocrbench", 2)
    assert found["per_item"] == {"0": 1, "1": 0, "2": 1}
    assert found["groups"]["type/Doc-oriented VQA"] == {"accuracy": 0}
    # Case counts in formulas alone.
    assert run("ocrbench", "test", {**said, 2: r"\frac{a}{b}"})["score"] == 1


def test_transcription_leaves_out_what_is_ignored(run):
    said = {"tr_img_00001": "Rue de, Paris STOP", "tr_img_00002": "x"}
    found = run("mlt2019", "train", said)
    # "Rue de, Paris STOP" is right; two letters of another are wrong.
    assert found["score"] == pytest.approx(2 / 20)
    assert found["groups"]["script/Arabic"]["cer"] == 1
    assert set(found["scores"]) == {"cer", "cer_no_spaces", "wer"}
    assert any("1 of 3 items have no reference" in note for note in found["notes"])


def test_xnli_is_the_mean_of_languages(run):
    labels = {1: "neutral", 2: "contradiction", 3: "entailment"}
    said = {f"{lang}/{key}": label for lang in XNLI.split() for key, label in labels.items()}
    said |= {"sw/1": "entailment", "sw/2": "Contradiction"}
    found = run("xnli", "test", said)
    assert found["groups"]["lang/sw"]["accuracy"] == pytest.approx(1 / 3)
    assert found["score"] == pytest.approx((14 + 1 / 3) / 15)
    assert run("xnli", "test-sw", {str(k): v for k, v in labels.items()})["score"] == 1


def test_xquad_is_scored_as_by_squads_script(run, tmp_path):
    first, second = "56beb4343aeaaa14008c925b", "56beb4343aeaaa14008c925c"
    one = {first: "308.", second: "the Carolina Panthers"}
    found = run("xquad", "test-th", json.dumps(one, indent=1))
    assert found["scores"]["em"] == 50
    assert found["score"] == pytest.approx(50 * (1 + 2 / 3))
    said = {f"{lang}/{key}": text for lang in XQUAD.split() for key, text in one.items()}
    every = run("xquad", "test", said)
    assert every["metric"] == "f1_mean"
    assert every["score"] == pytest.approx(found["score"])
    path = tmp_path / "out.json"
    run("xquad", "test-th", one, "--submission", str(path))
    assert json.loads(path.read_text()) == one


def test_an_object_of_answers_has_each_id_once(run):
    key = "56beb4343aeaaa14008c925b"
    error = run("xquad", "test-th", f'{{"{key}": "308", "x": "", "{key}": "309"}}')
    assert f"repeat an id: {key} (rows 1 and 3)" in error
    assert "is no JSON of this kind: it is nested" in run("xquad", "test-th", '{"a":' * 50_000)
    assert "null: expected an object of ids and answers" in run("xquad", "test-th", "null")
