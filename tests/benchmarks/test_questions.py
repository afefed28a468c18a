# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""VQAv2, OK-VQA, TextVQA, VizWiz-VQA, and documents: scores worked by hand on raw files."""

import json

import pytest

from tests.benchmarks.layouts import ASKED, LAYOUTS, vqa_annotations, vqa_questions

RIGHT = {262148000: "the table", 262148001: "yes", 393225000: "two"}


def test_vqav2_leaves_one_answer_out_and_has_groups(run):
    # at table, Down., down, 7 x "table": "down" matches twice.
    found = run("vqav2", "val", {262148000: "Down", 262148001: "Yes", 393225000: "two dogs"})
    each = found["per_item"]
    assert each["262148000"] == pytest.approx(0.6)
    assert each["262148001"] == 0  # Ten times "yes": compared as it is.
    assert each["393225000"] == pytest.approx(0.3)
    assert found["groups"]["answer_type/yes/no"] == {"vqa_accuracy": 0}
    assert found["groups"]["question_type/how many"]["vqa_accuracy"] == pytest.approx(0.3)
    assert found["score"] == pytest.approx(0.3)
    assert found["signature"].startswith(
        "vqa_accuracy|bench:vqav2|split:val|var:official|tok:none|"
    )


def test_okvqa_has_big_visions_accuracy_beside_it(run):
    found = run("okvqa", "val", {262148000: "down", 262148001: "yes", 393225000: "2"})
    assert found["scores"]["vqa_accuracy"] == pytest.approx((0.6 + 1 + 1) / 3)
    assert found["scores"]["vqa_accuracy_bv"] == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert "|var:bv|" in found["signatures"]["vqa_accuracy_bv"]


def test_a_server_wants_every_question(run, tmp_path):
    path = tmp_path / "out.json"
    assert "3 answers for EvalAI" in run("vqav2", "test", RIGHT, "--submission", str(path))
    rows = json.loads(path.read_text())
    assert rows[0] == {"question_id": 262148000, "answer": "the table"}
    assert run("vqav2", "val", rows)["score"] == run("vqav2", "val", RIGHT)["score"]


def test_questions_of_another_split_are_refused(run, raw):
    file, questions = LAYOUTS["vqav2"]["val"]
    files = {
        file: vqa_annotations("val2014", LAYOUTS["vqav2"]["val"][file]["annotations"]),
        questions: vqa_questions("val2014", dict(list(ASKED.items())[:2])),
    }
    folder = raw("vqav2", "other", files)
    error = run("vqav2", "val", RIGHT, references=folder)
    assert "question 393225000 is not in" in error
    error = run("vqav2", "train", RIGHT, references=folder / file)
    assert "it is of another split than train2014" in error
    assert run("vqav2", "val", RIGHT, references=folder / file)["n"] == 3


def test_textvqa_in_its_two_spellings(run):
    said = {34602: "stop's", 34603: "Nokia"}
    official = run("textvqa", "val", said)
    m4c = run("textvqa", "val", said, "--variant", "m4c")
    assert official["per_item"]["34603"] == m4c["per_item"]["34603"] == 1
    assert "|var:m4c|" in m4c["signature"]
    assert "no variant 'rrc' of textvqa; there are official, m4c" in run(
        "textvqa", "val", said, "--variant", "rrc"
    )


def test_vizwiz_spells_the_prediction_alone(run):
    names = [f"VizWiz_val_{i:08d}.jpg" for i in range(3)]
    rows = [
        {"image": name, "answer": text}
        for name, text in zip(names, ("Unanswerable", "Grey", "yes."), strict=True)
    ]
    found = run("vizwiz_vqa", "val", rows)
    assert found["per_item"] == pytest.approx({names[0]: 1, names[1]: 0.3, names[2]: 1})
    assert set(found["groups"]) == {
        "answer_type/other",
        "answer_type/unanswerable",
        "answer_type/yes/no",
    }


def test_documents_are_scored_as_by_their_server(run):
    found = run("docvqa", "val", {49153: "0.29", 24580: "uc", 57349: " ITC  Limited"})
    # Four characters, one wrong; the length is that of the text before spaces are made single.
    assert found["per_item"] == pytest.approx({"49153": 0.75, "24580": 1, "57349": 1})
    assert found["groups"]["question_type/form"] == {"anls": 1}
    assert "|var:rrc|" in found["signature"]


def test_lists_of_infographics_are_right_in_any_order(run):
    found = run("infovqa", "val", {98304: "london, paris", 98305: "70%"})
    assert found["score"] == 1


def test_stvqa_is_scored_on_what_is_published(run):
    said = {74139: "New York", 74140: "STEP"}
    assert run("stvqa", "train", said)["per_item"] == pytest.approx({"74139": 1, "74140": 0.75})
    assert "are not published" in run("stvqa", "test", {72961: "7"})
