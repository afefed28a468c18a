# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a check finds in small data sets whose faults are known."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pali.data import checking, picture_facts
from pali.data.checked_rows import JsonRows, TaskRows, json_rows
from pali.data.checking import Check, Limits, quantiles, run
from pali.data.pipeline import Task, apply
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.sources import JsonLines
from pali.tokenizer import Tokenizer

FUNCTIONS = (DecodePicture(8), TextToText("caption", "caption"))


def save_scene(path, seed: int) -> None:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(blocks).resize((80, 60), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def write(tmp_path):
    """Four pictures, and a function that writes rows beside them."""
    for number in range(4):
        save_scene(tmp_path / f"{number}.png", number)

    def rows(*records: dict) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return str(path)

    return rows


def row(image: int | str, caption: object, lang: object = "en", **more) -> dict:
    return {"image": f"{image}.png" if isinstance(image, int) else image} | {
        **{"lang": lang, "caption": caption},
        **more,
    }


@pytest.fixture
def check(tiny_tokenizer):
    return Check(Tokenizer(tiny_tokenizer))


def report_on(path: str, check: Check) -> dict:
    rows = json_rows(path, path.removesuffix("/rows.jsonl"))
    for _ in run(rows, check):
        pass
    return check.report(rows)


def test_a_sound_file_has_nothing_but_its_spelling(write, check):
    path = write(row(0, "a dog"), row(0, "a cat"), row(1, "a dog and a cat"), row(2, "mbwa", "sw"))
    report = report_on(path, check)
    assert (report["rows"], report["usable"], report["pictures"]["names"]) == (4, 4, 3)
    assert report["skipped"] == report["doubtful"] == report["noted"] == {}
    assert report["pictures"]["width"] == {
        **{"min": 80, "median": 80, "mean": 80.0, "p95": 80, "max": 80},
    }
    assert json.loads(json.dumps(report)) == report


def test_each_repetition_is_found(write, check, tmp_path):
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    Image.open(tmp_path / "1.png").resize((40, 30)).save(tmp_path / "small.png")
    path = write(
        row(0, "a dog", id=1),
        row(0, "A dog!", id=2),
        row(1, "a dog", id=2),
        row("copy.png", "a cat", id=3),
        row("small.png", "paka", "sw"),
        row(1, "a dog", "sw"),
    )
    report = report_on(path, check)
    assert report["doubtful"] == {
        **{"repeated_row": 1, "repeated_id": 1, "same_picture": 1, "near_picture": 1},
    }
    assert report["noted"] == {"repeated_text": 1}
    shown = {
        kind: [line["where"] for line in found[0]["rows"]]
        for kind, found in report["examples"].items()
    }
    assert shown == {
        "repeated_row": ["line 1", "line 2"],
        "repeated_id": ["line 2", "line 3"],
        "same_picture": ["line 1", "line 4"],
        "near_picture": ["line 3", "line 5"],
        "repeated_text": ["line 1", "line 3"],
    }


def test_texts_are_judged_by_language(write, tiny_tokenizer, check):
    path = write(
        row(0, "a dog and a cat"),
        row(1, "घर", "Hindi"),
        row(2, "a dog", "hi"),
        row(3, "a dog and a cat", "en-US"),
    )
    report = report_on(path, check)
    assert list(report["languages"]) == ["en", "hi"]
    hindi, tokenizer = report["languages"]["hi"], Tokenizer(tiny_tokenizer)
    pieces = [tokenizer.encode("घर"), tokenizer.encode("a dog")]
    assert hindi["pieces"]["max"] == max(map(len, pieces))
    assert hindi["pieces_per_character"] == pytest.approx(sum(map(len, pieces)) / 7, abs=1e-4)
    # Both letters of the first have three bytes; no piece holds them.
    assert hindi["byte_share"] == pytest.approx(6 / sum(map(len, pieces)), abs=1e-5)
    assert report["languages"]["en"]["byte_share"] == 0
    assert report["doubtful"] == {"wrong_script": 1}, "so few pieces say nothing of a language"
    report = report_on(write(row(1, "घर " * 40, "hi")), Check(tokenizer))
    assert report["doubtful"] == {"bytes": 1}
    assert report["examples"]["bytes"][0]["said"].startswith("hi: ")


def test_a_text_of_megabytes_is_looked_at_in_its_beginning(write, tiny_tokenizer, monkeypatch):
    seen = []

    class Counting(Tokenizer):
        def encode(self, text):
            seen.append(len(text))
            return super().encode(text)

    monkeypatch.setattr(checking, "READ", 1000)
    long = "a dog " * 2000
    path = write(row(0, long), row(1, long), row(2, long + "\ufffd"))
    report = report_on(path, Check(Counting(tiny_tokenizer)))
    assert max(seen) == 1000
    assert report["languages"]["en"]["characters"]["max"] == len(long) + 1
    assert report["languages"]["en"]["pieces_per_character"] < 1
    assert report["doubtful"] == {"long_text": 3}
    assert report["noted"] == {"repeated_text": 1}


def test_a_path_spelled_in_two_ways_is_one_picture(write, check, tmp_path):
    (tmp_path / "x").mkdir()
    path = write(row(0, "a dog"), row(f"./x/../{0}.png", "a cat"), row("https://a.b/0.png", "x"))
    report = report_on(path, check)
    assert report["doubtful"] == {}
    assert report["pictures"]["names"] == 2
    assert "https://a.b/0.png is a web address" in report["examples"]["picture"][0]["said"]


def test_lengths_are_compared_with_the_model(write, tiny_tokenizer):
    check = Check(Tokenizer(tiny_tokenizer), limits=Limits(targets=5))
    words = len(Tokenizer(tiny_tokenizer).encode("a cat"))
    report = report_on(write(row(0, "a cat"), row(1, "a cat " * 9)), check)
    assert words + 1 <= 5
    assert report["doubtful"] == {"cut_targets": 1}


def test_a_picture_of_many_rows_is_read_once(write, check, monkeypatch):
    read = Counter()

    def counted(picture):
        read[picture] += 1
        return picture_facts.find_facts(picture)

    monkeypatch.setattr(checking, "find_facts", counted)
    report_on(write(*(row(i % 4, f"dog {i}") for i in range(200))), check)
    assert sorted(read.values()) == [1, 1, 1, 1]


def test_a_check_of_some_rows_reports_on_them(write, check):
    path = write(*(row(0, "a dog") for _ in range(400)))
    rows = json_rows(path, path.removesuffix("/rows.jsonl"))
    running = run(rows, check)
    for _ in range(10):
        next(running)
    running.close()
    report = check.report(rows, complete=False)
    assert (report["rows"], report["complete"]) == (10, False)
    assert report["doubtful"] == {"repeated_row": 9}


def test_tasks_are_read_as_training_reads_them(write, tmp_path, tiny_tokenizer, check):
    path = write(row(0, "a dog", "en"), row(1, "mbwa", "sw", id="x"), row(2, None), row(9, "paka"))
    source = JsonLines(path, image_folder=str(tmp_path))
    task = Task("mine", source, (*FUNCTIONS, Tokenize(str(tiny_tokenizer))))
    rows = TaskRows("mine", [task, dataclasses.replace(task, name="again")])
    found = list(rows)
    assert len(found) == len(rows) == 8
    assert list(rows.at([1, 5])) == [found[1], found[5]]
    assert (found[5].where, found[5].id, found[5].lang) == ("again, record 1", "x", "sw")
    expected = apply(FUNCTIONS, source[0])
    assert (found[0].inputs, found[0].text) == (expected["inputs"], expected["targets"])
    for _ in run(rows, check):
        pass
    report = check.report(rows)
    assert report["skipped"] == {"picture": 2, "text": 2}
    assert report["pictures"]["names"] == 4
    assert report["inputs"]["min"] == len(Tokenizer(tiny_tokenizer).encode(found[0].inputs or ""))


def test_answers_are_in_the_language_of_the_answer(write, tmp_path):
    path = write(row(0, "two", "sw", question="mbwa ngapi?"))
    task = Task("vqa", JsonLines(path, str(tmp_path)), (TextToText("vqa", "caption"),))
    assert [found.lang for found in TaskRows("vqa", [task])] == ["en"]


def test_drawn_pictures_are_drawn(write, check, tmp_path):
    class Draw:
        makes_image = True

        def __call__(self, example):
            return example | {"image": np.full((20, 30, 3), 7, np.uint8)}

    source = JsonLines(write(row(0, "a dog")), image_folder=str(tmp_path))
    rows = TaskRows("drawn", [Task("drawn", source, (Draw(), *FUNCTIONS[1:]))])
    for _ in run(rows, check):
        pass
    assert check.report(rows)["pictures"]["height"]["max"] == 20


def test_fields_are_found_or_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"image": "a.png", "language": "sw", "text": "x", "answer": "y"}\n')
    assert json_rows(str(path), ".") == JsonRows(str(path), ".", "text", "language")
    assert json_rows(str(path), ".", text="answer").text == "answer"
    with pytest.raises(ValueError, match="--lang-field is 'l'; .* has image, language, text, ans"):
        json_rows(str(path), ".", lang="l")
    path.write_text('{"image": "a.png", "title": "x"}\n')
    with pytest.raises(ValueError, match="has image, title; say by --text-field"):
        json_rows(str(path), ".")
    path.write_text("no json\n")
    with pytest.raises(ValueError, match="no line with a JSON object"):
        json_rows(str(path), ".")


def test_quantiles_are_those_of_the_numbers():
    numbers = np.random.default_rng(0).geometric(0.05, 999)
    found = quantiles(Counter(numbers.tolist()))
    assert found is not None
    assert found["median"] == np.quantile(numbers, 0.5, method="inverted_cdf")
    assert found["p95"] == np.quantile(numbers, 0.95, method="inverted_cdf")
    assert found["mean"] == pytest.approx(numbers.mean(), abs=0.01)
    assert (found["min"], found["max"]) == (numbers.min(), numbers.max())
    assert quantiles(Counter()) is None
