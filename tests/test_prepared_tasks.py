# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks on public datasets: listed without their data, and the same examples in both engines."""

import warnings

import numpy as np
import pytest

import pali.tasks
from pali.data.pipeline import Drawn, replace_image_function
from pali.data.preparing import prepare
from pali.data.raw.dataset import Dataset, Part
from pali.image import load_image
from pali.languages import MC4_101, XM3600
from pali.tokenizer import Tokenizer
from tests.data.raw.fixtures import CODES, jpeg, name

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
    import seqio

    from pali.data.seqio_bridge import answering_tasks, read_mixture, registered

# Records as the files of pali/data/raw say them: dataset -> (whose pictures, records).
RECORDS = {
    "cc3m": ("own", [{"id": "train/1", "lang": "en", "caption": name(CODES[0])}]),
    "cc12m": ("own", [{"id": "train/1", "lang": "en", "caption": name(CODES[1])}]),
    "coco": ("own", [{"id": "42"}]),
    "web": ("own", [{"id": "train/0", "lang": "ja", "text": "草の上の犬"}]),
    "web_ocr": (
        "web",
        [{"id": "train/0/en", "picture": "train/0", "lang": "en", "text": "OPEN 24 hours"}],
    ),
    "cc3m_35l": (
        "cc3m",
        [{"id": "train/1/sw", "picture": "train/1", "lang": "sw", "caption": "mbwa ."}],
    ),
    "coco_35l": (
        "coco",
        [{"id": "train/42_0/iw", "picture": "42", "lang": "he", "caption": "כלב ."}],
    ),
    "vq2a_cc3m": (
        "cc3m",
        [{"id": "0", "picture": "train/1", "lang": "sw", "question": "nini?", "answer": "a dog"}],
    ),
    "vq2a_coco": (
        "coco",
        [{"id": "0", "picture": "42", "lang": "sw", "question": "nini?", "answer": "a dog"}],
    ),
    "mc4": ("none", [{"id": "sw/00000/0", "lang": "sw", "text": "habari ya leo na ya jana"}]),
}
# Task -> (dataset, prompt, answer); None where they are drawn.
TASKS = {
    "cc3m_captions": ("cc3m", "Generate the alt_text in EN at 0:", name(CODES[0])),
    "cc12m_captions": ("cc12m", "Generate the alt_text in EN at 0:", name(CODES[1])),
    "cc3m_35l_captions": ("cc3m_35l", "Generate the alt_text in SW at 0:", "mbwa ."),
    "coco_35l_captions": ("coco_35l", "Generate the alt_text in HE at 0:", "כלב ."),
    "vq2a_cc3m_vqa": ("vq2a_cc3m", "Answer in EN: nini?", "a dog"),
    "vq2a_cc3m_vqg": ("vq2a_cc3m", "Generate a question in SW for a dog:", "nini?"),
    "vq2a_coco_vqa": ("vq2a_coco", "Answer in EN: nini?", "a dog"),
    "vq2a_coco_vqg": ("vq2a_coco", "Generate a question in SW for a dog:", "nini?"),
    "web_split_captions": ("web", None, None),
    "web_ocr": ("web_ocr", "Generate the ocr_text in EN:", "OPEN 24 hours"),
    "mc4_span_corruption": ("mc4", None, None),
}


ENGLISH = ("en",)
CAPTIONS_35L = tuple(sorted(set(XM3600) - {"quz"}))
# Dataset -> the languages that are known without its files; of all others these alone tell.
PUBLISHED = {
    **{"cc3m": ENGLISH, "cc12m": ENGLISH, "cc3m_35l": CAPTIONS_35L, "coco_35l": CAPTIONS_35L},
    "mc4": tuple(sorted({"he" if code == "iw" else code for code in MC4_101})),
}


