# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Penn Treebank tokens as coco-caption makes them, without Java.

In:  captions as people or models write them.
Out: the same lower-cased, tokens apart by one space, punctuation removed.

coco-caption runs Stanford's PTBTokenizer (CoreNLP 3.4.1, `-preserveLines -lowerCase`) and then
drops the tokens '' ' `` ` . ? ! , : - -- ... ; (its list has -LRB- and the like, too, but they are
lower-cased by then and stay). This module is a port written from that tokenizer's answers, not from
its source: tools/write_ptb_golden.py asks it, tests/golden/ptb.json has what it said. Contractions
are split (is n't, can not, 's), words with hyphens, abbreviations, numbers and addresses stay
whole, text of scripts without spaces is one token, and what the tokenizer does not know vanishes.

As in the original the longest token from the left wins. Not ported: telephone numbers with spaces
and what else is rare in captions, and that the original looks beyond the end of a caption ("no."
before a number in the next one). Of 50,000 names and sentences in many languages five differed, of
6,000 comments in source code 27. A score therefore says which of the two made its tokens:
`ptb-py`, or `ptb-java` of pali/metrics/ptb_java.py.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence

from pali.metrics.ptb_characters import AS_ASCII, JOINS, STANDS_ALONE, VANISHES, kind, table

VERSION = "1"
"""Of this port; it rises whenever a token changes."""

DROPPED = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))

