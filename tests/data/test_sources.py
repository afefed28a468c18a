# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of the demo corpus: what each split shows, and what training must never see."""

import json
import pickle
from collections import Counter

import pytest

from pali.data.converter import NO_LABEL
from pali.data.demo_corpus import FIRST_UNSEEN_VIEW, TRAIN_ART, UNSEEN_ART, load_corpus
from pali.data.pipeline import Source
from pali.data.skipping import RecordError
from pali.data.sources import SPLITS, TRAIN_VIEWS, DemoPictures, DemoTexts, JsonLines

LANGUAGES = ("en", "sw", "th")


def read_all(source):
    return [source[i] for i in range(len(source))]


@pytest.fixture(scope="module")
def records():
    return {split: read_all(DemoTexts(split, LANGUAGES, views=1)) for split in SPLITS}


@pytest.mark.parametrize("source", [DemoPictures(), DemoTexts("train", LANGUAGES)], ids=repr)
def test_sources_are_random_access_and_travel_light(source):
    assert isinstance(source, Source)
    assert len(pickle.dumps(source)) < 1000
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source)
    middle = len(source) // 2
    assert copy[middle] == source[middle] == source[middle]
    for index in (-1, len(source)):
        with pytest.raises(IndexError):
            source[index]


def test_pictures_come_all_once_before_any_comes_in_another_view():
    source = DemoPictures(stop=3)
    classes = len(load_corpus().core_train)
    assert source.num_classes == classes
    assert len(source) == 3 * classes * len(TRAIN_ART)
    records = read_all(source)
    round_ = len(source) // 3
    for view in range(3):
        part = records[view * round_ : (view + 1) * round_]
        assert {record["view"] for record in part} == {view}
        assert len({record["image_key"] for record in part}) == round_
    assert Counter(r["label"] for r in records) == dict.fromkeys(range(classes), 12)


def test_labels_are_places_in_core_train():
    core = load_corpus().core_train
    for record in read_all(DemoPictures(("noto",), 5, 6)):
        assert core[record["label"]].code == record["code"]
        assert record["image_key"] == f"noto/{record['code']}/5"


def test_training_pictures_stay_within_the_seen_views():
    assert TRAIN_VIEWS <= FIRST_UNSEEN_VIEW
    last = DemoPictures()[len(DemoPictures()) - 1]
    assert last["view"] == TRAIN_VIEWS - 1


@pytest.mark.parametrize("needs", ["name", "keywords"])
def test_training_never_meets_what_is_held_out(needs):
    corpus = load_corpus()
    source = DemoTexts("train", LANGUAGES, views=2, needs=needs)
    unseen = {concept.code for concept in corpus.never_seen}
    for record in read_all(source):
        assert record["code"] not in corpus.held_out(record["lang"])
        assert record["code"] not in unseen
        assert record["art"] in TRAIN_ART
        assert record["view"] < 2
        assert record[needs]


def test_splits_show_what_they_say(records):
    corpus = load_corpus()
    unseen = {concept.code for concept in corpus.never_seen}
    for split in ("validation", "unseen_art", "held_out_pairs", "never_seen"):
        pairs = Counter((record["code"], record["lang"]) for record in records[split])
        assert set(pairs.values()) == {1}  # Each pair weighs the same.
        assert {record["view"] for record in records[split]} == {FIRST_UNSEEN_VIEW}
    assert {r["art"] for r in records["unseen_art"]} == {UNSEEN_ART}
    assert {r["art"] for r in records["validation"]} == set(TRAIN_ART)
    assert {r["code"] for r in records["never_seen"]} == unseen
    for lang in LANGUAGES:
        held_out = {r["code"] for r in records["held_out_pairs"] if r["lang"] == lang}
        assert held_out == corpus.held_out(lang)


def test_evaluation_asks_for_the_pairs_that_were_trained(records):
    def pairs(split):
        return {(record["code"], record["lang"]) for record in records[split]}

    assert pairs("validation") == pairs("train") == pairs("unseen_art")
    assert not pairs("held_out_pairs") & pairs("train")


def test_no_two_splits_share_a_picture_and_language(records):
    seen = {}
    for split, rows in records.items():
        for row in rows:
            assert seen.setdefault((row["image_key"], row["lang"]), split) == split


