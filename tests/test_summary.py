# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of an evaluation, from records made by hand; from a real run: test_evaluate.py."""

import pytest

from pali import summary
from pali.metrics.signature import Signature


def record(task, metric, system="model", score=50.0, split="validation", **more):
    variant = next(v for m, v in summary.NAMES if m == metric)
    languages = more.pop("per_language", {"en": score})
    return {
        **{"benchmark": task, "split": split, "metric": metric, "variant": variant},
        **{"system": system, "score": score, "n": 1234, "languages": len(languages)},
        **{"per_language": languages, **more},
    }


def test_the_first_metric_is_the_main_one_and_a_choice_has_its_own_row():
    scores = [
        record("a", "exact_match", score=12.34),
        record("a", "exact_match", "baseline", 99.0),
        record("a", "exact_match", "majority", 1.0),
        record("a", "exact_match", "shuffled", 0.5),
        record("a", "chrf", score=60.0),
        record("a", "choice", score=81.0, chance=5.0),
        record("a", "choice", "shuffled", 4.0, chance=5.0),
        record("b", "chrf", score=60.0),
        record("b", "exact_match", score=3.0),
    ]
    assert summary.rows(scores) == [
        ["a", "validation", "exact match", "12.3", "1.0", "0.5", "", "1,234", "1"],
        ["a", "validation", "choice, less prior", "81.0", "", "4.0", "5.0", "1,234", "1"],
        ["b", "validation", "chrF", "60.0", "", "", "", "1,234", "1"],
    ]


def test_a_task_of_which_the_model_has_no_score_has_no_row():
    assert summary.rows([record("a", "vit_top_1", "baseline")]) == []
    assert summary.rows([]) == []


@pytest.mark.parametrize("metric", ["cer", "cer_no_spaces", "unparsed"])
def test_where_less_is_better_it_is_said(metric):
    lines = summary.lines([record("a", metric)])
    assert "↓" in lines[2]
    assert lines[-1] == "↓ lower is better"
    assert "↓" not in "".join(summary.lines([record("a", "chrf")]))
    assert summary.name("wer", "words").startswith("↓ ")


def test_a_terminal_of_80_columns_is_wide_enough():
    longest = "a_task_of_somebody_whose_name_is_long"
    scores = [
        record(longest, "exact_match", s, 100.0, "the_split_of_somebody", n=999_999)
        for s in summary.SYSTEMS
    ]
    scores.append(
        record(longest, "choice", score=100.0, split="the_split_of_somebody", chance=100.0)
    )
    scores.append(record("own", "exact_match") | {"metric": "a_metric_of_somebody", "variant": "x"})
    lines = summary.lines(scores)
    assert max(map(len, lines)) <= 80
    assert lines[1] == longest
    assert lines[2].split()[0] == "the_split_of_s…"
    assert lines[3].startswith(" " * 17 + "choice, less prior")
    assert "a_metric_of_someb…" in lines[-1]
    many = summary.lines([record("a", "cer", s, 23_456.7) for s in summary.SYSTEMS])
    assert max(map(len, many)) <= 80


def test_languages_that_reach_a_score_and_their_scripts():
    cer = {"en": 30.0, "fr": 12.0, "hi": 30.1, "mr": 250.0, "ja": 29.0, "ru": 3.0}
    captions = {"en": 30.0, "fr": 29.9, "th": 88.0}
    scores = [
        record("demo_captions", "exact_match", per_language=captions),
        record("demo_captions", "exact_match", "shuffled", per_language={"en": 99.0}),
        record("demo_captions", "exact_match", split="unseen_art", per_language=captions),
        record("demo_ocr", "cer", per_language=cer),
        record("demo_ocr", "cer", split="unseen_strings", per_language={"hi": 31.0}),
    ]
    assert summary.reached(scores) == [
        (
            "demo_captions, validation: 2 of 3 languages have 30 % exact match or more",
            ["en", "th"],
        ),
        (
            # Latin; Japanese has two, Hani and Kana; Cyrillic. Devanagari is not reached.
            "demo_ocr, validation: 4 of 6 languages have 30 % character errors or less, "
            "in 4 of 5 scripts",
            ["en", "fr", "ja", "ru"],
        ),
        (
            "demo_ocr, unseen_strings: 0 of 1 languages have 30 % character errors or less, "
            "in 0 of 1 scripts",
            [],
        ),
    ]


def scored(score, **more):
    return {"score": score, "signature": str(Signature("cider", "cider-d", 5000, **more))}


def test_scores_of_one_signature_stand_in_one_column():
    same = {"mine": scored(1.4194), "theirs": scored(1.1)}
    assert summary.column(same) == [
        "mine    1.4194",
        "theirs  1.1000",
        "(cider|bench:-|split:-|var:cider-d|tok:none|n:5000|spec:1)",
    ]
    assert summary.column({}) == []


def test_scores_of_different_signatures_do_not_unless_it_is_said():
    results = {"a": scored(1.4, tokenizer="ptb-py@1"), "b": scored(1.5, tokenizer="none")}
    with pytest.raises(ValueError, match="tokenizer is ptb-py@1 or none.*mixed=True"):
        summary.column(results)
    first, *lines = summary.column(results, mixed=True)
    assert first == "not comparable: tokenizer is ptb-py@1 or none"
    assert lines[1] == "b  1.5000  cider|bench:-|split:-|var:cider-d|tok:none|n:5000|spec:1"


def judged(task, split, score, variant):
    return record(task, "right_script", score=score, split=split) | {
        **{"metric": "wrong_language", "variant": variant, "judged": 1200}
    }


def test_the_split_with_most_answers_in_the_wrong_language_is_named():
    scores = [judged("a", "validation", 0.5, "script|py3langid@0.4.0")]
    scores.append(judged("b", "test", 6.83, "en|script|py3langid@0.4.0"))
    assert summary.wrong_languages(scores) == [
        "in the wrong language: at most 6.8 % of the answers of a split "
        "(b, test: 1,200 of 1,234 judged)"
    ]
    assert summary.wrong_languages([record("a", "chrf")]) == []


@pytest.mark.parametrize("variant", ["script", "en|script"])
def test_without_a_detector_it_is_said_how_to_get_one(variant):
    (_, advice) = summary.wrong_languages([judged("a", "validation", 0.0, variant)])
    assert "pip install 'open-pali[check]'" in advice
    assert summary.name("wrong_language", variant) == "↓ wrong language"
