# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`PictureHandler` on real pipelines of Apache Beam, with several workers."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pali.cli import main
from pali.generation import Decoding

ROOT = Path(__file__).parents[1]

pytest.importorskip(
    "apache_beam", reason="Apache Beam is not installed: pip install 'open-pali[beam]'"
)

PictureHandler = importlib.import_module("pali.beam").PictureHandler


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures, the last of them broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(19):
        image = Image.new("RGB", (30, 20), (12 * number, 9, 255 - 12 * number))
        image.save(folder / f"{number:02}.jpg")
    (folder / "19.jpg").write_bytes(b"no picture")
    return folder


def test_two_workers_write_the_rows_of_the_command(pictures, tiny_model, tmp_path, monkeypatch):
    """The example of docs/catalogue.md as it stands there, with the tiny model."""
    page = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?RunInference.*?)^```", page, re.M | re.S)
    asked = 'langs="en,sw,th"'
    assert asked in program
    assert "multi_processing" in program
    (tmp_path / "pipeline.py").write_text(
        program.replace(asked, f"{asked}, model={str(tiny_model)!r}")
    )
    run = subprocess.run(
        [sys.executable, "pipeline.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = [path.read_text(encoding="utf-8") for path in tmp_path.glob("captions.jsonl*")]

    monkeypatch.chdir(tmp_path)
    words = ["caption", "photos", "--langs", "en,sw,th", "--model", str(tiny_model)]
    assert main([*words, "--output", "expected.jsonl"]) == 1
    expected = (tmp_path / "expected.jsonl").read_text(encoding="utf-8")
    assert comparable("".join(found)) == comparable(expected)


def comparable(text):
    """Rows in one order; log-probabilities differ in their last digits with the batch."""
    rows = [json.loads(line) for line in text.splitlines()]
    parts = ("picture", "lang", "caption", "error")
    return sorted(tuple(row.get(part, "") for part in parts) for row in rows)


def test_a_picture_is_a_path_or_a_name_with_a_path_or_bytes(pictures, tiny_model):
    handler = PictureHandler("ocr", ["Swahili", "en"], str(tiny_model))
    path = str(pictures / "00.jpg")
    content = (pictures / "00.jpg").read_bytes()
    broken = str(pictures / "19.jpg")
    elements = [path, ("key", path), ("bytes", content), broken, ("far", "nowhere://a.png")]
    rows = list(handler.run_inference(elements, handler.load_model()))
    assert [[row["picture"] for row in some] for some in rows[:3]] == [
        [name, name] for name in (path, "key", "bytes")
    ]
    texts = [[(row["lang"], row["text"]) for row in some] for some in rows[:3]]
    assert texts[0] == texts[1] == texts[2]
    assert [lang for lang, _ in texts[0]] == ["sw", "en"]
    assert rows[3][0]["error"].startswith(f"{broken} is not a picture")
    assert rows[4][0]["error"].startswith("far cannot be read: ")


@pytest.mark.filterwarnings("ignore:wrong language")  # No detector is installed with Beam.
def test_rows_are_those_of_the_options_of_the_command(pictures, tiny_model, tmp_path, monkeypatch):
    decoding = Decoding("beam", beam_size=3, n_best=2, max_chars=9, ensure_language=True)
    handler = PictureHandler("caption", "sw,th", str(tiny_model), "float32", decoding)
    monkeypatch.chdir(pictures)
    words = "--beam 3 --n-best 2 --max-chars 9 --ensure-language --langs sw,th --precision float32"
    output = tmp_path / "rows.jsonl"
    words = ["caption", "00.jpg", *words.split(), "--model", str(tiny_model)]
    assert main([*words, "--output", str(output)]) == 0
    (rows,) = handler.run_inference(["00.jpg"], handler.load_model())
    assert rows == [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert {"confidence", "others", "shortlisted", "wrong_language"} < rows[0].keys()


def test_what_a_model_cannot_decode_is_refused_when_it_is_loaded(tiny_model):
    decoding = Decoding(max_length=3, prefix="a picture of a dog")
    with pytest.raises(ValueError, match="the prefix 'a picture of a dog' has"):
        PictureHandler(model=str(tiny_model), decoding=decoding).load_model()


def test_bad_requests_are_refused_before_a_pipeline_runs():
    with pytest.raises(ValueError, match="did you mean Swahili"):
        PictureHandler(langs="swahilli")
    with pytest.raises(ValueError, match="must be one of caption, ocr"):
        PictureHandler("answer")
