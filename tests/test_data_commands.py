# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali data check` and `pali data split` as they are called."""

import hashlib
import html.parser
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pali.cli import main
from pali.commands import CommandError
from pali.commands.data_check import spread
from pali.commands.data_split import read_shares
from pali.config import DataConfig
from pali.data import checking, splitting
from tests import browser

ROOT = Path(__file__).parents[1]
HOSTILE = '</td><script>console.error(1)</script><img src="https://example.org/">'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """40 pictures, three records of each, in no order; picture 7 has a copy and a smaller copy."""
    monkeypatch.chdir(tmp_path)
    rows = []
    (tmp_path / "p").mkdir()
    for number in range(40):
        blocks = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        image = Image.fromarray(blocks).resize((80, 60), Image.Resampling.BICUBIC)
        image.save(tmp_path / "p" / f"{number}.png")
        for lang, text in (("en", "the picture"), ("sw", "picha"), ("th", "ภาพ")):
            caption = f"{text} {number}"
            rows.append({"image": f"{number}.png", "lang": lang, "caption": caption})
    np.random.default_rng(0).shuffle(rows)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def add(folder, *rows: dict | str) -> None:
    with (folder / "rows.jsonl").open("a") as file:
        for row in rows:
            file.write((row if isinstance(row, str) else json.dumps(row)) + "\n")


def copies(folder) -> None:
    """Picture 7 again: the same file under another name, and another file of the same look."""
    whole = (folder / "p" / "7.png").read_bytes()
    (folder / "p" / "copy.png").write_bytes(whole)
    Image.open(folder / "p" / "7.png").resize((40, 30)).save(folder / "p" / "small.jpg")
    for name in ("copy.png", "small.jpg"):
        add(folder, {"image": name, "lang": "en", "caption": f"see {name}"})


def check(*words: str) -> int:
    return main(["data", "check", "rows.jsonl", "--images", "p", *words])


def split(*words: str, to: str = "out") -> int:
    return main(["data", "split", "rows.jsonl", "--images", "p", "--to", to, *words])


def test_data_alone_says_what_there_is(capsys):
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert "check " in out
    assert "split " in out
    assert main(["data", "chek"]) == 2
    assert "invalid choice: 'chek'" in capsys.readouterr().err


def test_the_status_says_whether_something_was_found(folder, capsys):
    assert check() == 0
    assert "rows.jsonl: 120 records, 120 that training can use; 40 pictures" in (
        capsys.readouterr().out
    )
    add(folder, {"image": "no.png", "lang": "en", "caption": "x"})
    assert check() == 1
    out = capsys.readouterr().out
    assert "1  picture: the picture is missing" in out
    assert "line 121: p/no.png: no such file" in out


def test_records_are_shown_and_the_share_compared_with_what_training_allows(folder, capsys):
    name = "\x1b[31mred"
    add(folder, *({"image": f"{name}{i}.png", "lang": "en", "caption": "x"} for i in range(5)))
    assert check() == 1
    out = capsys.readouterr().out
    assert "4.00% of the records; a run stops at more than data.max_skipped, which is 1%" in out
    assert [f"line {n}:" in out for n in range(121, 126)] == [True, True, True, False, False]
    assert "\x1b" not in out


def test_texts_are_compared_with_the_lengths_of_a_config_that_says_none(folder, capsys):
    """And with those of --targets, if it is given."""
    add(folder, {"image": "7.png", "lang": "en", "caption": "a red house in the hills " * 20})
    assert check("--json", "check.json") == 1
    report = json.loads((folder / "check.json").read_text())
    limits = {"inputs": DataConfig.inputs_length, "targets": DataConfig.targets_length}
    assert report["limits"] == limits
    assert report["doubtful"] == {"cut_targets": 1}
    longest = report["languages"]["en"]["pieces"]["max"] + 1
    assert longest > limits["targets"]
    said = f"texts of more than {limits['targets']} pieces: 1 (training cuts them with "
    out = capsys.readouterr().out
    assert said in out
    assert f"the longest: {longest} with its end" in out
    assert check("--targets", str(longest)) == 0
    assert f"texts of more than {longest} pieces: 0 (" in capsys.readouterr().out


def test_a_split_says_what_it_could_not_do(folder, capsys):
    """No picture is where it is looked for, and so few that a split has none."""
    lines = [json.dumps({"image": f"{i}.png"}) for i in range(3)]
    lines += ['{"image": 5}', '{"image": null}', "{}\x1b"]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    (folder / "q").mkdir()
    assert split("--images", "q", "--shares", "train=1000,test=1") == 1
    err = capsys.readouterr().err
    assert "test is empty: of 3 pictures none was drawn for its share of 0.1%; try another" in err
    assert "3 of 3 pictures below q cannot be read, and are told apart by name alone; is" in err
    assert "in no split: 2 lines without 'image'; the first: rows.jsonl, line 4 has" in err
    assert "\x1b" not in err


