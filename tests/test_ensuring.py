# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers in another language than asked for are decoded again, and marked if they still are."""

import numpy as np
import pytest

import pali
from pali import asking, ensuring
from pali.checkpoints import pretrained
from pali.generation import Decoding, Text
from pali.languages import in_script
from pali.metrics.wrong_language import Judge, installed_judge
from pali.shortlist import of_script

HOTEL = pretrained.EMBEDDED / "examples" / "hotel.png"


@pytest.fixture(scope="module")
def model():
    """The embedded one, which knows languages of many scripts."""
    return pali.load()


def ensured(model, texts, langs, chosen=Decoding(), shortlists=None):
    """What becomes of texts that the model is said to have written; and which were decoded."""
    asked = []

    def decode(rows, how):
        asked.extend(rows)
        return [model.caption(HOTEL, langs[row], decoding=how)[langs[row]] for row in rows]

    found = ensuring.ensure(
        texts, langs, model.tokenizer, chosen, shortlists, decode, installed_judge()
    )
    return found, asked


def test_only_what_is_in_another_language_is_decoded_again(model):
    texts = [Text("hotel"), Text("a hotel"), Text("12"), Text("ホテル"), Text("a hotel")]
    langs = ["en", "hi", "hi", "ja", "th"]
    found, asked = ensured(model, texts, langs)
    assert asked == [1, 4]
    for row in (0, 2, 3):
        assert found[row] is texts[row]
    for row in asked:
        assert found[row] != texts[row]
        assert in_script(found[row], langs[row])
        assert found[row].shortlisted
        assert not found[row].wrong_language
        assert of_script(model.tokenizer, langs[row])[list(found[row].tokens)].all()


def test_other_answers_say_whether_they_are_in_another_language(model):
    others = (Text("होटल"), Text("a house"))
    (kept,), asked = ensured(model, [Text("होटल", others=others)], ["hi"])
    assert asked == []
    assert (kept, *kept.others) == ("होटल", *others)
    assert [other.wrong_language for other in kept.others] == [False, True]
    beam = Decoding("beam", n_best=3)
    (again,), asked = ensured(model, [Text("a hotel", others=others)], ["hi"], beam)
    assert asked == [0]
    assert len(again.others) == 2
    assert not any(other.wrong_language for other in again.others)


def test_the_second_answer_is_in_the_list_of_the_language_where_there_is_one(model):
    mask = model.shortlists.mask("hi")
    ((free,), _), ((listed,), _) = (
        ensured(model, [Text("a hotel")], ["hi"], Decoding(prefix=""), shortlists)
        for shortlists in (None, model.shortlists)
    )
    assert in_script(free, "hi")
    assert in_script(listed, "hi")
    assert (mask & of_script(model.tokenizer, "hi"))[list(listed.tokens)].all()


def test_what_is_in_another_language_again_is_marked(model):
    chosen = Decoding(prefix="a hotel and ", ensure_language=True)
    found = model.caption(HOTEL, "hi", decoding=chosen)["hi"]
    assert found.wrong_language
    assert found.startswith("a hotel and ")


@pytest.mark.parametrize(("second", "marked"), [("a hotel", True), ("7", True), ("होटल", False)])
def test_the_second_answer_has_to_be_shown_to_be_in_the_language(model, second, marked):
    (found,) = ensuring.ensure(
        [Text("hotel")],
        ["hi"],
        model.tokenizer,
        Decoding(),
        None,
        lambda rows, how: [Text(second)],
        installed_judge(),
    )
    assert (found, found.wrong_language) == (second, marked)


def test_answers_that_are_right_stay_as_they_are(model):
    langs = "en,fr,hi,sw,th,zh,ar"
    plain = model.caption(HOTEL, langs)
    found = model.caption(HOTEL, langs, decoding=Decoding(ensure_language=True))
    right = [lang for lang, text in found.items() if not text.shortlisted]
    assert len(right) >= 5
    for lang in right:
        assert (found[lang], found[lang].tokens) == (plain[lang], plain[lang].tokens)


def test_draws_again_by_the_number_of_its_row(tiny_model):
    """Whatever else had to be decoded again."""
    model = pali.load(tiny_model)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    chosen = Decoding("sample", prefix="a dog ", max_length=12, ensure_language=True)
    first, second = (model.caption(picture, langs, decoding=chosen) for langs in ("en,hi", "th,hi"))
    assert not first["en"].shortlisted
    assert second["th"].shortlisted
    assert first["hi"].shortlisted
    assert first["hi"] == second["hi"]


def test_without_a_detector_scripts_are_judged_and_that_is_said(model):
    with pytest.warns(asking.Notice, match="judged by script alone"):
        (found,) = ensuring.ensure(
            [Text("a hotel")],
            ["de"],
            model.tokenizer,
            Decoding(),
            None,
            lambda rows, how: [],
            Judge(None),
        )
    assert found == "a hotel"
