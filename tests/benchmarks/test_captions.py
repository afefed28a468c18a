# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Captions of COCO, NoCaps, TextCaps and VizWiz: which references count, and bad predictions."""

import json
import os

import pytest

from pali.cli import main
from pali.metrics.cider import cider
from pali.metrics.ptb import tokenize
from tests.benchmarks.layouts import BOAT, DOG, LAYOUTS, TRAIN

PTB = ("--tokenizer", "ptb-py")
SAID = {391895: "a dog on grass", 483108: "a train"}


def expected(references, said):
    return cider([tokenize(known) for known in references], tokenize(said))["cider"]


def test_coco_is_scored_by_the_sentences_of_its_split(run):
    found = run("coco_captions", "test", SAID, *PTB)
    assert found["score"] == pytest.approx(expected([DOG, TRAIN], list(SAID.values())), abs=1e-12)
    assert set(found["per_item"]) == {"391895", "483108"}
    assert found["signature"] == (
        "cider|bench:coco_captions|split:test|var:cider-d;n:4;sigma:6|tok:ptb-py@1|n:2|spec:1.1"
    )
    assert found["signatures"]["bleu_4"].startswith("bleu_4|bench:coco_captions|")
    assert "2 items; 5,000 of test are published" in " ".join(found["notes"])


def test_domains_of_nocaps_weigh_by_their_own_references(run):
    said = {0: "a dog", 1: "two boats", 2: "a train at a station", 3: "boats"}
    found = run("nocaps", "val", said, *PTB)
    near = expected([BOAT, TRAIN], ["two boats", "a train at a station"])
    assert found["groups"]["domain/near-domain"]["cider"] == pytest.approx(near, abs=1e-12)
    assert found["groups"]["domain/in-domain"]["cider"] == 0  # A single picture.
    assert set(found["groups"]["domain/out-domain"]) == {"cider", "bleu_4", "rouge_l"}
    whole = expected([DOG, BOAT, TRAIN, BOAT[:2]], list(said.values()))
    assert found["score"] == pytest.approx(whole, abs=1e-12)


def test_vizwiz_drops_what_people_rejected(run):
    said = {23431: "green beans in a can", 23433: "a computer screen"}
    found = run("vizwiz_captions", "val", said, *PTB)
    known = [
        ["A can of green beans on a table.", "Green beans in a can"],
        ["a computer screen", "a computer with a blue screen"],
    ]
    assert found["score"] == pytest.approx(expected(known, list(said.values())), abs=1e-12)
    assert found["n"] == 2
    assert "1 of 3 items have no reference, and no score" in found["notes"]
    # A picture that is not scored may be described all the same.
    more = run("vizwiz_captions", "val", {**said, 23432: "spam"}, *PTB)
    assert more["score"] == found["score"]
    assert more["official"]


def test_the_servers_own_file_is_read(run):
    rows = [{"image_id": key, "caption": text} for key, text in SAID.items()]
    plain = run("coco_captions", "test", SAID, *PTB)
    for said in (rows, json.dumps(rows, indent=1), "\ufeff" + json.dumps(rows), list(rows[::-1])):
        assert run("coco_captions", "test", said, *PTB)["per_item"] == plain["per_item"]
    lines = "\n".join(json.dumps(row) for row in rows)
    assert run("coco_captions", "test", lines, *PTB)["score"] == plain["score"]


def test_ids_are_complete_known_and_single(run):
    error = run("coco_captions", "test", {391895: "a dog", 7: "x"}, *PTB)
    assert "1 of 2 references without a prediction" in error
    assert ": 483108;" in error
    assert "1 of 2 predictions whose id is not in" in error
    found = run("coco_captions", "test", {391895: "a dog", 7: "x"}, *PTB, "--partial")
    assert not found["official"]
    assert found["signature"].endswith("|n:1|spec:1.1|partial")
    rows = [{"image_id": 391895, "caption": "a"}] * 2
    assert "1 rows of" in run("coco_captions", "test", rows, *PTB)
    assert "391895 (rows 1 and 2)" in run("coco_captions", "test", rows, *PTB)
    assert "of another split" in run("coco_captions", "test", {60623: "boats"}, *PTB)


