# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""An evaluation in one table: a row for each task and split, with the task's main metric.

In:  score records (pali/metrics/records.py).
Out: rows for the top of report.md, and the same within 80 columns for a terminal.

The main metric is the one that the task file names first. A task that is also asked to choose has a
second row for that, because the choice alone says what a guess would have scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pali.languages import LANGUAGES
from pali.metrics import wrong_language
from pali.metrics.records import Record
from pali.metrics.signature import differences, parse

NAMES = {
    ("exact_match", "nfkc-space"): "exact match",
    ("chrf", "chrF2|nc:6|nw:0|space:no|nfkc"): "chrF",
    ("cer", "levenshtein|nfkc|spaces"): "character errors",
    ("cer_no_spaces", "levenshtein|nfkc|no-spaces"): "character errors, no spaces",
    ("recall", "iou-0.5-greedy"): "box recall",
    ("precision", "iou-0.5-greedy"): "box precision",
    ("unparsed", "iou-0.5-greedy"): "unparsed answers",
    ("right_script", "most-letters"): "right script",
    ("choice", "sum-minus-prior"): "choice, less prior",
    ("choice", "sum"): "choice, plain",
    ("vit_top_1", "argmax"): "ViT top-1",
}
LOWER = ("cer", "cer_no_spaces", "wer", "unparsed", "wrong_language")
"""Metrics of which less is better."""

CHOICE = ("choice", "sum-minus-prior")
LOWER_NOTE = "↓ lower is better"

SYSTEMS = ("model", "majority", "shuffled")
COLUMNS = ("task", "split", "metric", *SYSTEMS, "chance", "n", "languages")


class Threshold(NamedTuple):
    """A score from which a language counts as one that the model can do."""

    task: str
    split: str
    metric: str
    score: float


THRESHOLDS = (
    Threshold("demo_captions", "validation", "exact_match", 30.0),
    Threshold("demo_captions_more", "validation", "exact_match", 30.0),
    Threshold("demo_ocr", "validation", "cer", 30.0),
    Threshold("demo_ocr", "unseen_strings", "cer", 30.0),
)


def name(metric: str, variant: str) -> str:
    """A metric in words, after an arrow where less is better."""
    # The variant of the wrong language has the version of a detector.
    wrong = metric == wrong_language.NAME
    known = "wrong language" if wrong else NAMES.get((metric, variant), metric)
    return "↓ " * (metric in LOWER) + known


def rows(scores: Sequence[Record]) -> list[list[str]]:
    """Cells of COLUMNS."""
    result = []
    for (task, split), own in _by_split(scores).items():
        measured = [_variant(r) for r in own if r["system"] == "model"]
        chosen = [variant for variant in measured if variant == CHOICE]
        for variant in dict.fromkeys([*measured[:1], *chosen]):
            systems = {r["system"]: r for r in own if _variant(r) == variant}
            model = systems["model"]
            cells = [_number(systems[s]["score"]) if s in systems else "" for s in SYSTEMS]
            chance = f"{model['chance']:.1f}" if "chance" in model else ""
            counts = [f"{model['n']:,}", str(model["languages"])]
            result.append([task, split, name(*variant), *cells, chance, *counts])
    return result


def lines(scores: Sequence[Record]) -> list[str]:
    """The table for a terminal of 80 columns: the task above its splits."""
    widths = (16, 18, 5, 8, 8, 6, 6, 5)
    header = [" split", "metric", *SYSTEMS, "chance", "n", "lang."]
    table = [_aligned(header, widths)]
    task = split = None
    for row in rows(scores):
        if row[0] != task:
            task, split = row[0], None
            table.append(task)
        table.append(_aligned([f" {row[1]}" if row[1] != split else "", *row[2:]], widths))
        split = row[1]
    if any("↓" in line for line in table):
        table.append(LOWER_NOTE)
    return table


def column(results: Mapping[str, Record], *, mixed: bool = False) -> list[str]:
    """One score for each of several results, below one another.

    Args:
      results: what is shown before the score, and a record with "score" and "signature".
      mixed: shows results of different signatures, too, and says in what they differ.

    Raises:
      ValueError: the signatures differ, and `mixed` does not say that this is known.
    """
    apart = differences([parse(record["signature"]) for record in results.values()])
    told = "; ".join(f"{field} is {' or '.join(values)}" for field, values in apart.items())
    if apart and not mixed:
        raise ValueError(
            f"these scores are not of the same measurement: {told}. Show them in tables of their "
            "own, or say with mixed=True that they may stand side by side, marked as different"
        )
    width = max(map(len, results), default=0)
    table = [
        f"{name.ljust(width)}  {record['score']:.4f}" + f"  {record['signature']}" * bool(apart)
        for name, record in results.items()
    ]
    if apart:
        return [f"not comparable: {told}", *table]
    return [*table, *(f"({r['signature']})" for r in list(results.values())[:1])]


def reached(scores: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """For each of THRESHOLDS that was measured: a sentence, and the languages that reach it."""
    result = []
    for task, split, metric, score in THRESHOLDS:
        for record in scores:
            if (record["benchmark"], record["split"], record["metric"], record["system"]) != (
                *(task, split, metric),
                "model",
            ):
                continue
            lower = metric in LOWER
            values = record["per_language"]
            found = [k for k, v in values.items() if (v <= score if lower else v >= score)]
            text = (
                f"{task}, {split}: {len(found)} of {len(values)} languages have {score:.0f} % "
                f"{NAMES[_variant(record)]} or {'less' if lower else 'more'}"
            )
            if lower:  # Reading is also a matter of letters.
                text += f", in {_scripts(found)} of {_scripts(values)} scripts"
            result.append((text, sorted(found)))
    return result


def wrong_languages(scores: Sequence[Record]) -> list[str]:
    """Where a model answers most in another language than asked for, and what judged it."""
    own = [
        record
        for record in scores
        if record["metric"] == wrong_language.NAME and record["system"] == "model"
    ]
    if not own:
        return []
    worst = max(own, key=lambda record: record["score"])
    text = (
        f"in the wrong language: at most {worst['score']:.1f} % of the answers of a split "
        f"({worst['benchmark']}, {worst['split']}: {worst['judged']:,} of {worst['n']:,} judged)"
    )
    by_script = any(record["variant"].endswith(wrong_language.BY_SCRIPT) for record in own)
    return [text, *([wrong_language.ADVICE] if by_script else [])]


def _number(score: float) -> str:
    # Character errors know no bound: a model that rambles has thousands of them.
    return f"{score:.1f}" if score < 1000 else f"{score:.0f}"


def _scripts(languages: Iterable[str]) -> int:
    return len({s for code in languages if code in LANGUAGES for s in LANGUAGES[code].scripts})


def _variant(record: Record) -> tuple[str, str]:
    return record["metric"], record["variant"]


def _by_split(scores: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    found: dict[tuple[str, str], list[Record]] = {}
    for record in scores:
        found.setdefault((record["benchmark"], record["split"]), []).append(record)
    return found


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Two columns to the left, numbers to the right."""
    left = (_fitted(cell, width) for cell, width in zip(cells[:2], widths[:2], strict=True))
    right = (cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True))
    return " ".join([*left, *right]).rstrip()


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"
