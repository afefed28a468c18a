# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali evaluate --compare`: workdirs written by hand, no model."""

import copy
import json

import numpy as np
import pytest

from pali import comparison
from pali.cli import main
from pali.metrics import records
from pali.metrics.chrf import chrf
from pali.metrics.exact_match import exact_match


def length(targets, predictions):
    """A metric of somebody, known as a function alone."""
    return {"length": float(np.mean([len(text) for text in predictions]))}


def lines(right, count=60):
    """Named by 20 concepts in 3 languages; the first `right` concepts are named correctly."""
    return [
        {
            **{"id": f"t/{i:03}", "task": "t", "split": "test", "version": "1"},
            **{"lang": ("en", "de", "sw")[i % 3], "group": f"g{i // 3}", "image_key": f"g{i // 3}"},
            **{"prompt": "?", "references": [f"a thing {i // 3}"], "log_prob": -1.0},
            **{"prediction": f"a thing {i // 3}" if i // 3 < right else "none", "num_tokens": 3},
            **{"candidates": ["x", "y"], "right_candidate": i // 3 % 2},
            "log_likelihoods": [-1.0 - i // 3 % 2, -2.0] if i // 3 < right else [-3.0, -3.0],
        }
        for i in range(count)
    ]


def write(folder, own, change=None):
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in reversed(own))
    (folder / "predictions.jsonl").write_text(text)
    scores = records.score(own, [exact_match, chrf, length])
    for record in scores:
        record |= (change or {}).get(record["metric"], {})
    (folder / "metrics.json").write_text(json.dumps({"scores": scores}))
    return folder


@pytest.fixture
def workdirs(tmp_path):
    return write(tmp_path / "a", lines(5)), write(tmp_path / "b", lines(15))


def test_differences_have_paired_intervals(workdirs):
    found = comparison.compare(*workdirs)
    rows = {(row["metric"], row["variant"]): row for row in found["rows"]}
    row = rows["exact_match", "nfkc-space"]
    assert (row["a"], row["b"], row["difference"], row["n"]) == (25, 75, 50, 60)
    assert row["per_language"] == {"en": 50, "de": 50, "sw": 50}
    # Independently: a concept is named in all languages or none, so draw 20 differences of 0 or 1.
    gain = np.array([5 <= k < 15 for k in range(20)])
    drawn = np.random.default_rng(1).integers(0, 20, (20_000, 20))
    low, high = np.quantile(100 * gain[drawn].mean(1), [0.025, 0.975])
    assert row["interval"] == pytest.approx((low, high), abs=5)
    assert rows["right_script", "most-letters"]["interval"] == (0, 0)
    assert {v for m, v in rows if m == "choice"} == {"sum", "sum-minus-prior"}
    plain = next(row for row in found["rows"] if row["metric"] == "length")
    assert plain["interval"] is None
    assert plain["difference"] == plain["b"] - plain["a"]
    assert found["incomparable"] == []
    assert found["only"] == {"a": [], "b": []}


def test_a_workdir_differs_from_itself_in_nothing_and_the_order_turns_the_sign(workdirs):
    a, b = workdirs
    for row in comparison.compare(a, a)["rows"]:
        assert row["difference"] == 0
        assert row["interval"] in (None, (0, 0))
    there, back = comparison.compare(a, b)["rows"], comparison.compare(b, a)["rows"]
    for one, other in zip(there, back, strict=True):
        assert one["difference"] == -other["difference"]
        if one["interval"]:
            low, high = other["interval"]
            assert one["interval"] == pytest.approx((-high, -low))


def test_scores_of_other_measurements_are_marked_and_never_subtracted(workdirs):
    a, b = workdirs
    signature = "chrf|bench:t|split:test|var:lower|tok:none|n:60|spec:1.1"
    write(b, lines(15), {"chrf": {"variant": "lower", "signature": signature}})
    found = comparison.compare(a, b)
    assert "chrf" not in {row["metric"] for row in found["rows"]}
    [pair] = found["incomparable"]
    assert list(pair["differ"]) == ["variant"]
    text = "\n".join(comparison.lines(found))
    assert "not comparable: variant is chrF2" in text
    assert signature in text


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (lines(15, 57), "3 predictions are only in A and 0 only in B, such as t/057"),
        ([{**lines(15)[0], "references": ["b"]}, *lines(15)[1:]], "references .*other data"),
        ([*lines(15), lines(15)[3]], "1 ids more than once, such as t/003"),
    ],
)
def test_other_examples_are_refused(workdirs, own, message):
    with pytest.raises(ValueError, match=message):
        comparison.compare(workdirs[0], write(workdirs[1], own))


