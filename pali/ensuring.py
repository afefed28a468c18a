# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers in the language asked for: what is in another one is decoded again.

    answers, their languages --judge--> those in another language
        --decode in the pieces of the language's scripts--> judged again, flagged if still wrong

The judge is that of the metric (pali/metrics/wrong_language.py): scripts, and py3langid where it is
installed. An answer is decoded a second time with the shortlist of its language, without the pieces
that have letters of another script; without a shortlist, with all pieces of its scripts. The second
answer takes the place of the first. It has to be shown to be in the language: one without a letter,
which passes at first ("12"), is flagged here. Of several answers to a prompt the likeliest is
judged so; the others are not decoded again, but flagged where they are in another language.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from pali import generation
from pali.asking import Notice
from pali.config import PaLIConfig
from pali.generation import Decoding, Text
from pali.metrics.wrong_language import ADVICE, BY_SCRIPT, Judge, installed_judge
from pali.shortlist import Shortlists, common, fingerprint, of_script
from pali.tokenizer import Tokenizer
from pali.types import Params


def generate(
    config: PaLIConfig,
    params: Params,
    tokenizer: Tokenizer,
    visual: Float[np.ndarray, "n p d_vit"],
    rows: Sequence[int],
    asked: Sequence[str],
    max_length: int,
    chosen: Decoding,
    seen: bool,
    langs: Sequence[str] | None,
    own: Shortlists | None,
) -> list[Text]:
    """As `generation.generate`; in the language asked for, where `chosen` says so.

    Args:
      config, params, tokenizer, visual, rows, asked, max_length, chosen, seen, langs: as there.
      own: the model's shortlists, for decoding again where `chosen` has none.

    Raises:
      ValueError: no answer can be as `chosen` says.
    """

    def decode(of: Sequence[int], how: Decoding) -> list[Text]:
        return generation.generate(
            *(config, params, tokenizer, visual, [rows[i] for i in of], [asked[i] for i in of]),
            *(max_length, how, seen, langs and [langs[i] for i in of], of),
        )

    texts = decode(range(len(rows)), chosen)
    if not chosen.ensure_language or langs is None:
        return texts
    shortlists = chosen.shortlist or own
    return ensure(texts, langs, tokenizer, chosen, shortlists, decode, installed_judge())


def ensure(
    texts: Sequence[Text],
    langs: Sequence[str],
    tokenizer: Tokenizer,
    chosen: Decoding,
    shortlists: Shortlists | None,
    decode: Callable[[Sequence[int], Decoding], list[Text]],
    judge: Judge,
) -> list[Text]:
    """The texts, those in another language than asked for decoded again.

    Args:
      texts: what the model answered.
      langs: for each the language asked for, by code.
      tokenizer: the model's.
      chosen: how the texts were decoded.
      shortlists: what there is for languages.
      decode: gives the answers to the rows of these numbers, decoded otherwise.
      judge: says which are in another language.
    """
    if judge.variant == BY_SCRIPT:
        warnings.warn(ADVICE, Notice, stacklevel=2)
    found = [_others_judged(text, lang, judge) for text, lang in zip(texts, langs, strict=True)]
    wrong = [row for row, verdict in enumerate(judge.verdicts(texts, langs)) if verdict]
    if not wrong:
        return found
    asked = [langs[row] for row in wrong]
    strict = {lang: _strict(tokenizer, shortlists, lang) for lang in dict.fromkeys(asked)}
    listed = Shortlists(strict, fingerprint(tokenizer))
    again = decode(wrong, replace(chosen, shortlist=listed, ensure_language=False))
    verdicts = judge.verdicts(again, asked)
    for row, text, verdict in zip(wrong, again, verdicts, strict=True):
        judged = _others_judged(text, langs[row], judge)
        found[row] = judged.with_facts(wrong_language=verdict is not False)
    return found


def _others_judged(text: Text, lang: str, judge: Judge) -> Text:
    """The text, each of whose others says of itself whether it is in another language."""
    if not text.others:
        return text
    verdicts = judge.verdicts(text.others, [lang] * len(text.others))
    others = zip(text.others, verdicts, strict=True)
    return text.with_facts(
        others=tuple(other.with_facts(wrong_language=bool(wrong)) for other, wrong in others)
    )


def _strict(
    tokenizer: Tokenizer, shortlists: Shortlists | None, lang: str
) -> Bool[np.ndarray, " V"]:
    """What the second answer is written in."""
    mask = of_script(tokenizer, lang)
    listed = None if shortlists is None else shortlists.get(lang)
    return mask if listed is None else mask & listed | common(tokenizer)