def read(dataset: str, part: Part):
    pictures, records = RECORDS[dataset]
    image = {"image": jpeg(CODES[0])} if pictures == "own" else {}
    for record in records:
        yield record | image | {"id": record["id"].replace("train", part.split)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with one record of every dataset, in each of two splits."""
    folder = tmp_path_factory.mktemp("pali_data")
    for dataset, (pictures, _) in RECORDS.items():
        prepare(
            Dataset(
                name=dataset,
                about="",
                documented="",
                licence="",
                files="",
                parts=lambda source: [Part("train", "."), Part("validation", ".")],
                read=lambda source, part, dataset=dataset: read(dataset, part),
                pictures=pictures,
            ),
            folder,
            folder,
        )
    return folder


def test_every_task_on_prepared_data_is_in_the_table():
    from tests.test_tasks import PREPARED

    assert set(TASKS) == set(PREPARED)


def test_without_their_data_they_are_listed_and_not_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv("PALI_DATA", str(tmp_path))
    listed = registered().tasks
    for task in TASKS:
        assert "train" in listed[task].splits
        assert set(listed[task].splits.values()) == {None}
        assert "pali data prepare" in listed[task].missing
        assert listed[task].languages == PUBLISHED.get(TASKS[task][0], ())
    assert not set(TASKS) & set(answering_tasks())
    with pytest.raises(FileNotFoundError, match="pali data prepare cc3m "):
        len(read_mixture("cc3m_captions")[0][0].source)


def test_boxes_are_named_in_english_though_their_records_say_no_language(tmp_path, monkeypatch):
    monkeypatch.setenv("PALI_DATA", str(tmp_path))
    listed = registered().tasks
    for dataset in ("coco", "objects365", "open_images", "visual_genome"):
        assert listed[f"{dataset}_detection"].languages == ENGLISH


def test_with_their_data_those_that_have_a_metric_are_evaluated(prepared, monkeypatch):
    monkeypatch.setenv("PALI_DATA", str(prepared))
    listed = registered().tasks
    assert listed["cc3m_captions"].splits == {"train": 1, "validation": 1}
    assert listed["mc4_span_corruption"].splits == {"train": 1, "validation": 1}
    assert listed["cc3m_35l_captions"].languages == ("sw",)
    assert set(TASKS) - set(answering_tasks()) == {"cc12m_captions", "mc4_span_corruption"}


def test_a_split_whose_files_were_not_there_is_not_evaluated(prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("PALI_DATA", str(tmp_path))
    only = [Part("train", ".")]
    prepare(
        Dataset("web", "", "", "", "", lambda source: only, lambda source, part: read("web", part)),
        tmp_path,
        tmp_path,
    )
    found = registered().tasks["web_split_captions"]
    assert found.splits == {"train": 1, "validation": None}
    assert "has no split 'validation', only train" in found.missing
    assert "web_split_captions" not in answering_tasks()


def test_a_split_without_a_record_is_not_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv("PALI_DATA", str(tmp_path))
    parts = [Part("train", "."), Part("validation", ".")]
    prepare(
        Dataset("web", "", "", "", "", lambda source: parts, lambda source, part: iter(())),
        tmp_path,
        tmp_path,
    )
    assert registered().tasks["web_split_captions"].splits == {"train": 0, "validation": 0}
    assert "web_split_captions" not in answering_tasks()


@pytest.mark.parametrize("name", TASKS)
def test_examples_in_both_engines(name, prepared, monkeypatch):
    monkeypatch.setenv("PALI_DATA", str(prepared))
    dataset, prompt, answer = TASKS[name]
    tokenizer = Tokenizer(pali.tasks.DEMO_TOKENIZER)
    ((task, _),) = read_mixture(name)
    example = Drawn(task, seed=0, shuffled=False)[0]
    assert "error" not in example
    if prompt is not None:
        expected = [*tokenizer.encode(f"{prompt} <extra_id_0>"), tokenizer.eos_id]
        assert example["inputs"].tolist() == expected
        assert example["targets"].tolist() == [*tokenizer.encode(answer), tokenizer.eos_id]
    if dataset != "mc4":
        np.testing.assert_array_equal(example["image"], load_image(jpeg(CODES[0]), 224))
    (theirs,) = (
        seqio.get_mixture_or_task(name)
        .get_dataset(split="train", shuffle=False)
        .as_numpy_iterator()
    )
    for key in ("image", "inputs", "targets"):
        assert (key in example) == (key in theirs)
        if key in example:
            np.testing.assert_array_equal(example[key], theirs[key])


def test_split_captions_are_cut_between_characters_where_words_have_no_spaces(
    prepared, monkeypatch
):
    monkeypatch.setenv("PALI_DATA", str(prepared))
    tokenizer = Tokenizer(pali.tasks.DEMO_TOKENIZER)
    without_pictures = replace_image_function(
        read_mixture("web_split_captions"), lambda example: example
    )
    ((task, _),) = without_pictures
    drawn = Drawn(task, seed=0)
    seen = set()
    for epoch in range(40):
        example = drawn[epoch]
        text = tokenizer.decode(example["inputs"].tolist())
        start, _, before = text.partition(":")
        before = before.removesuffix("<extra_id_0>").strip()
        assert before + tokenizer.decode(example["targets"].tolist()).strip() == "草の上の犬"
        assert start == f"Generate the alt_text in JA at {len(before)}"
        seen.add(before)
    assert len(seen) == 5
