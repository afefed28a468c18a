# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Sources about scenes: random access, languages in turn, nothing held out in any text."""

import pickle
from collections import Counter

import pytest

from pali.data.demo_corpus import load_corpus
from pali.data.pipeline import Source
from pali.data.question_phrases import KINDS
from pali.data.scene_sources import SceneAnswers, SceneObjects, SceneQuestions, Scenes
from pali.languages import resolve_many

LANGUAGES = tuple(resolve_many("xm3600"))
SOURCES = [
    Scenes("held_out_counts", 20),
    SceneQuestions("train", 40, 36, "count", LANGUAGES),
    SceneAnswers("validation", 20, 4, LANGUAGES),
    SceneObjects("unseen_art", 20, 2, "detect"),
]


def read_all(source):
    return [source[i] for i in range(len(source))]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_sources_are_random_access_and_travel_light(source):
    assert isinstance(source, Source)
    assert len(pickle.dumps(source)) < 1000
    copy = pickle.loads(pickle.dumps(source))
    middle = len(source) // 2
    assert len(copy) == len(source)
    assert copy[middle] == source[middle]
    assert copy[middle]["image_key"] == f"scene/{source.split}/{copy[middle]['scene']}"
    for index in (-1, len(source)):
        with pytest.raises(IndexError):
            source[index]


@pytest.mark.parametrize("source", SOURCES[1:], ids=lambda source: type(source).__name__)
def test_pictures_are_all_that_a_source_shows(source):
    shown = {record["image_key"] for record in read_all(source)}
    assert shown <= {record["image_key"] for record in read_all(source.pictures)}


@pytest.mark.parametrize("kind", KINDS)
def test_languages_take_turns(kind):
    times = 4
    records = read_all(SceneQuestions("validation", 144, times, kind, LANGUAGES))
    counts = Counter(record["lang"] for record in records)
    assert set(counts) == set(LANGUAGES)
    assert max(counts.values()) <= 2 * min(counts.values())
    per_scene = Counter((record["scene"], record["lang"]) for record in records)
    assert sum(per_scene.values()) - len(per_scene) < 0.05 * len(records)


def test_training_never_names_what_is_held_out():
    corpus = load_corpus()
    records = read_all(SceneQuestions("train", 30, 36, "presence", LANGUAGES))
    records += read_all(SceneAnswers("train", 12, 36, LANGUAGES))
    for record in records:
        names = corpus.names(record["lang"])
        question = record["question"]
        named = question.split(": ")[-1] if ": " in question else question.split("：")[-1]
        for code in corpus.held_out(record["lang"]):
            assert named.rstrip(" ?？؟;") != names[code]


def test_a_language_that_may_not_ask_is_an_error_that_says_so():
    source = SceneQuestions("train", 400, 1, "count", ("th",))
    with pytest.raises(ValueError, match="none of th may ask, because a name is held out"):
        read_all(source)


def test_sources_count_the_turns_of_their_languages():
    for times in (1, 5, 36):
        source = SceneQuestions("train", 40, times, "count", LANGUAGES)
        assert sum(source.per_language.values()) == len(source)
        # A question that may not be asked in the language whose turn it is goes to the next.
        found = Counter(record["lang"] for record in read_all(source))
        moved = sum(abs(found[lang] - n) for lang, n in source.per_language.items()) / 2
        assert moved <= 0.2 * len(source)
    assert SceneObjects("train", 20, 2, "detect").per_language == {"en": 40}
