# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What training would draw from a mixture, counted: against the rates, by language, by script.

The first n examples in the order of training, without making or decoding a picture. Nothing is
estimated: counts are of the very examples that a run with this seed and these tasks reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pali.data.mixing import Interleaved, largest_error
from pali.data.pipeline import Drawn, Mixture, Task, replace_image_function
from pali.data.span_corruption import CorruptSpans
from pali.languages import LANGUAGES, resolve

UNSAID = "none said"
"""Where a language would stand, of records that have none."""

OBJECT_AWARE = ("list_objects", "object_presence", "which_objects")
"""Prompts that are one objective in the paper."""


@dataclass(frozen=True)
class Share:
    """How often something was drawn, and how often it should have been."""

    count: int
    measured: float
    declared: float | None
    """None where the sources do not say."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of the texts in a script, ends counted: (mean, 95th percentile, longest)."""

    examples: int
    prompt: tuple[float, float, int]
    answer: tuple[float, float, int]
    prompts_cut: float
    """Share of the prompts that are longer than the model reads."""
    answers_cut: float


@dataclass(frozen=True)
class Counted:
    """What `count` found."""

    examples: int
    tasks: dict[str, Share]
    objectives: dict[str, Share]
    languages: dict[str, Share]
    largest_error: float
    """The largest |count - n rate| of a task."""
    scripts: dict[str, Lengths]
    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> examples that cannot be used; they are in no table but that of the tasks."""


def objective_of(task: Task) -> str:
    """What a task teaches: the name of its prompt, "span_corruption", or else its own name."""
    for function in task.functions:
        prompt = getattr(function, "prompt", None)
        if isinstance(prompt, str):
            return "object_aware" if prompt in OBJECT_AWARE else prompt
        if isinstance(function, CorruptSpans):
            return "span_corruption"
    return task.name


def count(
    mixture: Mixture,
    seed: int,
    examples: int,
    lengths: tuple[int, int],
    watched: Callable[[Iterable[int]], Iterable[int]] = lambda places: places,
) -> Counted:
    """Draws the first examples of training, and counts them.

    Args:
      mixture: tasks and rates.
      seed: of the order.
      examples: how many are drawn.
      lengths: prompt and target tokens that the model reads; what is longer counts as cut.
      watched: what the places 0, 1, … go through on their way, such as a progress bar.

    Raises:
      ValueError: a rate that is not positive.
    """
    tasks = [task for task, _ in replace_image_function(mixture, lambda example: example)]
    rates = tuple(float(rate) for _, rate in mixture)
    drawn, places = [Drawn(task, seed) for task in tasks], Interleaved(rates)
    by_task: Counter[int] = Counter()
    languages: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    texts: dict[str, list[tuple[int, int]]] = {}
    for index in watched(range(examples)):
        number, place = places[index]
        by_task[number] += 1
        example = drawn[number][place]
        if "skipped" in example:
            skipped[example["skipped"]] += 1
            continue
        lang = _language(example)
        languages[lang] += 1
        if isinstance(example.get("inputs"), np.ndarray):
            tokens = len(example["inputs"]), len(example["targets"])
            texts.setdefault(_script(lang), []).append(tokens)

    total = sum(rates)
    shares = {task.name: rate / total for task, rate in zip(tasks, rates, strict=True)}
    counts = {task.name: by_task[number] for number, task in enumerate(tasks)}
    objectives: Counter[str] = Counter()
    declared: dict[str, float] = {}
    for task in tasks:
        name = objective_of(task)
        objectives[name] += counts[task.name]
        declared[name] = declared.get(name, 0.0) + shares[task.name]
    return Counted(
        examples,
        _against(counts, shares),
        _against(objectives, declared),
        _against(languages, _declared_languages(tasks, rates)),
        largest_error(by_task, rates),
        {
            script: _lengths(np.array(pairs), lengths)
            for script, pairs in sorted(texts.items(), key=lambda item: -len(item[1]))
        },
        skipped,
    )


def _declared_languages(tasks: Sequence[Task], rates: Sequence[float]) -> dict[str, float]:
    """The share of each language, from what the sources hold; {} if one of them does not say."""
    shares: dict[str, float] = {}
    for task, rate in zip(tasks, rates, strict=True):
        held: dict[str, int] = getattr(task.source, "per_language", {})
        if not held:
            return {}
        for lang, records in held.items():
            code, share = resolve(lang), rate / sum(rates) * records / sum(held.values())
            shares[code] = shares.get(code, 0.0) + share
    return shares


def _against(counts: dict[str, int], declared: dict[str, float]) -> dict[str, Share]:
    """Each name that is declared or was drawn, the most frequent first."""
    total = max(sum(counts.values()), 1)
    names = dict.fromkeys([*declared, *counts])
    found = {
        name: Share(
            counts.get(name, 0),
            counts.get(name, 0) / total,
            declared.get(name, 0.0) if declared else None,
        )
        for name in names
    }
    order = sorted(found, key=lambda name: (-found[name].count, -(found[name].declared or 0)))
    return {name: found[name] for name in order}


def _language(example: dict[str, Any]) -> str:
    try:
        return resolve(example["lang"])
    except (KeyError, ValueError):
        return UNSAID


def _script(lang: str) -> str:
    return UNSAID if lang == UNSAID else "+".join(sorted(LANGUAGES[lang].scripts))


def _lengths(tokens: np.ndarray, limits: tuple[int, int]) -> Lengths:
    """Of rows (prompt, answer)."""
    (prompt, answer), (prompts_cut, answers_cut) = (
        [(float(c.mean()), float(np.percentile(c, 95)), int(c.max())) for c in tokens.T],
        [float((c > limit).mean()) for c, limit in zip(tokens.T, limits, strict=True)],
    )
    return Lengths(len(tokens), prompt, answer, prompts_cut, answers_cut)
