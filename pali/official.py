# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The official side of `pali evaluate`: what a server takes, and the score that it computes.

In:  the predictions of one split of a task that reads a benchmark (pali/data/benchmark_tasks.py).
Out: a file below WORKDIR/submissions, and a record for metrics.json, on the official scale:

    vqav2.validation.json            what the server takes, where the benchmark has one
    chartqa.test.jsonl               {"id": …, "prediction": …}, where it has none
    vqav2.validation.partial.jsonl   the same of a part of the items (--limit, unusable pictures)

    WORKDIR/items/vqav2.validation.jsonl   {"id": …, "part": …, "group": …, "score": …}: what each
                                     item scores, for `pali evaluate --compare`; where the score is
                                     their mean, or the mean over parts (languages) of their means.
                                     Of a count, each times how many there are: their mean is it

The file is written first, and what is scored is the file, read as `pali score` reads it: that
command finds the same score in it. Items without a reference are not asked about, nor in the file;
but of a split whose answers are hidden all are, and it is written, read again and not scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pali.benchmarks import predictions
from pali.benchmarks.benchmark import Item
from pali.benchmarks.boxes import answer_in_pixels
from pali.benchmarks.score import Result, score_rows
from pali.data.benchmark_items import BenchmarkItems
from pali.data.evaluation import Example, Split
from pali.image import seen_region
from pali.metrics import aggregate
from pali.metrics.records import Line
from pali.official_comparison import mean

FOLDER = "submissions"
ITEMS = "items"


def benchmark_of(split: Split) -> BenchmarkItems | None:
    """What a split reads, if that is a benchmark."""
    source = split.records.task.source
    return source if isinstance(source, BenchmarkItems) else None


def item_of(split: Split, example: Example) -> Item | None:
    """The benchmark's own item behind an example."""
    source = benchmark_of(split)
    return None if source is None else source.items[example.index]


def class_names(split: Split) -> dict[str, str]:
    """Number -> name of the classes to choose from; {} where a text is the answer."""
    source = benchmark_of(split)
    return source.names if source is not None and source.specification.names else {}


class Official(NamedTuple):
    """What is known of the file of a split."""

    record: dict[str, Any]
    """For metrics.json."""
    per_item: dict[str, float]
    """Id of the item -> its own score by the record's metric; {} where it has none."""


def score(split: Split, lines: Iterable[Line], workdir: Path) -> Official | None:
    """Writes the file of a split and scores it.

    Returns:
      A record of benchmark, split, task, file, official (of all items), items (the file of their
      scores, None where the score is not their mean), and what `pali score --json` prints: metric,
      score, scores, groups, n, signature, signatures, notes. Where it cannot be scored, as without
      the segmenters of Crossmodal-3600, "error" in their place: the predictions are kept, and
      `pali score` scores the file later, or the server where the answers are hidden. None if the
      split is of no benchmark.
    """
    source = benchmark_of(split)
    if source is None:
        return None
    benchmark = source.specification
    made = {str(line.get("item")): line for line in lines}
    items = [item for item in source.items if str(item.id) in made]
    answers = {str(item.id): _answer(split, item, made[str(item.id)]) for item in items}
    whole = len(items) == len(source.items)
    path = _write(split, workdir / FOLDER, items, answers, whole)
    record: dict[str, Any] = {
        "benchmark": benchmark.name,
        "split": source.split,
        "task": split.task,
        "file": path.relative_to(workdir).as_posix(),
        "official": whole,
    }
    try:
        rows = predictions.read_predictions(path, benchmark, items)
        if source.hidden:
            form = benchmark.submission
            where = form.where if form is not None else "its server"
            raise ValueError(f"its answers are not published, and are with {where}")
        found = score_rows(
            benchmark, source.split, source.items, rows, str(source.root), partial=not whole
        )
    except (ValueError, RuntimeError, ModuleNotFoundError) as error:
        return Official(record | {"error": str(error)}, {})
    per_item = {k: v for k, v in found.per_item.items() if v is not None}
    record |= {
        "items": _write_items(split, workdir, items, per_item, found, made),
        "metric": found.metric,
        "score": found.score,
        "scores": found.scores,
        "groups": found.groups,
        "n": found.signature.items,
        "signature": str(found.signature),
        "signatures": found.signatures,
        "notes": found.notes,
    }
    return Official(record, per_item)


