# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every benchmark, by name."""

from __future__ import annotations

import difflib

from pali.benchmarks.benchmark import Benchmark
from pali.benchmarks.boxes import COCO_DETECTION, REFCOCO, REFCOCO_PLUS, REFCOCOG
from pali.benchmarks.captions import COCO_CAPTIONS, NOCAPS, TEXTCAPS, VIZWIZ_CAPTIONS
from pali.benchmarks.charts import AI2D, CHART_QA, TALLY_QA
from pali.benchmarks.documents import DOC_VQA, INFOGRAPHIC_VQA, ST_VQA
from pali.benchmarks.gqa import GQA, XGQA
from pali.benchmarks.imagenet import (
    IMAGENET,
    IMAGENET_A,
    IMAGENET_R,
    IMAGENET_SKETCH,
    IMAGENET_V2,
    OBJECTNET,
)
from pali.benchmarks.language import XNLI, XQUAD
from pali.benchmarks.maxm import MAXM
from pali.benchmarks.multilingual import COCO_35L, CROSSMODAL_3600
from pali.benchmarks.reading import MLT_2019, OCRBENCH
from pali.benchmarks.vqa import OK_VQA, TEXT_VQA, VIZWIZ_VQA, VQAV2

FAMILIES: dict[str, tuple[Benchmark, ...]] = {
    "captions": (COCO_CAPTIONS, NOCAPS, TEXTCAPS, VIZWIZ_CAPTIONS),
    "captions in many languages": (CROSSMODAL_3600, COCO_35L),
    "questions": (VQAV2, OK_VQA, TEXT_VQA, VIZWIZ_VQA, GQA, TALLY_QA),
    "questions in many languages": (XGQA, MAXM),
    "documents": (DOC_VQA, INFOGRAPHIC_VQA, ST_VQA, CHART_QA, AI2D),
    "boxes": (REFCOCO, REFCOCO_PLUS, REFCOCOG, COCO_DETECTION),
    "classes": (IMAGENET, IMAGENET_V2, IMAGENET_A, IMAGENET_R, IMAGENET_SKETCH, OBJECTNET),
    "reading": (OCRBENCH, MLT_2019),
    "language": (XNLI, XQUAD),
}
"""By what is asked."""

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark for family in FAMILIES.values() for benchmark in family
}


def get(name: str) -> Benchmark:
    """The benchmark of a name; ValueError names the near ones."""
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(BENCHMARKS)}"
        raise ValueError(f"no benchmark {name!r}; {hint}")
    return BENCHMARKS[name]
