# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The official scores of two evaluations: what B has more than A, with a paired interval.

In:  the records of "official" in two metrics.json, and the scores of their items, which
     pali/official.py keeps in WORKDIR/items.
Out: for each score of each benchmark both values, on the official scale, B - A, and its 95 %
     interval where the score is the mean of its items, of all or over languages, or their count.

Both models are judged on the same bootstrap draws of pictures. CIDEr is among these scores: it is
the mean of what each picture contributes, and n-grams keep the weights that they have in the whole
split; pictures are drawn, document frequencies are not counted anew. Average precision and corpus
error rates are no mean of their items, and have no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pali import summary
from pali.finished import read_items
from pali.metrics import aggregate
from pali.metrics.pairs import some
from pali.metrics.signature import differences, parse

_Official = Mapping[str, Any]
_Key = tuple[str, str, str]


def compare(
    folders: Sequence[Path], records: Sequence[Sequence[_Official]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[list[str], list[str]]]:
    """Compares the official records of two workdirs.

    Returns:
      Rows: benchmark, split, task, metric, signature, n, a, b, difference (b - a), interval (None
      of what is no mean of its items). Pairs of scores whose signatures differ, as those of
      `pali.comparison.compare`. What only one workdir has, by name.

    Raises:
      ValueError: a file of items is missing, damaged, or of other items.
    """
    rows: list[dict[str, Any]] = []
    incomparable: list[dict[str, Any]] = []
    first, second = ({_key(record): record for record in found} for found in records)
    only = (_alone(first, second), _alone(second, first))
    for key in (key for key in first if key in second):
        pair = first[key], second[key]
        if any("error" in record for record in pair):
            sides = zip("AB", pair, strict=True)
            said = "; ".join(f"{side}: {r['error']}" for side, r in sides if "error" in r)
            rows.append(_about(pair[0]) | {"error": said})
            continue
        for name in (name for name in pair[0]["scores"] if name in pair[1]["scores"]):
            a, b = (_one(record, name) for record in pair)
            apart = differences([parse(a["signature"]), parse(b["signature"])])
            if apart:
                incomparable.append({"a": a, "b": b, "differ": apart})
                continue
            row = a | {"a": a["score"], "b": b["score"], "difference": b["score"] - a["score"]}
            row["interval"] = _interval(folders, pair) if name == pair[0]["metric"] else None
            rows.append({k: v for k, v in row.items() if k != "score"})
    return rows, incomparable, only


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows for a terminal."""
    result = []
    title = None
    for row in rows:
        if title != (title := f"official {row['benchmark']} {row['split']}"):
            result.append(title + (f", n {row['n']:,}" if "n" in row else ""))
        if "error" in row:
            result.append(f"  not scored, {row['error']}")
            continue
        name = "↓ " * (row["metric"] in summary.LOWER) + row["metric"]
        text = f"  {name:<20} A {row['a']:7.4f}  B {row['b']:7.4f}  B - A {row['difference']:+8.4f}"
        if row["interval"] is not None:
            low, high = row["interval"]
            text += f" ({low:+.4f} to {high:+.4f})" + " *" * (low > 0 or high < 0)
        result.append(text)
    return result


def _key(record: _Official) -> _Key:
    return record["benchmark"], record["split"], record["task"]


def _alone(mine: Mapping[_Key, _Official], theirs: Mapping[_Key, _Official]) -> list[str]:
    return [f"official {' '.join(key[:2])}" for key in mine if key not in theirs]


def _about(record: _Official) -> dict[str, Any]:
    return {key: record[key] for key in ("benchmark", "split", "task")}


def _one(record: _Official, name: str) -> dict[str, Any]:
    own = {"metric": name, "signature": record["signatures"][name]}
    # Not the record's n: a score may be of some items alone.
    own["n"] = parse(own["signature"]).items
    return _about(record) | own | {"score": record["scores"][name]}


def _interval(folders: Sequence[Path], pair: Sequence[_Official]) -> tuple[float, float] | None:
    """Of the difference; None where one side's score is no mean of its items."""
    if not all(record.get("items") for record in pair):
        return None
    found = [
        read_items(folder / record["items"]) for folder, record in zip(folders, pair, strict=True)
    ]
    name = f"{pair[0]['benchmark']} {pair[0]['split']}"
    alone = [*(found[0].keys() ^ found[1].keys())]
    if alone:
        raise ValueError(f"{name}: {len(alone):,} items are in A or B alone: {some(sorted(alone))}")
    # Sorted, so that both have the same groups in the same order, and their draws are paired.
    ids = sorted(found[0])
    draws = []
    for folder, record, items in zip(folders, pair, found, strict=True):
        rows = [items[id] for id in ids]
        for id, row, other in zip(ids, rows, (found[0][id] for id in ids), strict=True):
            if (row["part"], row["group"]) != (other["part"], other["group"]):
                raise ValueError(f"{name}: item {id} is of another picture or part in A and in B")
        table = aggregate.table(
            [row["part"] for row in rows],
            [row["group"] for row in rows],
            np.array([(row["score"], 1.0) for row in rows]),
            mean,
        )
        if abs(table.macro() - record["score"]) > 1e-6:
            raise ValueError(
                f"{folder}: {name} is {record['score']:.4f} in metrics.json, and {record['items']} "
                f"gives {table.macro():.4f}; `pali evaluate` writes both again"
            )
        draws.append(table.draws())
    return aggregate.interval(draws[1] - draws[0])


def mean(sums: np.ndarray) -> np.ndarray:
    """Sums of (score, 1) -> the mean, on the scale of the scores."""
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))
