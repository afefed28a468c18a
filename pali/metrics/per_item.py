# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What the metrics of answers share: a rule by its name, and one score for each question."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from pali.metrics.exact_match import as_references, check_lengths

Rule = TypeVar("Rule")


def chosen(rules: Mapping[str, Rule], name: str, what: str) -> Rule:
    """The rule of that name; ValueError lists them, as in "no variant 'rcc' of ANLS; there are …".

    Args:
      rules: by name.
      name: one of them.
      what: the kind of rule in the message, and whose: "variant of ANLS".
    """
    if name not in rules:
        kind, _, whose = what.partition(" ")
        raise ValueError(f"no {kind} {name!r} {whose}; there are {', '.join(rules)}")
    return rules[name]


def per_item(
    targets: Sequence[str | Sequence[str]],
    predictions: Sequence[str],
    score: Callable[[list[str], str], float],
    *,
    needs: str | None = None,
) -> Float[np.ndarray, " n"]:
    """The score of each question.

    Args:
      targets: per question one answer or several.
      predictions: per question one answer.
      score: (answers, prediction) -> score.
      needs: why a question must have an answer, for the message; None if it need not.

    Raises:
      ValueError: the two differ in length or are empty, or a question has no answer but needs one.
    """
    check_lengths(targets, predictions)
    scores = np.zeros(len(targets))
    for i, (answers, said) in enumerate(zip(map(as_references, targets), predictions, strict=True)):
        if needs is not None and not answers:
            raise ValueError(f"question {i} has no answer: {needs}")
        scores[i] = score(answers, said)
    return scores
