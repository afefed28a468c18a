# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""answer, ocr, classify, detect in Python: what they ask, what they return, what they refuse."""

import numpy as np
import pytest

import pali
from pali import asking, prompts
from pali.checkpoints.pretrained import Metadata
from pali.generation import Decoding
from pali.predict import Model, Text

SHORT = "a?"  # Prompts of one length compile one program.


@pytest.fixture(scope="module")
def model(tiny_model):
    return pali.load(tiny_model)


@pytest.fixture(scope="module")
def seen(model):
    """Two pictures."""
    rng = np.random.default_rng(1)
    return model.look(list(rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)))


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def saying(model, **metadata):
    """The same model, with another description."""
    described = Metadata(languages=model.languages, **metadata)
    return Model(model.config, model.params, model.tokenizer, described)


def test_answer_asks_each_question_about_its_picture(model, seen):
    asked = [prompts.fill("vqa", question=question) for question in ("a?", "b?")]
    assert model.answer(seen, ["a?", "b?"]) == model.generate(seen, asked)
    assert model.answer(seen, " a? ") == model.generate(seen, asked[0])
    with pytest.raises(ValueError, match="2 pictures and 3 prompts"):
        model.answer(seen, ["a?", "b?", "c?"])


def test_a_model_is_asked_in_the_words_that_it_was_trained_on(model, seen):
    other = saying(model, templates=(("vqa", "{question} =>"), ("caption", "{lang}:")))
    assert other.answer(seen, "a?") == model.generate(seen, "a? =>")
    captions = other.caption(seen, "sw")
    assert [texts["sw"] for texts in captions] == model.generate(seen, "SW:")
    assert other.ocr(seen, "sw") == model.ocr(seen, "sw")


def test_one_picture_and_one_question_have_one_answer(model, picture):
    answer = model.answer(picture, SHORT)
    assert isinstance(answer, Text)
    assert model.answer([picture], SHORT) == model.answer(picture, [SHORT]) == [answer]


def test_ocr_asks_for_the_text_in_each_language(model, seen, picture):
    found = model.ocr(picture, "sw,Hindi")
    assert list(found) == ["sw", "hi"]
    asked = [prompts.fill("ocr", lang=lang) for lang in ("sw", "hi")]
    assert list(found.values()) == model.generate(picture, asked)
    assert [list(texts) for texts in model.ocr(seen, "sw")] == [["sw"], ["sw"]]


def test_classify_orders_labels_by_the_likelihood_of_their_names(model, seen):
    labels = ["mbwa", "cat"]
    scores = model.rank(seen, prompts.fill("class_name", lang="sw"), labels)
    for found, values in zip(model.classify(seen, labels, "Swahili"), scores, strict=True):
        assert [label.name for label in found] == [labels[i] for i in np.argsort(-values)]
        likelihoods = [label.log_likelihood for label in found]
        assert likelihoods == sorted(map(float, values), reverse=True)
        shares = np.exp(values) / np.exp(values).sum()
        assert [label.probability for label in found] == pytest.approx(sorted(shares)[::-1])


def test_the_language_of_the_labels_is_in_the_prompt(model, picture):
    english, swahili = (model.classify(picture, ["cat", "dog"], lang) for lang in ("en", "sw"))
    assert english != swahili
    with pytest.raises(ValueError, match=r"Quechua \(qu\) is not among"):
        model.classify(picture, ["cat"], "qu")


def test_one_label_is_certain_and_unlikely_ones_do_not_underflow(model, picture):
    (only,) = model.classify(picture, ["cat"])
    assert only.probability == 1
    # e to the power of either is 0 in float32.
    long = model.classify(picture, ["a dog and a cat " * 12, "a cat and a dog " * 12])
    assert long[0].log_likelihood < -200
    assert sum(label.probability for label in long) == pytest.approx(1)


def test_five_hundred_labels_are_scored_as_each_by_itself(model, picture):
    labels = [f"dog {number}" for number in range(500)]
    found = model.classify(picture, labels)
    assert {label.name for label in found} == set(labels)
    assert sum(label.probability for label in found) == pytest.approx(1)
    for label in (found[0], found[499]):
        (alone,) = model.classify(picture, [label.name])
        assert alone.log_likelihood == pytest.approx(label.log_likelihood, abs=1e-3)


def test_detect_reads_boxes_and_keeps_what_is_none(model, seen, picture, monkeypatch):
    answers = [Text("a 100 0 500 250 dog", log_prob=-1.0), Text("")]

    def generate(self, images, prompts, *, max_length, decoding):
        assert prompts == "detect dog and cat"
        assert max_length == 256
        return answers[: len(self.look(images))]

    monkeypatch.setattr(Model, "generate", generate)
    first, second = model.detect(seen, ["dog", "cat"])
    (box,) = first.boxes
    assert box.label == "dog"
    assert first.unparsed == ["a"]
    assert box[:4] == pytest.approx((0.1005, 0.0005, 0.5005, 0.2505))
    assert first.answer.log_prob == -1
    assert (second.boxes, second.unparsed) == ([], [])
    assert model.detect(picture, ["dog", "cat"]) == first
    answers[0] = Text("900 900 100 100 dog rest")
    assert model.detect(picture, ["dog", "cat"]).unparsed == [answers[0]]


def test_an_empty_list_of_pictures_has_no_results(model):
    assert model.answer([], SHORT) == model.ocr([]) == model.detect([], ["dog"]) == []
    assert model.classify([], ["dog"]) == []


