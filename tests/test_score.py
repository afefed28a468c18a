# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali score` on two JSONL files: goldens of the official scorers, and bad files of every kind."""

import gzip
import json
import math
from pathlib import Path

import pytest

from pali.cli import main
from pali.commands.score import NAMES
from pali.metrics.pairs import read_pairs
from pali.metrics.scoring import METRICS, score

GOLDEN = json.loads((Path(__file__).parent / "golden" / "official_metrics.json").read_text("utf-8"))


@pytest.fixture
def files(tmp_path):
    """Writes two files of rows, given as objects or as text."""

    def write(references, predictions):
        paths = []
        for name, rows in (("refs.jsonl", references), ("said.jsonl", predictions)):
            path = tmp_path / name
            lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in rows]
            path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
            paths.append(str(path))
        return paths

    return write


@pytest.fixture
def run(files, capsys):
    """Scores rows; returns the JSON object, or what was refused."""

    def scored(metric, references, predictions, *options):
        known, said = files(references, predictions)
        words = ["score", "--metric", metric, "--references", known, "--predictions", said]
        status = main([*words, "--json", *options])
        out, err = capsys.readouterr()
        return json.loads(out) if status == 0 else err

    return scored


def refs(**texts):
    return [{"id": key, "references": value} for key, value in texts.items()]


def said(**texts):
    return [{"id": key, "prediction": value} for key, value in texts.items()]


def rows(pairs):
    """[(references, prediction)] as two lists of rows."""
    return (
        [{"id": i, "references": list(known)} for i, (known, _) in enumerate(pairs)],
        [{"id": i, "prediction": text} for i, (_, text) in enumerate(pairs)],
    )


@pytest.mark.parametrize("case", GOLDEN["captions"], ids=lambda case: case["name"])
def test_captions_as_they_are_written_score_as_officially(run, case):
    ptb = case["tokenizer"] == "ptb"
    known = [{"id": i["image_id"], "references": i["refs"]} for i in case["images"]]
    texts = [{"id": i["image_id"], "prediction": i["hyp"]} for i in case["images"]]
    for metric, key in (("cider", "CIDEr"), ("bleu", "Bleu_4"), ("rouge_l", "ROUGE_L")):
        found = run(metric, known, texts[::-1], "--tokenizer", "ptb-py" if ptb else "none")
        assert found["score"] == pytest.approx(case["scores"][key], abs=1e-9)
        expected = {i["image_id"]: i["scores"][key] for i in case["images"]}
        assert found["per_item"] == pytest.approx(expected, abs=1e-9)
        label = "ptb-py@1" if ptb else "none"
        assert f"|tok:{label}|n:{len(known)}|" in found["signature"]
        assert found["official"]
    every = run("bleu", known, texts, "--tokenizer", "ptb-py" if ptb else "none")["scores"]
    names = {f"bleu_{k}": case["scores"][f"Bleu_{k}"] for k in (1, 2, 3, 4)}
    assert every == pytest.approx(names, abs=1e-9)


def test_answers_score_as_officially(run):
    cases = GOLDEN["vqa"]["cases"]
    known = [{"id": c["id"], "references": c["answers"]} for c in cases]
    found = run(
        "vqa_accuracy", known, [{"id": c["id"], "prediction": c["prediction"]} for c in cases]
    )
    assert found["per_item"] == pytest.approx({c["id"]: c["accuracy"] for c in cases}, abs=1e-9)
    assert found["notes"] == []
    anls = GOLDEN["anls"]
    pairs = rows([(r["answers"], r["prediction"]) for r in anls])
    for options, key in (((), "rrc"), (("--variant", "paper"), "big_vision")):
        found = run("anls", *pairs, *options)
        assert found["score"] == pytest.approx(sum(r[key] for r in anls) / len(anls), abs=1e-9)
    charts = GOLDEN["relaxed"]
    pairs = rows([([r["target"]], r["prediction"]) for r in charts])
    found = run("relaxed_accuracy", *pairs)
    assert list(found["per_item"].values()) == [r["lowercase_fallback"] for r in charts]
    texts = GOLDEN["wer"]["cases"]
    pairs = rows([([r["reference"]], r["hypothesis"]) for r in texts])
    for metric in ("wer", "cer"):
        found = run(metric, *pairs)
        assert found["score"] == pytest.approx(GOLDEN["wer"][f"corpus_{metric}"], abs=1e-9)
        expected = [r[metric] for r in texts]
        assert list(found["per_item"].values()) == pytest.approx(expected, abs=1e-9)


