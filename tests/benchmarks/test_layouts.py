# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every benchmark on raw files of its layout: read, scored, handed in, and refused when damaged."""

import copy
import json
from pathlib import Path

import pytest

from pali.benchmarks import listing, predictions, score
from pali.benchmarks.registry import BENCHMARKS
from pali.cli import main
from pali.metrics.pairs import collect
from tests.benchmarks.layouts import LAYOUTS, encoded, write

CASES = [(name, split) for name, splits in LAYOUTS.items() for split in splits]
# Of those that one function reads, one: the first split, and one whose answers are hidden.
_READERS = {benchmark.read: name for name, benchmark in reversed(BENCHMARKS.items())}
READ_APART = [
    (name, split)
    for name in _READERS.values()
    if name not in ("xm3600", "xgqa", "xquad")
    for split in dict.fromkeys(
        [
            next(iter(LAYOUTS[name])),
            *[s for s in LAYOUTS[name] if BENCHMARKS[name].splits[s].hidden][:1],
        ]
    )
]
READ_APART += [("xm3600", "test-en"), ("xgqa", "testdev-bn"), ("xquad", "test-th")]
JUNK = (None, 3.5, "x", [], {}, True)


def places(value, path=()):
    """Every key of a JSON value, of the first two rows of each list."""
    if isinstance(value, dict):
        keys = list(value)[:40]
    elif isinstance(value, list):
        keys = list(range(min(2, len(value))))
    else:
        return
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def damaged(content):
    """Copies of a file with one field gone, or of another kind."""
    for path in places(content):
        for junk in ("gone", *JUNK):
            other = copy.deepcopy(content)
            place = other
            for key in path[:-1]:
                place = place[key]
            if junk == "gone":
                del place[path[-1]]
            else:
                place[path[-1]] = junk
            yield other


def boxes_of(item):
    return [{**row, "score": 0.5} for row in item.facts["annotations"]]


# What is not text: a right answer, and a wrong one.
ANSWERS = {
    "accuracy": (lambda item: list(item.facts["bbox"]), [0, 0, 1, 1]),
    "ap": (boxes_of, [{"category_id": 23, "bbox": [0, 0, 1, 1], "score": 1}]),
    "top_1": (lambda item: item.references[0], None),
}


def answers_to(benchmark, item):
    """A right answer, as a file of predictions has it, and a wrong one."""
    if benchmark.name == "xnli" or benchmark.scorer.metric not in ANSWERS:
        return item.references[0], "zebra crossing"
    right, wrong = ANSWERS[benchmark.scorer.metric]
    if wrong is None:  # Another class, spelled as the right one is.
        wrong = "998" if item.references[0].isdecimal() else "n00000000"
    return right(item), wrong


@pytest.mark.parametrize(("name", "split"), CASES)
def test_a_split_is_read(raw, name, split):
    benchmark = BENCHMARKS[name]
    items = benchmark.items(raw(name, split), split)
    assert len({str(item.id) for item in items}) == len(items)
    for item in items:
        assert benchmark.inputs(item)
        assert all(isinstance(text, str) for text in item.references)
        if benchmark.splits[split].hidden:
            assert not item.references
    assert benchmark.splits[split].hidden or any(item.references for item in items)


@pytest.mark.parametrize(("name", "split"), CASES)
def test_its_first_file_is_enough_or_the_others_are_named(raw, name, split):
    benchmark = BENCHMARKS[name]
    folder = raw(name, split)
    files = benchmark.splits[split].files
    file = next(path for path in sorted(folder.rglob("*")) if path.match(files[0]))
    try:
        alone = benchmark.items(file, split)
    except FileNotFoundError as refused:
        message = str(refused)
        assert files[1] in message
        return
    whole = [item for item in benchmark.items(folder, split) if item.id in {i.id for i in alone}]
    assert [item.id for item in alone] == [item.id for item in whole]
    # A class has one more spelling where the list of classes is there.
    pairs = zip(alone, whole, strict=True)
    assert all(set(one.references) <= set(other.references) for one, other in pairs)


@pytest.mark.parametrize(
    ("name", "split"), [c for c in CASES if not BENCHMARKS[c[0]].splits[c[1]].hidden]
)
def test_right_answers_are_the_best(raw, name, split):
    benchmark = BENCHMARKS[name]
    items = [item for item in benchmark.items(raw(name, split), split) if item.references]
    tokenizer = "ptb-py" if benchmark.scorer.tokenized else None

    def scored(answers):
        rows = collect("x", [(f"{i}", key, answer) for i, (key, answer) in enumerate(answers)])
        return score.score_rows(benchmark, split, items, rows, tokenizer=tokenizer)

    read = benchmark.scorer.answer
    right = scored([(item.id, read(answers_to(benchmark, item)[0])) for item in items])
    again = scored([(item.id, read(answers_to(benchmark, item)[0])) for item in items[::-1]])
    assert again.scores == pytest.approx(right.scores)
    assert again.per_item == pytest.approx(right.per_item)
    signature = right.signature
    assert (signature.benchmark, signature.split, signature.items) == (name, split, len(items))
    assert set(right.signatures) == set(right.scores)
    assert signature.metric.startswith(benchmark.scorer.metric)
    better = -1 if benchmark.scorer.metric in ("cer", "wer") else 1
    wrong = scored([(item.id, read(answers_to(benchmark, item)[1])) for item in items])
    assert better * right.score > better * wrong.score or len(items) == 1


