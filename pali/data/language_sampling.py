# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How often each language is drawn, from how much there is of it.

What the web holds of languages differs by thousands. Drawn in proportion, small ones are hardly
seen; drawn alike, their few examples are seen over and over. Two published ways between the two:

  temperature  a language with n examples is drawn in proportion to n ** alpha
               (mT5, arXiv 2010.11934, section 3.2: alpha = 0.3)
  unimax       all alike, but none more often than so many epochs; what the small ones cannot take
               is shared by the larger ones (UniMax, arXiv 2304.09151, algorithm 1)

Both return shares that sum to 1, in the order of the counts: the rates of a mixture with a task for
each language. How to make one: docs/add_a_task.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Number = int | float


def temperature(counts: Mapping[str, Number], alpha: Number) -> dict[str, float]:
    """Shares in proportion to count ** alpha.

    Args:
      counts: examples of each language.
      alpha: 1 draws in proportion to what there is, 0 all languages alike.

    Raises:
      ValueError: no language, a count that is not positive, or alpha outside 0..1.
    """
    _check(counts)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must be from 0 (all alike) to 1 (in proportion)")
    return _normalised({lang: count**alpha for lang, count in counts.items()})


def unimax(counts: Mapping[str, Number], budget: Number, max_epochs: Number) -> dict[str, float]:
    """Equal shares, except for languages that would be seen more than `max_epochs` times.

    Args:
      counts: examples of each language.
      budget: examples that the whole training draws, in the unit of the counts.
      max_epochs: how often each example may be seen.

    Raises:
      ValueError: no language, a number that is not positive, or a budget that all languages
        together cannot fill in so many epochs.
    """
    _check(counts)
    for name, value in {"budget": budget, "max_epochs": max_epochs}.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}; it must be a positive number")
    most = max_epochs * math.fsum(counts.values())
    if budget > most:
        raise ValueError(
            f"a budget of {budget:,} examples is more than the {most:,.0f} that {max_epochs} "
            "epochs of all languages have: lower the budget, or raise max_epochs"
        )
    drawn, left = {}, float(budget)
    for place, lang in enumerate(sorted(counts, key=lambda lang: counts[lang])):
        drawn[lang] = min(left / (len(counts) - place), counts[lang] * max_epochs)
        left -= drawn[lang]
    return _normalised({lang: drawn[lang] for lang in counts})


def _normalised(weights: Mapping[str, Number]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {lang: weight / total for lang, weight in weights.items()}


def _check(counts: Mapping[str, Number]) -> None:
    if not counts:
        raise ValueError("there is no language to sample: the counts are empty")
    for lang, count in counts.items():
        if not 0 < count < math.inf:
            raise ValueError(
                f"language {lang!r} has a count of {count}; it must be positive: leave out "
                "languages of which there is nothing"
            )
