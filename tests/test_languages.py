# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Codes, names and scripts: what people type, what papers publish, what texts are written in."""

import pytest
from babel import Locale, UnknownLocaleError
from babel.core import get_global

from pali.data.demo_corpus import load_corpus
from pali.languages import (
    COCO_35L,
    DEMO,
    GROUPS,
    LANGUAGES,
    MAXM,
    MC4_101,
    XGQA,
    XM3600,
    in_script,
    published_code,
    resolve,
    resolve_many,
    script_of,
)


def test_published_lists_have_their_published_sizes():
    sizes = {name: len(set(codes)) for name, codes in GROUPS.items()}
    assert sizes == {"xm3600": 36, "coco-35l": 35, "xgqa": 8, "maxm": 7, "mc4": 101, "demo": 112}
    assert set(XM3600) - set(COCO_35L) == {"quz"}


def test_the_list_of_the_demo_corpus_is_that_of_its_names():
    assert load_corpus().languages == DEMO


@pytest.mark.parametrize("codes", GROUPS.values(), ids=GROUPS)
def test_every_published_code_resolves_and_is_spelled_back(codes):
    ours = [resolve(code) for code in codes]
    assert len(set(ours)) == len(codes)
    assert [published_code(code, codes) for code in ours] == list(codes)


MORE_USUAL = {
    **{"bn": "Bengali", "id": "Bahasa Indonesia", "jv": "Basa Jawa", "ku": "kurdî"},
    **{"mi": "te reo Māori", "ms": "Bahasa Melayu", "ny": "Chichewa"},
}
"""Names that are ours on purpose, where CLDR has another."""


@pytest.mark.parametrize("code", LANGUAGES)
def test_names_and_scripts_are_those_of_cldr(code):
    language, known = LANGUAGES[code], {MORE_USUAL.get(code)}
    assert language.name in known | {Locale("en").languages[code]}
    # Two of the languages have no locale, and so no name of their own, in CLDR.
    try:
        assert language.endonym in known | {Locale.parse(code).languages[code]}
    except UnknownLocaleError:
        assert code in ("hmn", "sm")
    likely = next(part for part in get_global("likely_subtags")[code].split("_") if len(part) == 4)
    parts = {"Jpan": "Kana", "Kore": "Hang", "Hans": "Hani", "Hant": "Hani"}
    assert parts.get(likely, likely) in language.scripts


@pytest.mark.parametrize("old", ["iw", "tl", "in", "jw", "ji", "mo", "cmn", "quz"])
def test_old_codes_mean_what_they_mean_in_cldr(old):
    assert resolve(old) == get_global("language_aliases")[old]


def test_lists_that_spell_a_language_differently_agree_on_it():
    assert published_code("he", MAXM) == published_code("he", MC4_101) == "iw"
    assert published_code("he", XM3600) == "he"
    with pytest.raises(ValueError, match=r"Croatian \(hr\) is not in the list"):
        published_code("hr", XGQA)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *[("sw", "sw"), ("SW", "sw"), ("Swahili", "sw"), (" kiswahili ", "sw"), ("日本語", "ja")],
        *[("iw", "he"), ("tl", "fil"), ("nb", "no"), ("quz", "qu"), ("in", "id"), ("jw", "jv")],
        *[("pt-BR", "pt"), ("zh_CN", "zh"), ("zh-Hans", "zh"), ("en-us", "en"), ("Farsi", "fa")],
        *[("Māori", "mi"), ("maori", "mi"), ("Ma\u0304ori", "mi"), ("TÜRKÇE", "tr")],
    ],
)
def test_resolve_understands_codes_names_and_endonyms(text, code):
    assert resolve(text) == code


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_is_found_by_its_code_its_name_and_its_own_name(code):
    language = LANGUAGES[code]
    assert resolve(code) == resolve(language.name) == resolve(language.endonym) == code


@pytest.mark.parametrize(
    ("text", "near"),
    [("Swahilli", r"Swahili \(sw\)"), ("germn", r"German \(de\)"), ("xx", r"Xhosa \(xh\)")],
)
def test_unknown_language_names_near_ones(text, near):
    with pytest.raises(ValueError, match=f"unknown language {text!r}; did you mean .*{near}"):
        resolve(text)


def test_script_that_a_region_cannot_stand_for_is_not_dropped():
    with pytest.raises(ValueError, match="unknown language 'zh-Hant'"):
        resolve("zh-Hant")


def test_language_that_a_model_lacks_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Welsh \(cy\) is not among the languages here: sw, de"):
        resolve("cy", known=["sw", "de"])


def test_resolve_many_keeps_the_order_and_drops_repeats():
    assert resolve_many("th, en,Swahili,sw,TH") == ["th", "en", "sw"]
    assert resolve_many(["en", "fr"]) == ["en", "fr"]


def test_groups_mean_the_known_languages_and_single_ones_must_be_known():
    known = ["sw", "de", "gl"]
    assert resolve_many("all", known) == known
    assert set(resolve_many("xm3600", known)) == {"sw", "de"}
    assert resolve_many("XM3600")[-1] == "zh"
    assert len(resolve_many("mc4")) == 101
    with pytest.raises(ValueError, match="Welsh") as error:
        resolve_many("sw,cy,klingon", known)
    assert "klingon" in str(error.value)  # Every mistake at once.
    with pytest.raises(ValueError, match="names no language"):
        resolve_many("maxm", known)
    with pytest.raises(ValueError, match="names no language"):
        resolve_many(" , ")


@pytest.mark.parametrize(
    ("text", "lang", "expected"),
    [
        *[("kissa", "fi", True), ("猫", "ja", True), ("ねこ", "ja", True), ("ネコ", "ja", True)],
        *[("고양이", "ko", True), ("猫", "zh", True), ("ねこ", "zh", False), ("cat", "th", False)],
        ("iPhone ของฉันสวยมาก", "th", True),  # A brand name does no harm …
        ("my iPhone is สวย", "th", False),  # … unless it is most of the text.
        ("กิ่ง", "th", True),  # Marks do not count.
        ("", "en", False),
        ("12:00", "en", False),
        ("мачка", "sr", True),
        ("mačka", "sr", True),
        ("mačka", "mk", False),
    ],
)
def test_in_script(text, lang, expected):
    assert in_script(text, lang) is expected


def test_letters_of_every_script_and_of_none():
    letters = {"ª": "Latn", "Ａ": "Latn", "ｱ": "Kana", "ー": "Kana", "々": "Hani", "ʻ": "Zyyy"}
    assert {letter: script_of(letter) for letter in letters} == letters


@pytest.mark.parametrize("lang", load_corpus().languages)
def test_names_that_people_wrote_are_in_the_script_of_their_language(lang):
    names = load_corpus().names(lang).values()
    assert sum(in_script(name, lang) for name in names) / len(names) > 0.97