@pytest.mark.parametrize(
    ("verb", "words", "says"),
    [
        ("answer", "", "the question is empty"),
        ("answer", ["a?", ""], "question 2 of 2 is empty"),
        ("classify", [], "there are no labels"),
        ("classify", ["dog", ""], "number 2 of the 2 labels is empty"),
        ("detect", [" "], "number 1 of the 1 classes is empty"),
        ("detect", "dog", "classes is the text 'dog'; give a list"),
    ],
)
def test_empty_words_are_refused(model, picture, verb, words, says):
    with pytest.raises(ValueError, match=says):
        getattr(model, verb)(picture, words)


def test_a_label_given_twice_is_scored_once_and_said(model, picture):
    with pytest.warns(asking.Notice, match="labels given more than once are asked once: 'dog'"):
        found = model.classify(picture, ["dog", "cat", "dog"])
    assert found == model.classify(picture, ["dog", "cat"])


def test_a_question_longer_than_in_training_is_said_and_asked_to_its_last_word(model, picture):
    knows = saying(model, prompt_length=32)
    assert knows.answer(picture, SHORT) == model.answer(picture, SHORT)
    long = "a dog and a cat " * 20
    with pytest.warns(asking.Notice, match=r"a prompt has \d+ tokens .* at most 32") as said:
        answer = knows.answer(picture, f"{long} dog")
    assert len(said) == 1
    assert answer.log_prob == model.answer(picture, f"{long} dog").log_prob
    assert answer.log_prob != model.answer(picture, f"{long} cat").log_prob


def test_a_question_in_a_script_without_pieces_is_said_and_asked(model, picture):
    with pytest.warns(asking.Notice, match="no pieces for most of 'რა არის ეს'"):
        assert isinstance(model.answer(picture, "რა არის ეს"), Text)


def test_a_task_that_the_model_was_not_trained_on_is_said_and_done(model, picture):
    captions_only = saying(model, prompts=("caption",))
    assert captions_only.caption(picture) == model.caption(picture)
    for verb, words, prompt in (
        ("answer", SHORT, "vqa"),
        ("ocr", "en", "ocr"),
        ("classify", ["dog"], "class_name"),
        ("detect", ["dog"], "detect"),
    ):
        with pytest.warns(asking.Notice, match=f"not trained on '{prompt}' prompts but on caption"):
            found = getattr(captions_only, verb)(picture, words)
        assert found == getattr(model, verb)(picture, words)


def test_a_model_that_was_joined_and_not_trained_says_so(model, picture):
    with pytest.warns(asking.Notice, match="joined from a ViT and an mT5 and not trained since"):
        assert saying(model, untrained=True).caption(picture) == model.caption(picture)


def test_rank_takes_one_list_for_all_or_one_for_each(model, seen):
    together = model.rank(seen, "a", ["dog", "mbwa na paka"])
    apart = model.rank(seen, "a", [["dog", "mbwa na paka"], ["mbwa na paka"]])
    np.testing.assert_allclose(together[0], apart[0], atol=1e-3)
    np.testing.assert_allclose(together[1][1:], apart[1], atol=1e-3)


def test_choices_are_scored_as_labels_after_the_question(model, seen):
    choices = ["mbwa", "cat", "a dog"]
    asked = prompts.fill("vqa", question="a?")
    answers = model.answer(seen, "a?", choices)
    for answer, scores in zip(answers, model.rank(seen, asked, choices), strict=True):
        order = np.argsort(-scores)
        assert [answer, *answer.others] == [choices[i] for i in order]
        found = [answer.log_prob, *(other.log_prob for other in answer.others)]
        assert found == pytest.approx([float(scores[i]) for i in order], abs=1e-3)
        assert answer.prompt == asked
        assert model.tokenizer.decode(answer.tokens) == answer
    assert model.answer(seen, ["a?", "b?"], choices)[0].log_prob == pytest.approx(found[0], abs=9)


def test_the_picture_and_the_question_are_encoded_once_for_all_choices(model, seen, monkeypatch):
    from pali import ranking

    encoded = []
    encode = ranking._encode
    monkeypatch.setattr(ranking, "_encode", lambda *a: encoded.append(len(a[2])) or encode(*a))
    answers = model.answer(seen, ["a?", "b?"], [f"dog {number}" for number in range(200)])
    assert encoded == [2]
    assert [len(answer.others) for answer in answers] == [199, 199]


def test_choices_that_are_none_are_refused(model, picture):
    with pytest.raises(ValueError, match="there are no choices"):
        model.answer(picture, SHORT, [])
    with pytest.raises(ValueError, match="number 2 of the 2 choices is empty"):
        model.answer(picture, SHORT, ["yes", " "])
    with pytest.raises(ValueError, match="choices is the text 'yes'; give a list"):
        model.answer(picture, SHORT, "yes")
    with pytest.raises(ValueError, match="choices are scored, not decoded"):
        model.answer(picture, SHORT, ["yes"], decoding=Decoding(max_chars=3))
    with pytest.warns(asking.Notice, match="choices given more than once are asked once: 'yes'"):
        found = model.answer(picture, SHORT, ["yes", "no", "yes"])
    assert len(found.others) == 1
    assert model.answer([], SHORT, ["yes"]) == []


def test_a_language_that_the_tokenizer_cannot_spell_is_said(model, picture):
    """Where the model does not say which languages it knows."""
    unsure = Model(model.config, model.params, model.tokenizer, Metadata())
    with pytest.warns(asking.Notice, match="no pieces for the letters of 'ka'; what it writes"):
        assert isinstance(unsure.caption(picture, "sw,ka")["ka"], Text)
    with pytest.warns(asking.Notice, match="no pieces for the letters of 'hi', 'th'"):
        unsure.ocr(picture, "hi,th,en")
