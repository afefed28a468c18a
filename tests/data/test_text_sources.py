# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of text in pictures and of flags: what each split shows, what training must never see."""

import pickle
from collections import Counter

import pytest

from pali.data.demo_corpus import FIRST_UNSEEN_VIEW
from pali.data.demo_flags import TRAIN_FLAGS, UNSEEN_FLAGS, load_flags
from pali.data.demo_strings import is_unseen, load_strings
from pali.data.pipeline import Source
from pali.data.text_sources import (
    FLAG_SPLITS,
    OCR_SPLITS,
    PER_LANGUAGE,
    DemoFlagNames,
    DemoOcr,
)

LANGUAGES = ("en", "sw", "zh", "ko")
strings = load_strings()


def read_all(source):
    return [source[i] for i in range(len(source))]


@pytest.fixture(scope="module")
def texts():
    return {split: read_all(DemoOcr(split, LANGUAGES, views=3)) for split in OCR_SPLITS}


@pytest.fixture(scope="module")
def names():
    return {split: read_all(DemoFlagNames(split, LANGUAGES, views=2)) for split in FLAG_SPLITS}


@pytest.mark.parametrize("source", [DemoOcr("train"), DemoFlagNames("train")], ids=repr)
def test_sources_are_random_access_and_travel_light(source):
    assert isinstance(source, Source)
    assert len(pickle.dumps(source)) < 1000
    copy = pickle.loads(pickle.dumps(source))
    middle = len(source) // 2
    assert copy[middle] == source[middle] == source[middle]
    assert source[len(source) - 1]["view"] < FIRST_UNSEEN_VIEW
    for index in (-1, len(source)):
        with pytest.raises(IndexError):
            source[index]


def parts(text: str, lang: str) -> list[list[str]]:
    """Every way to read a text as strings of its language."""
    known = set(strings.texts(lang))
    words = text.split(" ")
    found = [[text]] if text in known else []
    for cut in range(1, len(words)):
        head = " ".join(words[:cut])
        if head in known:
            found += [[head, *rest] for rest in parts(" ".join(words[cut:]), lang)]
    return found


def test_training_shows_no_unseen_string_alone_or_in_a_combination(texts):
    for record in texts["train"]:
        assert not is_unseen(record["text"])
        readings = parts(record["text"], record["lang"])
        assert any(not any(map(is_unseen, reading)) for reading in readings), record


def test_unseen_strings_are_made_of_unseen_strings_alone(texts):
    for record in texts["unseen_strings"]:
        assert is_unseen(record["text"])
        readings = parts(record["text"], record["lang"])
        assert any(all(map(is_unseen, reading)) for reading in readings), record
    shown = {record["text"] for record in texts["train"]}
    assert not shown & {record["text"] for record in texts["unseen_strings"]}


def test_a_text_of_two_languages_falls_on_one_side():
    both = set(strings.texts("bs")) & set(strings.texts("hr"))
    shown = {r["text"] for r in read_all(DemoOcr("train", ("bs", "hr"), views=1))}
    unseen = {r["text"] for r in read_all(DemoOcr("unseen_strings", ("bs", "hr")))}
    assert len(both) > 100
    assert not shown & unseen


def test_texts_are_short_and_some_are_two_or_three_strings(texts):
    counts = Counter()
    for record in texts["train"]:
        assert 0 < len(record["text"]) <= 12
        counts[min(map(len, parts(record["text"], record["lang"])))] += 1
    total = sum(counts.values())
    assert set(counts) == {1, 2, 3}
    assert counts[1] / total > 0.5
    assert counts[2] / total > 0.15
    assert counts[3] / total > 0.01
    longer = read_all(DemoOcr("train", ("en",), max_characters=30, views=1))
    assert 12 < max(len(record["text"]) for record in longer) <= 30


def test_every_string_comes_in_every_view_and_combinations_change():
    source = DemoOcr("train", ("sw",), views=4)
    records = read_all(source)
    round_ = len(source) // 4
    views = [records[i * round_ : (i + 1) * round_] for i in range(4)]
    assert [{r["view"] for r in view} for view in views] == [{0}, {1}, {2}, {3}]
    together = {tuple(r["text"] for r in view) for view in views}
    assert len(together) == 4
    for same in zip(*views, strict=True):
        first = [r["text"].split(" ")[0] for r in same]
        assert len(set(first)) == 1


def test_evaluation_shows_other_views_and_a_fair_part_of_each_language(texts, names):
    for split, records in {**texts, **{f"flag {k}": v for k, v in names.items()}}.items():
        if split.endswith("train"):
            continue
        assert {record["view"] for record in records} == {FIRST_UNSEEN_VIEW}
        counts = Counter(record["lang"] for record in records)
        assert set(counts) == set(LANGUAGES)
        assert max(counts.values()) <= PER_LANGUAGE
        assert len({(r["image_key"], r["lang"]) for r in records}) == len(records)


def test_flags_that_training_names_and_those_held_out(names):
    for split, records in names.items():
        held_out = split == "held_out_pairs"
        for record in records:
            assert record["name"] == strings.named(record["lang"], "territory")[record["code"]]
            assert is_unseen(record["name"]) == held_out
            expected = UNSEEN_FLAGS if split == "unseen_art" else TRAIN_FLAGS
            assert record["art"] == expected
    pairs = {split: {(r["code"], r["lang"]) for r in rows} for split, rows in names.items()}
    assert pairs["validation"] == pairs["unseen_art"] < pairs["train"]
    assert not pairs["held_out_pairs"] & pairs["train"]
    # A flag whose name is held out in one language is seen, and named in others.
    assert {code for code, _ in pairs["train"]} == set(load_flags().territories)


def test_a_name_held_out_of_flags_is_held_out_of_reading():
    held_out = {r["name"] for r in read_all(DemoFlagNames("held_out_pairs", LANGUAGES))}
    source = DemoOcr("train", LANGUAGES, max_characters=40, views=1)
    assert not held_out & {record["text"] for record in read_all(source)}


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown split 'test'; known: train, validation, unseen_"):
        len(DemoOcr("test"))
    with pytest.raises(ValueError, match="unknown split 'test'; known: train, validation, unseen_"):
        len(DemoFlagNames("test"))
    with pytest.raises(ValueError, match=r"language of strings 'tlh'.*nearest"):
        len(DemoOcr("train", ("tlh",)))
    with pytest.raises(ValueError, match=r"no string of split 'train' in \('en',\) has at most 1"):
        len(DemoOcr("train", ("en",), max_characters=1))
