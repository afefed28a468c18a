# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A JSONL file in place of a task."""

import json

import numpy as np
import pytest
from PIL import Image

from pali.config import DataConfig
from pali.data.jsonl import read_jsonl
from pali.data.pipeline import apply
from pali.tasks import DEMO_TOKENIZER
from pali.tokenizer import load_tokenizer

BIRD = {"image": "bird.png", "lang": "sw", "caption": "ndege", "question": "Hii?", "answer": "kuku"}


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def read(path, split="train", images=None):
    return read_jsonl(path, split, images, DEMO_TOKENIZER, 16)


def without(*fields):
    return {name: value for name, value in BIRD.items() if name not in fields}


@pytest.mark.parametrize(
    ("record", "asked", "answered"),
    [
        (BIRD, "Generate the alt_text in SW at 0: ", "ndege"),
        (without("caption"), "Answer in SW: Hii? ", "kuku"),
        (without("caption", "lang"), "Answer in EN: Hii? ", "kuku"),
    ],
)
def test_the_fields_say_what_is_asked(tmp_path, record, asked, answered):
    Image.new("RGB", (20, 10), (0, 0, 255)).save(tmp_path / "bird.png")
    path = write(tmp_path / "all.jsonl", record)
    ((task, rate),) = read(path)
    assert (task.name, len(task.source), rate) == ("all", 1, 1.0)
    example = apply(task.functions, task.source[0])
    tokenizer = load_tokenizer(DEMO_TOKENIZER)
    assert example["inputs"].tolist()[:-1] == list(tokenizer.encode(f"{asked}<extra_id_0>"))
    assert example["targets"].tolist()[:-1] == list(tokenizer.encode(answered))
    assert np.unique(example["image"].reshape(-1, 3), axis=0).tolist() == [[0, 0, 255]]


def test_the_first_line_that_is_a_record_counts(tmp_path):
    path = tmp_path / "all.jsonl"
    path.write_text('broken\n\n[1]\n{"image": "a.png", "question": "?", "answer": "a"}\n')
    ((task, _),) = read(str(path))
    assert task.functions[1].prompt == "vqa"
    assert len(task.source) == 3  # Those two keep their places, to be skipped and counted.


def test_other_splits_lie_beside_it_and_pictures_where_it_is_said(tmp_path):
    path = write(tmp_path / "train.jsonl", BIRD)
    write(tmp_path / "validation.jsonl", BIRD, BIRD)
    (tmp_path / "pictures").mkdir()
    ((task, _),) = read(path, "validation", str(tmp_path / "pictures"))
    assert len(task.source) == 2
    assert task.source[0]["image_key"] == str(tmp_path / "pictures" / "bird.png")


def test_what_is_wrong_is_said_with_the_way_out(tmp_path):
    path = write(tmp_path / "train.jsonl", without("caption", "answer"))
    with pytest.raises(ValueError, match=r"the fields image, lang, question\. .*caption"):
        read(path)
    with pytest.raises(ValueError, match=r"no .*validation\.jsonl.*`pali data split`"):
        read(path, "validation")
    with pytest.raises(ValueError, match=r"there is no file .*gone\.jsonl: data\.mixture"):
        read(str(tmp_path / "gone.jsonl"))
    with pytest.raises(ValueError, match=r"has no record"):
        read(write(tmp_path / "empty.jsonl"))
    with pytest.raises(ValueError, match=r"no folder .*nowhere .* data\.images"):
        read(path, images=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="'mine' is no JSONL file"):
        DataConfig("mine", images="pictures")
