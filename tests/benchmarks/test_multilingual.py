# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Crossmodal-3600 by its protocols, COCO-35L; which languages are in a mean."""

import json

import pytest

from pali.benchmarks import protocols
from pali.benchmarks.registry import BENCHMARKS
from pali.languages import LANGUAGES, resolve
from pali.metrics import segmenters
from pali.metrics.cider import cider
from pali.metrics.ptb import tokenize
from pali.metrics.signature import parse
from pali.metrics.wrong_language import Judge
from tests.benchmarks.layouts import COCO_MT, IN_THEIR_WORDS, MORE_WORDS, XM_LANGUAGES

PTB = ("--tokenizer", "ptb-py")
KEYS = ("000411001ff7dd4f", "00048daad5da2fe8")
ENGLISH = "A brown dog is running over the green meadow in summer"


def answers(langs=XM_LANGUAGES, wrong=()):
    said = {}
    for key, words, number in zip(KEYS, (IN_THEIR_WORDS, MORE_WORDS), ("one", "two"), strict=True):
        for lang in langs:
            right = words.get(lang, ([f"{lang} {number}"], []))[0][0]
            said[f"{key}/{lang}"] = "" if lang in wrong else right
    return said


def test_means_name_the_languages_that_count(run):
    found = run("xm3600", "test", answers(wrong=("en", "quz")), *PTB)
    each = {group: scores["cider"] for group, scores in found["groups"].items()}
    assert len(each) == 36
    assert each["lang/en"] == each["lang/quz"] == 0
    total = sum(each.values())
    found["scores"].pop("wrong_language")
    assert found["scores"] == pytest.approx(
        {
            "cider_mean": total / 36,
            "cider_mean_without_en": total / 35,
            "cider_mean_without_quz": total / 35,
        }
    )
    assert found["score"] == found["scores"]["cider_mean"]
    # A wrong answer in one language alone is left out of one mean alone.
    english = run("xm3600", "test", answers(wrong=("en",)), *PTB)["scores"]
    assert english["cider_mean_without_en"] > english["cider_mean_without_quz"]


def test_captions_in_the_wrong_language_are_counted(run):
    said = answers(wrong=("en", "quz"))
    said[f"{KEYS[0]}/sw"] = ENGLISH
    said[f"{KEYS[0]}/ja"] = "a dog"
    found = run("xm3600", "test", said, "--variant", "xm3600-bv", *PTB)
    shares = {
        group.removeprefix("lang/"): scores["wrong_language"]
        for group, scores in found["groups"].items()
        if "wrong_language" in scores
    }
    # The fixture's captions of further languages are "de one", also where letters are not Latin.
    latin = {k for k in XM_LANGUAGES if "Latn" in LANGUAGES[resolve(k)].scripts}
    expected = {k: float(k not in latin | IN_THEIR_WORDS.keys()) for k in XM_LANGUAGES}
    del expected["en"], expected["quz"]  # Silence is in no language.
    assert shares == expected | {"sw": 0.5, "ja": 0.5}
    assert found["scores"]["wrong_language"] == pytest.approx(sum(shares.values()) / 34)
    signature = parse(found["signatures"]["wrong_language"])
    assert (signature.items, signature.judged, signature.tokenizer) == (72, 68, "none")
    assert signature.variant.startswith("script;py3langid@")
    assert (found["metric"], found["score"]) == ("cider_mean", found["scores"]["cider_mean"])
    # By script alone the English in place of Swahili passes, and it is said how to find it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocols, "installed_judge", lambda: Judge(None))
        found = run("xm3600", "test-sw", dict.fromkeys(KEYS, ENGLISH), *PTB)
    assert found["scores"]["wrong_language"] == 0
    assert parse(found["signatures"]["wrong_language"]).variant == "script"
    assert any("pip install 'open-pali[check]'" in note for note in found["notes"])
    found = run("xm3600", "test-sw", dict.fromkeys(KEYS, ENGLISH), *PTB)
    assert found["scores"]["wrong_language"] == 1
    assert not any("open-pali[check]" in note for note in found["notes"])
    silent = run("xm3600", "test-sw", dict.fromkeys(KEYS, ""), *PTB)
    assert "wrong_language" not in silent["scores"]


def test_protocols_differ_and_say_so(run):
    said = {
        key: words["zh"][0][0]
        for key, words in zip(KEYS, (IN_THEIR_WORDS, MORE_WORDS), strict=True)
    }
    cut = {KEYS[0]: "狗 在 草地 上", KEYS[1]: "两条 船"}
    scores = {}
    for protocol in BENCHMARKS["xm3600"].scorer.variants:
        found = run("xm3600", "test-zh", {**cut}, "--variant", protocol)
        scores[protocol] = found["score"]
        assert f"|var:{protocol};cider-d;n:4;sigma:6|" in found["signature"]
    assert "|tok:jieba@0.42.1|" in run("xm3600", "test-zh", said)["signature"]
    assert (
        "|tok:characters|"
        in run("xm3600", "test-zh", said, "--variant", "xm3600-char")["signature"]
    )
    assert len(set(scores.values())) > 2
    # One token for each phrase: all or nothing.
    assert scores["xm3600-bv"] == 0
    # coco-caption drops no full stop but its own.
    released = [words["zh"][1][0] for words in (IN_THEIR_WORDS, MORE_WORDS)]
    expected = cider([[text] for text in released], list(cut.values()))["cider"]
    assert scores["xm3600-tok-spaced"] == pytest.approx(expected)


