# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about text in pictures: DocVQA, InfographicVQA, ST-VQA.

Score: ANLS (pali/metrics/anls.py), in 0..1: of DocVQA and InfographicVQA as the server of the
Robust Reading Competition computes it, of ST-VQA as mmf does. InfographicVQA's answers of several
spans, "a, b", are right in any order.
"""

from __future__ import annotations

import functools

from pali.benchmarks.benchmark import Benchmark, Files, Item, Split, Submission, paligemma
from pali.benchmarks.rows import Row, document, same_split
from pali.benchmarks.texts import Measure, TextScorer
from pali.metrics.anls import in_any_order
from pali.prompts import PROMPTS

_RRC = TextScorer((Measure("anls", "anls", "rrc"),))
QUESTION = PROMPTS["question"]
"""The question alone, as PaliGemma is asked about documents and charts."""


def _read(files: Files, split: str, picture: str, any_order: bool = False) -> list[Item]:
    whole = document(files.path())
    same_split(whole, "dataset_split", (split,))
    items = []
    for row in whole.rows("data"):
        answers = () if split == "test" else _answers(row)
        if any_order:
            answers = tuple(each for answer in answers for each in in_any_order(answer))
        kinds = row.texts("question_types") if _has(row, "question_types") else ()
        items.append(
            Item(
                row.integer("questionId"),
                answers,
                row.text(picture),
                row.text("question"),
                groups=tuple(f"question_type/{kind}" for kind in dict.fromkeys(kinds)),
            )
        )
    return items


def _has(row: Row, key: str) -> bool:
    return key in row and row.fields[key] is not None


def _answers(row: Row) -> tuple[str, ...]:
    return row.texts("answers") or row.refuse("answers", "one answer or more")


def _stvqa(files: Files, split: str) -> list[Item]:
    items = []
    for row in document(files.path()).rows("data"):
        answers = () if split == "test" else _answers(row)
        folder = "test_task3_images" if split == "test" else "train_images"
        picture = f"{folder}/{row.text('file_path')}"
        items.append(Item(row.identifier("question_id"), answers, picture, row.text("question")))
    return items


DOC_VQA = Benchmark(
    name="docvqa",
    title="DocVQA, task 1",
    splits={
        "val": Split(("val_v1.0_withQT.json",), 5_349),
        "train": Split(("train_v1.0_withQT.json",), 39_463),
        "test": Split(("test_v1.0.json",), 5_188, hidden=True),
    },
    read=functools.partial(_read, picture="image"),
    scorer=_RRC,
    prompt=QUESTION,
    submission=Submission("questionId", "answer", "rrc.cvc.uab.es, ch=17; needs an account"),
    licence="see the publisher, after registration",
    documented="https://rrc.cvc.uab.es/?ch=17",
    anchors=paligemma("43.74", "78.02", "test, ANLS x 100"),
    differs="PaliGemma's number is of test, which only the server scores; on val big_vision has "
    "--variant paper.",
)

INFOGRAPHIC_VQA = Benchmark(
    name="infovqa",
    title="InfographicVQA",
    splits={
        "val": Split(("infographicsVQA_val_v1.0_withQT.json",), 2_801),
        "train": Split(("infographicsVQA_train_v1.0.json",), 23_946),
        "test": Split(("infographicsVQA_test_v1.0.json",), 3_288, hidden=True),
    },
    read=functools.partial(_read, picture="image_local_name", any_order=True),
    scorer=_RRC,
    submission=Submission("questionId", "answer", "rrc.cvc.uab.es, ch=17; needs an account"),
    licence="see the publisher, after registration",
    documented="https://rrc.cvc.uab.es/?ch=17",
    anchors=paligemma("28.46", "40.47", "test, ANLS x 100"),
    differs="Lists of more than six items are tried in the given and the sorted order alone. "
    "PaliGemma's number is of test, which only the server scores.",
)

ST_VQA = Benchmark(
    name="stvqa",
    title="ST-VQA, task 3",
    splits={
        "test": Split(("test_task_3.json",), 4_070, hidden=True),
        "train": Split(("train_task_3.json",), 26_074),
    },
    read=_stvqa,
    scorer=TextScorer((Measure("anls", "anls", "mmf"),)),
    submission=Submission("question_id", "answer", "rrc.cvc.uab.es, ch=11"),
    licence="see the publisher, after registration",
    documented="https://rrc.cvc.uab.es/?ch=11",
    anchors=paligemma("63.29", "81.82", "ANLS x 100"),
    differs="There is no published validation split: big_vision cuts 2,628 questions of train by a "
    "list of its own. A score of train is for such a cut, with --partial.",
)