@pytest.mark.parametrize("name", BENCHMARKS)
def test_wrong_missing_and_malformed_rows_of_predictions(raw, tmp_path, name):
    benchmark = BENCHMARKS[name]
    split = next(s for s in LAYOUTS[name] if not benchmark.splits[s].hidden)
    folder = raw(name, split)
    items = [item for item in benchmark.items(folder, split) if item.references]
    pairs = [answers_to(benchmark, item) for item in items]
    path = tmp_path / "said.jsonl"
    tokenizer = "ptb-py" if benchmark.scorer.tokenized else None

    def scored(rows, partial=False):
        lines = (json.dumps({"id": key, "prediction": value}) + "\n" for key, value in rows)
        path.write_text("".join(lines))
        return score.score_files(
            benchmark, folder, path, split=split, tokenizer=tokenizer, partial=partial
        )

    right = [(item.id, pair[0]) for item, pair in zip(items, pairs, strict=True)]
    wrong = [(items[0].id, pairs[0][1]), *right[1:]]
    whole = scored(right)
    assert scored(wrong).per_item[str(items[0].id)] in (None, 0) or name == "mlt2019"
    for junk in (7.5, {}, [[]], True):
        with pytest.raises(ValueError, match=r"line 1 of .* has prediction "):
            scored([(items[0].id, junk), *right[1:]])
    with pytest.raises(ValueError, match="1 rows of .* repeat an id"):
        scored([*right, right[0]])
    with pytest.raises(ValueError, match=f"1 of {len(items) + 1} predictions whose id is not in"):
        scored([*right, ("nobody", right[0][1])])
    assert scored([*right, ("nobody", right[0][1])], partial=True).scores == whole.scores
    if len(items) > 1:
        with pytest.raises(ValueError, match=f"1 of {len(items)} references without a prediction"):
            scored(right[1:])
        part = scored(right[1:], partial=True)
        assert (part.signature.items, part.signature.partial) == (len(items) - 1, True)


@pytest.mark.parametrize(("name", "split"), READ_APART)
def test_a_damaged_file_is_named(tmp_path, name, split):
    benchmark = BENCHMARKS[name]
    layout = LAYOUTS[name][split]
    if name == "xm3600":  # Languages that are not asked for may be missing.
        rows = [{k: row[k] for k in ("image/key", "en")} for row in layout["captions.jsonl"]]
        layout = {"captions.jsonl": rows}
    for file, content in layout.items():
        write(tmp_path, layout)
        path = tmp_path / file
        short = path.name
        whole = path.read_bytes()
        if file.endswith(".json"):
            for junk in (
                b"",
                whole[:-2],
                whole[: len(whole) // 2],
                b"[]",
                b"null",
                b"\xff\xfe",
                b"{}",
            ):
                path.write_bytes(junk)
                refused_or_read(benchmark, tmp_path, split, short)
        elif isinstance(content, str):
            for junk in ("", "\n", "x", content[:-9], content.replace("\t", ",", 1), "\x00"):
                path.write_text(junk)
                refused_or_read(benchmark, tmp_path, split, short)
            path.write_bytes(b"\xff\xfe\x00")
            refused_or_read(benchmark, tmp_path, split, short)
        if not isinstance(content, (bytes, str)):
            for other in damaged(content):
                path.write_bytes(encoded(file, other))
                refused_or_read(benchmark, tmp_path, split, short)


def refused_or_read(benchmark, folder, split, file):
    """Nothing but an error that names the file, or items that are whole."""
    try:
        items = benchmark.items(folder, split)
    except ValueError as refused:
        message = str(refused)
        assert file in message or str(folder) in message
        return
    for item in items:
        assert isinstance(item.id, (int, str))
        assert isinstance(item.picture, str)
        assert isinstance(item.question, str)
        assert all(isinstance(text, str) for text in item.references)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        (name, split)
        for name, split in CASES
        if (form := BENCHMARKS[name].submission) is not None and not form.many
    ],
)
def test_what_a_server_takes_is_written_and_read(raw, tmp_path, name, split):
    benchmark = BENCHMARKS[name]
    items = benchmark.items(raw(name, split), split)
    answers = {str(item.id): f"answer\u2028{i}" for i, item in enumerate(items)}
    path = tmp_path / "submission.json"
    predictions.write_submission(path, benchmark, items, answers)
    rows = predictions.read_predictions(path, benchmark)
    assert rows.values == answers
    if not benchmark.submission.mapping:
        assert rows.types == {str(item.id): type(item.id) for item in items}
        first = json.loads(path.read_text("utf-8"))[0]
        assert list(first) == [benchmark.submission.id, benchmark.submission.answer]
    del answers[str(items[0].id)]
    with pytest.raises(ValueError, match=f"1 are missing: {items[0].id}"):
        predictions.write_submission(path, benchmark, items, answers)


def test_every_split_has_a_layout():
    # Languages of one benchmark have files alike: one of them stands for the others.
    for name, benchmark in BENCHMARKS.items():
        languages = tuple(f"{base}-" for base in ("test", "dev", "testdev", "fewshot"))
        wanted = {split for split in benchmark.splits if not split.startswith(languages)}
        assert wanted <= set(LAYOUTS[name]), name


def test_the_page_and_the_terminal_list_every_benchmark(capsys):
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text("utf-8")
    assert listing.markdown() in page, "run tools/write_benchmarks_doc.py"
    assert main(["score", "--list"]) == 0
    shown = capsys.readouterr().out
    assert main(["score", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["benchmark"] for row in rows] == list(BENCHMARKS)
    for row in rows:
        assert row["title"] in shown
        assert row["licence"]
        assert row["published"].startswith("https://")
