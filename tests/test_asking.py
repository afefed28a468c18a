# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import warnings

import pytest

from pali import asking
from pali.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return Tokenizer(tiny_tokenizer)


def remarks(tokenizer, asked=(), words=(), prompt="vqa", **metadata):
    described = {"trained_on": (), "longest": 0, "untrained": False} | metadata
    return list(asking.remarks(prompt, asked, words, tokenizer=tokenizer, **described))


def test_questions_keep_their_order_and_lose_the_space_around_them():
    assert asking.questions(" What? ") == ["What?"]
    assert asking.questions(["b?", "a?\n", "b?"]) == ["b?", "a?", "b?"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "the question is empty"),
        (" \n", "the question is empty"),
        (["What?", " "], "question 2 of 2 is empty"),
    ],
)
def test_an_empty_question_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        asking.questions(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "there are no labels"),
        (["dog", " "], "number 2 of the 2 labels is empty"),
        ("dog", "labels is the text 'dog'; give a list"),
    ],
)
def test_names_that_are_none_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        asking.names(given, "labels")


def test_a_name_given_twice_is_asked_once_and_said():
    with pytest.warns(asking.Notice, match=r"labels given more than once are asked once: 'dog'$"):
        assert asking.names(["dog", "cat", " dog", "Dog"], "labels") == ["dog", "cat", "Dog"]


def test_nothing_is_said_without_a_reason(tokenizer):
    assert asking.names(["dog", "cat"], "labels") == ["dog", "cat"]
    assert remarks(tokenizer, ["a dog and a cat " * 50], ["a dog"]) == []
    assert remarks(tokenizer, ["a dog"], ["a dog"], trained_on=("caption", "vqa"), longest=16) == []


def test_a_prompt_that_the_model_was_not_trained_on_is_said(tokenizer):
    (said,) = remarks(tokenizer, trained_on=("caption", "ocr"))
    assert "not trained on 'vqa' prompts but on caption, ocr" in said
    # "Photo of" is the beginning of a caption, which split captions go on with.
    assert remarks(tokenizer, prompt="class_name", trained_on=("split_caption",)) == []
    assert len(remarks(tokenizer, prompt="class_name", trained_on=("caption",))) == 1


def test_a_prompt_longer_than_in_training_is_said_at_its_first_token_too_many(tokenizer):
    length = len(tokenizer.encode("a dog and a cat")) + 1
    assert remarks(tokenizer, ["a dog and a cat", "a"], longest=length) == []
    (said,) = remarks(tokenizer, ["a", "a dog and a cat"], longest=length - 1)
    assert f"has {length} tokens and the model was trained on at most {length - 1}" in said
    assert "asked whole" in said


def test_words_in_a_script_without_pieces_are_named(tokenizer):
    (said,) = remarks(tokenizer, words=["a dog", "რა არის ეს?", "这是什么？"])
    assert "'რა არის ეს?', '这是什么？'" in said
    assert "a dog" not in said
    (said,) = remarks(tokenizer, words=["რა" * 60] * 9)
    assert "and 6 more" in said
    assert len(said) < 300


def test_notices_are_shown_once_each_and_other_warnings_as_before():
    shown = []

    def warn_four_times():
        with asking.notices_to(shown.append):
            for text in ("a", "b", "a"):
                warnings.warn(text, asking.Notice, stacklevel=1)
            warnings.warn("something else", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="something else") as others:
        warn_four_times()
    assert shown == ["a", "b"]
    assert len(others) == 1
