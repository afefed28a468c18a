# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Which task example k of a mixture belongs to, and which of that task's examples it is.

A function of k and the rates alone, with nothing remembered and nothing drawn: the tasks are leaves
of a binary tree, and where w of a node's examples are due to go left for every W that pass it, the
first k of them sent exactly floor(k w / W) to the left. Rates are exact rationals, so they hold
for ever: after n examples of the mixture the count of a task is off by less than the depth of the
tree, whatever n. (Grain's own `mix` rounds rates down to hundredths of the smallest: of PaLI's 50
million beside 16 it would draw 0.16 % too few.)
"""

from __future__ import annotations

import functools
import heapq
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import grain


class Fork(NamedTuple):
    """An inner node: where examples part, by whole-numbered weights."""

    left: Fork | int
    """Another fork, or the number of a task."""
    left_weight: int
    right: Fork | int
    right_weight: int


@dataclass(frozen=True)
class Interleaved(grain.transforms.DatasetSelectionMap):
    """Place in the mixture -> (number of the task, place among that task's examples)."""

    rates: tuple[float, ...]
    """Positive; only their ratios count. 0.1 is taken to be exactly a tenth."""

    def __len__(self) -> int:
        """Endless."""
        return sys.maxsize

    def __getitem__(self, index: int) -> tuple[int, int]:
        """(task, place); costs as many steps as the tree is deep."""
        node, place = _tree(self.rates), index
        while isinstance(node, Fork):
            weight, total = node.left_weight, node.left_weight + node.right_weight
            before = place * weight // total
            if (place + 1) * weight // total > before:
                node, place = node.left, before
            else:
                node, place = node.right, place - before
        return node, place


def together(
    own: Sequence[tuple[Any, float]], other: Sequence[tuple[Any, float]], share: float
) -> list[tuple[Any, float]]:
    """A mixture of two: `other` makes up `share` of the examples, a number between 0 and 1.

    A task that is in both is one task, drawn as often as both together; tasks are known by `name`.
    """
    rates: dict[str, tuple[Any, float]] = {}
    for mixture, part in ((own, 1 - share), (other, share)):
        total = math.fsum(rate for _, rate in mixture)
        for task, rate in mixture:
            before = rates.get(task.name, (task, 0.0))[1]
            # Of few digits: `Interleaved` takes each for exactly what is written.
            rates[task.name] = task, round(before + part * rate / total, 12)
    return list(rates.values())


def largest_error(counts: Mapping[int, int], rates: tuple[float, ...]) -> float:
    """max |count - n rate| over the tasks, for n examples; rates as shares of their sum."""
    total = sum(Fraction(str(rate)) for rate in rates)
    n = sum(counts.values())
    return max(
        abs(float(counts.get(task, 0) - n * Fraction(str(rate)) / total))
        for task, rate in enumerate(rates)
    )


@functools.cache
def _tree(rates: tuple[float, ...]) -> Fork | int:
    """Huffman's tree: few steps for what is drawn often."""
    exact = [Fraction(str(rate)) for rate in rates]
    scale = math.lcm(*(rate.denominator for rate in exact))
    heap: list[tuple[int, int, Fork | int]] = [
        (int(rate * scale), number, number) for number, rate in enumerate(exact)
    ]
    heapq.heapify(heap)
    for number in range(len(heap), 2 * len(heap) - 1):  # Equal weights are told apart by it.
        right_weight, _, right = heapq.heappop(heap)
        left_weight, _, left = heapq.heappop(heap)
        heapq.heappush(
            heap,
            (left_weight + right_weight, number, Fork(left, left_weight, right, right_weight)),
        )
    return heap[0][2]
