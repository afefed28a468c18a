# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks that read the raw files of benchmarks: listed without them, and evaluated with them."""

import json
import warnings

import pytest
from PIL import Image

from pali import evaluate
from pali.data.benchmark_items import BenchmarkItems
from tests.benchmarks.layouts import LAYOUTS, write

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
    from pali.data.seqio_bridge import registered


@pytest.fixture
def vqav2(tmp_path, monkeypatch):
    """The raw files of VQAv2 with three questions, and their pictures."""
    folder = tmp_path / "benchmarks" / "vqav2"
    for files in LAYOUTS["vqav2"].values():
        write(folder, files)
    for number in (262148, 393225):
        path = folder / "val2014" / f"COCO_val2014_{number:012d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (number % 255, 90, 20)).save(path)
    monkeypatch.setenv("PALI_DATA", str(tmp_path))
    return folder


def test_items_are_records_with_the_answer_of_most(vqav2):
    source = BenchmarkItems("vqav2", "val")
    assert len(source) == 3
    assert source[0] == {
        "id": "262148000",
        "image_key": str(vqav2 / "val2014" / "COCO_val2014_000000262148.jpg"),
        "question": "Where is he looking?",
        "lang": "en",
        "references": ["at table", "Down.", "down", *["the table"] * 7],
        "answer": "the table",
    }
    with pytest.raises(FileNotFoundError, match="okvqa is not there: it must hold the raw files"):
        len(BenchmarkItems("okvqa", "val"))


def test_a_benchmark_is_evaluated_end_to_end(vqav2, tmp_path):
    tasks = registered().tasks
    assert tasks["vqav2"].splits == {"train": 3, "validation": 3}
    assert "must hold the raw files of textvqa and their pictures" in tasks["textvqa"].missing
    evaluate.main(None, ["vqav2"], tmp_path / "run")
    lines = (tmp_path / "run" / "predictions.jsonl").read_text("utf-8").split("\n")[:-1]
    assert len(lines) == 3
    assert all(len(json.loads(line)["references"]) == 10 for line in lines)
    assert json.loads(lines[0])["prompt"].startswith("Answer in EN: ")
    (record,) = [
        record
        for record in json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))["scores"]
        if record["metric"] == "vqa_accuracy" and record["system"] == "model"
    ]
    assert 0 <= record["score"] <= 100
    assert record["n"] == 3
