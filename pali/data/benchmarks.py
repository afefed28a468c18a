# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What `pali evaluate` asks of a task beyond the metrics that its task file names.

A task without an entry in BENCHMARKS is scored by its `metric_fns` alone. An entry adds what makes
the numbers mean something: which records show the same thing, a choice among candidates, a
baseline. Whoever changes what a number means raises `version`; every score carries it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from pali.data.demo_corpus import load_corpus
from pali.data.object_prompts import FORMS
from pali.data.question_phrases import KINDS
from pali.data.scenes import SCENE_SPLITS
from pali.data.sources import SPLITS
from pali.data.text_sources import FLAG_SPLITS, OCR_SPLITS

Record = Mapping[str, Any]


@runtime_checkable
class Baseline(Protocol):
    """What the ViT's own classifier would have answered, without the language half."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def fits(self, num_classes: int) -> bool:
        """Whether a ViT with so many classes was trained on the classes meant here."""
        ...

    def answer(self, record: Record, scores: Float[np.ndarray, " classes"]) -> str:
        """The answer to a record, from the class scores of its picture."""
        ...

    def class_of(self, record: Record) -> int | None:
        """The class of what a record shows; None if it is none."""
        ...


@dataclass(frozen=True)
class ClassNames:
    """The most probable concept's CLDR name, in the language asked for."""

    name: str = "ViT class → CLDR name"

    def fits(self, num_classes: int) -> bool:
        """The classes are the demo corpus' core concepts for training."""
        return num_classes == len(load_corpus().core_train)

    def answer(self, record: Record, scores: Float[np.ndarray, " classes"]) -> str:
        """The name; empty where the concept has none in that language."""
        corpus = load_corpus()
        best = corpus.core_train[int(scores.argmax())]
        return corpus.names(record["lang"]).get(best.code, "")

    def class_of(self, record: Record) -> int | None:
        """None for concepts that were never trained on."""
        return load_corpus().class_index.get(record["code"])


@dataclass(frozen=True)
class Benchmark:
    """How a task is evaluated."""

    version: str = "1"
    group: str = "image_key"
    """The field of a record that says what its picture shows. Records that share it are drawn
    together by the bootstrap, and never stand in for each other in the shuffled control."""
    choices: int = 0
    """Pictures of each split and language that are also asked to choose: this many are drawn by
    hash, and the answer of each is a candidate for all. 0 asks none."""
    baseline: Baseline | None = None
    splits: Mapping[str, str] = field(default_factory=lambda: SPLITS)
    """What each split holds, in words for the report."""
    english: bool = False
    """Whether answers are English, whatever the language of the question."""


_SCENES = Benchmark(splits=SCENE_SPLITS, english=True)

BENCHMARKS = {
    "demo_captions": Benchmark(group="code", choices=20, baseline=ClassNames()),
    "demo_captions_en": Benchmark(group="code", choices=20, baseline=ClassNames()),
    "demo_keywords": Benchmark(group="code"),
    "demo_group": Benchmark(group="code"),
    "demo_subgroup": Benchmark(group="code"),
    "demo_ocr": Benchmark(group="text", splits=OCR_SPLITS),
    "demo_flags": Benchmark(group="code", choices=20, splits=FLAG_SPLITS),
    "demo_vqa_flag": Benchmark(group="code", splits=FLAG_SPLITS, english=True),
    "demo_split_captions": Benchmark(group="code"),
    # Version 2: answers were cut at 64 tokens before.
    "demo_vqg": Benchmark(version="2", splits=SCENE_SPLITS),
    **{f"demo_vqa_{kind}": _SCENES for kind in KINDS},
    **{f"demo_{form}": _SCENES for form in FORMS if form != "detect"},
    "demo_detection": Benchmark(version="2", splits=SCENE_SPLITS, english=True),  # likewise
}
"""By the name of the task."""
