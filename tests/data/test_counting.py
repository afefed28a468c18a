# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Counting: of the very examples that training draws, without a picture."""

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from pali.data.counting import UNSAID, count, objective_of
from pali.data.mixing import Interleaved, largest_error
from pali.data.pipeline import Task, mixture_dataset, replace_image_function
from pali.data.preprocessors import TextToText
from pali.data.skipping import RecordError
from pali.data.span_corruption import CorruptSpans


@dataclass(frozen=True)
class Records:
    langs: tuple[str, ...]
    says: bool = True

    def __len__(self):
        return len(self.langs)

    def __getitem__(self, index):
        return {"lang": self.langs[index], "number": index}

    @property
    def per_language(self):
        return dict(Counter(self.langs)) if self.says else {}


@dataclass(frozen=True)
class Tokens:
    """Prompts of 3 tokens; answers of as many as the record's number, and one more."""

    made: list = field(default_factory=list)

    def __call__(self, example):
        if example["number"] == 13:
            raise RecordError("text", "an unlucky one")
        self.made.append(example["draw"])
        targets = np.ones(example["number"] + 1, np.int32)
        return example | {"inputs": np.ones(3, np.int32), "targets": targets}


class Picture:
    makes_image: ClassVar[bool] = True

    def __call__(self, example):
        raise AssertionError("a picture was made")


def task(name, langs, says=True):
    return Task(name, Records(tuple(langs), says), (Picture(), Tokens()))


@pytest.fixture
def mixture():
    return [(task("a", ["iw", "he", "sw", "th"]), 2.5), (task("b", ["sw"]), 1.0)]


def test_tasks_and_languages_are_counted_against_what_is_declared(mixture):
    found = count(mixture, 0, 700, (3, 2))
    assert {name: share.count for name, share in found.tasks.items()} == {"a": 500, "b": 200}
    assert found.tasks["a"].declared == pytest.approx(2.5 / 3.5)
    assert found.tasks["a"].measured == 500 / 700
    # Each epoch of "a" has two in Hebrew, spelled in two ways.
    counts = {lang: share.count for lang, share in found.languages.items()}
    assert counts == {"he": 250, "sw": 325, "th": 125}
    for share in found.languages.values():
        assert share.declared == pytest.approx(share.count / 700)
    assert list(found.languages) == ["sw", "he", "th"]
    assert found.largest_error == 0
    assert not found.skipped


@pytest.mark.parametrize("n", [1, 97, 500])
def test_the_largest_error_is_that_of_the_mixing(mixture, n):
    found = count(mixture, 0, n, (3, 2))
    drawn = Counter(Interleaved((2.5, 1.0))[i][0] for i in range(n))
    assert found.largest_error == largest_error(drawn, (2.5, 1.0))
    by_hand = max(abs(drawn[i] - n * rate / 3.5) for i, rate in enumerate((2.5, 1.0)))
    assert found.largest_error == pytest.approx(by_hand)


def test_tokens_by_script_and_what_is_cut(mixture):
    found = count(mixture, 0, 700, (3, 2))
    assert set(found.scripts) == {"Hebr", "Latn", "Thai"}
    hebrew, thai = found.scripts["Hebr"], found.scripts["Thai"]
    assert (hebrew.examples, hebrew.answer, hebrew.answers_cut) == (250, (1.5, 2, 2), 0)
    assert (thai.examples, thai.answer, thai.answers_cut) == (125, (4, 4, 4), 1)
    assert thai.prompt == (3, 3, 3)
    assert thai.prompts_cut == 0
    assert count(mixture, 0, 700, (2, 2)).scripts["Thai"].prompts_cut == 1


def test_the_examples_are_those_of_training(mixture):
    made = mixture[0][0].functions[-1].made
    count(mixture, 5, 21, (3, 2))
    ours = list(made)
    made.clear()
    examples = mixture_dataset(replace_image_function(mixture, lambda example: example), 5)
    for i in range(21):
        examples[i]
    assert ours == made


def test_what_is_skipped_or_says_no_language_is_told_apart():
    unknown = [(task("a", [*["sw"] * 13, "xx", "zz"], says=False), 1.0)]
    found = count(unknown, 0, 30, (3, 2))
    assert found.skipped == {"text": 2}
    assert found.tasks["a"].count == 30
    counts = {lang: share.count for lang, share in found.languages.items()}
    assert counts == {"sw": 26, UNSAID: 2}
    assert all(share.declared is None for share in found.languages.values())


def test_objectives_are_prompts_or_span_corruption():
    spans = Task("b", [], (CorruptSpans("none.model", 8),))
    mixture = [(Task(name, [], (TextToText(name, "answer"),)), 1.0) for name in ("vqa", "ocr")]
    assert [objective_of(part) for part, _ in mixture] == ["vqa", "ocr"]
    assert objective_of(spans) == "span_corruption"
    assert objective_of(Task("c", [], (TextToText("which_objects", "answer"),))) == "object_aware"
    assert objective_of(Task("mine", [])) == "mine"
