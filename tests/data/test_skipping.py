# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A record that cannot be used keeps its place, weighs nothing, is counted and said."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from pali.config import Config, DataConfig
from pali.data import inputs
from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
from pali.data.pipeline import Task, batch_dataset, mixture_dataset, task_dataset
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.records import read_records, write_records
from pali.data.skipping import JUDGED_FROM, REASONS, RecordError, Skips
from pali.data.sources import JsonLines
from pali.models.presets import DEMO

FUNCTIONS = (DecodePicture(8), TextToText("caption", "caption"))


@pytest.fixture
def folder(tmp_path):
    """Eight rows: of 1 the picture is cut short, 3 is no JSON, 5 has no caption, 6 no picture."""
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 256, (9, 7, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "6.png").unlink()
    rows = [
        json.dumps({"image": f"{i}.png", "lang": "sw", "caption": f"picha {i}"}) for i in range(8)
    ]
    rows[3] = rows[3][:-5]
    rows[5] = json.dumps({"image": "5.png", "lang": "sw"})
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    return tmp_path


@pytest.fixture
def task(folder, tiny_tokenizer):
    source = JsonLines(str(folder / "rows.jsonl"), image_folder=str(folder))
    return Task("mine", source, (*FUNCTIONS, Tokenize(str(tiny_tokenizer))))


BROKEN = {1: "picture", 3: "row", 5: "text", 6: "picture"}


def test_they_keep_their_places_and_the_others_theirs(task):
    examples = list(task_dataset(task))
    assert {i: e["skipped"] for i, e in enumerate(examples) if "skipped" in e} == BROKEN
    assert "1.png" in examples[1]["error"]
    assert "rows.jsonl, line 4" in examples[3]["error"]
    assert "5.png" in examples[5]["error"]
    assert "no file" in examples[6]["error"] or "6.png" in examples[6]["error"]
    assert all(examples[i]["image"].shape == (8, 8, 3) for i in (0, 2, 4, 7))


def test_they_are_rows_of_padding_with_the_code_of_their_reason(task):
    convert = EncoderDecoderFeatures(inputs=20, targets=9, image_size=8)
    rows = [convert(example) for example in task_dataset(task)]
    codes = [int(row["skipped"]) for row in rows]
    assert codes == [1 + list(REASONS).index(BROKEN[i]) if i in BROKEN else 0 for i in range(8)]
    for i, row in enumerate(rows):
        used = i not in BROKEN
        assert (row["decoder_loss_weights"].sum() > 0) == used
        assert row["image_mask"] == used
        assert bool(row["image"].any()) == used
        assert bool(row["encoder_input_tokens"].any()) == used
    assert len({tuple((k, v.shape, v.dtype) for k, v in row.items()) for row in rows}) == 1


def test_the_vit_alone_sees_black_of_no_class(task):
    row = ClassificationFeatures(8)(task_dataset(task)[1])
    assert (row["label"], row["image"].any(), row["skipped"]) == (-1, False, 1)


def test_records_keep_them_too(task, tmp_path, tiny_tokenizer):
    write_records([(task, 1.0)], tmp_path / "records", "train")
    mixture = read_records(tmp_path / "records", "train", str(tiny_tokenizer))
    convert = EncoderDecoderFeatures(inputs=20, targets=9, image_size=8)
    ours, theirs = (
        batch_dataset(mixture_dataset(found, 3), convert, 4)[5]
        for found in ([(task, 1.0)], mixture)
    )
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
    assert ours["skipped"].any()


def test_a_mistake_in_a_task_is_no_broken_record(task):
    with pytest.raises(ValueError, match="needs lang, position, before"):
        task_dataset(
            dataclasses.replace(task, functions=(TextToText("split_caption", "caption"),))
        )[0]
    with pytest.raises(KeyError, match="'weather' is no reason to skip a record; known: picture"):
        RecordError("weather", "it rains")


def examples(*places):
    return {place: {"skipped": "row", "error": f"record {place} is bad"} for place in places}


def test_the_first_of_each_reason_is_said_and_all_are_counted(capsys):
    skips = Skips(0.5)
    skips.add(np.array([0, 2, 0, 2]), examples(41, 43), first=40)
    assert (
        capsys.readouterr().err == "skipped, and counted as all like it will be: record 41 is bad\n"
    )
    skips.add(np.array([2, 0]), {}, first=44)
    assert skips.counts == {"row": 3}
    assert capsys.readouterr().err == ""


def test_too_many_stop_the_run_but_not_the_first_ones(capsys):
    skips = Skips(0.01)
    few = np.zeros(JUDGED_FROM // 10, np.int32)
    few[: JUDGED_FROM // 100] = 2
    skips.add(few, examples(0), first=0)
    with pytest.raises(ValueError, match=r"11 of 101 .*or lacks a field: 11.*max_skipped allows a"):
        skips.add(np.array([2]), {}, first=0)
    capsys.readouterr()


def test_a_run_says_what_it_skips_and_stops_when_it_is_too_much(
    folder, tiny_tokenizer, capsys, monkeypatch, task
):
    monkeypatch.setattr(inputs.Inputs, "_read", lambda self, split: [(task, 1.0)])
    vit = dataclasses.replace(DEMO.vit, image_size=8, patch_size=8)
    data = DataConfig(mixture="mine", batch_size=4, max_skipped=0.99)
    config = Config(
        model=dataclasses.replace(DEMO, vit=vit), data=data, steps=10, tokenizer=str(tiny_tokenizer)
    )
    with inputs.Inputs(config, {}) as opened:
        batches = opened.train(0)
        parts = [next(batches) for _ in range(4)]
        assert opened.skipped() == {"picture": 4, "row": 2, "text": 2}
    assert "skipped" not in parts[0][0]
    said = capsys.readouterr().err
    assert said.count("skipped, and counted") == 3
    assert "line 4 is not a JSON object" in said
    none = dataclasses.replace(config, data=dataclasses.replace(data, max_skipped=0.0))
    with (
        inputs.Inputs(none, {}) as opened,
        pytest.raises(ValueError, match="examples could not be used"),
    ):
        for _ in zip(range(4), opened.train(0), strict=False):
            pass
    capsys.readouterr()