LINE_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""What ends a line somewhere: each is a space, so that a caption stays one line."""

# Abbreviations whose full stop is part of them: always, with a capital, before a number.
_ABBREVIATIONS = """adj adm adv al ala alex apr ariz assn assoc asst atty aug ave bhd bldg blvd brig
    bros calif capt cf cie cmdr co col colo comdr conn corp cos cpl ct dak dec dept det dr drs elec
    ens esq est etc ext feb fla fri ft ga gen gov govs hon inc ind insp intl invt jan jos jr jul jun
    kan kans ky lieut lt ltd maj mar md messrs mfg mich minn mlle mme mo mon mont mr mrs ms msgr mt
    mtg natl neb nev nov oct okla penn pfc ph plc ppte ppty pres prof pte ptes pty ptys pvt rd rep
    reps rev rt sen sens sep seq sept sfc sgt spc sq sr st ste supt sys tel tenn thu thurs tue tues
    univ va vs vt wed wis wisc wm wyo"""
_CAPITAL = "ark az del ill la mass miss ore pa tex wash"
_BEFORE_NUMBER = "art ca fig figs no nos op pp prop"
_TWO_WORDS = {
    **{"cannot": 3, "gonna": 3, "gotta": 3, "wanna": 3, "lemme": 3, "gimme": 3},
    **{"'tis": 2, "'twas": 2},
}
"""Words that are two, and where the second begins."""

_REWRITTEN = {
    **{"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"},
    **{"£": "#", "€": "$", "¢": "cents", "&amp;": "&", "&lt;": "<", "&gt;": ">"},
    **{"&quot;": "''", "&apos;": "'", "&nbsp;": "'", '"': "''", "’": "'"},
    **{"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"},
    **{"‘": "`", "‛": "`", "---": "--", "----": "--", "\u2010": "-", "\u2011": "-"},
}
_BRACKETS = {ord(mark): name for mark, name in _REWRITTEN.items() if mark in ("(", ")")}
_QUOTES = str.maketrans("’‘‛", "'``")
_ALONE = re.compile(r"[A-Za-z][A-Za-z',!?;:-]*\.?(?= |$)")
_NUMBERED = re.compile(rf"(?i:{_BEFORE_NUMBER.replace(' ', '|')})\.")
_CLITIC = re.compile(r"['’](?:s|d|ll|re|ve|m|t)|n['’‘‛`]t")
_NEGATED = re.compile(r".+(?=n['’‘‛`]t$)", re.IGNORECASE | re.DOTALL)


def tokenize(captions: Sequence[str]) -> list[str]:
    """Each caption as its tokens, one space between them; an empty one may be left."""
    return [" ".join(tokens(caption)) for caption in captions]


def tokens(caption: str) -> list[str]:
    """The tokens of one caption, punctuation removed."""
    written = map(_written, _all_tokens(_prepared(caption)))
    return [token for token in written if token not in DROPPED]


@functools.lru_cache(maxsize=1 << 16)
def _written(token: str) -> str:
    """A token as it is printed: lower case, brackets and currencies by name."""
    token = _REWRITTEN.get(token.lower(), token).lower()
    if _CLITIC.fullmatch(token):
        token = token.translate(_QUOTES)
    return token.replace(" ", "\xa0").translate(_BRACKETS)


def _prepared(text: str) -> str:
    """Without what vanishes; quotes, dashes and fractions in one spelling."""
    text = LINE_BREAKS.sub(" ", text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_prepared_character, text))


@functools.cache
def _prepared_character(character: str) -> str:
    if character < "\x7f":
        return character if character >= " " else " "
    if character in AS_ASCII:
        return AS_ASCII[character]
    return " " if kind(character) == VANISHES else character


def _all_tokens(text: str) -> list[str]:
    found: list[str] = []
    end = 0
    while end < len(text):
        if text[end] == " ":
            end += 1
        elif (alone := _ALONE.match(text, end)) and not _NUMBERED.fullmatch(alone[0]):
            found += _tokens_alone(alone[0])
            end = alone.end()
        else:
            token = _longest(text, end)
            end += len(token)
            found += _cut(token, text[end : end + 1])
    return found


@functools.lru_cache(maxsize=1 << 16)
def _tokens_alone(text: str) -> list[str]:
    """The tokens of text without a space, which do not depend on what stands around it."""
    found: list[str] = []
    end = 0
    while end < len(text):
        token = _longest(text, end)
        end += len(token)
        found += _cut(token, text[end : end + 1])
    return found


def _longest(text: str, start: int) -> str:
    return max((m[0] for rule in _rules() if (m := rule.match(text, start))), key=len)


def _cut(token: str, following: str) -> list[str]:
    """A word that is two, as both of them."""
    cut = _TWO_WORDS.get(token.lower()) if following not in ("'", "’") else None
    if negated := _NEGATED.match(token):
        cut = negated.end()
    return [token] if cut is None else [token[:cut], token[cut:]]


def _ranges(codes: Sequence[int]) -> str:
    """Code points as what stands in the brackets of a regular expression."""
    ends = [code for code, after in itertools.pairwise([*codes, 0]) if after != code + 1]
    starts = [code for before, code in itertools.pairwise([0, *codes]) if code != before + 1]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


@functools.cache
def _rules() -> tuple[re.Pattern[str], ...]:
    """What can be a token; of several that match the longest one is it."""
    kinds = table().items()
    joining = [code for code, k in kinds if k == JOINS and not chr(code).isdigit()]
    joins = _ranges(joining)
    alone = _ranges([code for code, k in kinds if k == STANDS_ALONE])
    letter = f"[A-Za-z{joins}]"
    part = rf"(?:{letter}|\d)"
    # No combining marks: a word that has them ends at a hyphen.
    solid = _ranges([code for code in joining if unicodedata.category(chr(code))[0] != "M"])
    solid = rf"(?:[A-Za-z{solid}]|\d)+"
    hyphen = "[-_\u2010\u2011]"
    apostrophe = "['’]"
    within = "['’‘‛`]"
    acronym = r"[A-Za-z](?:\.[A-Za-z])*\."
    known = "|".join(sorted(_ABBREVIATIONS.split(), key=len, reverse=True))
    capital = "|".join(f"{word.capitalize()}|{word.upper()}" for word in _CAPITAL.split())
    abbreviation = (
        rf"(?:{acronym}|(?i:Ph\.D\.)|(?i:{known})\.|(?:{capital})\.|{_NUMBERED.pattern}(?=\s*\d))"
    )
    number = r"[-+]?(?:\d+(?:[.,:]\d+)*|(?:[.,:]\d+)+)"
    elided = (
        rf"(?:[dDoOlL]{within}{letter}{{2,}}|[A-HJ-XZn]{within}{letter}{{2,}}"
        rf"|{letter}+[aeiouyAEIOUY]{within}[aeiouA-Z]{letter}*"
        rf"|(?i:c{apostrophe}(?:mon|est)|li{apostrophe}l|nat{apostrophe}l|ev{apostrophe}ry"
        rf"|n?e{apostrophe}er|nor{apostrophe}easter|s{apostrophe}mores))"
    )
    spelled = r"[A-Za-z](?:\.[A-Za-z])+\."
    word = rf"(?:{elided}|{spelled}|{solid})"
    rules = (
        rf"{part}+",
        rf"{word}(?:{hyphen}{word})*",
        rf"{abbreviation}(?:{hyphen}{word})*",
        rf"\d+(?:[.,]\d+)+(?:{hyphen}{letter}{part}*)+",
        r"[<>]?[:;=](?:[-'o]?[()]|[-']?[DdPp|\\\[\]{O])" + rf"(?!{part})",
        r"[A-Za-z0-9]+(?:-[A-Za-z]\w*)*(?:/[A-Za-z0-9]+(?:-[A-Za-z][A-Za-z0-9]*)*){1,2}",
        # Names with a full stop or a mark of exclamation inside: node.js, Yahoo!x.
        rf"{letter}{part}*(?:\.{letter}{part}*)+(?:-{part}+)*",
        rf"{letter}+(?:[?!]{letter}+)+",
        # Two tokens, cut afterwards: to choose `don` because it is longer than `do` would be wrong.
        rf"(?:{solid}{hyphen})*{part}*?[nN]{within}[tT](?!{letter})",
        rf"(?:'(?i:s|d|ll|re|ve|m|n)(?!{letter})|’(?i:s|d|ll|re|ve|m|n))",
        rf"(?i:'(?:tis|twas)|{apostrophe}(?:em|cause|till?|\d0s))(?!{letter})",
        rf"[’']\d\d(?=\s|$)|(?i:{apostrophe}n{apostrophe})",
        rf"(?i:(?:ol|dunkin|somethin){apostrophe}|[ldj]{apostrophe})|[yY]{apostrophe}(?={letter})",
        number,
        r"(?:\d{1,4}[- ])?\d{1,4}/\d{1,4}",
        r"\d{1,2}/\d{1,2}/\d{2,4}",
        r"[A-Z]+(?:&[A-Z]+)+",
        r"[A-Z]+\$",
        r"[Cc]\+\+|[CcFf]#",
        r"#[A-Za-z]+|@[A-Za-z_]\w*",
        r"&(?:[A-Za-z]+|#\d+);",
        r"<(?:[!?][^<>]*|/?[A-Za-z][^<>]*)>",
        r"https?://[^\s\"<>|()]+\.[^\s\"<>|()]*[^\s\"<>|().,;:!?'-]",
        r"(?:www\.)?(?:[^\s\"`'<>|.!?,\-()@:;/$%&]+\.)+(?:com|net|org|edu)(?:/[^\s\"<>|()]*[^\s\"<>|().,;:!?'-])?",
        r"www\.(?:[^\s\"<>|.!?()]+\.)+[A-Za-z]{2,4}(?:/[^\s\"<>|()]*[^\s\"<>|().,;:!?'-])?",
        r"[A-Za-z0-9][^\s\"<>|()@]*@(?:[^\s\"<>|().@]+\.)*[^\s\"<>|().@]+",
        r"\.{3}|(?:\. ){2}\.|-{2,4}(?!-)|-{5,}|[?!]+|\*+|_+|#{2,}|@{2,}|<<|>>|''|``",
        rf"[{alone}]",
        ".",
    )
    return tuple(re.compile(rule, re.DOTALL) for rule in rules)
