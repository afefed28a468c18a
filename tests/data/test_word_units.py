# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Words of texts in any script: nothing is lost, and nothing is cut that is written as one."""

import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from pali.data.demo_corpus import load_corpus
from pali.data.preprocessors import SplitCaption, TextToText
from pali.data.skipping import RecordError
from pali.data.word_units import word_units
from pali.languages import LANGUAGES, UNSPACED

LETTERS = (
    "ab é\u0301犬の「」。ーカｶﾞไเก็นำกโລໍໄម្ខែ\u17d2မြန်\u1039မာ हिन्दी 한글 12۳๓ ()«»,.!"
    "🐕\u200d🦺🇫🇷👍🏽\u200b\u3000\n\t"
)
TEXTS = st.text(st.one_of(st.sampled_from(LETTERS), st.characters(codec="utf-8")), max_size=40)

UNSPACED_LANGUAGES = sorted(
    code
    for code in load_corpus().languages
    if UNSPACED & set(LANGUAGES[code].scripts) and code != "ko"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a dog on grass", "a |dog |on |grass"),
        (" a  dog\n", " a  |dog\n"),
        ("草の上の犬", "草|の|上|の|犬"),
        ("「犬」はDogです。", "「犬」|は|Dog|で|す。"),
        ("Dog「犬」", "Dog|「犬」"),
        ("犬(dog)と3匹", "犬|(dog)|と|3|匹"),
        ("f(x) = 犬", "f(x) |= |犬"),
        ("使用A/B测试", "使|用|A/B|测|试"),
        ("น้ำเย็น", "น้ำ|เย็|น"),
        ("สุนัข 2 ตัว", "สุ|นั|ข |2 |ตั|ว"),
        ("ខ្មែរ", "ខ្មែ|រ"),
        ("မြန်မာ", "မြ|န်|မာ"),
        ("ಕನ್ನಡ ಭಾಷೆ", "ಕನ್ನಡ |ಭಾಷೆ"),
        ("강아지 한 마리", "강아지 |한 |마리"),
        ("犬\u200d🐕🏽猫", "犬\u200d🐕🏽|猫"),
        ("ｶﾞｲﾄﾞ", "ｶﾞ|ｲ|ﾄﾞ"),
        ("「『犬』」", "「『犬』」"),
        ("(", "("),
        (" \n", ""),
        ("", ""),
    ],
)
def test_words(text, words):
    assert word_units(text) == [word for word in words.split("|") if word]


@given(TEXTS)
@settings(deadline=None, max_examples=400)
def test_joined_they_are_the_text_and_no_cluster_is_cut(text):
    words = word_units(text)
    assert "".join(words) == (text if text.strip() else "")
    assert all(word.strip() for word in words)
    clusters = {match.end() for match in regex.finditer(r"\X", text)}
    end = 0
    for word in words[:-1]:
        end += len(word)
        assert end in clusters
        assert unicodedata.category(text[end])[0] != "M"
        assert text[end - 1] not in "\u17d2\u1039เแโใไ"


@given(st.text(st.sampled_from("abé ñиאع हि한.,!?-'\u3000\n"), max_size=40))
def test_where_words_have_spaces_they_are_counted_as_ever(text):
    marked = unicodedata.normalize("NFC", text).lstrip("ि")
    if not regex.search(r"\s\p{M}", marked):
        assert [word.strip() for word in word_units(marked)] == marked.split()


def test_names_of_things_in_every_language_are_cut_between_words():
    corpus = load_corpus()
    assert {"ja", "km", "lo", "my", "th", "zh"} <= set(UNSPACED_LANGUAGES)
    for lang in corpus.languages:
        for name in list(corpus.names(lang).values())[:60]:
            words = word_units(name)
            assert "".join(words) == name
            if lang in UNSPACED_LANGUAGES and len(name) > 8:
                assert len(words) > len(name.split())


@given(TEXTS, st.integers(0, 2**32))
@settings(deadline=None, max_examples=200)
def test_a_caption_is_cut_between_words_and_something_is_left_to_say(text, draw):
    example = {"caption": text, "draw": f"0/web/{draw}/0", "lang": "en"}
    if not text.strip():
        with pytest.raises(RecordError, match="is empty"):
            SplitCaption("caption")(example)
        return
    cut = SplitCaption("caption")(example)
    before, after = cut["before"], cut["after"]
    assert after == after.strip() != ""
    assert before == before.strip()
    between = text.strip()[len(before) : len(text.strip()) - len(after)]
    assert between.strip() == ""
    assert before + between + after == text.strip()
    assert len(word_units(before)) == cut["position"] < len(word_units(text))
    assert cut == SplitCaption("caption")(example)


def test_every_place_is_drawn_as_often():
    text, counts = "草の上に犬", [0] * 5
    for draw in range(1000):
        cut = SplitCaption("text")({"text": text, "draw": f"0/web/7/{draw}"})
        counts[cut["position"]] += 1
    assert min(counts) > 150
    assert max(counts) < 250


def test_a_caption_cut_at_0_is_asked_for_like_a_whole_one():
    record = {"lang": "ja", "caption": "犬", "draw": "0/web/1/0"}
    split = TextToText("split_caption", "after")(SplitCaption("caption")(record))
    whole = TextToText("caption", "caption")(record)
    assert (split["inputs"], split["targets"]) == (whole["inputs"], whole["targets"])