def test_a_limit_takes_some_of_everywhere(folder, capsys):
    numbers = list(spread(50, 1201))
    assert numbers == sorted(set(numbers))
    assert 0 <= numbers[0] < 25
    assert 1176 <= numbers[-1] < 1201
    assert len({number % 24 for number in numbers}) > 10
    assert check("--limit", "30") == 0
    assert "rows.jsonl: 30 records" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["none.jsonl"], "none.jsonl: no such file"),
        (["rows.jsonl", "--split", "test"], "rows.jsonl is a file; --split is of tasks"),
        (["rows.jsonl", "--images", "q"], "--images: there is no folder q"),
        (["rows.jsonl", "--limit", "0"], "--limit is 0; give at least 1"),
        (["rows.jsonl", "--json", "rows.jsonl"], "rows.jsonl is there already"),
        (["rows.jsonl", "--json", "rows.jsonl", "--overwrite"], "rows.jsonl is one of the"),
        (["rows.jsonl", "--json", "x", "--html", "x"], "x is --json too"),
        (["rows.jsonl", "--json", "x", "--html", "./p/../x"], "x is --json too"),
        (["p"], "p is a folder: pali data check reads a JSONL file, or a task"),
        (["rows.parquet"], "rows.parquet is no JSONL file"),
        (["rows.jsonl", "--text-field", "title"], "rows.jsonl has image, lang, caption"),
        (["rows.jsonl", "--tokenizer", "p/0.png"], "p/0.png is not a SentencePiece model"),
    ],
)
def test_what_cannot_be_checked_is_refused(folder, capsys, words, says):
    (folder / "rows.parquet").write_bytes(b"PAR1")
    assert main(["data", "check", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_file_needs_neither_seqio_nor_jax(folder):
    program = """
import sys
from pali.cli import main
assert main(["data", "check", "rows.jsonl", "--images", "p", "--limit", "9"]) == 0
assert main(["data", "split", "rows.jsonl", "--images", "p", "--to", "out"]) == 0
print({"jax", "flax", "grain", "seqio", "tensorflow", "torch"} & set(sys.modules))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("set()\n")


def test_an_interruption_reports_what_was_read(folder, monkeypatch, capsys):
    def interrupted(rows, check):
        for number, row in enumerate(real(rows, check)):
            if number == 20:
                raise KeyboardInterrupt
            yield row

    real = checking.run
    monkeypatch.setattr(checking, "run", interrupted)
    assert check("--json", "out.json") == 130
    out, err = capsys.readouterr()
    assert "rows.jsonl until it was interrupted: 21 records" in out
    assert err == "pali data: interrupted after 21 of 120 records\n"
    assert json.loads((folder / "out.json").read_text())["complete"] is False


class Page(html.parser.HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def test_the_page_stands_alone_in_a_browser(folder, tmp_path_factory, capsys):
    copies(folder)
    add(folder, {"image": "3.png", "lang": HOSTILE, "caption": HOSTILE})
    add(folder, {"image": f"{HOSTILE}.png", "lang": "en", "caption": "\ufffd"})
    add(folder, {"image": "3.png", "lang": "th", "caption": HOSTILE})
    assert check("--html", "out.html", "--json", "out.json") == 1
    page = Page((folder / "out.html").read_text("utf-8"))
    assert not [tag for tag, _ in page.elements if tag == "script"]
    sources = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert len(sources) > 4
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    program = browser.find()
    if program is None:
        pytest.skip("there is no browser; `python tools/get_browser.py` installs one")
    with browser.Browser(program, tmp_path_factory.mktemp("profile")) as tab:
        tab.open((folder / "out.html").as_uri())
        widths = tab.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
        assert all(widths)
        assert len(widths) == len(sources)
        body = tab.evaluate("document.body.innerText")
        assert HOSTILE in body
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not [event for event in tab.events if event[0] == "Log.entryAdded"]


def read(folder, to: str = "out") -> dict[str, list[bytes]]:
    return {path.stem: path.read_bytes().splitlines(True) for path in (folder / to).iterdir()}


def where(splits: dict[str, list[bytes]]) -> dict[str, set[str]]:
    """Picture -> splits that show it."""
    found = defaultdict(set)
    for name, lines in splits.items():
        for line in lines:
            found[json.loads(line)["image"]].add(name)
    return found


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_split_has_every_line_once_and_every_picture_in_one(folder, end, capsys):
    copies(folder)
    rows = folder / "rows.jsonl"
    rows.write_bytes(rows.read_bytes().replace(b"\n", end))
    assert split() == 0
    splits = read(folder)
    assert set(splits) == {"train", "validation", "test"}
    original = (folder / "rows.jsonl").read_bytes().splitlines(True)
    assert sorted(line for lines in splits.values() for line in lines) == sorted(original)
    for lines in splits.values():
        assert lines == [line for line in original if line in lines], "in the file's order"
    places = where(splits)
    assert all(len(names) == 1 for names in places.values())
    assert places["7.png"] == places["copy.png"]
    assert f"train.jsonl  {len(splits['train'])} records" in capsys.readouterr().out


def test_pictures_that_look_alike_stay_together_when_asked_to(folder):
    copies(folder)
    apart = 0
    for seed in range(8):
        for words, to in (((), f"plain{seed}"), (("--near",), f"near{seed}")):
            assert split("--shares", "a=1,b=1", "--seed", str(seed), *words, to=to) == 0
            places = where(read(folder, to))
            if words:
                assert places["7.png"] == places["copy.png"] == places["small.jpg"]
            else:
                apart += places["7.png"] != places["small.jpg"]
    assert apart > 0


def test_records_that_are_added_move_no_other(folder):
    assert split(to="before") == 0
    before = where(read(folder, "before"))
    lines = (folder / "rows.jsonl").read_text().splitlines()[::-1]
    for number in range(40, 60):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(folder / "p" / f"{number}.png")
        lines.insert(0, json.dumps({"image": f"{number}.png", "caption": "x"}))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    (folder / "p").rename(folder / "q")
    assert main(["data", "split", "rows.jsonl", "--images", "q", "--to", "after"]) == 0
    after = where(read(folder, "after"))
    assert {image: after[image] for image in before} == before
    assert len(after) == 60
    assert split("--images", "q", "--seed", "1", to="other") == 0
    assert where(read(folder, "other")) != after


def test_shares_hold_on_average():
    shares = {"train": 8.0, "test": 2.0}
    groups = [
        int.from_bytes(hashlib.sha256(bytes([i % 256, i // 256])).digest()[:8]) or 1
        for i in range(5000)
    ]
    names = [splitting.split_of(group, shares, seed=3) for group in groups]
    assert 0.78 < names.count("train") / 5000 < 0.82
    assert set(names) == {"train", "test"}


def test_another_field_may_say_what_belongs_together(folder, capsys):
    rows = [{"clip": i % 20, "n": i} for i in range(100)] + [{"n": 1}]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n{broken\n")
    words = ["data", "split", "rows.jsonl", "--by", "clip", "--to", "out", "--shares", "a=1,b=1"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "values of clip" in out
    assert (
        "in no split: 1 line without 'clip'; the first: rows.jsonl, line 101 has no 'clip'" in err
    )
    assert (
        "in no split: 1 line that cannot be read; the first: rows.jsonl, line 102 is not a JSON"
        in err
    )
    clips = [{json.loads(line)["clip"] for line in lines} for lines in read(folder).values()]
    assert clips[0].isdisjoint(clips[1])
    assert len(clips[0] | clips[1]) == 20


def test_a_split_is_made_whole_or_not_at_all(folder, capsys, monkeypatch):
    (folder / "out").mkdir()
    assert split() == 2
    assert "out is there already" in capsys.readouterr().err
    before = sorted(os.listdir(folder))
    assert split("--by", "clip", "--near", to="new") == 2
    monkeypatch.setattr(splitting, "split_of", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        splitting.split_file("rows.jsonl", folder / "new", {"a": 1.0}, images="p")
    (folder / "rows.jsonl").write_text('{"caption": "x"}\n')
    assert split(to="new") == 2
    assert (
        "no record that can be put into a group: rows.jsonl, line 1 has" in capsys.readouterr().err
    )
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    "text", ["", "a", "a=", "a=0", "a=-1", "a=nan", "a=1,a=2", "../a=1", "=1", "80", "a=1e308"]
)
def test_shares_are_names_and_numbers(text):
    with pytest.raises(CommandError, match="--shares has"):
        read_shares(text)
    assert read_shares("train=0.9, test=.1") == {"train": 0.9, "test": 0.1}


def test_a_language_that_falls_to_bytes_is_said(folder, tiny_tokenizer, capsys):
    assert check("--tokenizer", str(tiny_tokenizer), "--html", "out.html") == 1
    out = capsys.readouterr().out
    # It has no digits either, of which every text has some.
    assert "3  bytes: a language that the tokenizer spells in bytes, more than 1 piece in 10" in out
    (said,) = [line.strip() for line in out.splitlines() if line.strip().startswith("en: ")]
    assert float(said.partition("th: ")[2][:-1]) > 80
    assert said in (folder / "out.html").read_text("utf-8")
