# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers that are texts, by the metrics of pali/metrics/scoring.py: of all items, and of groups.

The score of a group is that of its items alone: CIDEr then weighs n-grams by the references of the
group, so the score of the whole is not the mean of the groups. Where a benchmark is defined as a
mean over groups (languages, halves), `means` names it, and it is the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pali.benchmarks.benchmark import Item, Scored
from pali.metrics import scoring


@dataclass(frozen=True)
class Measure:
    """One number of a benchmark."""

    name: str
    metric: str
    """Of pali/metrics/scoring.py."""
    variant: str


@dataclass(frozen=True)
class Mean:
    """The mean of a score over groups."""

    name: str
    prefix: str
    """Of the groups."""
    without: tuple[str, ...] = ()
    """Groups that do not count."""


class Texts:
    """A scorer whose answers are texts."""

    def answer(self, value: Any) -> str:
        """A text; ValueError if it is none."""
        if not isinstance(value, str):
            raise ValueError('it must be a string, "" for an empty answer')
        return value


@dataclass(frozen=True)
class TextScorer(Texts):
    """Texts by one metric or more."""

    measures: tuple[Measure, ...]
    means: tuple[Mean, ...] = ()
    """Of the first measure; the first of them is the score."""
    numbers: bool = False
    """Whether an answer may be written as a number: 3 is "3"."""

    @property
    def metric(self) -> str:
        """The name of the score."""
        return self.measures[0].name

    @property
    def variants(self) -> tuple[str, ...]:
        """Those of the first measure, its own first."""
        own = self.measures[0].variant
        others = scoring.METRICS[self.measures[0].metric].variants
        return (own, *(variant for variant in others if variant != own))

    @property
    def tokenized(self) -> bool:
        """Whether a tokenizer can be chosen."""
        return any(scoring.METRICS[measure.metric].tokenized for measure in self.measures)

    def answer(self, value: Any) -> str:
        """A text."""
        return str(value) if self.numbers and type(value) is int else super().answer(value)

    def score(
        self, items: Sequence[Item], answers: Sequence[str], variant: str, tokenizer: str | None
    ) -> Scored:
        """Scores of all items and of each group."""
        references: scoring.Texts = [item.references for item in items]
        said: Sequence[str] = answers
        first = self.measures[0]
        notes = scoring.remarks(first.metric, references)
        label = "none"
        if self.tokenized:
            references, said, label, more = scoring.tokenized(references, said, tokenizer)
            notes += more
        measures = (Measure(first.name, first.metric, variant), *self.measures[1:])
        return measured(items, references, said, measures, self.means, label, notes)


def measured(
    items: Sequence[Item],
    references: scoring.Texts,
    answers: Sequence[str],
    measures: Sequence[Measure],
    means: Sequence[Mean] = (),
    tokenizer: str = "none",
    notes: Sequence[str] = (),
    apart: bool = False,
) -> Scored:
    """Scores of texts that are ready to be compared.

    Args:
      items: their groups.
      references: of each item.
      answers: of each item.
      measures: the first is the score, unless there are means.
      means: over groups.
      tokenizer: what made the tokens.
      notes: what is to be said.
      apart: whether groups do not belong together: each item counts in its group alone.

    Raises:
      ValueError: a metric has nothing to measure.
    """
    members = _members(items)
    apart = apart and bool(members)
    groups: dict[str, dict[str, float]] = {group: {} for group in members}
    scores: dict[str, float] = {}
    per_item: list[float | None] = [None] * len(items)
    for place, measure in enumerate(measures):
        metric = scoring.METRICS[measure.metric]
        each: list[float | None] = [None] * len(items)
        if not apart:
            found, each = metric.compute(references, answers, measure.variant)
            scores[measure.name] = next(iter(found.values()))
        for group, places in members.items():
            if metric.mean and not apart:
                groups[group][measure.name] = sum(each[i] or 0.0 for i in places) / len(places)
                continue
            known, said = [references[i] for i in places], [answers[i] for i in places]
            found, part = metric.compute(known, said, measure.variant)
            groups[group][measure.name] = next(iter(found.values()))
            if apart:
                for i, value in zip(places, part, strict=True):
                    each[i] = value
        per_item = each if place == 0 else per_item
    variants = {m.name: scoring.METRICS[m.metric].described(m.variant) for m in measures}
    mean = averages(groups, measures[0].name, means)
    return Scored(
        mean | scores,
        groups,
        per_item,
        dict.fromkeys(mean, variants[measures[0].name]) | variants,
        tokenizer,
        tuple(notes),
    )


def columns(
    items: Sequence[Item],
    each: Mapping[str, Sequence[float]],
    variants: Mapping[str, str],
    means: Sequence[Mean] = (),
    notes: Sequence[str] = (),
) -> Scored:
    """Scores that are means over items: of all, of each group, and over groups.

    Args:
      items: their groups.
      each: by the name of a score, that of each item; the first is the score.
      variants: by the same names.
      means: of the first score.
      notes: what is to be said.
    """
    members = _members(items)
    groups = {
        group: {name: sum(row[i] for i in places) / len(places) for name, row in each.items()}
        for group, places in members.items()
    }
    first = next(iter(each))
    mean = averages(groups, first, means)
    scores = mean | {name: sum(row) / len(row) for name, row in each.items()}
    labels = dict.fromkeys(mean, variants[first]) | dict(variants)
    return Scored(scores, groups, list(each[first]), labels, notes=tuple(notes))


def averages(
    groups: Mapping[str, Mapping[str, float]], name: str, means: Sequence[Mean]
) -> dict[str, float]:
    """The means over groups, of those that are there."""
    found = {}
    for mean in means:
        values = [
            scores[name]
            for group, scores in groups.items()
            if group.startswith(mean.prefix) and group not in mean.without
        ]
        if values:
            found[mean.name] = sum(values) / len(values)
    return found


def _members(items: Sequence[Item]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        for group in item.groups:
            members.setdefault(group, []).append(i)
    return dict(sorted(members.items()))
