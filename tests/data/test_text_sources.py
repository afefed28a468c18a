# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of text in pictures and of flags: what each split shows, what training must never see."""

import pickle
from collections import Counter

import pytest

from pali.data.demo_corpus import FIRST_UNSEEN_VIEW, load_corpus
from pali.data.demo_flags import TRAIN_FLAGS, UNSEEN_FLAGS, load_flags
from pali.data.demo_strings import is_unseen, load_strings
from pali.data.pipeline import MAX_RECORDS, Source
from pali.data.question_phrases import FLAG_QUESTIONS
from pali.data.sources import DemoTexts
from pali.data.text_sources import (
    FLAG_SPLITS,
    OCR_SPLITS,
    PER_LANGUAGE,
    DemoFlagNames,
    DemoFlagQuestions,
    DemoOcr,
)
from pali.languages import in_script, resolve_many

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


@pytest.mark.parametrize(
    "source",
    [DemoOcr("train"), DemoFlagNames("train"), DemoFlagQuestions("train", LANGUAGES)],
    ids=repr,
)
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


XM3600 = tuple(resolve_many("xm3600"))


def test_flags_are_asked_about_once_in_each_of_36_languages():
    assert set(FLAG_QUESTIONS) == set(XM3600)
    assert len(XM3600) == 36
    assert len(set(FLAG_QUESTIONS.values())) == 36
    for lang, question in FLAG_QUESTIONS.items():
        assert in_script(question, lang), question
        assert question == question.strip()
        assert "|" not in question


@pytest.fixture(scope="module")
def questions():
    """All of evaluation, and of training each question about each flag once."""
    splits = ("train", "validation", "unseen_art")
    return {split: read_all(DemoFlagQuestions(split, XM3600, views=1)) for split in splits}


def test_each_flag_is_asked_about_in_every_language_and_answered_in_english(questions):
    names = strings.named("en", "territory")
    asked = [code for code in load_flags().territories if code in names]
    wanted = {code for code in asked if not is_unseen(names[code])}
    assert 0 < len(wanted) < len(asked), "some English names are held out"
    for split, records in questions.items():
        pairs = Counter((record["code"], record["lang"]) for record in records)
        assert set(pairs.values()) == {1}
        assert set(pairs) == {(code, lang) for code in wanted for lang in XM3600}
        for record in records:
            assert record["question"] == FLAG_QUESTIONS[record["lang"]]
            assert record["answer"] == names[record["code"]]
            assert not is_unseen(record["answer"])
            assert record["art"] == (UNSEEN_FLAGS if split == "unseen_art" else TRAIN_FLAGS)


def test_questions_of_evaluation_show_other_pictures(questions):
    last = DemoFlagQuestions("train", XM3600)
    assert last[len(last) - 1]["view"] < FIRST_UNSEEN_VIEW
    pictures = {split: {r["image_key"] for r in rows} for split, rows in questions.items()}
    for split in ("validation", "unseen_art"):
        assert {record["view"] for record in questions[split]} == {FIRST_UNSEEN_VIEW}
        assert not pictures[split] & pictures["train"]
    assert not pictures["validation"] & pictures["unseen_art"]


def test_views_of_training_follow_each_other():
    source = DemoFlagQuestions("train", ("en", "th"), views=3)
    records = read_all(source)
    assert [r["view"] for r in records] == sorted(r["view"] for r in records)
    assert len({(r["image_key"], r["lang"]) for r in records}) == len(records) == len(source)


def test_a_flag_has_one_label_everywhere_and_no_concept_has_it(questions, names):
    labels = {}
    for record in (r for part in (*questions.values(), *names.values()) for r in part):
        assert labels.setdefault(record["code"], record["label"]) == record["label"]
    assert len(set(labels.values())) == len(labels)
    classes = len(load_corpus().core_train)
    assert min(labels.values()) >= classes
    concepts = {r["label"] for r in read_all(DemoTexts("validation", ("en",)))}
    assert concepts == set(range(classes)) - held_out_in_english()


def held_out_in_english():
    corpus = load_corpus()
    return {corpus.class_index[code] for code in corpus.held_out("en")}


def test_training_sources_can_be_shuffled():
    for source in (DemoOcr("train"), DemoFlagNames("train"), DemoFlagQuestions("train", XM3600)):
        assert len(source) <= MAX_RECORDS


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="unknown split 'held_out_pairs'; known: train, valid"):
        len(DemoFlagQuestions("held_out_pairs", ("en",)))
    with pytest.raises(ValueError, match="unknown split 'test'; known: train, validation, unseen_"):
        len(DemoOcr("test"))
    with pytest.raises(ValueError, match="unknown split 'test'; known: train, validation, unseen_"):
        len(DemoFlagNames("test"))
    with pytest.raises(ValueError, match=r"language of strings 'tlh'.*nearest"):
        len(DemoOcr("train", ("tlh",)))
    with pytest.raises(ValueError, match=r"no string of split 'train' in \('en',\) has at most 1"):
        len(DemoOcr("train", ("en",), max_characters=1))


def test_sources_count_their_languages():
    languages = ("en", "qu", "th")
    for source in (
        DemoOcr("train", languages, views=2),
        DemoOcr("unseen_strings", languages),
        DemoFlagNames("train", languages, views=2),
        DemoFlagNames("held_out_pairs", languages),
        DemoFlagQuestions("train", ("en", "th"), views=2),
        DemoFlagQuestions("validation", ("en", "th")),
    ):
        found = Counter(source[i]["lang"] for i in range(len(source)))
        assert source.per_language == found, source