def test_raw_captions_and_ptb_are_big_visions_way(run):
    said = {KEYS[0]: "A dog on grass", KEYS[1]: "two boats"}
    found = run("xm3600", "test-en", said, "--variant", "xm3600-bv", *PTB)
    known = [tokenize(words["en"][0]) for words in (IN_THEIR_WORDS, MORE_WORDS)]
    assert found["score"] == pytest.approx(cider(known, tokenize(list(said.values())))["cider"])
    assert found["score"] == pytest.approx(run("xm3600", "test-en", said, *PTB)["score"])


def test_segmenters_are_measured_against_the_released_tokens(raw, capsys):
    from pali.cli import main

    file = raw("xm3600", "test") / "captions.jsonl"
    words = ["score", "xm3600", "--references", str(file), "--check-tokenizer", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["en"] == found["sw"] == found["th"] == 1
    items = BENCHMARKS["xm3600"].items(file, "test-zh")
    theirs = [text.split() for text in segmenters.segment(["湖上有两条船"], "zh")]
    assert found["zh"] == pytest.approx(protocols.agreement(items)["zh"])
    assert (found["zh"] == 1) == (theirs == [["湖上", "有", "两条", "船"]])


@pytest.mark.parametrize("lang", segmenters.PACKAGES)
def test_a_segmenter_loses_nothing_but_spaces(lang):
    texts = [words[lang][0][0] for words in (IN_THEIR_WORDS, MORE_WORDS)] + ["", " a  b "]
    for text, cut in zip(texts, segmenters.segment(texts, lang), strict=True):
        assert cut.replace(" ", "") == "".join(text.split())
    assert segmenters.segment(["a\ud800b"], lang)[0].replace(" ", "") == "a\ufffdb"
    marked = segmenters.characters(["ที่ นี่"])[0].split()
    assert marked == ["ที่", "นี่"]


def test_a_missing_segmenter_is_named(run, monkeypatch):
    monkeypatch.setitem(segmenters._MODULES, "zh", "jieba_that_is_not_there")
    segmenters._cutters.cache_clear()
    error = run("xm3600", "test-zh", {KEYS[0]: "狗", KEYS[1]: "船"})
    assert "words of zh need jieba: pip install 'open-pali[metrics]'" in error
    assert (
        run("xm3600", "test-zh", {KEYS[0]: "狗", KEYS[1]: "船"}, "--variant", "xm3600-char")["n"]
        == 2
    )
    monkeypatch.undo()
    segmenters._cutters.cache_clear()


def test_a_language_that_is_missing_is_missing(run):
    said = answers(langs=[lang for lang in XM_LANGUAGES if lang != "mi"])
    error = run("xm3600", "test", said, *PTB)
    assert "2 of 72 references without a prediction in" in error
    assert f"{KEYS[0]}/mi" in error
    found = run("xm3600", "test", said, "--partial", *PTB)
    assert found["signature"].endswith("|partial")
    assert "no split 'test-iw' of xm3600" in run("xm3600", "test-iw", said)


def test_coco_35l_takes_english_from_german_once(run, raw):
    said = {"391895/en": "a dog", "391895/de": "ein hund", "391895/sw": "mbwa"}
    said |= {"60623/en": "two boats", "60623/de": "zwei boote", "60623/sw": "mashua"}
    found = run("coco_35l", "dev", said, *PTB)
    english = [["a dog on the grass", "a dog runs"], ["two boats"]]
    expected = cider(english, ["a dog", "two boats"])["cider"]
    assert found["groups"]["lang/en"]["cider"] == pytest.approx(expected)
    assert set(found["scores"]) == {"cider_mean", "cider_mean_without_en", "wrong_language"}
    alone = run("coco_35l", "dev-sw", {391895: "mbwa", 60623: "mashua"}, *PTB)
    assert alone["score"] == pytest.approx(found["groups"]["lang/sw"]["cider"])
    assert found["scores"]["wrong_language"] == alone["scores"]["wrong_language"] == 0
    english = {391895: "a dog runs over the green grass in the snow", 60623: "犬"}
    assert run("coco_35l", "dev-sw", english, *PTB)["scores"]["wrong_language"] == 1
    plain = {"coco_mt_dev.jsonl": COCO_MT["coco_mt_dev.jsonl.bz2"]}
    folder = raw("coco_35l", "plain", plain)
    assert run("coco_35l", "dev", said, *PTB, references=folder)["score"] == found["score"]


@pytest.mark.parametrize("damage", [b"BZh9 no", b"", None])
def test_a_packed_file_that_is_cut_short_is_named(run, raw, damage):
    folder = raw("coco_35l", "dev")
    file = folder / "coco_mt_dev.jsonl.bz2"
    file.write_bytes(file.read_bytes()[:-20] if damage is None else damage)
    error = run("coco_35l", "dev", {"391895/en": "a dog"}, references=folder)
    assert "is no whole bz2 file" in error or "has nothing of the split dev" in error
