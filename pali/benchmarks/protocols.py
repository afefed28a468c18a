# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CIDEr of captions in many languages: of Crossmodal-3600 by three protocols, which differ.

  xm3600-tok   references are the released `caption/tokenized/lowercase`; a prediction is in lower
               case, in NFC, cut into words: zh, ja and th by the segmenters of
               pali/metrics/segmenters.py, ko at spaces, others by PTB. Then both sides lose the
               punctuation that coco-caption drops. The default
  xm3600-bv    the raw `caption` and PTB in all languages, as PaliGemma's numbers are made. Chinese,
               Japanese and Thai become one token for each phrase
  xm3600-char  raw captions; zh, ja and th by characters without punctuation, others as xm3600-bv;
               needs no segmenter
  xm3600-tok-spaced   as xm3600-tok, of a model that writes words apart: nothing is segmented

Which tool made the released tokens is not published, so that PaLI's own numbers cannot be
reproduced exactly; `agreement` measures how near the segmenters come, for those who have the file.

Beside CIDEr stands the share of captions in the wrong language (pali/metrics/wrong_language.py), 0
to 1: of each language, and the mean over them. It is no part of the official protocols.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pali.benchmarks.benchmark import Item, Scored
from pali.benchmarks.texts import Mean, Measure, Texts, measured
from pali.metrics import ptb, scoring, segmenters
from pali.metrics.cider import VARIANT
from pali.metrics.wrong_language import ADVICE, BY_SCRIPT, NAME, Judge, installed_judge, share

TOK, BV, CHAR, SPACED = "xm3600-tok", "xm3600-bv", "xm3600-char", "xm3600-tok-spaced"
_CIDER = Measure("cider", "cider", "cider-d")
_AT_SPACES = ("ko",)
_PUNCTUATION = ptb.DROPPED | set("。、，．！？：；・…「」『』（）“”‘’")
"""Of `characters`: what coco-caption drops, and its like in Chinese and Japanese."""


@dataclass(frozen=True)
class ByLanguage(Texts):
    """CIDEr of each language by PTB, and its means: COCO-35L, whose texts are tokenised already."""

    means: tuple[Mean, ...]
    protocols: tuple[str, ...] = ()
    """None for PTB alone."""
    metric: str = "cider"
    tokenized: bool = True

    @property
    def variants(self) -> tuple[str, ...]:
        """The protocols."""
        return self.protocols or ("cider-d",)

    def score(
        self, items: Sequence[Item], answers: Sequence[str], variant: str, tokenizer: str | None
    ) -> Scored:
        """CIDEr of each language on its own items, and means over languages."""
        make = {TOK: _released, SPACED: _spaced, CHAR: _characters}.get(variant, _raw)
        references, said, label, notes = make(items, answers, tokenizer)
        found = measured(items, references, said, (_CIDER,), self.means, label, notes, apart=True)
        name = f"{variant}|{VARIANT}" if self.protocols else VARIANT
        plain = Scored(
            found.scores,
            found.groups,
            found.per_item,
            dict.fromkeys(found.scores, name),
            found.tokenizer,
            found.notes,
        )
        return with_wrong_language(plain, items, answers, installed_judge())


def with_wrong_language(
    scored: Scored, items: Sequence[Item], answers: Sequence[str], judge: Judge
) -> Scored:
    """Adds the share of answers in the wrong language: of each group, and their mean.

    A group none of whose answers can be judged has none, and does not count in the mean.
    """
    verdicts = judge.verdicts(answers, [item.lang for item in items])
    parts: dict[str, list[bool | None]] = {}
    for item, verdict in zip(items, verdicts, strict=True):
        for group in item.groups or ("",):
            parts.setdefault(group, []).append(verdict)
    shares = {group: found for group, of in parts.items() if (found := share(of)) is not None}
    notes = (*scored.notes, ADVICE) if judge.variant == BY_SCRIPT else scored.notes
    if not shares:
        return replace(scored, notes=notes)
    return replace(
        scored,
        scores=scored.scores | {NAME: sum(shares.values()) / len(shares)},
        groups={
            group: scores | ({NAME: shares[group]} if group in shares else {})
            for group, scores in scored.groups.items()
        },
        variants=scored.variants | {NAME: judge.variant},
        notes=notes,
        judged={NAME: sum(verdict is not None for verdict in verdicts)},
    )


