# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers in another language than asked for, on real text in a hundred languages."""

import json
import re
import sys
from importlib.metadata import version

import numpy as np
import pytest

from pali.data.demo_corpus import load_corpus
from pali.data.question_phrases import FLAG_QUESTIONS, PHRASES
from pali.languages import LANGUAGES
from pali.metrics import records, wrong_language
from pali.metrics.exact_match import exact_match
from pali.metrics.signature import differences, parse
from pali.metrics.text_language import MIN_LETTERS, letters
from pali.metrics.wrong_language import Judge, installed_judge, judge_of, share
from tests.metrics.test_records import line

BY_SCRIPT = Judge(None)
ENGLISH = "A brown dog is running over the green meadow in summer"
GERMAN = "Ein brauner Hund läuft im Sommer über die grüne Wiese"


@pytest.fixture(scope="module")
def judge():
    found = installed_judge()
    assert found.variant != wrong_language.BY_SCRIPT, "the extra `check` belongs to `make test`"
    return found


@pytest.mark.parametrize(
    ("answer", "lang", "by_script", "by_both"),
    [
        ("", "de", None, None),
        ("12 − 7?!", "de", None, None),
        ("a dog", "hi", True, True),
        ("एक कुत्ता", "hi", False, False),
        ("a dog", "de", False, False),  # too short for the detector
        (ENGLISH, "de", False, True),
        (GERMAN, "de", False, False),
        (GERMAN, "en", False, True),
        (ENGLISH, "pcm", False, False),  # reads as English
        (ENGLISH, "mi", False, False),  # not known to the detector
        ("Pikinini lelaki dey waka for road wey dey near di riva", "pcm", False, False),
        ("Коричневая собака бежит по зелёному лугу летом", "kk", False, True),
        ("כלב חום רץ", "iw", False, False),  # a code by which others know Hebrew
    ],
)
def test_verdicts(judge, answer, lang, by_script, by_both):
    assert BY_SCRIPT.verdicts([answer], [lang]) == [by_script]
    assert judge.verdicts([answer], [lang]) == [by_both]


def test_a_language_that_is_none_is_refused():
    with pytest.raises(ValueError, match="klingon"):
        BY_SCRIPT.verdicts(["qo'"], ["klingon"])


def test_the_share_is_of_those_that_can_be_judged():
    assert share([True, None, False, None]) == 0.5
    assert share([None]) is None
    assert share([]) is None