def test_every_metric_and_variant_has_a_name_and_a_signature(files):
    assert tuple(METRICS) == NAMES
    known, texts = rows([(["a b", "a c"], "a b"), (["two"] * 10, "2")])
    pairs = read_pairs(*files(known, texts))
    seen = set()
    for name, metric in METRICS.items():
        for variant in metric.variants:
            seen.add(
                str(score(pairs, name, variant, "ptb-py" if metric.tokenized else None).signature)
            )
    assert len(seen) == sum(len(metric.variants) for metric in METRICS.values())


def test_people_read_a_line_and_its_signature(files, capsys):
    known, texts = files(refs(a=["yes"] * 10, b=["no"]), said(a="yes", b="no"))
    options = ["--references", known, "--predictions", texts]
    assert main(["score", "--metric", "vqa_accuracy", *options]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "vqa_accuracy 0.5000",
        "vqa_accuracy|bench:-|split:-|var:official|tok:none|n:2|spec:1",
    ]
    assert "1 of 2 questions do not have 10 answers" in err
    assert main(["score", "--metric", "exact_match", "--variant", "best", *options]) == 2
    assert "there are nfkc-space, raw" in capsys.readouterr().err


# What is wrong with two files, and what is said.


def test_ids_that_do_not_match_are_counted_and_named(run):
    known = refs(**{f"k{i}": ["a"] for i in range(7)})
    error = run("exact_match", known, said(k0="a", x="a", y="b"))
    assert "6 of 7 references without a prediction" in error
    assert "k1, k2, k3, …" in error
    assert "2 of 3 predictions whose id is not in" in error
    assert "x, y." in error
    found = run("exact_match", known, said(k0="a", k1="b", x="a"), "--partial")
    assert (found["score"], found["n"], found["official"]) == (0.5, 2, False)
    assert found["signature"].endswith("|n:2|spec:1|partial")
    assert len(found["notes"]) == 2
    assert run("exact_match", known[:1], said(k0="a"), "--partial")["official"]
    for options in ((), ("--partial",)):
        assert "of another split" in run("exact_match", known, said(x="a"), *options)
        assert "2 rows of" in run("exact_match", known, said(k0="a") * 3, *options)


def test_an_id_is_the_same_as_a_number_and_as_a_string(run):
    known = [{"id": 7, "references": ["a"]}, {"id": 12, "references": ["b"]}]
    found = run(
        "exact_match", known, [{"id": "12", "prediction": "b"}, {"id": "7", "prediction": "a"}]
    )
    assert found["per_item"] == {"7": 1, "12": 1}
    assert "2 ids are numbers in" in found["notes"][0]
    assert "such as 7" in found["notes"][0]
    # Not in disguise, and not where a file has both.
    assert "1 of 2 references" in run("exact_match", known, said(**{"07": "a", "12": "b"}))
    both = [*known, {"id": "7", "references": ["c"]}]
    assert "lines 1 and 3" in run("exact_match", both, said(**{"7": "a", "12": "b"}))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": 1, "prediction": "a do', "line 2 of {} is no JSON.*was it cut short"),
        ('{"id": 1 "prediction": "a"}\n', "line 2 of {} is no JSON: Expecting ',' delimiter"),
        ("[" * 100_000, "line 2 of {} is no JSON"),
        ("[1]", "line 2 of {} is \\[1\\]: a line is an object"),
        ({"id": 1, "answer": "a"}, "line 2 of {} has no \"prediction\"; it has 'id', 'answer'"),
        ({"prediction": "a"}, 'line 2 of {} has no "id"'),
        ({"id": 1.0, "prediction": "a"}, "has id 1.0: an id is a string or an integer"),
        ({"id": True, "prediction": "a"}, "has id True"),
        ({"id": None, "prediction": "a"}, "has id None"),
        ({"id": 1, "prediction": None}, 'has prediction null: .*"" for an empty answer'),
        ({"id": 1, "prediction": math.nan}, "has prediction NaN: it must be a string"),
        ({"id": 1, "prediction": ["a"]}, 'has prediction \\["a"\\]'),
    ],
)
def test_a_row_that_is_none_is_named(run, files, row, message):
    import re

    known = [{"id": i, "references": ["a"]} for i in (0, 1)]
    error = run("exact_match", known, [{"id": 0, "prediction": "a"}, row])
    path = re.escape(files([], [])[1])
    assert re.search(message.replace("{}", path), error), error


