# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks that read the raw files of benchmarks: listed without them, and evaluated with them."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from pali import comparison, evaluate, generation, official, ranking
from pali.benchmarks.boxes import answer_in_pixels
from pali.benchmarks.registry import BENCHMARKS
from pali.boxes import parse_boxes
from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
from pali.cli import main
from pali.config import PixelConfig
from pali.data import evaluation
from pali.data.benchmark_items import BenchmarkItems, BoxesAsText
from pali.data.skipping import RecordError
from pali.image import seen_region
from pali.official import lines_of
from pali.tokenizer import Tokenizer
from tests.benchmarks.layouts import LAYOUTS, write
from tests.benchmarks.more_layouts import BESIDE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
    from pali.data.benchmark_tasks import usual_splits
    from pali.data.seqio_bridge import registered

TASK_OF = {name: name for name in BENCHMARKS} | {"coco_detection": "coco_instances"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The raw files of every benchmark, and their pictures: PALI_DATA."""
    root = tmp_path_factory.mktemp("data")
    for name, benchmark in BENCHMARKS.items():
        folder = root / "benchmarks" / name
        for files in LAYOUTS[name].values():
            write(folder, files)
        if name.startswith("imagenet_"):  # Names of classes, which scoring can do without.
            write(folder, BESIDE)
        for split in LAYOUTS[name] if benchmark.pictures else ():
            for item in benchmark.items(folder, split):
                path = folder / item.picture
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40, 30), (len(item.picture) * 7 % 255, 90, 20)).save(path, "PNG")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALI_DATA", str(root))
        yield root


def test_items_are_records_with_the_answer_of_most(data):
    source = BenchmarkItems("vqav2", "val")
    picture = data / "benchmarks" / "vqav2" / "val2014" / "COCO_val2014_000000262148.jpg"
    assert len(source) == 3
    assert source[0] == {
        "id": "262148000",
        "image_key": str(picture),
        "question": "Where is he looking?",
        "lang": "en",
        "references": ["at table", "Down.", "down", *["the table"] * 7],
        "answer": "the table",
    }
    with pytest.raises(FileNotFoundError, match="okvqa is not there: it must hold the raw files"):
        len(BenchmarkItems("okvqa", "val", "elsewhere"))


def test_text_alone_has_no_picture_and_its_language(data):
    record = BenchmarkItems("xquad", "test")[0]
    assert "image_key" not in record
    assert record["text"].startswith("question: ar: How many points? context: ar: The Panthers")
    assert (record["lang"], record["answer"]) == ("ar", "308")


def test_classes_are_told_by_the_first_of_their_names(data):
    source = BenchmarkItems("imagenet", "val")
    assert source.names == {"0": "tench", "1": "goldfish", "2": "shark"}
    assert [source[i]["answer"] for i in range(3)] == ["tench", "shark", "goldfish"]
    assert BenchmarkItems("imagenet_v2", "test")[0]["answer"] == "tench"
    assert BenchmarkItems("objectnet", "test")[0]["references"] == ["analog clock", "digital clock"]
    with pytest.raises(RecordError, match="of class 10, which has no name"):
        BenchmarkItems("imagenet_v2", "test")[2]


def test_classes_of_one_name_are_told_apart(tmp_path):
    mapping = "n01440764 crane\nn01443537 crane, machine\nn01484850 shark, fish\n"
    layout = LAYOUTS["imagenet"]["val"] | {"LOC_synset_mapping.txt": mapping}
    write(tmp_path, layout)
    names = BENCHMARKS["imagenet"].class_names(tmp_path)
    assert names == {"0": "crane", "1": "crane, machine", "2": "shark"}
    with pytest.raises(ValueError, match="vqav2 does not ask for classes"):
        BENCHMARKS["vqav2"].class_names(tmp_path)


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_boxes_go_to_text_and_back_to_the_pixels_of_the_benchmark(data, fit):
    pixels = PixelConfig(fit=fit)
    source = BenchmarkItems("refcoco", "val")
    item, example = source.items[0], BoxesAsText(224, pixels)(source[0])
    assert example["classes"] == "the lady"
    assert parse_boxes(example["answer"]).boxes[0].label == "the lady"
    shape = tuple(example["shape"].tolist())
    assert shape == (427, 640)
    region = seen_region(shape, 224, pixels)
    box = answer_in_pixels(item, example["answer"], region)
    left = max(88.0, region.left)  # A crop cuts it off.
    wanted = [left, 6.2, 88.0 + 230.4 - left, 300.75]
    np.testing.assert_allclose(box, wanted, atol=0.001 * 640)
    assert answer_in_pixels(item, "no box", region) is None


def test_detection_has_all_boxes_and_leaves_out_unknown_classes(data):
    source = BenchmarkItems("coco_detection", "val")
    example = BoxesAsText(224)(source[0])
    assert example["classes"] == "bear and potted plant and tv"
    item, region = source.items[0], seen_region((427, 640), 224, PixelConfig())
    rows = answer_in_pixels(item, example["answer"] + " 1 1 9 9 zebra", region)
    assert [row["category_id"] for row in rows] == [64, 72]
    np.testing.assert_allclose(rows[1]["bbox"], [7.03, 167.76, 149.32, 94.87], atol=1)
    empty = BoxesAsText(224)(source[2])
    assert (empty["answer"], empty["references"], empty["boxes"].shape) == ("", [""], (0, 4))


def test_numbers_in_an_expression_are_left_out_of_its_label(tmp_path):
    rows = [dict(row) for row in LAYOUTS["refcoco"]["val"]["refcoco/refs(unc).p"]]
    for row, text in zip(rows, ["player 20 left", "2"], strict=False):
        row |= {"split": "val", "sentences": [dict(row["sentences"][0], sent=text)]}
    files = LAYOUTS["refcoco"]["val"] | {"refcoco/refs(unc).p": rows[:2]}
    write(tmp_path / "benchmarks" / "refcoco", files)
    source = BenchmarkItems("refcoco", "val", str(tmp_path))
    assert [source[i]["labels"] for i in range(2)] == [["player left"], ["object"]]
    assert source[0]["classes"] == "player 20 left"


def test_every_benchmark_is_a_task_with_its_splits(data):
    tasks = registered().tasks
    for name, task in TASK_OF.items():
        assert tasks[task].missing == "", name
        assert tasks[task].source == "BenchmarkItems"
        if name in ("gqa", "stvqa", "mlt2019"):
            continue
        splits = {
            ours: BenchmarkItems(name, its) for ours, its in usual_splits(BENCHMARKS[name]).items()
        }
        assert tasks[task].splits == {split: len(source) for split, source in splits.items()}
    assert tasks["vqav2"].splits == {"train": 3, "validation": 3}
    assert list(tasks["refcoco"].splits) == ["train", "validation", "testA", "testB"]
    assert tasks["maxm"].languages == ("fr", "th")
    assert set(tasks["xgqa"].languages) > {"en"}, "questions count, not answers alone"


def test_without_its_files_a_benchmark_is_in_the_languages_it_is_published_in(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PALI_DATA", str(tmp_path))
    tasks = registered().tasks
    assert tasks["maxm"].languages == ("en", "fr", "he", "hi", "ro", "th", "zh")
    assert tasks["xgqa"].languages == ("bn", "de", "en", "id", "ko", "pt", "ru", "zh")
    assert tasks["vqav2"].languages == ("en",)
    assert [len(tasks[name].languages) for name in ("xm3600", "coco_35l", "xnli")] == [36, 35, 15]


def test_items_are_in_the_languages_that_their_benchmark_says(data):
    for name in BENCHMARKS:
        for split in usual_splits(BENCHMARKS[name]).values():
            source = BenchmarkItems(name, split)
            assert source.languages_here <= set(source.published_languages), name


@pytest.fixture(scope="module")
def evaluated(data, tmp_path_factory):
    """Every benchmark, evaluated by the embedded model, all in programs of one shape."""
    padded = generation.padded
    workdir = tmp_path_factory.mktemp("run")

    def batches(total):
        return [(start, min(8, total - start), 8) for start in range(0, total, 8)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_max_length", lambda examples, tokenizer: 32)
        patch.setattr(generation, "batches", batches)
        patch.setattr(generation, "padded", lambda rows: padded(rows, multiple=128))
        patch.setattr(ranking, "MAX_BATCH", 8)
        return workdir, evaluate.main(None, list(TASK_OF.values()), workdir, limit=4)


def test_every_benchmark_is_evaluated_end_to_end(evaluated):
    workdir, results = evaluated
    found = {(record["benchmark"], record["split"]): record for record in results["official"]}
    assert {name for name, _ in found} == set(BENCHMARKS)
    assert {key: record["error"] for key, record in found.items() if "error" in record} == {}
    assert (
        json.loads((workdir / "metrics.json").read_text("utf-8"))["official"] == results["official"]
    )
    # A limit leaves a part: no official score, and nothing for a server.
    assert found["vqav2", "val"]["file"] == "submissions/vqav2.validation.json"
    assert found["xquad", "test"]["file"] == "submissions/xquad.test.json"
    assert found["xgqa", "testdev"]["file"] == "submissions/xgqa.testdev.partial.jsonl"
    assert found["xgqa", "testdev"]["signature"].endswith("|partial")
    assert "no official score" in "\n".join(lines_of(results["official"]))
    report = (workdir / "report.md").read_text("utf-8")
    assert all(record["file"] in report for record in found.values())
    page = (workdir / "report.html").read_text("utf-8")
    assert all(record["signature"] in page for record in found.values())
    assert "Ranked by the official vqa_accuracy of each prediction" in page
    assert "cannot be had" not in page
    lines = evaluate.read_lines(workdir / "predictions.jsonl")
    first = next(line for line in lines if line["task"] == "vqav2")
    assert (type(first["item"]), len(first["references"])) == (int, 10)
    assert first["prompt"].startswith("Answer in EN: ")
    (record,) = [
        record
        for record in results["scores"]
        if record["metric"] == "vqa_accuracy"
        and record["system"] == "model"
        and record["benchmark"] == "vqav2"
    ]
    assert record["n"] == found["vqav2", "val"]["n"] == 3
    assert record["score"] == pytest.approx(100 * found["vqav2", "val"]["score"])


def test_the_file_that_is_written_scores_what_the_evaluation_says(evaluated, data, capsys):
    """With answers of which about half are right, in place of what the model said."""
    workdir, _ = evaluated
    path = workdir / "predictions.jsonl"
    lines = evaluate.read_lines(path)
    number_of = BenchmarkItems("imagenet", "val").names
    for i, line in enumerate(lines):
        if i % 3:
            line["prediction"] = line["references"][-1]
            if "chosen" in line and line["task"] != "objectnet":
                line["chosen"] = next(
                    n for n, name in number_of.items() if name in line["references"]
                )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    results = evaluate.main(None, list(TASK_OF.values()), workdir, limit=4)
    for record in results["official"]:
        name = record["benchmark"]
        words = ["score", name, "--references", str(data / "benchmarks" / name), "--json"]
        words += ["--predictions", str(workdir / record["file"]), "--split", record["split"]]
        capsys.readouterr()
        assert main([*words, *([] if record["official"] else ["--partial"])]) == 0
        again = json.loads(capsys.readouterr().out)
        for key in ("metric", "score", "scores", "groups", "signature", "signatures", "official"):
            assert again[key] == record[key], (name, key)
    scores = {(r["benchmark"], r["split"]): r["score"] for r in results["official"] if r["n"] > 1}
    assert scores.pop(("mlt2019", "train")) < 1.0  # Errors: less is better.
    assert [key for key, score in scores.items() if not score > 0] == []


def test_a_comparison_has_the_official_scores_with_intervals(evaluated):
    workdir, results = evaluated
    rows = comparison.compare(workdir, workdir)["official"]
    assert all((row["a"], row["difference"]) == (row["b"], 0) for row in rows)
    drawn = {row["benchmark"]: row["metric"] for row in rows if row["interval"] is not None}
    assert all(row["interval"] in (None, (0, 0)) for row in rows)
    # Average precision is no mean of what items score. Edits per character are of one item alone
    # here.
    assert set(BENCHMARKS) - set(drawn) - {"mlt2019"} == {"coco_detection"}
    text = (workdir / "items" / "ocrbench.test.jsonl").read_text("utf-8")
    items = [json.loads(line) for line in text.splitlines()]
    count = next(row["a"] for row in rows if row["metric"] == "ocrbench")
    # A count is the mean of what its items score times how many they are.
    assert {row["score"] for row in items} <= {0, len(items)}
    assert sum(row["score"] for row in items) / len(items) == count
    assert drawn["xm3600"] == drawn["coco_35l"] == "cider_mean"
    assert len(rows) == sum(len(record["scores"]) for record in results["official"])


def test_what_cannot_be_scored_is_kept_and_said(evaluated, monkeypatch):
    workdir, _ = evaluated

    def none(*_args, **_options):
        raise ModuleNotFoundError("jieba, which splits Chinese, is not installed")

    monkeypatch.setattr(official, "score_rows", none)
    again = evaluate.main(None, ["xm3600"], workdir, limit=4)["official"]
    assert again[0]["error"].startswith("jieba")
    assert (workdir / again[0]["file"]).is_file()
    assert lines_of(again)[0].startswith("xm3600 test: not scored: jieba")


def test_of_a_hidden_split_the_file_for_the_server_is_written(data, tmp_path, capsys):
    words = ["evaluate", "--tasks", "vqav2:test,nocaps:test", "--workdir", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "vqav2 test: not scored: its answers are not published, and are with EvalAI" in said.err
    results = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert results["scores"] == []
    vqa, captions = results["official"]
    assert (vqa["official"], "score" in vqa, vqa["split"]) == (True, False, "test")
    rows = json.loads((tmp_path / vqa["file"]).read_text())
    items = BENCHMARKS["vqav2"].items(data / "benchmarks" / "vqav2", "test")
    assert [row["question_id"] for row in rows] == [item.id for item in items]
    lines = {
        (line["task"], line["item"]): line["prediction"]
        for line in evaluate.read_lines(tmp_path / "predictions.jsonl")
    }
    assert all(row["answer"] == lines["vqav2", row["question_id"]] for row in rows)
    assert len(lines) == len(rows) + len(json.loads((tmp_path / captions["file"]).read_text()))
    for name in ("report.md", "report.html"):
        assert "are not published" in (tmp_path / name).read_text("utf-8")
    found = comparison.compare(tmp_path, tmp_path)
    assert "its answers are not published" in "\n".join(comparison.lines(found))
    # A part of the questions is nothing for a server.
    results = evaluate.main(None, ["vqav2:test"], tmp_path / "part", limit=1)
    assert results["official"][0]["file"] == "submissions/vqav2.test.partial.jsonl"


def test_a_split_is_named_behind_a_colon(data):
    wanted = {"vqav2:test-dev": 3, "demo_flags:validation": None}
    splits = evaluation.read_splits(wanted, 32, Tokenizer(EMBEDDED / TOKENIZER))
    assert [(split.task, split.name) for split in splits] == [
        tuple(name.split(":")) for name in wanted
    ]
    assert [split.hidden for split in splits] == [True, False]
    message = "task 'vqav2' has no split 'tset' to evaluate; there are validation, test, test-dev"
    with pytest.raises(ValueError, match=message):
        evaluation.read_splits(["vqav2:tset"], 32, Tokenizer(EMBEDDED / TOKENIZER))
