# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A benchmark and predictions -> a number, and the signature that says what it is a number of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pali.benchmarks.benchmark import SPEC, Benchmark, Item
from pali.benchmarks.predictions import read_predictions
from pali.metrics.pairs import Rows, collect, join
from pali.metrics.signature import SPEC as METRICS_SPEC
from pali.metrics.signature import Signature


@dataclass(frozen=True)
class Result:
    """The scores of a benchmark."""

    metric: str
    score: float
    scores: dict[str, float]
    groups: dict[str, dict[str, float]]
    per_item: dict[str, float | None]
    signature: Signature
    """Of the score."""
    signatures: dict[str, str]
    """Of every one of `scores`."""
    notes: list[str]


def score_files(
    benchmark: Benchmark,
    references: Path,
    predictions: Path,
    *,
    split: str | None = None,
    variant: str | None = None,
    tokenizer: str | None = None,
    partial: bool = False,
) -> Result:
    """Scores a file of predictions.

    Args:
      benchmark: of pali/benchmarks/registry.py.
      references: the folder of its raw files, or the first file of the split.
      predictions: in a format of pali/benchmarks/predictions.py.
      split: of the benchmark; None is its first.
      variant: of the benchmark's metric; None is the official one.
      tokenizer: of captions, as in pali/metrics/scoring.py.
      partial: scores what both sides have; the signature says so.

    Raises:
      OSError: a file cannot be read.
      ValueError: a file is not what it should be, ids are missing, unknown or there twice, or the
        answers of the split are hidden.
    """
    check_options(benchmark, variant, tokenizer)
    name, chosen = benchmark.split(split)
    if chosen.hidden:
        raise ValueError(
            f"the answers of the split {name} of {benchmark.name} are not published: its server "
            "scores it, and --submission FILE writes what that takes"
        )
    items = benchmark.items(references, name)
    rows = read_predictions(predictions, benchmark, items)
    return score_rows(
        benchmark, name, items, rows, str(references), variant, tokenizer, partial=partial
    )


def score_rows(
    benchmark: Benchmark,
    split: str,
    items: Sequence[Item],
    said: Rows,
    where: str = "the references",
    variant: str | None = None,
    tokenizer: str | None = None,
    *,
    partial: bool = False,
) -> Result:
    """Scores what is read already; see `score_files`."""
    known = collect(where, ((f"item {i}", item.id, item) for i, item in enumerate(items, 1)))
    unscored = {str(item.id) for item in items if not item.references}
    if len(unscored) == len(items):
        raise ValueError(f"no item of {where} has a reference: there is nothing to score")
    joined = join(known, said, partial, unscored)
    variant = variant or benchmark.scorer.variants[0]
    scored = benchmark.scorer.score(
        [known.values[key] for key in joined.ids],
        [said.values[key] for key in joined.ids],
        variant,
        tokenizer,
    )
    notes = [*joined.notes, *scored.notes]
    if unscored:
        notes.append(f"{len(unscored):,} of {len(items):,} items have no reference, and no score")
    size = benchmark.splits[split].size
    if size is not None and size != len(items):
        notes.append(f"{where} has {len(items):,} items; {size:,} of {split} are published")
    signatures = {
        name: Signature(
            name,
            scored.variants[name],
            len(joined.ids),
            benchmark.name,
            split,
            "none" if name in scored.judged else scored.tokenizer,
            f"{METRICS_SPEC}.{SPEC}",
            joined.partial,
            scored.judged.get(name),
        )
        for name in scored.scores
    }
    metric = next(iter(scored.scores))
    return Result(
        metric,
        scored.scores[metric],
        scored.scores,
        scored.groups,
        dict(zip(joined.ids, scored.per_item, strict=True)),
        signatures[metric],
        {name: str(signature) for name, signature in signatures.items()},
        notes,
    )


def check_options(benchmark: Benchmark, variant: str | None, tokenizer: str | None) -> None:
    """Raises ValueError if the benchmark has no such variant, or no tokenizer to choose."""
    variants = benchmark.scorer.variants
    if variant is not None and variant not in variants:
        raise ValueError(
            f"no variant {variant!r} of {benchmark.name}; there are {', '.join(variants)}"
        )
    if tokenizer is not None and not benchmark.scorer.tokenized:
        raise ValueError(f"{benchmark.name} does not split text into tokens: leave --tokenizer out")


def answers_of(rows: Rows, items: Sequence[Item]) -> dict[str, Any]:
    """The answers to these items, for a submission.

    Raises:
      ValueError: an id is unknown.
    """
    known = {str(item.id) for item in items}
    unknown = [key for key in rows.values if key not in known]
    if unknown:
        raise ValueError(
            f"{len(unknown):,} of {len(rows.values):,} predictions are of no item of this split, "
            f"such as {unknown[0]}"
        )
    return rows.values