def lists(lang, count=40):
    """Names of things with their keywords, "dog, pet, animal": evenly taken."""
    corpus = load_corpus()
    names, keywords = corpus.names(lang), corpus.keywords(lang)
    texts = [", ".join([names[code], *words]) for code, words in keywords.items() if code in names]
    return texts[:: max(1, len(texts) // count)][:count]


def sentences(lang):
    """Questions about scenes and flags, in the 36 languages of Crossmodal-3600."""
    names = list(load_corpus().names(lang).values())
    asked = [text.format(a=names[0], b=names[-1]) for text in PHRASES[lang].values()]
    return [FLAG_QUESTIONS[lang], *asked]


def test_the_right_language_is_hardly_ever_flagged(judge):
    shares = {}
    for lang in load_corpus().languages:
        texts = lists(lang)
        shares[lang] = share(judge.verdicts(texts, [lang] * len(texts)))
    assert len(shares) == 112
    assert np.mean(list(shares.values())) < 0.002
    assert max(shares.values()) <= 0.05
    for lang in PHRASES:
        texts = sentences(lang)
        assert not any(judge.verdicts(texts, [lang] * len(texts))), lang


def test_another_script_is_always_found():
    for lang in PHRASES:
        for other in PHRASES:
            if not set(LANGUAGES[lang].scripts) & set(LANGUAGES[other].scripts):
                texts = sentences(lang)
                assert all(BY_SCRIPT.verdicts(texts, [other] * len(texts))), (lang, other)


def test_another_language_of_the_same_script_is_mostly_found(judge):
    """Sentences in Latin letters that are given another of these languages; not by script alone."""
    relatives = [{"da", "no", "sv"}, {"pt", "es"}]
    latin = [k for k in PHRASES if LANGUAGES[k].scripts == ("Latn",) and k != "mi"]
    verdicts = []
    for lang in latin:
        texts = [text for text in sentences(lang) if letters(text) >= MIN_LETTERS]
        for other in set(latin) - {lang}:
            assert not any(BY_SCRIPT.verdicts(texts, [other] * len(texts)))
            if not any({lang, other} <= near for near in relatives):
                verdicts += judge.verdicts(texts, [other] * len(texts))
    assert len(verdicts) > 1000
    assert share(verdicts) > 0.85


def test_english_prose_is_found_in_place_of_another_language(judge):
    path = load_corpus().folder / "prose.validation.jsonl"
    documents = [json.loads(row)["text"] for row in path.read_text("utf-8").splitlines()]
    parts = [part for text in documents for part in re.split(r"(?<=[.:;,]) ", text)]
    prose = [part for part in parts if 40 <= len(part) < 70 and "`" not in part]
    assert len(prose) > 30
    assert not any(judge.verdicts(prose, ["en"] * len(prose)))
    for lang in ("de", "fr", "sw", "id", "tr", "vi"):
        assert share(judge.verdicts(prose, [lang] * len(prose))) > 0.85, lang


def test_without_the_package_scripts_alone_judge_and_the_variant_says_so(judge, monkeypatch):
    assert judge.variant == f"script|py3langid@{version('py3langid')}"
    assert judge_of(judge.variant) is judge
    assert judge_of("script|py3langid@0.0.1") is None
    monkeypatch.setitem(sys.modules, "py3langid", None)
    installed_judge.cache_clear()
    try:
        assert installed_judge().variant == "script"
        assert judge_of(judge.variant) is None
    finally:
        installed_judge.cache_clear()


LINES = [
    line("de", 0, GERMAN),
    line("de", 1, ENGLISH),
    line("de", 2, "12"),
    line("de", 3, GERMAN),
    line("hi", 0, "कुत्ता"),
    line("hi", 1, "dog"),
    line("hi", 2, ""),
    line("hi", 3, ENGLISH),
    line("sw", 0, "7"),
]


def own(lines, judge, **options):
    """The model's record of this metric."""
    (found,) = [
        record
        for record in records.score(lines, (exact_match,), judge=judge, **options)
        if (record["metric"], record["system"]) == ("wrong_language", "model")
    ]
    return found


def test_records_count_what_could_be_judged(judge):
    found = own(LINES, judge)
    assert (found["n"], found["judged"], found["languages"]) == (9, 6, 2)
    assert found["per_language"] == {"de": pytest.approx(100 / 3), "hi": pytest.approx(200 / 3)}
    assert found["score"] == pytest.approx(50)
    assert found["interval"][0] < 50 < found["interval"][1]
    assert found["signature"].endswith("|n:9|spec:1.1|judged:6")
    by_script = own(LINES, BY_SCRIPT)
    assert by_script["per_language"] == {"de": 0, "hi": pytest.approx(200 / 3)}
    apart = differences([parse(r["signature"]) for r in (found, by_script)])
    assert apart == {"variant": [judge.variant.replace("|", ";"), "script"]}


def test_english_answers_are_judged_as_english():
    lines = [line("hi", 0, "dog"), line("hi", 1, "कुत्ता")]
    found = own(lines, BY_SCRIPT, english=True)
    assert (found["variant"], found["per_language"]) == ("en|script", {"hi": 50})


def test_a_comparison_finds_the_same_table_or_none(judge):
    for english in (False, True):
        found = own(LINES, judge, english=english)
        table = records.model_table(LINES, found["metric"], found["variant"])
        assert table is not None
        assert table.macro() == pytest.approx(found["score"])
    assert records.model_table(LINES, "wrong_language", "script|py3langid@0.0.1") is None


def test_bare_numbers_have_no_such_score():
    lines = [line("de", k, str(k)) for k in range(4)]
    metrics = {record["metric"] for record in records.score(lines, (exact_match,))}
    assert metrics == {"exact_match", "right_script"}
