# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions with one right answer: GQA, and xGQA, which asks them in eight languages.

Score: exact match of the very string, in 0..1, as big_vision scores both; of GQA also by the
structure of the question, of xGQA the mean over languages. xGQA's answers are English in every
language. Its split `testdev` has all languages, with ids LANG/ID; `testdev-bn` has one, with the
ids alone, and `fewshot-bn` is the test split beside which few examples may be trained on.
"""

from __future__ import annotations

from pathlib import Path

from pali.benchmarks.benchmark import Benchmark, Files, Item, Split, Submission, paligemma
from pali.benchmarks.rows import document
from pali.benchmarks.texts import Mean, Measure, TextScorer
from pali.languages import XGQA as XGQA_LANGUAGES
from pali.languages import resolve_many

_RAW = Measure("exact_match", "exact_match", "raw")


def _questions(path: Path, hidden: bool = False) -> list[Item]:
    """A file of GQA: one object of question ids and questions."""
    whole = document(path)
    items = []
    for key in whole.fields:
        row = whole.row(key)
        answers = () if hidden else (row.text("answer"),)
        groups = ()
        if not hidden and "types" in row:
            groups = (f"structural/{row.row('types').text('structural')}",)
        picture = f"{row.text('imageId')}.jpg"
        items.append(Item(key, answers, picture, row.text("question"), groups=groups))
    return items


def _gqa(files: Files, split: str) -> list[Item]:
    return _questions(files.path(), hidden=split == "submission")


def _xgqa(files: Files, split: str) -> list[Item]:
    if split != "testdev":
        return [_of(item, item.id, ()) for item in _questions(files.path())]
    return [
        _of(item, f"{lang}/{item.id}", (f"lang/{lang}",))
        for i, lang in enumerate(XGQA_LANGUAGES)
        for item in _questions(files.path(i))
    ]


def _of(item: Item, key: int | str, groups: tuple[str, ...]) -> Item:
    return Item(key, item.references, item.picture, item.question, groups=groups)


def _xgqa_splits() -> dict[str, Split]:
    names = {lang: f"testdev_balanced_questions_{lang}.json" for lang in XGQA_LANGUAGES}
    return {
        "testdev": Split(tuple(names.values()), 12_578 * len(names)),
        **{f"testdev-{lang}": Split((name,), 12_578) for lang, name in names.items()},
        **{
            f"fewshot-{lang}": Split((f"few_shot/{lang}/test.json",), 9_666)
            for lang in XGQA_LANGUAGES
        },
    }


GQA = Benchmark(
    name="gqa",
    title="GQA, balanced questions",
    splits={
        "testdev": Split(("testdev_balanced_questions.json",), 12_578),
        "val": Split(("val_balanced_questions.json",), 132_062),
        "train": Split(("train_balanced_questions.json",), 943_000),
        "submission": Split(("submission_all_questions.json",), hidden=True),
    },
    read=_gqa,
    scorer=TextScorer((_RAW,)),
    submission=Submission(
        "questionId", "prediction", "EvalAI", read=(("question_id", "prediction"),)
    ),
    licence="CC BY 4.0",
    documented="https://cs.stanford.edu/people/dorarad/gqa/download.html",
    anchors=paligemma("65.61", "67.03", "testdev, per cent"),
    differs="Only accuracy: consistency, validity, plausibility and grounding are not computed.",
)

XGQA = Benchmark(
    name="xgqa",
    title="xGQA, eight languages",
    splits=_xgqa_splits(),
    read=_xgqa,
    scorer=TextScorer(
        (_RAW,),
        (
            Mean("exact_match_mean", "lang/"),
            Mean("exact_match_mean_without_en", "lang/", ("lang/en",)),
        ),
    ),
    licence="CC BY 4.0",
    documented="https://github.com/adapter-hub/xGQA",
    anchors=paligemma("58.37", "59.07", "mean of 8 languages, per cent"),
    differs="The paper's mean leaves out English; big_vision's has all eight.",
    languages=resolve_many(XGQA_LANGUAGES),
)
