# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How `pali caption`, `answer`, `ocr` and `detect` are told to choose words, and what rows gain."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import pali
from pali import shortlist
from pali.cli import main
from pali.decoding import LengthPenalty
from pali.generation import Decoding


@pytest.fixture(scope="module")
def model(tiny_model):
    return pali.load(tiny_model)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    Image.effect_noise((40, 40), 80).convert("RGB").save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(tiny_model, folder, capsys):
    """Runs a command on the tiny model, which must succeed, and gives its rows."""

    def command(*words: str):
        assert main([*words, "--model", str(tiny_model), "--format", "jsonl"]) == 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return [json.loads(line) for line in out.splitlines()]

    return command


@pytest.mark.parametrize(
    ("words", "decoding"),
    [
        ("--beam 3", Decoding("beam", beam_size=3)),
        (
            "--beam 2 --length-penalty 2.5 --n-best 2",
            Decoding("beam", beam_size=2, length_penalty=LengthPenalty("t5x", 2.5), n_best=2),
        ),
        (
            "--sample --temperature 0.7 --top-k 20 --top-p 0.9 --seed 5 --n-best 3",
            Decoding("sample", temperature=0.7, top_k=20, top_p=0.9, seed=5, n_best=3),
        ),
        ("--min-length 3 --max-length 9", Decoding(min_length=3, max_length=9)),
        ("--min-chars 3 --max-chars 12", Decoding(min_chars=3, max_chars=12)),
        ("--no-repeat-ngram 1 --prefix mbwa", Decoding(no_repeat_ngram=1, prefix="mbwa")),
    ],
)
def test_options_are_fields_of_decoding(run, model, words, decoding):
    (row,) = run("caption", "a.png", "--langs", "sw", *words.split())
    text = model.caption("a.png", "sw", decoding=decoding)["sw"]
    assert (row["caption"], row["log_prob"]) == (text, round(text.log_prob, 4))
    others = [
        {"caption": other, "log_prob": pytest.approx(other.log_prob, abs=1e-4)}
        for other in text.others
    ]
    assert row.get("others", []) == others
    assert len(others) == decoding.n_best - 1
    more = {"confidence", "others"} if others else set()
    assert set(row) == {"picture", "lang", "caption", "log_prob", *more}
    assert row.get("confidence", round(text.confidence, 4)) == round(text.confidence, 4)


def test_rows_stay_as_they_were_unless_more_is_asked_for(run):
    plain = {"picture", "lang", "caption", "log_prob"}
    caption = ("caption", "a.png", "--langs", "sw")
    assert set(run(*caption)[0]) == set(run(*caption, "--max-chars", "9")[0]) == plain
    assert set(run(*caption, "--confidence")[0]) == {*plain, "confidence"}
    ensured = run(*caption, "--ensure-language")[0]
    assert set(ensured) == {*plain, "shortlisted", "wrong_language"}


def test_every_verb_takes_them(run, model):
    chosen = Decoding("sample", seed=4, n_best=2, max_length=6)
    words = ["--sample", "--seed", "4", "--n-best", "2", "--max-length", "6"]
    (row,) = run("ocr", "a.png", "--langs", "sw", *words)
    text = model.ocr("a.png", "sw", decoding=chosen)["sw"]
    assert (row["text"], row["others"][0]["text"]) == (text, text.others[0])
    (row,) = run("answer", "a.png", "a?", *words)
    text = model.answer("a.png", "a?", decoding=chosen)
    assert (row["answer"], row["others"][0]["answer"]) == (text, text.others[0])
    row = run("detect", "a.png", "--classes", "dog", "--raw", *words)[0]
    text = model.detect("a.png", ["dog"], decoding=chosen).answer
    assert (row["raw"], row["others"][0]["raw"]) == (text, text.others[0])
    assert len(text.tokens) <= 6


