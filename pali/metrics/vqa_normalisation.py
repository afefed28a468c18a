# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How VQA scripts spell an answer before they compare it.

Variant `official` (GT-Vision-Lab/VQA, vqaEval.py), in this order:

1. Punctuation: each of ; / [ ] " { } ( ) = + \\ _ - > < @ ` , ? ! is deleted if the text has it
   beside a space, or has digit-comma-digit anywhere; else it becomes a space.
2. Full stops that no digit follows are deleted, but only the first 32 (the script hands a flag of
   `re` over as the count).
3. Lower case; words are what stands between white space.
4. none and zero to ten become 0 to 10; a, an and the go.
5. Contractions without an apostrophe get it (dont -> don't), by the script's table.

Apostrophes, : $ % & # * | ~ and all beyond ASCII stay. Text of articles alone becomes empty.

Variant `m4c` (mmf's EvalAIAnswerProcessor, of TextVQA): lower case first, commas and question marks
deleted, 's set apart; then the same.

Variant `vizwiz` (the VizWiz API): as the official one, but most contractions get U+2019 for an
apostrophe.
"""

import functools
import re

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOPS = 32
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    **{"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5"},
    **{"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"},
}
# Those of the script's table (which has no "cannot", "i'll" or "it's"). It knows each of them
# with one apostrophe left out, whichever.
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're
    you've
"""
_QUIRKS = {"somebody'd": "somebodyd"}
_VIZWIZ_ASCII = "ain't aren't can't could've couldn't we've where's who've"
_VIZWIZ_KEYS = ("couldn'tve", "hadn'tve")


def _table() -> dict[str, str]:
    found = dict(_QUIRKS)
    for word in _CONTRACTIONS.split():
        for i, character in enumerate(word):
            if character == "'":
                found[word[:i] + word[i + 1 :]] = word
    return found


def _vizwiz_table() -> dict[str, str]:
    return {
        key if key in _VIZWIZ_KEYS else key.replace("'", "’"): word
        if word in _VIZWIZ_ASCII.split()
        else word.replace("'", "’")
        for key, word in _table().items()
    }


_TABLE, _VIZWIZ_TABLE = _table(), _vizwiz_table()


@functools.lru_cache(maxsize=1 << 16)  # People give the same answers.
def official(text: str) -> str:
    """An answer as the official script of VQA compares it."""
    return _words(_punctuation(text), _TABLE)


def m4c(text: str) -> str:
    """An answer as mmf's evaluator of TextVQA compares it."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return official(one_line(text))


def vizwiz(text: str) -> str:
    """A prediction as the VizWiz API compares it."""
    return _words(_punctuation(text), _VIZWIZ_TABLE)


def one_line(text: str) -> str:
    """What each of the scripts does first: line ends and tabs as spaces, the ends stripped."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def _punctuation(text: str) -> str:
    result = text
    in_number = _COMMA_IN_NUMBER.search(text) is not None
    for mark in _PUNCTUATION:
        apart = in_number or f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if apart else " ")
    return _FULL_STOP.sub("", result, count=_FULL_STOPS)


def _words(text: str, contractions: dict[str, str]) -> str:
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(contractions.get(word, word) for word in words if word not in _ARTICLES)