def test_an_id_as_a_string_is_taken_and_said(run):
    found = run("coco_captions", "test", {str(k): text for k, text in SAID.items()}, *PTB)
    assert any("taken for the same" in note for note in found["notes"])
    rows = '{"id": 391895, "prediction": "a"}\n{"id": "391895", "prediction": "b"}\n'
    assert "a number and a string" in run("coco_captions", "test", rows, *PTB)
    padded = {f"{key:012d}": text for key, text in SAID.items()}
    assert "of another split, or of other data" in run("coco_captions", "test", padded, *PTB)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('[{"image_id": 391895, "caption": "a"', "said.jsonl is no JSON.*was it cut short"),
        ('[{"image_id": 391895, "caption": "a', "said.jsonl is no JSON.*was it cut short"),
        ("[1" + "0" * 5000 + "]", "said.jsonl is no JSON of this kind: Exceeds the limit"),
        ('{"id": 391895, "prediction": "a', "line 1 of .* is no JSON.*was it cut short"),
        ('[{"image_id": 391895}]', 'row 1 of .* has not "id" and "prediction" or "image_id"'),
        ("[1]", "row 1 of .* is 1: expected an object"),
        ("", "is empty: there is nothing to score"),
        ("[]", "is empty: there is nothing to score"),
        ('{"id": 391895, "prediction": null}', 'has prediction null: it must be a string, ""'),
        ('{"id": 391895, "prediction": NaN}', "has prediction NaN: it must be a string"),
        ('{"id": 391895.0, "prediction": "a"}', "has id 391895.0"),
    ],
)
def test_predictions_that_are_none_are_named(run, said, message):
    import re

    assert re.search(message, run("coco_captions", "test", said, *PTB))


def test_empty_captions_and_line_separators_stay_with_their_picture(run):
    said = {391895: "a dog\u2028on grass", 483108: ""}
    found = run("coco_captions", "test", said, *PTB)
    plain = run("coco_captions", "test", {**said, 391895: "a dog on grass"}, *PTB)
    assert found["per_item"] == plain["per_item"]
    assert found["per_item"]["483108"] == 0


def test_a_file_of_another_split_is_refused(run, raw):
    folder = raw("textcaps", "train")
    file = folder / "TextCaps_0.1_train.json"
    error = run("textcaps", "val", {"ab": "a book"}, *PTB, references=file)
    assert "it is of another split than val" in error
    error = run("textcaps", "val", {"ab": "a book"}, *PTB, references=folder)
    assert "has no TextCaps_0.1_val.json, also not in a folder of it" in error
    other = {"a/val.json": {"images": []}, "b/val.json": {"images": []}}
    error = run("vizwiz_captions", "val", {1: "a"}, references=raw("vizwiz_captions", "x", other))
    assert "val.json is there twice" in error


def test_what_cannot_be_scored_is_handed_in(run, raw, tmp_path, capsys):
    said = {key: "a dog" for key in range(4)}
    assert "are not published" in run("nocaps", "test", said)
    path = tmp_path / "handed_in.json"
    assert "4 answers for EvalAI" in run("nocaps", "test", said, "--submission", str(path))
    assert json.loads(path.read_text())[0] == {"image_id": 0, "caption": "a dog"}
    assert "1 are missing: 3" in run(
        "nocaps", "test", {k: "a" for k in range(3)}, "--submission", str(path)
    )
    error = run("nocaps", "test", {**said, 9: "a"}, "--submission", str(path))
    assert "1 of 5 predictions are of no item of this split, such as 9" in error


def test_what_is_handed_in_is_a_file_of_its_own(run, raw, tmp_path, capsys):
    said = {key: "a dog" for key in range(4)}
    for path, message in (
        (tmp_path, f"{tmp_path} cannot be written: Is a directory"),
        (tmp_path / "none" / "out.json", "out.json cannot be written: No such file"),
        (tmp_path / "said.jsonl", "said.jsonl is the file of --predictions: name another"),
    ):
        assert message in run("nocaps", "test", said, "--submission", str(path))
    out = str(tmp_path / "out.json")
    error = run("nocaps", "test", said, "--submission", out, "--variant", "cider-d")
    assert "--variant is of a score; --submission writes a file" in error
    words = ["score", "nocaps", "--split", "test", "--references", str(raw("nocaps", "test"))]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main([*words, "--predictions", str(pipe)]) == 2
    assert "are not published" in capsys.readouterr().err
    assert main([*words, "--predictions", str(pipe), "--submission", out]) == 2
    assert "is a pipe or a device" in capsys.readouterr().err


def test_people_read_the_signature_beside_each_score(raw, tmp_path, capsys):
    said = tmp_path / "said.jsonl"
    rows = ({"id": key, "prediction": text} for key, text in SAID.items())
    said.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["score", "coco_captions", "--references", str(raw("coco_captions", "test"))]
    assert main([*words, "--predictions", str(said), *PTB]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["cider", "bleu_4", "rouge_l"]
    assert [line.split()[2].split("|split")[0] for line in lines] == [
        f"{name}|bench:coco_captions" for name in ("cider", "bleu_4", "rouge_l")
    ]


def test_options_that_do_not_fit_are_refused(run):
    assert "no split 'dev' of coco_captions; there are test, val" in run(
        "coco_captions", "dev", SAID, references="."
    )
    assert "no benchmark 'coco_caption'; did you mean 'coco_captions'?" in run(
        "coco_caption", "test", SAID, references="."
    )
    assert "no variant 'x' of nocaps; there are cider-d" in run(
        "nocaps", "val", SAID, "--variant", "x"
    )


def test_the_layout_has_rows_of_every_split():
    splits = {
        image["split"] for image in LAYOUTS["coco_captions"]["test"]["dataset_coco.json"]["images"]
    }
    assert splits == {"test", "val", "train", "restval"}
