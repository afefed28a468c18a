# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions that ten people answered: VQAv2, OK-VQA, TextVQA, VizWiz-VQA.

Score: VQA accuracy against the ten answers (pali/metrics/vqa_accuracy.py), in 0..1, and that of
each type of answer and question. Variants: `official` (VQAv2, OK-VQA, TextVQA) and `vizwiz`;
"unanswerable" is an answer like any other there.

Answers are scored as they are given, without the questions; a file of questions beside that of the
answers is read where it is there, for a model must be asked something.
"""

from __future__ import annotations

from pali.benchmarks.benchmark import Benchmark, Files, Item, Split, Submission, pali_17b, paligemma
from pali.benchmarks.rows import Row, document, listed, same_split
from pali.benchmarks.texts import Measure, TextScorer

OFFICIAL = Measure("vqa_accuracy", "vqa_accuracy", "official")
_SUBSETS = {
    **{"val": "val2014", "train": "train2014"},
    **{"test": "test2015", "test-dev": "test-dev2015"},
}


def _coco(files: Files, split: str) -> list[Item]:
    """Annotations and questions of VQAv2 and OK-VQA, each in a file of its own."""
    subset = _SUBSETS[split]
    if split.startswith("test"):
        questions = document(files.path())
        same_split(questions, "data_subtype", (subset,))
        return [_question(row, "test2015") for row in questions.rows("questions")]
    whole = document(files.path())
    same_split(whole, "data_subtype", (subset,))
    asked = {}
    if (path := files.optional(1)) is not None:
        questions = document(path)
        same_split(questions, "data_subtype", (subset,))
        asked = {
            row.integer("question_id"): row.text("question") for row in questions.rows("questions")
        }
    items = []
    for row in whole.rows("annotations"):
        key = row.integer("question_id")
        if asked and key not in asked:
            raise ValueError(f"{row.where}: question {key} is not in {files.path(1)}")
        groups = tuple(f"{kind}/{row.text(kind)}" for kind in ("answer_type", "question_type"))
        items.append(
            Item(
                key,
                _answers(row),
                _picture(row, subset),
                asked.get(key, ""),
                groups=groups,
            )
        )
    return items


def _question(row: Row, subset: str) -> Item:
    key = row.integer("question_id")
    return Item(key, (), _picture(row, subset), row.text("question"))


def _picture(row: Row, subset: str) -> str:
    return f"{subset}/COCO_{subset}_{row.integer('image_id'):012d}.jpg"


def _answers(row: Row) -> tuple[str, ...]:
    answers = tuple(each.text("answer") for each in row.rows("answers"))
    return answers or row.refuse("answers", "the answers of people")


def _textvqa(files: Files, split: str) -> list[Item]:
    whole = document(files.path())
    same_split(whole, "dataset_type", (split,))
    folder = "test_images" if split == "test" else "train_images"  # val is cut from train.
    items = []
    for row in whole.rows("data"):
        answers = () if split == "test" else row.texts("answers")
        if split != "test" and not answers:
            row.refuse("answers", "the answers of people")
        picture = f"{folder}/{row.text('image_id')}.jpg"
        items.append(Item(row.integer("question_id"), answers, picture, row.text("question")))
    return items


def _vizwiz(files: Files, split: str) -> list[Item]:
    items = []
    for row in listed(files.path()):
        name, question = row.text("image"), row.text("question")
        answers, groups = (), ()
        if split != "test":
            answers, groups = _answers(row), (f"answer_type/{row.text('answer_type')}",)
        items.append(Item(name, answers, f"{split}/{name}", question, groups=groups))
    return items


VQAV2 = Benchmark(
    name="vqav2",
    title="VQA v2.0, open-ended",
    splits={
        "val": Split(
            (
                "v2_mscoco_val2014_annotations.json",
                "v2_OpenEnded_mscoco_val2014_questions.json",
            ),
            214_354,
        ),
        "train": Split(
            (
                "v2_mscoco_train2014_annotations.json",
                "v2_OpenEnded_mscoco_train2014_questions.json",
            ),
            443_757,
        ),
        "test": Split(("v2_OpenEnded_mscoco_test2015_questions.json",), 447_793, hidden=True),
        "test-dev": Split(("v2_OpenEnded_mscoco_test-dev2015_questions.json",), hidden=True),
    },
    read=_coco,
    scorer=TextScorer((OFFICIAL,)),
    submission=Submission(
        "question_id", "answer", "EvalAI, which wants all questions of test, also for test-dev"
    ),
    licence="annotations CC BY 4.0; the photos under those of Flickr",
    documented="https://visualqa.org/download.html",
    anchors=pali_17b("84.3", "test-dev, and also test-std, per cent")
    + paligemma("83.19", "85.64", "test-std, per cent"),
    differs="PaliGemma's number is of test-std, which only the server scores. Whether the server "
    "has the correction of 2021 is not confirmed.",
)

OK_VQA = Benchmark(
    name="okvqa",
    title="OK-VQA",
    splits={
        "val": Split(
            ("mscoco_val2014_annotations.json", "OpenEnded_mscoco_val2014_questions.json"), 5_046
        ),
        "train": Split(
            ("mscoco_train2014_annotations.json", "OpenEnded_mscoco_train2014_questions.json"),
            9_009,
        ),
    },
    read=_coco,
    scorer=TextScorer((OFFICIAL, Measure("vqa_accuracy_bv", "vqa_accuracy", "bv"))),
    licence="see the publisher; the photos are COCO's",
    documented="https://okvqa.allenai.org/download.html",
    anchors=pali_17b("64.5", "val, VQA accuracy, per cent")
    + paligemma("63.54", "63.15", "variant bv, per cent"),
    differs="PaliGemma's number is of the variant bv, which stands beside the official one.",
)

TEXT_VQA = Benchmark(
    name="textvqa",
    title="TextVQA",
    splits={
        "val": Split(("TextVQA_0.5.1_val.json",), 5_000),
        "train": Split(("TextVQA_0.5.1_train.json",), 34_602),
        "test": Split(("TextVQA_0.5.1_test.json",), 5_734, hidden=True),
    },
    read=_textvqa,
    scorer=TextScorer((OFFICIAL,)),
    submission=Submission("question_id", "answer", "EvalAI"),
    licence="CC BY 4.0",
    documented="https://textvqa.org/dataset/",
    anchors=paligemma("55.47", "73.15", "test-std, per cent"),
    differs="--variant m4c is mmf's spelling of answers. big_vision turns pictures of Open Images "
    "upright first; a picture is left as it is here.",
)

VIZWIZ_VQA = Benchmark(
    name="vizwiz_vqa",
    title="VizWiz-VQA",
    splits={
        "val": Split(("val.json",), 4_319),
        "train": Split(("train.json",), 20_523),
        "test": Split(("test.json",), 8_000, hidden=True),
    },
    read=_vizwiz,
    scorer=TextScorer((Measure("vqa_accuracy", "vqa_accuracy", "vizwiz"),)),
    submission=Submission("image", "answer", "EvalAI"),
    licence="CC BY 4.0",
    documented="https://vizwiz.org/tasks-and-datasets/vqa/",
    anchors=paligemma("73.7", "75.52", "variant bv, per cent"),
    differs="The API's scores of captions and of answerability are not computed. big_vision scores "
    "min(1, matches / 3) of the texts as they are: --variant bv.",
)
