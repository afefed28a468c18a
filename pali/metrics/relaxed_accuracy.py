# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Relaxed accuracy (Methani et al. 2020, ChartQA): numbers may be off by five per cent.

A text is a number if Python's `float` reads it; one with % at its end is a hundredth of that. If
both are numbers and the target is not 0, the prediction p is right where |p - t| / |t| <= 0.05.
Else the texts must be equal:

  lower       in lower case (pix2struct, VLMEvalKit and lmms-eval); the default
  exact       as they are (big_vision)

So "0.0" is not "0", "1,000" is no number, "50%" is 0.5 and not 50, years are right within a
century, and nan never is a number that is near. The score is the share of right answers, in 0..1;
of several targets one must fit. For ChartQA the mean over its human and its augmented half is told.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics.per_item import chosen, per_item

VARIANTS: dict[str, Callable[[str], str]] = {"lower": str.lower, "exact": str}
"""What is compared of texts that are no numbers."""

TOLERANCE = 0.05


def relaxed_accuracy(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], variant: str = "lower"
) -> dict[str, float]:
    """Relaxed accuracy of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per question one answer or several.
      predictions: per question one answer.
      variant: one of VARIANTS.

    Returns:
      `{"relaxed_accuracy": x}` with x in 0..1.

    Raises:
      ValueError: the two differ in length or are empty, or there is no such variant.
    """
    scores = relaxed_accuracy_per_item(targets, predictions, variant)
    return {"relaxed_accuracy": float(scores.mean())}


def relaxed_accuracy_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], variant: str = "lower"
) -> Float[np.ndarray, " n"]:
    """1 or 0 for each question; the arguments are those of `relaxed_accuracy`."""
    chosen(VARIANTS, variant, "variant of relaxed accuracy")  # Known, whatever the answers are.

    def right(answers: list[str], said: str) -> bool:
        return any(is_near(target, said, variant) for target in answers)

    return per_item(targets, predictions, right)


def is_near(target: str, prediction: str, variant: str = "lower") -> bool:
    """Whether a prediction is right by the rule above."""
    said, true = _number(prediction), _number(target)
    if said is not None and true:
        return abs(said - true) / abs(true) <= TOLERANCE
    spelled = VARIANTS[variant]
    return spelled(prediction) == spelled(target)


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
