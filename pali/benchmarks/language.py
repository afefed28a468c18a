# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The language half alone: XNLI and XQuAD, texts without a picture, as mT5 is asked.

  xnli   accuracy of the label word (entailment, neutral, contradiction), in 0..1: the mean over 15
         languages
  xquad  F1 and exact match of SQuAD 1.1, in per cent as its script prints them: the mean over
         languages. Tokens are what stands between spaces, also in Thai and Chinese

The split `test` has all languages, with ids LANG/ID; `test-sw` has one, with the ids alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pali.benchmarks.benchmark import Benchmark, Files, Item, Scored, Split, Submission
from pali.benchmarks.rows import document, read_text
from pali.benchmarks.texts import Mean, Measure, Texts, TextScorer, columns
from pali.metrics import squad
from pali.prompts import PROMPTS

_XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh"
XNLI_LANGUAGES = tuple(_XNLI.split())
_XQUAD = "ar de el en es hi ro ru th tr vi zh"
XQUAD_LANGUAGES = tuple(_XQUAD.split())
LABELS = ("entailment", "neutral", "contradiction")
_COLUMNS = ("language", "gold_label", "sentence1", "sentence2", "pairID")


@dataclass(frozen=True)
class SquadScorer(Texts):
    """F1 and exact match of SQuAD."""

    metric: str = "f1"
    variants: tuple[str, ...] = ("squad-1.1",)
    tokenized: bool = False
    means: tuple[Mean, ...] = (Mean("f1_mean", "lang/"),)

    def score(
        self, items: Sequence[Item], answers: Sequence[str], variant: str, tokenizer: str | None
    ) -> Scored:
        """Both, of all questions and of each language."""
        each = 100.0 * squad.squad_per_item([item.references for item in items], answers)
        return columns(
            items,
            {"f1": each[:, 1].tolist(), "em": each[:, 0].tolist()},
            dict.fromkeys(("f1", "em"), squad.VARIANT),
            self.means,
        )


def _xnli(files: Files, split: str) -> list[Item]:
    path = files.path()
    _, _, only = split.partition("-")
    rows = csv.DictReader(
        io.StringIO(read_text(path), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    if lacking := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
        raise ValueError(f"{path} has no column {', '.join(lacking)}: its first line names them")
    items = []
    for number, row in enumerate(rows, start=2):
        lang, label, first, second, key = (row[name] for name in _COLUMNS)
        if lang not in XNLI_LANGUAGES or label not in LABELS or not key or second is None:
            raise ValueError(
                f"{path}: line {number} has language {lang!r}, label {label!r}, pairID {key!r}: "
                f"expected one of {' '.join(XNLI_LANGUAGES)}, one of {', '.join(LABELS)}, an id"
            )
        if only in ("", lang):
            items.append(
                Item(
                    key if only else f"{lang}/{key}",
                    (label,),
                    question=f"xnli: premise: {first} hypothesis: {second}",
                    groups=() if only else (f"lang/{lang}",),
                )
            )
    return items


def _xquad(files: Files, split: str) -> list[Item]:
    _, _, only = split.partition("-")
    items = []
    for i, lang in enumerate((only,) if only else XQUAD_LANGUAGES):
        for article in document(files.path(i)).rows("data"):
            for paragraph in article.rows("paragraphs"):
                context = paragraph.text("context")
                for row in paragraph.rows("qas"):
                    answers = tuple(each.text("text") for each in row.rows("answers"))
                    key = row.text("id")
                    items.append(
                        Item(
                            key if only else f"{lang}/{key}",
                            answers or row.refuse("answers", "one answer or more"),
                            question=f"question: {row.text('question')} context: {context}",
                            lang=lang,
                            groups=() if only else (f"lang/{lang}",),
                        )
                    )
    return items


def _splits(split: str, size: int) -> dict[str, Split]:
    file = f"xnli.{split}.tsv"
    return {split: Split((file,), size * len(XNLI_LANGUAGES))} | {
        f"{split}-{lang}": Split((file,), size) for lang in XNLI_LANGUAGES
    }


_NAMES = {lang: f"xquad.{lang}.json" for lang in XQUAD_LANGUAGES}

XNLI = Benchmark(
    name="xnli",
    title="XNLI, fifteen languages",
    splits=_splits("test", 5_010) | _splits("dev", 2_490),
    read=_xnli,
    scorer=TextScorer(
        (Measure("accuracy", "exact_match", "nfkc-space"),), (Mean("accuracy_mean", "lang/"),)
    ),
    prompt=PROMPTS["text"],
    pictures=False,
    licence="CC BY-NC, as recalled; see the publisher",
    documented="https://github.com/facebookresearch/XNLI",
    languages=XNLI_LANGUAGES,
)

XQUAD = Benchmark(
    name="xquad",
    title="XQuAD, twelve languages",
    splits={
        "test": Split(tuple(_NAMES.values()), 1_190 * len(_NAMES)),
        **{f"test-{lang}": Split((name,), 1_190) for lang, name in _NAMES.items()},
    },
    read=_xquad,
    scorer=SquadScorer(),
    prompt=PROMPTS["text"],
    pictures=False,
    submission=Submission("id", "prediction", "SQuAD's script: one object", mapping=True),
    licence="CC BY-SA 4.0",
    documented="https://github.com/google-deepmind/xquad",
    differs="Thai and Chinese are split at spaces, as mT5's reports do, as recalled; other scripts "
    "segment them.",
    languages=XQUAD_LANGUAGES,
)
