# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What counts as a word in any script, by a rule that needs no dictionary: where captions are cut.

A word is what stands between spaces. In scripts that do not write spaces between words (Han, kana,
Thai, Lao, Khmer, Burmese: `UNSPACED`) it is one character, with all that is written onto it:

    a dog on grass         a · dog · on · grass
    草の上の犬             草 · の · 上 · の · 犬
    「犬」はDogです        「犬」 · は · Dog · で · す
    น้ำเย็น                 น้ำ · เย็ · น

- Marks, joiners and what they join stay with their character: nothing is cut inside an extended
  grapheme cluster of Unicode (UAX 29), nor between a Khmer or Burmese consonant and the one stacked
  below it, nor between a Thai or Lao vowel that is written first and its consonant.
- Letters and digits of other scripts inside such a text are a word for each run of them.
- Punctuation and symbols belong to the word before them, and opening brackets to the one after.

The script of the letters decides, never the language that a record claims; a segmenter would find
longer words, and other ones in every version of it.
"""

from __future__ import annotations

import unicodedata

from pali.languages import UNSPACED, script_of

_WRITTEN_FIRST = frozenset("เแโใไເແໂໃໄ")
_STACKS_NEXT = frozenset("\u17d2\u1039\u200d")
"""Khmer coeng, Burmese virama, zero-width joiner."""
_LETTERS_THAT_EXTEND = frozenset("\u0e33\u0eb3\uff9e\uff9f")
"""Thai and Lao am, halfwidth voicing marks: letters, and yet the end of a grapheme cluster."""


def word_units(text: str) -> list[str]:
    """The words of a text, each with the space that follows it; joined, they are the text.

    The first one has the space before it as well. A text of nothing but space is no word.
    """
    if not text.strip():
        return []
    starts = [0]
    inside = ""  # What the word is made of so far: "" nothing, "run" letters, "one" character.
    for place, letter in enumerate(text):
        kind = _kind(letter)
        before = text[place - 1] if place else ""
        if kind == "space":
            continue
        if _begins(letter, kind, inside, before):
            inside = ""
            if text[starts[-1] : place].strip():
                starts.append(place)
        if kind in ("run", "one"):
            inside = kind
    return [text[i:j] for i, j in zip(starts, [*starts[1:], len(text)], strict=True)]


def _begins(letter: str, kind: str, inside: str, before: str) -> bool:
    """Whether a character that is no space begins a word, after `before` in a word of `inside`."""
    if kind == "mark" or _holds(before):
        return False
    if before.isspace():
        return True
    if kind == "one":
        return inside != ""  # Opening brackets alone wait for it.
    if kind == "opening" and inside == "run":  # f(x) is one word, f「x」 is two.
        return unicodedata.east_asian_width(letter) in "WF"
    return kind in ("run", "opening") and inside == "one"


def _holds(letter: str) -> bool:
    return letter in _STACKS_NEXT or letter in _WRITTEN_FIRST


def _kind(letter: str) -> str:
    """ "space", "mark", "one" (a character that is a word), "run", "opening" or "other"."""
    category = unicodedata.category(letter)
    if letter.isspace():
        return "space"
    if category[0] == "M" or category == "Cf" or letter in _LETTERS_THAT_EXTEND:
        return "mark"
    if category[0] == "L":
        return "one" if script_of(letter) in UNSPACED else "run"
    if category[0] == "N":
        return "run"
    return "opening" if category in ("Ps", "Pi") else "other"
