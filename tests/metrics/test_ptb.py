# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Our port of PTBTokenizer against what the original said (goldens), and says where it runs."""

import json
import random
from pathlib import Path

import pytest

from pali.metrics import ptb, ptb_java

FOLDER = Path(__file__).parents[1] / "golden"
OFFICIAL = json.loads((FOLDER / "official_metrics.json").read_text("utf-8"))
ASKED = json.loads((FOLDER / "ptb.json").read_text("utf-8"))["texts"]
NEEDS_JAVA = pytest.mark.skipif(
    ptb_java.missing() is not None, reason=f"Stanford's tokenizer: {ptb_java.missing()}"
)


def official_pairs():
    """(caption, tokens) of the goldens that were made by the jar."""
    yield from ((row["text"], row["tokenized"]) for row in OFFICIAL["ptb"])
    for case in OFFICIAL["captions"]:
        if case["tokenizer"] == "ptb":
            for image in case["images"]:
                yield image["hyp"], image["hyp_tokenized"]
                yield from zip(image["refs"], image["refs_tokenized"], strict=True)


def test_golden():
    pairs = [*official_pairs(), *ASKED.items()]
    assert len(pairs) > 250
    for caption, expected in pairs:
        assert ptb.tokenize([caption]) == [expected], caption


PIECES = """
    a the dog Dog's it's isn't won't they're half-eaten U.S. p.m. Mr. St. etc. no. 5 24 10:30 3.5
    1,200 50% $5 #1 '80s o'clock 'quoted' "quoted" (in brackets) [x] and/or 1/2 rock'n'roll café
    l'été über 一个女孩。 桌子，上 ラーメン ไทย ครับ हिन्दी। कि-ख বাংলা తెలుగు привет, עברית
    العربية، 😀 ½ … — “x” ‘y’ men’s www.a.org me@b.org end. Stop! what? wow!!!
    yes, so; then: - -- 5'10" A&B
"""


def random_captions(count: int) -> list[str]:
    """Words, numbers and marks as captions have them, in several scripts, put together."""
    draw = random.Random(0)
    pieces = PIECES.split()
    return [" ".join(draw.choices(pieces, k=draw.randint(0, 12))) for _ in range(count)]


@NEEDS_JAVA
def test_any_caption_equals_the_original():
    # A line between two captions: the original looks beyond the end of one.
    captions = random_captions(2000)
    apart = [line for caption in captions for line in (caption, "then")]
    for caption, theirs, ours in zip(
        captions, ptb_java.tokenize(apart)[::2], ptb.tokenize(captions), strict=True
    ):
        assert ours == theirs, caption


BREAKS = ["\n", "\r", "\r\n", "\u2028", "\u2029", "\x85", "\v", "\f"]


def test_a_caption_is_one_line_whatever_it_holds():
    for mark in BREAKS:
        assert ptb.tokenize([f"a dog{mark}on grass", "", "two"]) == ["a dog on grass", "", "two"]


@NEEDS_JAVA
def test_no_line_break_moves_captions_to_other_pictures():
    captions = ["\ud83d a", *(f"a dog{mark}on grass{mark}" for mark in BREAKS), "", "two", ""]
    expected = ["a", *["a dog on grass"] * len(BREAKS), "", "two", ""]
    assert ptb_java.tokenize(captions) == expected
    assert ptb.tokenize(captions) == expected
    assert ptb_java.tokenize([]) == []


def test_without_the_original_it_is_said_what_is_missing(monkeypatch):
    ptb_java.missing.cache_clear()
    monkeypatch.setenv("PATH", "")
    try:
        with pytest.raises(RuntimeError, match="no `java` on the PATH"):
            ptb_java.tokenize(["a"])
    finally:
        ptb_java.missing.cache_clear()