def test_lists_and_truth_values_are_json_in_csv(tiny_model, folder):
    words = ["caption", "a.png", "--langs", "sw", "--model", str(tiny_model), "--ensure-language"]
    assert main([*words, "--beam", "2", "--n-best", "2", "--output", "out.csv"]) == 0
    with open("out.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert json.loads(row["others"])[0]["log_prob"] < 0
    assert row["wrong_language"] in ("true", "false")


def test_a_table_shows_the_others_and_how_sure_it_is(tiny_model, folder, capsys, model):
    words = ["caption", "a.png", "--langs", "sw", "--model", str(tiny_model), "--format", "table"]
    assert main([*words, "--beam", "2", "--n-best", "2"]) == 0
    table = capsys.readouterr().out
    text = model.caption("a.png", "sw", decoding=Decoding("beam", beam_size=2, n_best=2))["sw"]
    assert f"{100 * text.confidence:.2f} %" in table
    assert "others" in table


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--beam 2 --sample", "--beam and --sample are two ways"),
        ("--temperature 2", "--temperature is of --sample, and would change nothing with greedy"),
        ("--beam 2 --seed 1", "--seed is of --sample, and would change nothing with --beam"),
        ("--top-k 3", "--top-k is of --sample"),
        ("--sample --length-penalty 1", "--length-penalty is of --beam, and would change nothing"),
        ("--beam 2 --length-penalty nan", "--length-penalty is nan; give a number"),
        ("--n-best 3", "--n-best needs --beam or --sample"),
        ("--beam 2 --n-best 3", "--n-best is 3 and --beam 2"),
        ("--beam 0", "--beam is 0; it must be at least 1"),
        ("--beam 65", "--beam is 65; it must be at most 64"),
        ("--sample --n-best 0", "--n-best is 0; with method"),
        ("--sample --temperature 0", "--temperature is 0.0; it must be at least 1e-6"),
        ("--sample --top-k 0", "--top-k is 0; it must be at least 1"),
        ("--sample --top-p 2", "--top-p is 2.0; it must be above 0 and at most 1"),
        ("--sample --seed -1", "--seed is -1; it must be at least 0"),
        ("--min-length 5 --max-length 5", "--max-length is 5; it must be above --min-length, 5"),
        ("--min-chars 9 --max-chars 8", "--max-chars is 8; it must be at least 1 and --min-chars"),
        ("--no-repeat-ngram -1", "--no-repeat-ngram is -1"),
        ("--prefix a --prefix b", "--prefix is given twice"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_model_is_loaded(folder, capsys, words, says):
    assert main(["caption", "a.png", *words.split(), "--model", "no model"]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--prefix mbwa --max-length 2", "the prefix 'mbwa' has "),
        ("--min-length 64", "--min-length is 64, and an answer has at most 64 tokens"),
        ("--shortlist none.npz", "none.npz cannot be read: No such file"),
        ("--shortlist a.png", "a.png holds no shortlists"),
        ("--shortlist th.npz", "the shortlists have none for Swahili (sw), but for th"),
        ("--shortlist other.npz", "made for another tokenizer"),
        ("--shortlist own", "the model's folder has no shortlists.npz"),
    ],
)
def test_what_the_model_cannot_do_is_refused_before_anything_is_written(
    tiny_model, folder, model, capsys, words, says
):
    lists = shortlist.derive(model.tokenizer, {"th": []})
    lists.write("th.npz")
    shortlist.Shortlists(lists.masks, "0" * 64).write("other.npz")
    command = ["caption", "a.png", "--langs", "sw", "--output", "out.csv"]
    assert main([*command, *words.split(), "--model", str(tiny_model)]) == 2
    assert says in capsys.readouterr().err
    assert not (folder / "out.csv").exists()


def test_shortlists_lie_in_the_folder_of_a_model_or_anywhere(tiny_model, folder, model, run):
    lists = shortlist.derive(model.tokenizer, {"sw": ["mbwa na paka"], "en": ["a dog"]})
    lists.write("some.npz")
    (row,) = run("caption", "a.png", "--langs", "sw", "--shortlist", "some.npz")
    text = model.caption("a.png", "sw", decoding=Decoding(shortlist=lists))["sw"]
    assert (row["caption"], row["log_prob"]) == (text, round(text.log_prob, 4))
    assert row["shortlisted"] is True
    assert lists.mask("sw")[list(text.tokens)].all()
    with_list = shutil.copytree(tiny_model, folder / "with_list")
    lists.write(with_list / shortlist.FILE)
    same = ["caption", "a.png", "--langs", "sw", "--shortlist", "own", "--output", "out.jsonl"]
    assert main([*same, "--model", str(with_list)]) == 0
    assert json.loads((folder / "out.jsonl").read_text()) == row
    (row,) = run("answer", "a.png", "a?", "--shortlist", "some.npz")
    assert row["answer"] == model.answer("a.png", "a?", decoding=Decoding(shortlist=lists))


def test_a_damaged_list_of_a_model_is_named(tiny_model, folder, capsys):
    damaged = shutil.copytree(tiny_model, folder / "damaged")
    (damaged / shortlist.FILE).write_bytes(b"words")
    assert main(["caption", "a.png", "--model", str(damaged)]) == 2
    assert "shortlists.npz holds no shortlists" in capsys.readouterr().err


def test_choices_are_answers_by_their_likelihood(run, model, folder):
    (folder / "choices.txt").write_text("a dog\n\nmbwa\n")
    rows = run("answer", "a.png", "a?", "--choices", "@choices.txt")
    labels = model.rank("a.png", model.prompts["vqa"].fill({"question": "a?"}), ["a dog", "mbwa"])
    scores = np.asarray(labels[0], np.float64)
    best = int(scores.argmax())
    assert [set(row) for row in rows] == [
        {"picture", "question", "answer", "log_prob", "probability"}
    ]
    assert rows[0]["answer"] == ("a dog", "mbwa")[best]
    assert rows[0]["log_prob"] == pytest.approx(scores[best], abs=1e-3)
    share = np.exp(scores[best]) / np.exp(scores).sum()
    assert rows[0]["probability"] == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--choices", "yes,,no"], "number 2 of the 3 choices is empty"),
        (["--choices", ""], "number 1 of the 1 choices is empty"),
        (["--choices", "@none.txt"], "none.txt cannot be read"),
        (["--choices", "a,b", "--beam", "2"], "--choices are scored and not decoded, so --beam"),
        (["--choices", "a,b", "--prefix", "a", "--max-chars", "3"], "so --max-chars and --prefix"),
    ],
)
def test_choices_that_are_none_are_refused_before_a_model_is_loaded(folder, capsys, words, says):
    assert main(["answer", "a.png", "a?", *words, "--model", "no model"]) == 2
    assert says in capsys.readouterr().err


def test_a_choice_given_twice_is_scored_once_and_said(tiny_model, folder, capsys):
    words = ["answer", "a.png", "a?", "--choices", "a,b,a", "--model", str(tiny_model)]
    assert main([*words, "--format", "jsonl"]) == 0
    out, err = capsys.readouterr()
    assert "choices given more than once are asked once: 'a'" in err
    assert len(out.splitlines()) == 1
