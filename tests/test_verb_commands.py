# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali answer`, `ocr`, `classify` and `detect`: their rows, and the fate of bad input."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

import pali
from pali.checkpoints import pretrained
from pali.cli import main
from pali.predict import Model, Text


@pytest.fixture(scope="module")
def model(tiny_model):
    return pali.load(tiny_model)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with two pictures, one in a folder of its own."""
    (tmp_path / "more").mkdir()
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.png")
    Image.new("RGB", (300, 200), "blue").save(tmp_path / "more" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(tiny_model, folder, capsys):
    """Runs a command on the tiny model; (status, rows, what stderr says)."""

    def command(*words: str):
        status = main([*words, "--model", str(tiny_model), "--format", "jsonl"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, [json.loads(line) for line in out.splitlines()], err

    return command


def test_answer_writes_a_row_for_each_picture_and_question(run, folder, model):
    (folder / "questions.txt").write_text("\ufeffa?\n\n  b? \r\n", encoding="utf-8")
    status, rows, err = run("answer", "--questions", "questions.txt", "a.png", "more")
    assert (status, err) == (0, "")
    pairs = [(name, question) for name in ("a.png", "more/a.jpg") for question in ("a?", "b?")]
    answers = [model.answer(name, question) for name, question in pairs]
    assert rows == [
        {
            "picture": name,
            "question": question,
            "answer": text,
            "log_prob": pytest.approx(text.log_prob, abs=1e-3),
        }
        for (name, question), text in zip(pairs, answers, strict=True)
    ]


def test_the_last_word_is_the_question_wherever_options_stand(run):
    _, expected, _ = run("answer", "a.png", "more", "a?")
    assert [row["picture"] for row in expected] == ["a.png", "more/a.jpg"]
    assert {row["question"] for row in expected} == {"a?"}
    _, rows, _ = run("answer", "a.png", "--overwrite", "more", "--overwrite", "a?")
    assert rows == expected


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.png"], "'a.png' is the only word, and the last is the question"),
        (["more/a.jpg", "a.png"], "the last word is the question, and 'a.png' is a file"),
        (["a.png", " "], "the question is empty"),
        (["a.png", "--questions", "none.txt"], "none.txt cannot be read: No such file"),
        (["a.png", "--questions", "blank.txt"], "blank.txt is empty; write one on each line"),
        (["a.png", "--questions", "a.png"], "a.png is not a text file in UTF-8"),
    ],
)
def test_no_question_is_refused_before_the_model_is_loaded(folder, capsys, words, says):
    (folder / "blank.txt").write_text("\n \n")
    assert main(["answer", *words, "--model", "no model"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pali answer: ")
    assert says in err


def test_a_question_that_begins_with_a_dash_follows_two(tiny_model, folder, capsys):
    assert main(["answer", "--model", str(tiny_model), "--", "a.png", "-5?"]) == 0
    assert json.loads(capsys.readouterr().out)["question"] == "-5?"


def test_ocr_writes_the_text_in_each_language(run, model):
    status, rows, _ = run("ocr", "a.png", "--langs", "sw,Hindi")
    assert status == 0
    texts = model.ocr("a.png", "sw,hi")
    assert [(row["lang"], row["text"]) for row in rows] == list(texts.items())
    assert set(rows[0]) == {"picture", "lang", "text", "log_prob"}


def test_classify_writes_the_best_labels_in_their_order(run, folder, model):
    (folder / "labels.txt").write_text("dog\n\ncat\nmbwa, paka\n")
    status, rows, err = run("classify", "a.png", "--labels", "@labels.txt", "--top", "2")
    assert (status, err) == (0, "")
    expected = model.classify("a.png", ["dog", "cat", "mbwa, paka"])[:2]
    assert [(row["rank"], row["label"]) for row in rows] == [
        (rank, label.name) for rank, label in enumerate(expected, start=1)
    ]
    assert [row["probability"] for row in rows] == pytest.approx(
        [label.probability for label in expected], abs=1e-3
    )


def test_five_hundred_labels_in_a_file(run, folder):
    (folder / "labels.txt").write_text("\n".join(f"dog {number}" for number in range(500)))
    status, rows, err = run("classify", "a.png", "--labels", "@labels.txt", "--top", "500")
    assert (status, err) == (0, "")
    assert len({row["label"] for row in rows}) == 500


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["classify", "--labels", "dog,,cat"], "number 2 of the 3 labels is empty"),
        (["classify", "--labels", ""], "number 1 of the 1 labels is empty"),
        (["classify", "--labels", "@none.txt"], "none.txt cannot be read"),
        (["classify", "--labels", "dog", "--top", "0"], "--top is 0; it must be at least 1"),
        (["classify", "--labels", "dog", "--lang", "sw,hi"], "unknown language 'sw,hi'"),
        (["detect", "--classes", "dog,"], "number 2 of the 2 classes is empty"),
    ],
)
def test_bad_labels_and_classes_are_refused_before_the_model_is_loaded(folder, capsys, words, says):
    assert main([*words, "a.png", "--model", "no model"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err


def test_a_label_given_twice_is_one_row_and_said(run):
    status, rows, err = run("classify", "a.png", "--labels", "dog,cat,dog")
    assert status == 0
    assert {row["label"] for row in rows} == {"dog", "cat"}
    assert err == "pali classify: labels given more than once are asked once: 'dog'\n"


@pytest.mark.parametrize(
    ("words", "failure"),
    [
        (["answer", "a.png", "none.png", "a?"], "asked about"),
        (["ocr", "a.png", "none.png"], "read"),
        (["classify", "a.png", "none.png", "--labels", "dog"], "classified"),
        (["detect", "a.png", "none.png", "--classes", "dog"], "looked at"),
    ],
)
def test_a_picture_that_is_missing_is_one_row_and_the_others_get_theirs(run, words, failure):
    status, rows, err = run(*words)
    assert status == 1
    assert [row["picture"] for row in rows] == ["a.png", "none.png"]
    assert rows[1] == {"picture": "none.png", "error": "none.png: no such file"}
    assert f"pali {words[0]}: 1 of 2 pictures could not be {failure}\n" in err


@pytest.fixture
def answers(monkeypatch):
    """What the model writes, whatever it is asked."""
    texts: list[str] = []
    monkeypatch.setattr(
        Model, "generate", lambda self, images, prompts, **_: [Text(text) for text in texts]
    )
    return texts


def test_detect_writes_boxes_in_pixels_of_each_picture(run, answers):
    answers += ["0 0 500 250 dog 500 500 999 999 traffic light", "0 0 999 999 unasked"]
    status, rows, err = run("detect", "a.png", "more", "--classes", "dog,cat")
    assert (status, err) == (0, "")
    assert rows == [
        {"picture": "a.png", "label": "dog", "xmin": 0.0, "ymin": 0.0, "xmax": 10.0, "ymax": 10.0},
        {
            "picture": "a.png",
            "label": "traffic light",
            "xmin": 20.0,
            "ymin": 10.0,
            "xmax": 40.0,
            "ymax": 20.0,
        },
        # What the model names, it is said to have named, asked or not.
        {
            "picture": "more/a.jpg",
            "label": "unasked",
            "xmin": 0.1,
            "ymin": 0.1,
            "xmax": 299.9,
            "ymax": 199.9,
        },
    ]


def test_what_is_no_box_is_counted_and_shown_when_asked_for(run, answers):
    answers += ["7 7 dog", "900 900 100 100 dog 0 0 500 500 cat"]
    status, rows, err = run("detect", "a.png", "more", "--classes", "dog")
    assert status == 0
    assert rows[0] == {"picture": "a.png", "label": None}
    assert rows[1]["label"] == "cat"
    assert err.startswith(
        "pali detect: 2 pieces of 2 answers are no boxes and were left out; --raw"
    )
    status, rows, err = run("detect", "a.png", "more", "--classes", "dog", "--raw")
    assert [row["raw"] for row in rows] == answers
    assert err == "pali detect: 2 pieces of 2 answers are no boxes and were left out\n"


def test_detect_as_a_table_and_as_csv(tiny_model, folder, answers, capsys):
    answers += ["0 0 500 250 dog", ""]
    command = ["detect", "a.png", "more", "none.png", "--classes", "dog"]
    command += ["--model", str(tiny_model)]
    assert main([*command, "--format", "table"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["picture", "label", "xmin", "ymin", "xmax", "ymax"]
    assert lines[1].split() == ["a.png", "dog", "0", "0", "10", "10"]
    assert lines[2].split() == ["more/a.jpg", "nothing", "found"]
    assert "none.png: no such file" in lines[3]
    assert main([*command, "--output", "boxes.csv"]) == 1
    with open("boxes.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0].values()) == ["a.png", "dog", "0.0", "0.0", "10.0", "10.0", ""]
    assert [row["label"] for row in found] == ["dog", "", ""]


def test_detect_draws_each_picture_at_its_own_size(run, answers, capsys, tiny_model):
    answers += ["0 0 999 500 dog", ""]
    command = ("detect", "a.png", "more", "--classes", "dog", "--draw", "drawn/deep")
    assert run(*command)[0] == 0
    assert sorted(os.listdir("drawn/deep")) == ["a-2.png", "a.png"]
    with Image.open("drawn/deep/a.png") as drawn, Image.open("a.png") as picture:
        changed = np.argwhere((np.asarray(drawn) != np.asarray(picture)).any(-1))
    assert changed.min(0).tolist() == [0, 0]
    assert changed.max(0)[0] == 19
    with Image.open("drawn/deep/a-2.png") as drawn:
        assert drawn.size == (300, 200)
    status, rows, err = run(*command)
    assert (status, rows) == (2, [])
    assert "a.png is there already; give another --draw, or --overwrite" in err
    assert run(*command, "--overwrite")[0] == 0
    status, _, err = run("detect", "a.png", "--classes", "dog", "--draw", ".", "--overwrite")
    assert status == 2
    assert "a.png is itself one of the pictures" in err
    status, _, err = run("detect", "a.png", "--classes", "dog", "--draw", "a.png")
    assert status == 2
    assert "a.png" in err


def test_a_task_that_the_model_was_not_trained_on_is_one_line_on_stderr(
    tiny_model, folder, capsys, tmp_path
):
    copy = tmp_path / "model"
    copy.mkdir()
    for path in tiny_model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    said = json.loads((copy / "config.json").read_text()) | {"prompts": ["caption", "ocr"]}
    (copy / "config.json").write_text(json.dumps(said))
    assert pretrained.load_model(copy).metadata.prompts == ("caption", "ocr")
    command = ["answer", "a.png", "more", "a?", "--model", str(copy), "--format", "jsonl"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.startswith("pali answer: the model was not trained on 'vqa' prompts but on caption")
    assert err.count("\n") == 1
    assert main(["show", "--model", str(copy)]) == 0
    assert "prompts     caption, ocr\n" in capsys.readouterr().out
