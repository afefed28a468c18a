# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Text in pictures: OCRBench, and transcription of the pictures of ICDAR MLT-2019.

ocrbench  1,000 questions, numbered from 0 in the order of OCRBench.json. Score: how many answers
          are contained in what was said (pali/metrics/ocrbench.py), out of 1,000, and of each type
mlt2019   the whole text of a picture, its lines in the order of gt_*.txt with a space between
          them; lines marked ### are left out, and a picture with no other is not scored. Score:
          character error rate over all pictures, and without spaces, and of words; less is better
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pali.benchmarks.benchmark import Benchmark, Files, Item, Scored, Split
from pali.benchmarks.documents import QUESTION
from pali.benchmarks.rows import listed, read_text
from pali.benchmarks.texts import Measure, Texts, TextScorer, columns
from pali.metrics import ocrbench
from pali.prompts import PROMPTS

_GT = "gt_*.txt"
_IGNORED = "###"
_CORNERS = 8
_LANGUAGES = {
    **{"Arabic": "ar", "Bangla": "bn", "Chinese": "zh", "Hindi": "hi"},
    **{"Japanese": "ja", "Korean": "ko"},
}
"""Scripts of the data set with one language; others are asked for in English."""


@dataclass(frozen=True)
class ContainedScorer(Texts):
    """How many answers are contained in what was said."""

    metric: str = "ocrbench"
    variants: tuple[str, ...] = ("contains",)
    tokenized: bool = False

    def score(
        self, items: Sequence[Item], answers: Sequence[str], variant: str, tokenizer: str | None
    ) -> Scored:
        """The number of right answers, and the share of each type."""
        kinds = [item.facts["kind"] for item in items]
        each = ocrbench.ocrbench_per_item([item.references for item in items], answers, kinds)
        found = columns(items, {"accuracy": each.tolist()}, {"accuracy": ocrbench.VARIANT})
        variants = {"ocrbench": f"{ocrbench.VARIANT}|count"} | found.variants
        return Scored(
            {"ocrbench": float(each.sum())} | found.scores, found.groups, found.per_item, variants
        )


def _ocrbench(files: Files, split: str) -> list[Item]:
    items = []
    for number, row in enumerate(listed(files.path())):
        answers = row.fields.get("answers")
        known = (answers,) if isinstance(answers, str) else row.texts("answers")
        items.append(
            Item(
                number,
                known or row.refuse("answers", "one answer or more"),
                f"OCRBench_Images/{row.text('image_path')}",
                row.text("question"),
                groups=(f"type/{row.text('type')}",),
                facts={"kind": row.text("dataset_name")},
            )
        )
    return items


def _mlt(files: Files, split: str) -> list[Item]:
    items = []
    for path in files.like(_GT):
        texts, scripts = [], []
        lines = read_text(path).split("\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            parts = line.split(",", _CORNERS + 1)
            corners = all(part.strip().lstrip("-").isdecimal() for part in parts[:_CORNERS])
            if len(parts) < _CORNERS + 2 or not corners:
                raise ValueError(
                    f"{path}: line {number} is {line!r}: expected eight numbers, script, text"
                )
            if parts[-1].strip() != _IGNORED:
                texts.append(parts[-1].strip())
                scripts.append(parts[_CORNERS].strip())
        one = scripts[0] if len(set(scripts)) == 1 else "Mixed"
        name = path.stem.removeprefix("gt_")
        items.append(
            Item(
                name,
                (" ".join(texts),) if texts else (),
                f"{name}.jpg",
                lang=_LANGUAGES.get(one, "en"),
                groups=(f"script/{one}",),
            )
        )
    return items


OCRBENCH = Benchmark(
    name="ocrbench",
    title="OCRBench",
    splits={"test": Split(("OCRBench.json",), 1_000)},
    read=_ocrbench,
    scorer=ContainedScorer(),
    prompt=QUESTION,
    licence="see the publisher",
    documented="https://github.com/Yuliang-Liu/MultimodalOCR",
    differs="lmms-eval also folds full-width letters, which the original does not.",
)

MLT_2019 = Benchmark(
    name="mlt2019",
    title="ICDAR MLT-2019, whole pictures transcribed",
    splits={"train": Split((_GT,), 10_000)},
    read=_mlt,
    scorer=TextScorer(
        (
            Measure("cer", "cer", "spaces"),
            Measure("cer_no_spaces", "cer", "no-spaces"),
            Measure("wer", "wer", "words"),
        )
    ),
    prompt=PROMPTS["ocr"],
    licence="see the publisher, after registration",
    documented="https://rrc.cvc.uab.es/?ch=15",
    differs="The competition scores detected words; this is transcription, PaLI's way of asking. "
    "Lines are in the order of the file, which people may read otherwise.",
    languages=("en", *_LANGUAGES.values()),
)
