# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A public benchmark -> the parts of its SeqIO task: what tasks/*_benchmarks.py register.

Prompt, splits and files are those of the specification (pali/benchmarks/), which `pali score` reads
as well, so a task adds nothing but its metrics: those stand beside the official score, which `pali
evaluate` computes from the specification (pali/official.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pali.benchmarks import registry
from pali.benchmarks.benchmark import Benchmark
from pali.data.benchmark_items import BenchmarkItems, BoxesAsText
from pali.data.pipeline import Function
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.tasks import DEMO_TOKENIZER

SIZE = 224
"""Of pictures, until a model says its own."""
SPELLED = {"val": "validation", "dev": "validation"}
"""Splits that tasks call otherwise than benchmarks do."""


class Parts(NamedTuple):
    """What a task needs besides a name and metrics, as `seqio_bridge.task_parts` takes it."""

    sources: dict[str, BenchmarkItems]
    """By split of the task."""
    functions: tuple[Function, ...]
    tokenizer: str


def benchmark_parts(name: str, splits: Mapping[str, str] | None = None) -> Parts:
    """The task of a benchmark.

    Args:
      name: of the benchmark.
      splits: split of the task -> split of the benchmark; by default those of `usual_splits`.
    """
    benchmark = registry.get(name)
    functions: list[Function] = []
    if benchmark.prompt.name == "detect":
        functions.append(BoxesAsText(SIZE))
    if benchmark.pictures:
        functions.append(DecodePicture(SIZE))
    functions += [TextToText(benchmark.prompt.name, answer="answer"), Tokenize(DEMO_TOKENIZER)]
    chosen = splits or usual_splits(benchmark)
    sources = {ours: BenchmarkItems(name, its) for ours, its in chosen.items()}
    return Parts(sources, tuple(functions), DEMO_TOKENIZER)


def usual_splits(benchmark: Benchmark) -> dict[str, str]:
    """Those whose answers are known; not single languages, halves or older ways to split."""
    known = [n for n, split in benchmark.splits.items() if not split.hidden and "-" not in n]
    return {SPELLED.get(name, name): name for name in sorted(known, key=lambda n: n != "train")}
