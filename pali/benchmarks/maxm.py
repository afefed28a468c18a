# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""MaXM: questions about the pictures of Crossmodal-3600, and answers, in seven languages.

Score: the mean over languages of exact match with any of `answers` and `processed_answers`, in
0..1. No script was published with it; the rule is pali's (pali/metrics/answer_match.py): lower
case, single spaces, without a mark at the end, and in Thai and Chinese without any space. The very
string is scored beside it, as `exact_match_raw`.

The release is one file for each language, and another for its questions of yes and no; a file names
its language in `split`. The split `test` has all, with ids LANG/ID; `test-fr` has one language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pali.benchmarks.benchmark import Benchmark, Files, Item, Scored, Split
from pali.benchmarks.rows import document
from pali.benchmarks.texts import Mean, Measure, Texts, measured
from pali.languages import MAXM as LANGUAGES
from pali.languages import resolve, resolve_many
from pali.metrics.answer_match import RULES
from pali.prompts import PROMPTS

_JOINED = ("th", "zh", "ja")
_PATTERN = "maxm*.json"


@dataclass(frozen=True)
class MaxmScorer(Texts):
    """Exact match by the rule of each language, and of the very string."""

    metric: str = "exact_match"
    variants: tuple[str, ...] = ("maxm",)
    tokenized: bool = False
    means: tuple[Mean, ...] = (Mean("exact_match_mean", "lang/"),)

    def score(
        self, items: Sequence[Item], answers: Sequence[str], variant: str, tokenizer: str | None
    ) -> Scored:
        """Scores of all questions, of each language, and the mean over languages."""
        rules = [RULES["maxm-joined" if item.lang in _JOINED else "maxm"] for item in items]
        known = [
            [rule(text) for text in item.references]
            for item, rule in zip(items, rules, strict=True)
        ]
        said = [rule(text) for text, rule in zip(answers, rules, strict=True)]
        measures = (Measure("exact_match", "exact_match", "raw"),)
        found = measured(items, known, said, measures, self.means)
        raw = measured(
            items,
            [item.references for item in items],
            answers,
            (Measure("exact_match_raw", "exact_match", "raw"),),
        )
        variants = dict.fromkeys(found.scores, "maxm|joined:ja,th,zh")
        groups = {group: scores | raw.groups[group] for group, scores in found.groups.items()}
        return Scored(found.scores | raw.scores, groups, found.per_item, variants | raw.variants)


def _read(files: Files, split: str) -> list[Item]:
    _, _, only = split.partition("-")
    items = []
    for path in files.like(_PATTERN):
        whole = document(path)
        lang = whole.text("split")
        if lang not in LANGUAGES:
            whole.refuse("split", f"a language: {', '.join(LANGUAGES)}")
        if only not in ("", lang):
            continue
        for picture in whole.rows("annotations"):
            for row in picture.rows("qa_pairs"):
                answers = dict.fromkeys((*row.texts("answers"), *row.texts("processed_answers")))
                key = row.identifier("question_id")
                items.append(
                    Item(
                        key if only else f"{lang}/{key}",
                        tuple(answers) or row.refuse("answers", "one answer or more"),
                        f"{picture.text('image_id')}.jpg",
                        row.text("question"),
                        lang=resolve(lang),
                        groups=() if only else (f"lang/{lang}",),
                    )
                )
    return items


_SIZES = {"en": 298, "fr": 293, "hi": 294, "iw": 315, "ro": 333, "th": 302, "zh": 307}

MAXM = Benchmark(
    name="maxm",
    title="MaXM, seven languages",
    splits={
        "test": Split((_PATTERN,), sum(_SIZES.values())),
        **{f"test-{lang}": Split((_PATTERN,), size) for lang, size in _SIZES.items()},
    },
    read=_read,
    scorer=MaxmScorer(),
    prompt=PROMPTS["vqa_in"],
    licence="see the publisher; the pictures are those of Crossmodal-3600",
    documented="https://github.com/google-research-datasets/maxm",
    differs="The paper's rule for equal answers was not published as a script.",
    languages=resolve_many(LANGUAGES),
)