def test_damaged_files_are_refused(workdirs):
    a, b = workdirs
    text = (b / "predictions.jsonl").read_text()
    (b / "predictions.jsonl").write_text(text[:-20])
    with pytest.raises(ValueError, match="line 60 of .* is damaged, or was cut short"):
        comparison.compare(a, b)
    (b / "predictions.jsonl").write_text(text.replace("none", "no"))
    with pytest.raises(ValueError, match="in metrics.json, and predictions.jsonl gives"):
        comparison.compare(a, b)
    (b / "metrics.json").write_text("[]")
    with pytest.raises(ValueError, match=r"metrics.json is damaged"):
        comparison.compare(a, b)
    (b / "metrics.json").unlink()
    with pytest.raises(ValueError, match="no finished evaluation"):
        comparison.compare(a, b)


def junked(value):
    """Copies of a JSON value, each with one field of its rows gone or of another kind."""
    for path in places(value):
        for junk in ("gone", None, 3.5, "x", [], {}, 10**400):
            other = copy.deepcopy(value)
            place = other
            for key in path[:-1]:
                place = place[key]
            if junk == "gone":
                del place[path[-1]]
            else:
                place[path[-1]] = junk
            yield other


def places(value, path=()):
    keys = list(value) if isinstance(value, dict) else range(isinstance(value, list) and 1)
    for key in keys if value else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def test_a_field_of_another_kind_is_named_whatever_it_is(tmp_path):
    a, b = (write(tmp_path / name, lines(right, 6)) for name, right in (("a", 1), ("b", 2)))
    official(a, [0.5] * 2), official(b, [0.6] * 2)
    refused = []
    for name in ("metrics.json", "predictions.jsonl", "items/b.validation.jsonl"):
        path = b / name
        whole = path.read_text()
        for other in junked([json.loads(line) for line in whole.splitlines()]):
            path.write_text("".join(json.dumps(row) + "\n" for row in other))
            try:
                comparison.lines(comparison.compare(a, b))
            except ValueError as error:
                refused.append(str(error))
        path.write_text(whole)
    assert len(refused) > 200
    # Files by their path; rows that are not those of A by task and split.
    assert [
        said for said in refused if str(tmp_path) not in said and said[:5] not in ("t tes", "b val")
    ] == []


def test_the_command(workdirs, capsys):
    a, b = map(str, workdirs)
    assert main(["evaluate", "--compare", a, b]) == 0
    out = capsys.readouterr().out
    assert "t test, n 60\n  exact match          A   25.0  B   75.0  B - A  +50.0 (" in out
    assert main(["evaluate", "--compare", a, b, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["difference"] == 50
    for words, said in (
        (["--compare", a, b, "--limit", "3"], "--limit is of an evaluation"),
        (["--json", "--tasks", "t"], "--json is of --compare"),
        ([], "--tasks is missing"),
        (["--tasks", "t", "--workdir", ""], "--workdir is empty; name a folder"),
    ):
        assert main(["evaluate", *words]) == 2
        assert said in capsys.readouterr().err


def official(folder, scores, metric="vqa_accuracy", parts=1, change=None):
    """Adds the official record of a benchmark: two questions to each picture."""
    (folder / "items").mkdir()
    rows = [
        {"id": i, "part": f"lang/{i % parts}", "group": f"g{i // 2}", "score": score}
        for i, score in enumerate(scores)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "items" / "b.validation.jsonl").write_text(text)
    score = float(np.mean([np.mean(scores[part::parts]) for part in range(parts)]))
    signature = f"{metric}|bench:b|split:val|var:official|tok:none|n:{len(rows)}|spec:1.1"
    record = {"benchmark": "b", "split": "val", "task": "b", "metric": metric, "score": score}
    record |= {"scores": {metric: score, "other": 0.25}, "items": "items/b.validation.jsonl"}
    record |= {"signatures": {metric: signature, "other": signature}} | (change or {})
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"official": [record]}))
    return folder


