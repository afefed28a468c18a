# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""From per-example statistics to one number per split: macro averages, intervals, controls.

Every metric here is a function of summed per-example statistics (`Metric`), so that one table
`[languages, groups, statistics]` gives the score of every language, their macro average (each
language weighs the same, whatever its number of examples) and, by drawing groups again with
replacement, a bootstrap interval. A group is what makes examples depend on each other: the concept
in a picture, named in 36 languages. Drawing examples instead would pretend that those 36 are
independent, and give an interval several times too narrow.

Two systems judged on the same examples are compared on the same draws (paired bootstrap, Koehn
2004): `interval` of the difference of their draws.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pali.metrics import chrf as chrf_
from pali.metrics import detection as detection_
from pali.metrics import error_rates
from pali.metrics import exact_match as exact_match_
from pali.metrics import script as script_

DRAWS = 1000


@dataclass(frozen=True)
class Metric:
    """A score that is a function of summed per-example statistics."""

    name: str
    variant: str
    statistics: Callable[[str, Sequence[str], str], Sequence[float] | np.ndarray]
    """(prediction, references, language) -> the statistics of one example, flat."""
    finish: Callable[[np.ndarray], np.ndarray]
    """Sums [..., k] -> scores [...] in per cent."""


@dataclass(frozen=True)
class Table:
    """Per-example statistics, summed per language and group."""

    languages: tuple[str, ...]
    groups: tuple[Hashable, ...]
    sums: Float[np.ndarray, "languages groups k"]
    counts: Float[np.ndarray, "languages groups"]
    """Examples behind each sum; a language without any has no score."""
    finish: Callable[[np.ndarray], np.ndarray]
    """Sums [..., k] -> scores [...]."""

    def per_language(self) -> dict[str, float]:
        """Score of each language."""
        scores = zip(self.languages, self.finish(self.sums.sum(1)), strict=True)
        counted = self.counts.sum(1) > 0
        return {lang: float(s) for (lang, s), some in zip(scores, counted, strict=True) if some}

    def macro(self) -> float:
        """Mean of the languages' scores."""
        return float(self.finish(self.sums.sum(1))[self.counts.sum(1) > 0].mean())

    def draws(self, count: int = DRAWS, seed: int = 0) -> Float[np.ndarray, " count"]:
        """Macro averages of `count` bootstrap samples of the groups.

        The same seed and groups draw the same samples, which is what pairs two systems. A language
        without an example in a sample is left out of that sample's average.
        """
        n = len(self.groups)
        drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=count)
        weights = drawn.astype(np.float64)
        scores = self.finish(np.einsum("dg,lgk->dlk", weights, self.sums, optimize=True))
        present = weights @ self.counts.T > 0
        return np.where(present, scores, 0).sum(1) / np.maximum(present.sum(1), 1)


def mean_of(sums: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """`finish` of an average: statistics are (value, weight), the score is a percentage."""
    return np.asarray(100.0 * sums[..., 0] / np.maximum(sums[..., 1], 1))


EXACT_MATCH = Metric(
    "exact_match",
    exact_match_.VARIANT,
    lambda prediction, references, lang: (exact_match_.is_match(prediction, references), 1),
    mean_of,
)
CHRF = Metric(
    "chrf",
    chrf_.VARIANT,
    lambda prediction, references, lang: chrf_.statistics(prediction, references).ravel(),
    lambda sums: chrf_.from_statistics(sums.reshape(*sums.shape[:-1], 3, chrf_.ORDER)),
)
CER, CER_NO_SPACES = (
    Metric(
        name,
        error_rates.VARIANTS[name],
        lambda prediction, references, lang, units=units: error_rates.statistics(
            prediction, references, units
        ),
        mean_of,
    )
    for name, units in (
        ("cer", error_rates.characters),
        ("cer_no_spaces", error_rates.characters_without_spaces),
    )
)
DETECTION = tuple(
    Metric(
        name,
        detection_.VARIANT,
        lambda prediction, references, lang: detection_.statistics(prediction, references[0]),
        finish,
    )
    for name, finish in detection_.SCORES.items()
)
RIGHT_SCRIPT = Metric(
    "right_script",
    script_.VARIANT,
    lambda prediction, references, lang: (script_.is_right_script(prediction, lang), 1),
    mean_of,
)


def table(
    languages: Sequence[str],
    groups: Sequence[Hashable],
    statistics: Float[np.ndarray, "n k"],
    finish: Callable[[np.ndarray], np.ndarray] = mean_of,
    counted: Sequence[bool] | None = None,
) -> Table:
    """Sums per-example statistics into a table; its axes keep the order of first appearance.

    Args:
      languages: language of each example.
      groups: group of each example (its concept).
      statistics: of each example, as `Metric.statistics` gives them.
      finish: sums to scores, as `Metric.finish`.
      counted: which examples are behind the scores; the statistics of others are zeros. By default
        all are. The groups of the others stay, so that two systems are drawn alike.

    Raises:
      ValueError: no examples.
    """
    counted = [True] * len(languages) if counted is None else counted
    if not any(counted):
        raise ValueError("no examples to score: the split is empty")
    rows = {lang: i for i, lang in enumerate(dict.fromkeys(languages))}
    columns = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    sums = np.zeros((len(rows), len(columns), statistics.shape[1]))
    counts = np.zeros((len(rows), len(columns)))
    where = ([rows[lang] for lang in languages], [columns[group] for group in groups])
    np.add.at(sums, where, statistics)
    np.add.at(counts, where, np.asarray(counted, np.float64))
    return Table(tuple(rows), tuple(columns), sums, counts, finish)


def interval(draws: Float[np.ndarray, " count"], level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws, or of the difference of two systems' draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def other_picture(groups: Sequence[Hashable], seed: int = 0) -> list[int] | None:
    """For each example, the index of one that shows something else: the shuffled control.

    A permutation drawn by `seed` under which no example meets its own group: the groups are put in
    random order, examples of a group side by side, and everything moves on by the size of the
    largest group. A metric of predictions permuted so says what is earned without looking.

    Returns:
      The permutation, or None where there is none: a group holds more than half the examples.
    """
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    shift = max(map(len, members.values()), default=0)
    if not groups or 2 * shift > len(groups):
        return None
    each = list(members.values())
    order = [i for k in np.random.default_rng(seed).permutation(len(each)) for i in each[k]]
    result = [0] * len(groups)
    for position, i in enumerate(order):
        result[i] = order[(position + shift) % len(order)]
    return result