def lines_of(records: Sequence[dict[str, Any]]) -> list[str]:
    """The records for a terminal: score, signature, file."""
    said = []
    for record in records:
        where = f"{record['benchmark']} {record['split']}"
        if "error" in record:
            said.append(f"{where}: not scored: {record['error']} ({record['file']})")
            continue
        part = "" if record["official"] else ", of a part of the items: no official score"
        said.append(f"{where}: {record['metric']} {record['score']:.4f}{part} ({record['file']})")
        said.append(f"  {record['signature']}")
    return said


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """The records for report.md; "" of none."""
    if not records:
        return ""
    rows = ["", "## Official scores", "", "On the official scale of each benchmark.", ""]
    rows += ["| benchmark | split | score | signature | file |", "|---|---|---|---|---|"]
    for record in records:
        score = f"{record['metric']} {record['score']:.4f}" if "score" in record else "not scored"
        signature = record.get("signature", record.get("error", "")).replace("|", "\\|")
        cells = (record["benchmark"], record["split"], score, f"`{signature}`", record["file"])
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def clear(workdir: Path) -> None:
    """Removes what an earlier run has written."""
    for folder in (FOLDER, ITEMS):
        for path in (workdir / folder).glob("*.json*"):
            path.unlink()


def _answer(split: Split, item: Item, line: Line) -> Any:
    """What a prediction is in the words of the benchmark."""
    if "chosen" in line:
        return line["chosen"]
    if "size" not in item.facts:
        return line["prediction"]
    shape = tuple(int(side) for side in item.facts["size"])
    region = seen_region(shape, split.image_size, split.pixels)
    return answer_in_pixels(item, line["prediction"], region)


def _write(
    split: Split, folder: Path, items: Sequence[Item], answers: dict[str, Any], whole: bool
) -> Path:
    source = benchmark_of(split)
    assert source is not None
    folder.mkdir(exist_ok=True)
    stem = f"{split.task}.{split.name}"
    for ending in ("json", "jsonl", "partial.jsonl"):
        (folder / f"{stem}.{ending}").unlink(missing_ok=True)
    if whole and source.specification.submission:
        path = folder / f"{stem}.json"
        predictions.write_submission(path, source.specification, items, answers)
        return path
    path = folder / f"{stem}.jsonl" if whole else folder / f"{stem}.partial.jsonl"
    rows = ({"id": item.id, "prediction": answers[str(item.id)]} for item in items)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    return path


def _write_items(
    split: Split,
    workdir: Path,
    items: Sequence[Item],
    per_item: Mapping[str, float],
    found: Result,
    made: Mapping[str, Line],
) -> str | None:
    """Writes the file of ITEMS and returns its name; None where the score is not their mean."""
    source = benchmark_of(split)
    assert source is not None
    path = workdir / ITEMS / f"{split.task}.{split.name}.jsonl"
    path.unlink(missing_ok=True)
    scored = [item for item in items if str(item.id) in per_item]
    # Only a count is the sum, but where there is one item, or all score 0.
    count = abs(sum(per_item[str(item.id)] for item in scored) - found.score) < 1e-9
    times = len(scored) if count else 1
    means = getattr(source.specification.scorer, "means", ())
    prefix = next((each.prefix for each in means if each.name == found.metric), None)
    rows = [
        {
            "id": item.id,
            "part": "" if prefix is None else _first(item.groups, prefix),
            "group": made[str(item.id)]["group"],
            "score": per_item[str(item.id)] * times,
        }
        for item in scored
    ]
    if not rows:
        return None
    sums = np.array([(row["score"], 1.0) for row in rows])
    parts, groups = ([row[key] for row in rows] for key in ("part", "group"))
    if abs(aggregate.table(parts, groups, sums, mean).macro() - found.score) > 1e-9:
        return None
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    return path.relative_to(workdir).as_posix()


def _first(groups: Sequence[str], prefix: str) -> str:
    return next((group for group in groups if group.startswith(prefix)), "")
