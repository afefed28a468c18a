# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts: their spelling, and that training and inference cannot drift apart."""

import pytest

from pali import prompts
from pali.data.pipeline import Task, fit_to_model, task_dataset
from pali.data.preprocessors import TextToText


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("caption", {"lang": "sw"}, "Generate the alt_text in SW at 0: <extra_id_0>"),
        (
            "split_caption",
            {"lang": "en", "position": 2, "before": "a dog"},
            "Generate the alt_text in EN at 2: a dog <extra_id_0>",
        ),
        (
            "class_name",
            {"lang": "en"},
            "Generate the alt_text in EN at 2: Photo of <extra_id_0>",
        ),
        ("ocr", {"lang": "th"}, "Generate the ocr_text in TH: <extra_id_0>"),
        ("vqa", {"question": "What is this?"}, "Answer in EN: What is this? <extra_id_0>"),
        (
            "vqa_in",
            {"lang": "iw", "question": "What is this?"},
            "Answer in HE: What is this? <extra_id_0>",
        ),
        ("question", {"question": "Which year?"}, "Which year?"),
        ("text", {"text": "xnli: premise: a"}, "xnli: premise: a"),
        (
            "vqg",
            {"lang": "fr", "answer": "a dog"},
            "Generate a question in FR for a dog: <extra_id_0>",
        ),
        ("list_objects", {}, "Answer in EN: List the objects present: <extra_id_0>"),
        (
            "object_presence",
            {"objects": ["cat", "dog"]},
            "Answer in EN: Is cat, dog in the image? <extra_id_0>",
        ),
        (
            "which_objects",
            {"objects": ["cat", "dog"]},
            "Answer in EN: Which of cat, dog are in the image? <extra_id_0>",
        ),
        ("detect", {"classes": ["cat", "dog"]}, "detect cat and dog"),
        ("keywords", {"lang": "hi"}, "Generate the keywords in HI: <extra_id_0>"),
        ("group", {"lang": "en"}, "Generate the group in EN: <extra_id_0>"),
        ("subgroup", {"lang": "en"}, "Generate the subgroup in EN: <extra_id_0>"),
        ("span_corruption", {"text": "a <extra_id_0> b"}, "a <extra_id_0> b"),
    ],
)
def test_filled_prompts(name, fields, text):
    assert prompts.fill(name, **fields) == text


def test_every_prompt_is_filled_above():
    (mark,) = test_filled_prompts.pytestmark
    assert {case[0] for case in mark.args[1]} == set(prompts.PROMPTS)


def test_prompts_of_this_project_are_marked_as_such():
    own = {name for name, prompt in prompts.PROMPTS.items() if prompt.source == "own"}
    assert own == {"keywords", "group", "subgroup", "vqa_in", "question", "text"}


def test_training_and_inference_ask_for_captions_alike():
    example = TextToText("caption", "name")({"lang": "sw", "name": "mbwa"})
    assert example["inputs"] == prompts.caption("sw")
    assert example["targets"] == "mbwa"


SHORT = (("caption", "caption {lang}"), ("vqa", "{question}"))


def test_other_words_are_asked_in_training_and_in_use():
    record = {"lang": "sw", "name": "mbwa", "question": "Nini?"}
    tasks = [
        Task(name, [record], (TextToText(name, "name"),)) for name in ("caption", "vqa", "ocr")
    ]
    mixture = fit_to_model([(task, 1.0) for task in tasks], prompts=SHORT)
    asked = [task_dataset(task)[0]["inputs"] for task, _ in mixture]
    known = prompts.worded(SHORT)
    assert asked == [known[name].fill(record) for name in ("caption", "vqa", "ocr")]
    assert asked == ["caption SW", "Nini?", "Generate the ocr_text in SW: <extra_id_0>"]
    assert known["caption"].source == "own"
    assert prompts.PROMPTS["caption"].source == "recalled"


@pytest.mark.parametrize(
    ("name", "template", "message"),
    [
        ("captoin", "x", "did you mean 'caption'"),
        ("vqa", "{query}?", "asks for query; prompt 'vqa' has question"),
        ("list_objects", "{objects}", "asks for objects; prompt 'list_objects' has no field"),
        ("vqa", "{question", "is no template for prompt 'vqa'"),
        ("vqa", "{question.__class__}", "asks for question.__class__"),
        ("vqa", "{}", "asks for"),
    ],
)
def test_words_that_do_not_suit_are_refused(name, template, message):
    with pytest.raises(ValueError, match=message):
        prompts.worded([(name, template)])


def test_the_space_before_an_empty_field_goes_with_it():
    fields = {"lang": "sw", "position": 0}
    assert prompts.fill("split_caption", **fields, before="") == prompts.caption("sw")
    assert prompts.fill("split_caption", **fields, before=" ") != prompts.caption("sw")
    assert prompts.fill("detect", classes=[]) == "detect"


def test_values_that_look_like_templates_are_left_alone():
    assert prompts.fill("vqa", question="{lang}?") == "Answer in EN: {lang}? <extra_id_0>"


def test_missing_field_and_unknown_prompt_are_named():
    with pytest.raises(ValueError, match="'vqg' needs lang, answer; answer missing"):
        prompts.fill("vqg", lang="en")
    with pytest.raises(ValueError, match="unknown prompt 'captoin'; did you mean 'caption'"):
        prompts.get("captoin")
