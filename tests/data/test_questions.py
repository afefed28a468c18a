# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions: right by the scene's own boxes, balanced, and free of what is held out."""

import unicodedata
from collections import Counter

import pytest

from pali.data import questions
from pali.data.demo_corpus import load_corpus
from pali.data.question_phrases import KINDS, PHRASES
from pali.data.questions import Query
from pali.data.scenes import COLOURS, are_alike, corner, describe, direction
from pali.languages import LANGUAGES, resolve_many, script_of

ALL = resolve_many("xm3600")
SCENES = [describe("train", number) for number in range(300)]


def asked(kind):
    return [
        (scene, questions.ask(scene, kind, number))
        for scene in SCENES
        if questions.suits(kind, scene.number)
        for number in range(3)
    ]


def answer_of(scene, kind, codes):
    """The answer found again from the objects alone."""
    things = [[t for t in scene.objects if t.code == code] for code in codes]
    if kind == "colour":
        return scene.colour
    if kind == "count":
        return str(len(things[0]))
    if kind == "presence":
        return "yes" if things[0] else "no"
    extents = [one.extent for (one,) in things]
    return corner(*extents) if kind == "corner" else direction(*extents)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_what_the_scene_shows(kind):
    for scene, query in asked(kind):
        assert query.kind == kind
        assert query.answer == answer_of(scene, kind, query.codes)
        if query.answer in ("no", "0"):
            assert not any(are_alike(query.codes[0], code) for code in scene.counts)


@pytest.mark.parametrize(
    ("kind", "answers", "most"),
    [
        ("count", 5, 0.28),
        ("presence", 2, 0.56),
        ("colour", len(COLOURS), 0.2),
        ("direction", 4, 0.34),
        ("corner", 4, 0.34),
    ],
)
def test_no_answer_is_right_often(kind, answers, most):
    counts = Counter(query.answer for _, query in asked(kind))
    assert len(counts) == answers
    assert max(counts.values()) <= most * counts.total()


def test_questions_are_functions_of_scene_kind_and_number():
    scene = SCENES[2]
    found = [questions.ask(scene, "presence", number) for number in range(20)]
    assert found == [questions.ask(describe("train", 2), "presence", n) for n in range(20)]
    assert len(set(found)) > 5


def test_every_language_has_every_phrase_with_its_own_question_mark():
    assert set(PHRASES) == set(ALL)
    names = {"a": "<A>", "b": "<B>"}
    marks = {"ar": "؟", "fa": "؟", "el": ";", "ja": "？", "zh": "？", "th": ""}
    for language, phrases in PHRASES.items():
        for kind in KINDS:
            text = phrases[kind].format_map(names)
            assert unicodedata.normalize("NFC", text) == text
            mark = marks.get(language, "?")
            assert (text[-1] == mark) if mark else text[-1] not in "?？؟;"
            assert ("<A>" in text) == (kind != "colour")
            assert ("<B>" in text) == (kind == "direction")
            bare = text.replace("<A>", "").replace("<B>", "")
            letters = [c for c in bare if unicodedata.category(c)[0] == "L"]
            assert {script_of(c) for c in letters} <= {*LANGUAGES[language].scripts, "Zyyy"}
    assert all(phrase.startswith("¿") for phrase in PHRASES["es"].values())
    assert len({phrases["count"] for phrases in PHRASES.values()}) >= 35  # Danish is Norwegian.


def test_a_phrase_names_things_as_the_dictionary_does():
    codes = {concept.name: concept.code for concept in load_corpus().core_train}
    query = Query("direction", (codes["dog"], codes["key"]), "left")
    assert questions.phrase(query, "de").endswith(": Hund, Schlüssel?")
    assert questions.phrase(Query("count", (codes["dog"],), "2"), "en") == "How many: dog?"


def test_languages_in_which_a_name_is_held_out_are_left_out():
    corpus = load_corpus()
    for language in ALL:
        for code in corpus.held_out(language):
            assert language not in questions.languages_of(Query("count", (code,), "1"), ALL)
    free = next(
        c.code for c in corpus.core_train if not any(c.code in corpus.held_out(x) for x in ALL)
    )
    assert questions.languages_of(Query("count", (free,), "1"), ALL) == ALL
    assert questions.languages_of(Query("colour", (), "red"), ["th", "en"]) == ["th", "en"]


@pytest.mark.parametrize("language", ["en", "sw", "th"])
def test_questions_turned_around_all_have_their_answer(language):
    names = load_corpus().names(language)
    answers = Counter()
    for scene in SCENES[:80]:
        found = questions.turned_around(scene, 1, language)
        if found is None:
            continue
        answer, texts = found
        answers[answer] += 1
        assert len(set(texts)) == len(texts) >= 1
        right = {
            questions.phrase(query, language)
            for kind in KINDS
            for query in questions.visible(scene, kind)
            if query.answer == answer == answer_of(scene, kind, query.codes)
            and not load_corpus().held_out(language) & set(query.codes)
            and all(code in names for code in query.codes)
        }
        assert set(texts) == right
    assert {"no", "0"}.isdisjoint(answers)
    assert len(answers) > 10


@pytest.mark.parametrize(
    ("kind", "number", "message"),
    [
        ("colour", 1, "cannot be asked for colour"),
        ("count", 0, "cannot be asked for count"),
        ("corner", 2, "cannot be asked for corner"),
        ("smell", 0, "unknown kind of question 'smell'; known: count, presence"),
    ],
)
def test_questions_that_do_not_suit_are_refused(kind, number, message):
    with pytest.raises(ValueError, match=message):
        questions.ask(describe("train", number), kind, 0)


def test_a_language_without_phrases_is_named():
    with pytest.raises(ValueError, match="no questions in 'gl'; there are in ar, bn"):
        questions.phrase(Query("colour", (), "red"), "gl")