def test_official_scores_are_compared_on_the_same_pictures(workdirs, capsys):
    a, b = workdirs
    rng = np.random.default_rng(0)
    before, gain = rng.random(100), rng.normal(0.05, 0.1, 50)
    # Both questions of a picture gain the same, so that there are 50 draws and not 100.
    after = before + np.repeat(gain, 2)
    official(a, list(before)), official(b, list(after))
    row, other = comparison.compare(a, b)["official"]
    assert row["difference"] == pytest.approx(gain.mean())
    drawn = np.random.default_rng(1).integers(0, 50, (20_000, 50))
    wanted = np.quantile(gain[drawn].mean(1), [0.025, 0.975])
    assert row["interval"] == pytest.approx(wanted, abs=0.004)
    assert (other["metric"], other["difference"], other["interval"]) == ("other", 0, None)
    assert main(["evaluate", "--compare", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    assert "official b val, n 100\n  vqa_accuracy" in said
    low, high = row["interval"]
    assert f"B - A {row['difference']:+8.4f} ({low:+.4f} to {high:+.4f})" in said


def test_a_mean_over_languages_is_drawn_as_one(workdirs):
    a, b = workdirs
    official(a, [0.0, 1.0] * 15 + [0.0], "cider_mean", 2)
    official(b, [0.5, 1.0] * 15 + [0.5], "cider_mean", 2)
    row = comparison.compare(a, b)["official"][0]
    assert (row["a"], row["b"]) == (0.5, 0.75)
    # Every language gains the same whatever is drawn: but where one is not drawn at all.
    assert row["interval"] == pytest.approx((0.25, 0.25))


def test_official_scores_that_cannot_be_compared_are_said(workdirs):
    a, b = workdirs
    for folder, tokenizer in ((a, "ptb-py@1"), (b, "none")):
        signature = f"cider|bench:b|split:val|var:c|tok:{tokenizer}|n:4|spec:1.1"
        change = {"scores": {"cider": 0.5}, "signatures": {"cider": signature}}
        official(folder, [0.5] * 4, "cider", change=change)
    found = comparison.compare(a, b)
    assert found["official"] == []
    [pair] = found["incomparable"]
    assert pair["differ"] == {"tokenizer": ["ptb-py@1", "none"]}
    assert "not comparable: tokenizer is ptb-py@1 or none" in "\n".join(comparison.lines(found))
    found = json.loads((b / "metrics.json").read_text())
    found["official"][0]["split"] = "test"
    (b / "metrics.json").write_text(json.dumps(found))
    assert comparison.compare(a, b)["only"] == {"a": ["official b val"], "b": ["official b test"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "1 items are in A or B alone: 3"),
        (lambda rows: [*rows[:-1], rows[-1].replace('"g1"', '"g7"')], "item 3 is of another pict"),
        (lambda rows: [*rows[:-1], rows[-1][:9]], "line 4 of .* is no JSON.*cut short"),
        (lambda rows: [*rows[:-1], rows[-1].replace("0.5", "0.9")], "gives 0.6000"),
    ],
)
def test_files_of_other_items_are_refused(workdirs, change, message):
    for folder in workdirs:
        official(folder, [0.5] * 4)
    path = workdirs[1] / "items" / "b.validation.jsonl"
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(ValueError, match=message):
        comparison.compare(*workdirs)