def test_records_carry_what_people_wrote(records):
    corpus = load_corpus()
    for record in records["validation"]:
        assert record["name"] == corpus.names(record["lang"])[record["code"]]
        assert record["keywords"] == corpus.keywords(record["lang"]).get(record["code"], [])
        assert record["group"] == corpus.concept(record["code"]).group


def test_records_say_which_class_they_show_if_any(records):
    corpus = load_corpus()
    for split, rows in records.items():
        for record in rows:
            expected = corpus.class_index.get(record["code"], NO_LABEL)
            assert record["label"] == expected
            assert (expected == NO_LABEL) == (split == "never_seen")


def test_the_pictures_of_a_training_source_are_all_that_it_shows():
    source = DemoTexts("train", LANGUAGES, views=2)
    shown = {record["image_key"] for record in read_all(source)}
    assert {record["image_key"] for record in read_all(source.pictures)} == shown
    other = DemoTexts("unseen_art", LANGUAGES)
    assert other.pictures is other


def test_unknown_split_is_named():
    with pytest.raises(ValueError, match="unknown split 'test'; known: train, validation"):
        len(DemoTexts("test", LANGUAGES))


def test_json_lines(tmp_path):
    rows = [{"image": "a.png", "caption": "un chien"}, {"image": "b.png", "caption": "ฝน\u2028ตก"}]
    file = tmp_path / "data.jsonl"
    text = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    file.write_text(text + "\n", encoding="utf-8")
    assert read_all(JsonLines(str(file))) == rows
    with_pictures = JsonLines(str(file), image_folder="pictures")
    assert with_pictures[1] == {"image_key": "pictures/b.png", "caption": "ฝน\u2028ตก"}


@pytest.mark.parametrize("bad", ['{"caption": "a', "17", '"text"'])
def test_json_lines_names_a_bad_line(tmp_path, bad):
    file = tmp_path / "data.jsonl"
    file.write_text('{"caption": "a"}\n\n' + bad)
    with pytest.raises(ValueError, match=r"data.jsonl, line 3 is not a JSON object"):
        JsonLines(str(file))[1]


ROWS = [("sw", "mbwa"), ("iw", "כלב"), ("he", "חתול"), ("Swahili", "paka"), ("xx", "?"), (3, "?")]


@pytest.fixture
def in_languages(tmp_path):
    file = tmp_path / "data.jsonl"
    lines = [json.dumps({"lang": lang, "caption": text}) for lang, text in ROWS]
    file.write_text("\n".join([*lines, "{broken", '{"caption": "in none"}']), encoding="utf-8")
    return str(file)


def test_json_lines_of_one_language_in_whichever_spelling(in_languages):
    for spelling in ("sw", "SW", "Kiswahili"):
        rows = read_all(JsonLines(in_languages, lang=spelling))
        assert [row["caption"] for row in rows] == ["mbwa", "paka"]
    assert len(JsonLines(in_languages, lang="he")) == 2
    assert len(JsonLines(in_languages)) == 8
    assert len(JsonLines(in_languages, lang="th")) == 0
    with pytest.raises(ValueError, match="unknown language 'klingon'"):
        len(JsonLines(in_languages, lang="klingon"))


def test_json_lines_count_their_languages(in_languages):
    # What is broken or names no language is in none.
    assert JsonLines(in_languages).per_language == {"he": 2, "sw": 2}
    assert JsonLines(in_languages, lang="iw").per_language == {"he": 2}


@pytest.mark.parametrize("split", ["train", "unseen_art"])
def test_texts_count_their_languages(split):
    source = DemoTexts(split, LANGUAGES, views=2)
    assert source.per_language == Counter(r["lang"] for r in read_all(source))


def test_json_lines_of_a_language_beside_one_that_is_nested_too_deep(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = ["[" * depth + "]" * depth for depth in (400, 900, 990, 995, 100_000)]
    path.write_text("\n".join([*lines, '{"lang": "sw", "caption": "paka"}']))
    assert JsonLines(str(path), lang="sw")[0]["caption"] == "paka"
    with pytest.raises(RecordError, match="line 5 is not a JSON object"):
        JsonLines(str(path))[4]


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\r\n{"b": "\xe9"}\n' + b"{}\n" * 9)
    with pytest.raises(ValueError, match=r"x.jsonl is not UTF-8 \(line 2\)"):
        len(JsonLines(str(path)))