def agreement(items: Sequence[Item]) -> dict[str, float]:
    """How near the words of protocol xm3600-tok are to the released tokens, by language, in 0..1.

    Formula: F1 of the tokens that `caption`, cut up, has in common with the released,
    counted as bags over all captions of a language.
    """
    rows = [
        (item.lang, raw, released)
        for item in items
        for raw, released in zip(item.references, item.facts["tokenized"], strict=True)
    ]
    ours, _, _ = _words([raw for _, raw, _ in rows], [lang for lang, _, _ in rows], None)
    common: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (lang, _, released), words in zip(rows, ours, strict=True):
        mine, theirs = Counter(words.split()), Counter(_without_marks(_plain(released)).split())
        common[lang] += 2 * (mine & theirs).total()
        total[lang] += mine.total() + theirs.total()
    return {lang: common[lang] / count if count else 1.0 for lang, count in total.items()}


def _raw(
    items: Sequence[Item], answers: Sequence[str], tokenizer: str | None
) -> tuple[scoring.Texts, Sequence[str], str, list[str]]:
    return scoring.tokenized([item.references for item in items], answers, tokenizer)


def _released(
    items: Sequence[Item], answers: Sequence[str], tokenizer: str | None
) -> tuple[scoring.Texts, Sequence[str], str, list[str]]:
    said, label, notes = _words(answers, [item.lang for item in items], tokenizer)
    return _tokens_of(items), said, label, notes


def _spaced(
    items: Sequence[Item], answers: Sequence[str], tokenizer: str | None
) -> tuple[scoring.Texts, Sequence[str], str, list[str]]:
    _refuse(tokenizer, SPACED)
    return _tokens_of(items), [_without_marks(_plain(text)) for text in answers], "none", []


def _characters(
    items: Sequence[Item], answers: Sequence[str], tokenizer: str | None
) -> tuple[scoring.Texts, Sequence[str], str, list[str]]:
    references, said, label, notes = _raw(items, answers, tokenizer)
    references, said = list(references), list(said)
    for i, item in enumerate(items):
        if item.lang in segmenters.PACKAGES:
            references[i] = [_cut(text) for text in item.references]
            said[i] = _cut(answers[i])
    langs = {item.lang for item in items}
    used = ["characters"] if langs & segmenters.PACKAGES.keys() else []
    return (
        references,
        said,
        "+".join([*used, *([label] if langs - segmenters.PACKAGES.keys() else [])]),
        notes,
    )


def _cut(text: str) -> str:
    kept = (c for c in segmenters.characters([_plain(text)])[0].split() if c not in _PUNCTUATION)
    return " ".join(kept)


def _words(
    texts: Sequence[str], langs: Sequence[str], tokenizer: str | None
) -> tuple[list[str], str, list[str]]:
    """Texts of several languages as words, what made them, and notes."""
    plain = [_plain(text) for text in texts]
    labels, notes = [], []
    by_ptb = [
        i
        for i, lang in enumerate(langs)
        if lang not in segmenters.PACKAGES and lang not in _AT_SPACES
    ]
    if by_ptb:
        _, tokens, label, notes = scoring.tokenized([], [plain[i] for i in by_ptb], tokenizer)
        labels.append(label)
        for i, text in zip(by_ptb, tokens, strict=True):
            plain[i] = text
    for lang in sorted(set(langs) & segmenters.PACKAGES.keys()):
        places = [i for i, other in enumerate(langs) if other == lang]
        for i, text in zip(
            places, segmenters.segment([plain[i] for i in places], lang), strict=True
        ):
            plain[i] = text
        labels.append(segmenters.label(lang))
    if set(langs) & set(_AT_SPACES):
        labels.append("spaces")
    return [_without_marks(text) for text in plain], "+".join(labels), notes


def _tokens_of(items: Sequence[Item]) -> list[list[str]]:
    return [[_without_marks(text) for text in item.facts["tokenized"]] for item in items]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", ptb.LINE_BREAKS.sub(" ", text)).lower()


def _without_marks(text: str) -> str:
    return " ".join(token for token in text.split() if token not in ptb.DROPPED)


def _refuse(tokenizer: str | None, protocol: str) -> None:
    if tokenizer is not None:
        raise ValueError(f"{protocol} takes words as they are: leave --tokenizer out")