@pytest.mark.parametrize("value", ["a", [], None, ["a", 1]])
def test_references_are_a_list_of_strings(run, value):
    error = run("exact_match", [{"id": 0, "references": value}], [{"id": 0, "prediction": "a"}])
    assert "must be a list of strings, at least one" in error


def test_files_that_are_none(run, files, capsys, tmp_path):
    assert "is empty: there is nothing to score" in run("exact_match", [], said(a="a"))
    known, texts = files(refs(a=["a"]), said(a="a"))
    words = ["score", "--metric", "exact_match", "--references", known, "--predictions"]
    assert main([*words, str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl cannot be read: No such file" in capsys.readouterr().err
    assert main([*words, str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err
    Path(texts).write_bytes(b'{"id": "a", "prediction": "\xff"}\n')
    assert main([*words, texts]) == 2
    assert f"line 1 of {texts} is not UTF-8" in capsys.readouterr().err
    for junk, message in ((gzip.compress(b"x"), "packed by gzip"), (b"\xff\xfe{", "UTF-16: save")):
        Path(texts).write_bytes(junk)
        assert main([*words, texts]) == 2
        assert message in capsys.readouterr().err
    for name in ("spice", ""):
        assert main(["score", "--metric", name, *words[3:], texts]) == 2
        assert f"no metric {name!r}; there are cider" in capsys.readouterr().err
    assert main([*words, texts, "--check-tokenizer"]) == 2
    assert "--check-tokenizer is of a benchmark, not a metric" in capsys.readouterr().err
    assert main([*words, known, "--tokenizer", "none"]) == 2


def test_unusual_text_has_its_rule(run):
    # U+2028 does not end a line of the file, and is a space to the metrics on captions; a BOM, line
    # ends of Windows and blank lines are no text.
    known = ["\ufeff" + json.dumps({"id": 1, "references": ["a dog on grass"]}) + "\r", "", "\r"]
    known += ['{"id": 2, "references": ["two boats"]}', ""]
    texts = ['{"id": 1, "prediction": "a dog\u2028on grass"}', '{"id": 2, "prediction": ""}']
    for tokenizer in ("ptb-py", "none"):
        found = run("cider", known, texts, "--tokenizer", tokenizer)
        assert found["per_item"] == pytest.approx({"1": 10, "2": 0})
    assert run("rouge_l", known, texts, "--tokenizer", "none")["per_item"] == {"1": 1, "2": 0}
    # Nothing to read in one picture: it has no rate, and the others count.
    found = run("cer", refs(a=["abcd"], b=[" "]), said(a="abc", b="xyz"))
    assert (found["score"], found["per_item"]) == (0.25, {"a": 0.25, "b": None})
    assert "every reference is empty" in run("cer", refs(a=[""]), said(a="x"))
    assert (
        "CIDEr of 0" in run("cider", refs(a=["a"]), said(a="a"), "--tokenizer", "none")["notes"][0]
    )
