# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali evaluate --compare A B`: what one model scores more than another, on the same examples.

In:  two finished workdirs (pali/evaluate.py): metrics.json says what was measured, and
     predictions.jsonl is scored again, because intervals are paired: both models are judged on the
     same bootstrap draws of what the pictures show (pali/metrics/aggregate.py; Koehn 2004).
Out: for each task, split and metric both scores, B - A and its 95 % interval.

The official scores of public benchmarks follow, on their own scale (pali/official_comparison.py).
Examples are paired by id, and both workdirs must hold the same ones. Scores whose signatures differ
are listed side by side, marked, and never subtracted. Neither a model nor JAX is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pali import official_comparison, summary
from pali.finished import Split, read_metrics, read_predictions
from pali.metrics import aggregate, records
from pali.metrics.aggregate import Table
from pali.metrics.records import Line, Record
from pali.metrics.signature import differences, parse

_SAME = ("lang", "group", "image_key", "references", "candidates", "right_candidate")
"""What an example must agree in. Not the prompt: a model may have been trained on its own."""


def compare(first: Path, second: Path) -> dict[str, Any]:
    """Compares two workdirs.

    Returns:
      `a`, `b`: the folders. `rows`: benchmark, split, metric, variant, signature, n, a, b,
      difference (b - a), interval (None of a metric without per-example statistics), per_language
      (differences). `official`: rows of pali/official_comparison.py. `incomparable`: pairs of
      records whose signatures differ, and in what. `only`: what only one of the workdirs measured.

    Raises:
      ValueError: a file is missing or damaged, examples differ, or nothing was measured by both.
    """
    results = [read_metrics(folder) for folder in (first, second)]
    measured = [
        [record for record in found["scores"] if record["system"] == "model"] for found in results
    ]
    predicted = [read_predictions(folder) for folder in (first, second)]
    rows: list[dict[str, Any]] = []
    incomparable: list[dict[str, Any]] = []
    pairs, only = _paired(*measured)
    for a, b in pairs:
        apart = differences([parse(a["signature"]), parse(b["signature"])])
        if apart.keys() - {"items"}:
            incomparable.append({"a": a, "b": b, "differ": apart})
            continue
        split = a["benchmark"], a["split"]
        lines = [found.get(split, {}) for found in predicted]
        _check_same(split, *lines)
        row = {key: a[key] for key in ("benchmark", "split", "metric", "variant", "signature", "n")}
        row |= {"a": a["score"], "b": b["score"], "difference": b["score"] - a["score"]}
        tables = [
            _table(folder, own, record)
            for folder, own, record in zip((first, second), lines, (a, b), strict=True)
        ]
        draws = [table.draws() for table in tables if table is not None]
        row["interval"] = aggregate.interval(draws[1] - draws[0]) if len(draws) == 2 else None
        theirs = b["per_language"]
        row["per_language"] = {
            k: theirs[k] - v for k, v in a["per_language"].items() if k in theirs
        }
        rows.append(row)
    handed_in, apart, alone = official_comparison.compare(
        (first, second), [found.get("official", []) for found in results]
    )
    incomparable += apart
    if not (pairs or handed_in or apart):
        raise ValueError(f"{first} and {second} have no task, split and metric in common")
    names = [[*mine, *others] for mine, others in zip(only, alone, strict=True)]
    found = {"a": str(first), "b": str(second), "rows": rows, "official": handed_in}
    return found | {"incomparable": incomparable, "only": dict(zip("ab", names, strict=True))}


def lines(found: Mapping[str, Any]) -> list[str]:
    """A comparison for a terminal."""
    result = [f"A {found['a']}", f"B {found['b']}"]
    title = None
    for row in found["rows"]:
        if title != (title := f"{row['benchmark']} {row['split']}"):
            result.append(f"{title}, n {row['n']:,}")
        name = summary.name(row["metric"], row["variant"])
        text = f"  {name:<20} A {row['a']:6.1f}  B {row['b']:6.1f}  B - A {row['difference']:+6.1f}"
        if row["interval"] is not None:
            low, high = row["interval"]
            text += f" ({low:+.1f} to {high:+.1f})" + " *" * (low > 0 or high < 0)
        result.append(text)
    result += official_comparison.lines(found["official"])
    for pair in found["incomparable"]:
        a, b = pair["a"], pair["b"]
        result.append(f"{a['benchmark']} {a['split']} {a['metric']}")
        result += [f"  {line}" for line in summary.column({"A": a, "B": b}, mixed=True)]
    for side, names in found["only"].items():
        result += [f"only in {side.upper()}: {name}" for name in names]
    if any("↓" in line for line in result):
        result.append(summary.LOWER_NOTE)
    result.append("*: the 95 % interval, from paired bootstrap draws, leaves zero out")
    return result


def _paired(
    first: Sequence[Record], second: Sequence[Record]
) -> tuple[list[tuple[Record, Record]], tuple[list[str], list[str]]]:
    """Records of the same task, split and metric, by variant; and the names of the others.

    One that the other side has in another variant alone is paired with that, to be marked.
    """
    pairs: list[tuple[Record, Record]] = []
    rest = list(second)
    only: list[str] = []
    for keys in (("benchmark", "split", "metric", "variant"), ("benchmark", "split", "metric")):
        left, first = first, []
        for a in left:
            same = [b for b in rest if all(a[key] == b[key] for key in keys)]
            if same:
                pairs.append((a, same[0]))
                rest.remove(same[0])
            else:
                first.append(a)
    only = [_named(record) for record in first]
    return pairs, (only, [_named(record) for record in rest])


def _named(record: Record) -> str:
    return " ".join(record[key] for key in ("benchmark", "split", "metric", "variant"))


def _check_same(split: Split, first: Mapping[str, Line], second: Mapping[str, Line]) -> None:
    name = " ".join(split)
    alone = [sorted(first.keys() - second.keys()), sorted(second.keys() - first.keys())]
    if any(alone):
        some = (alone[0] or alone[1])[0]
        raise ValueError(
            f"{name}: {len(alone[0]):,} predictions are only in A and {len(alone[1]):,} only in B, "
            f"such as {some}; evaluate both with the same --limit"
        )
    for id, line in first.items():
        for key in _SAME:
            if line.get(key) != second[id].get(key):
                raise ValueError(
                    f"{name}: {id} has {key} {line.get(key)!r} in A and {second[id].get(key)!r} in "
                    "B; these were made of other data"
                )


def _table(folder: Path, lines: Mapping[str, Line], record: Record) -> Table | None:
    """The table behind a record, None of a metric that is only known as a function.

    Raises:
      ValueError: it gives another score than the record has.
    """
    try:
        table = records.model_table(list(lines.values()), record["metric"], record["variant"])
    except ValueError as error:
        raise ValueError(f"{folder}: {_named(record)} of predictions.jsonl: {error}") from None
    if table is not None and abs(table.macro() - record["score"]) > 1e-6:
        raise ValueError(
            f"{folder}: {_named(record)} is {record['score']:.4f} in metrics.json, and "
            f"predictions.jsonl gives {table.macro():.4f}; `pali evaluate` with the --limit of the "
            "predictions brings them together again"
        )
    return table
