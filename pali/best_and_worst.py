# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Which predictions of a split a person should look at: the best and the worst, with pictures.

Predictions are ranked by a score of their own: on a public benchmark by the official metric where
that scores items, else by the task's main metric where that can score one prediction, else by chrF.
Equal scores are ordered by chrF (most metrics only know right and wrong), equal ones of these by a
hash of their ids. So the choice is the same in every run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pali import summary
from pali.data.evaluation import Split
from pali.data.skipping import UNUSABLE
from pali.image import Region
from pali.metrics import chrf, records
from pali.metrics.records import Line, Record
from pali.official import Official

COUNT = 4
"""Examples of a split at either end."""

SIDE = 224
"""Pixels of the longer side of a picture, at most."""

_CHRF = ("chrf", chrf.VARIANT)


@dataclass(frozen=True)
class Picture:
    """What an example shows, in a small picture."""

    pixels: UInt8[np.ndarray, "h w 3"]
    region: Region
    """What the model saw, of the picture at its own size."""


@dataclass(frozen=True)
class Judged:
    """A prediction and what it earned."""

    line: Line
    score: float
    """By the metric of the ranking."""
    chrf: float
    picture: Picture | str | None = None
    """Why there is none, where it cannot be had any more; None of a task of texts."""


@dataclass(frozen=True)
class BestAndWorst:
    """Of one task and split."""

    task: str
    split: str
    metric: str
    """By which predictions were ranked, in words."""
    lower: bool
    """Whether less of it is better."""
    count: int
    """Predictions that were ranked."""
    best: Sequence[Judged]
    """The best first; of fewer than 2 COUNT predictions the better half."""
    worst: Sequence[Judged]
    """The worst first; none that is among the best."""


def best_and_worst(
    split: Split,
    lines: Sequence[Line],
    scores: Sequence[Record],
    official: Official | None = None,
) -> BestAndWorst:
    """Ranks the predictions of a split and gets the pictures of both ends again.

    Args:
      split: with the examples behind the lines.
      lines: its predictions, at least one.
      scores: its score records, the main metric first.
      official: of a benchmark, what its own scorer found.
    """
    main = next(r for r in scores if r["system"] == "model")
    metric, variant = main["metric"], main["variant"]
    if earned := _official_scores(lines, official):
        metric = official.record["metric"] if official else ""
        name = f"official {metric}"
    else:
        earned = item_scores(lines, metric, variant)
        if not earned:
            metric, variant = _CHRF
            earned = item_scores(lines, metric, variant)
        name = summary.NAMES.get((metric, variant), metric)
    lower = metric in summary.LOWER
    shown = [
        [replace(judged, picture=_picture(split, judged.line["id"])) for judged in end]
        for end in ends(lines, earned, lower=lower)
    ]
    return BestAndWorst(split.task, split.name, name, lower, len(lines), *shown)


def item_scores(lines: Sequence[Line], metric: str, variant: str) -> dict[str, float]:
    """Id -> the score of that prediction alone, in per cent.

    Empty where the metric is only known as a function, which may make sense of many predictions
    alone, or is the choice, which needs other pictures.
    """
    earned = {}
    for line in lines:
        table = None if metric == "choice" else records.model_table([line], metric, variant)
        if table is None:
            return {}
        earned[line["id"]] = table.macro()
    return earned


def ends(
    lines: Sequence[Line], earned: Mapping[str, float], *, lower: bool = False, count: int = COUNT
) -> tuple[list[Judged], list[Judged]]:
    """The best, best first, and the worst, worst first; no line is in both.

    Args:
      lines: in any order.
      earned: id -> score.
      lower: less is better.
      count: at most so many at either end.
    """
    sign = 1 if lower else -1
    similar = item_scores(lines, *_CHRF)

    def rank(line: Line) -> tuple[float, float, bytes]:
        id = line["id"]
        return sign * earned[id], -similar[id], hashlib.sha256(id.encode()).digest()

    ranked = sorted(lines, key=rank)
    judged = [Judged(line, earned[line["id"]], similar[line["id"]]) for line in ranked]
    cut = min(count, math.ceil(len(judged) / 2))
    return judged[:cut], judged[cut:][::-1][:count]


def _official_scores(lines: Sequence[Line], official: Official | None) -> dict[str, float]:
    """Empty unless every line has one."""
    known = official.per_item if official is not None else {}
    items = {line["id"]: str(line.get("item")) for line in lines}
    if set(items.values()) <= known.keys():
        return {id: known[item] for id, item in items.items()}
    return {}


def _picture(split: Split, id: str) -> Picture | str | None:
    if not split.pictured:
        return None
    example = next(example for example in split.examples if example.id == id)
    try:
        pixels, region = split.picture_to_show(example, SIDE)
    except (*UNUSABLE, OSError) as error:  # Files may go while a run is interrupted.
        return str(error)
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    return Picture(np.asarray(image), region)
