# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Charts, diagrams and counting: ChartQA, AI2D, TallyQA.

  chartqa  relaxed accuracy, the mean of that of people's and of the augmented questions. Questions
           have no ids in the files: human/0, human/1, … and augmented/0, … in their order
  ai2d     exact match with the text of the right option; the options stand in the question
  tallyqa  exact match, number words being numbers; the mean over all questions, and apart those
           that are simple and those that are complex. Ids are IMAGE/QUESTION: the same number of a
           question may stand for several

all in 0..1.
"""

from __future__ import annotations

from pali.benchmarks.benchmark import Benchmark, Files, Item, Split, paligemma
from pali.benchmarks.documents import QUESTION
from pali.benchmarks.rows import document, listed, read_text
from pali.benchmarks.texts import Mean, Measure, TextScorer


def _chartqa(files: Files, split: str) -> list[Item]:
    base, _, only = split.partition("-")
    items = []
    for i, half in enumerate((only,) if only else ("human", "augmented")):
        for number, row in enumerate(listed(files.path(i))):
            items.append(
                Item(
                    f"{half}/{number}",
                    (row.text("label"),),
                    f"{base}/png/{row.text('imgname')}",
                    row.text("query"),
                    groups=(f"half/{half}",),
                )
            )
    return items


def _ai2d(files: Files, split: str) -> list[Item]:
    tested = set(read_text(files.path()).split())
    items = []
    for file in sorted(files.path(1).glob("*.json")):
        if (file.name.split(".")[0] in tested) != (split == "test"):
            continue
        whole = document(file)
        questions = whole.row("questions")
        for asked in questions.fields:
            row = questions.row(asked)
            options, right = row.texts("answerTexts"), row.integer("correctAnswer")
            if not 0 <= right < len(options):
                row.refuse("correctAnswer", f"one of {len(options)} options, from 0")
            picture = f"ai2d/images/{whole.text('imageName')}"
            letters = "letters" if row.flag("abcLabel") else "as drawn"
            items.append(
                Item(
                    row.text("questionId"),
                    (options[right],),
                    picture,
                    f"{asked} choose from: " + " \t ".join(options),
                    groups=(f"labels/{letters}",),
                )
            )
    return items


def _tallyqa(files: Files, split: str) -> list[Item]:
    items = []
    for row in listed(files.path()):
        answer = row.integer("answer")
        groups = ()
        if split == "test":
            groups = (f"kind/{'simple' if row.flag('issimple') else 'complex'}",)
        items.append(
            Item(
                f"{row.identifier('image_id')}/{row.identifier('question_id')}",
                (str(answer),),
                row.text("image"),
                row.text("question"),
                groups=groups,
            )
        )
    return items


def _halves(split: str) -> dict[str, Split]:
    sizes = {"train": (7_398, 20_901), "val": (960, 960), "test": (1_250, 1_250)}[split]
    names = [f"{split}/{split}_{half}.json" for half in ("human", "augmented")]
    return {
        split: Split(tuple(names), sum(sizes)),
        f"{split}-human": Split((names[0],), sizes[0]),
        f"{split}-augmented": Split((names[1],), sizes[1]),
    }


CHART_QA = Benchmark(
    name="chartqa",
    title="ChartQA",
    splits=_halves("test") | _halves("val") | _halves("train"),
    read=_chartqa,
    scorer=TextScorer(
        (Measure("relaxed_accuracy", "relaxed_accuracy", "lower"),),
        (Mean("relaxed_accuracy_mean", "half/"),),
    ),
    prompt=QUESTION,
    licence="GPL-3.0, as recalled; see the publisher",
    documented="https://github.com/vis-nlp/ChartQA",
    anchors=paligemma("57.08", "71.36", "mean of both halves, per cent"),
    differs="big_vision compares texts as they are: --variant exact.",
)

AI2D = Benchmark(
    name="ai2d",
    title="AI2D",
    splits={
        "test": Split(("ai2d_test_ids.csv", "ai2d/questions"), 3_088),
        "train": Split(("ai2d_test_ids.csv", "ai2d/questions")),
    },
    read=_ai2d,
    scorer=TextScorer((Measure("exact_match", "exact_match", "raw"),)),
    licence="CC BY-SA, as recalled; see the publisher",
    documented="https://allenai.org/data/diagrams",
    anchors=paligemma("72.12", "73.28", "per cent"),
    differs="Where options are letters (labels/letters) big_vision draws these letters into the "
    "picture; nothing is drawn here.",
)

TALLY_QA = Benchmark(
    name="tallyqa",
    title="TallyQA",
    splits={"test": Split(("test.json",), 38_589), "train": Split(("train.json",), 249_318)},
    read=_tallyqa,
    scorer=TextScorer((Measure("exact_match", "exact_match", "tally"),), numbers=True),
    licence="see the publisher; the photos are those of COCO and Visual Genome",
    documented="https://github.com/manoja328/tallyqa",
    anchors=paligemma("81.72 / 69.56", what="simple / complex, per cent"),
    differs="RMSE is not computed.",
)
