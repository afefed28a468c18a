# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""OCRBench (Liu et al. 2023): an answer is right if the model's text contains it.

Formula: `sum over questions of [an answer is a part of the prediction]`, out of 1,000 questions.

Both sides are in lower case, their ends stripped, line ends spaces. Of handwritten formulas (the
type HME100k) spaces are removed instead, and case counts. Source: the benchmark's own script, by
way of benchmarks that copy it. An empty answer is contained in everything, as there; a model that
says much is right more often.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics.exact_match import as_references, check_lengths

VARIANT = "contains"
FORMULAS = "HME100k"
"""The type of question whose answers are formulas."""


def contains(answers: Sequence[str], prediction: str, kind: str = "") -> bool:
    """Whether the prediction has one of the answers in it, by the rule above.

    Args:
      answers: the right ones.
      prediction: what the model said.
      kind: the data set that the question is of; only FORMULAS makes a difference.
    """
    spelled = _formula if kind == FORMULAS else _text
    said = spelled(prediction)
    return any(spelled(answer) in said for answer in answers)


def ocrbench_per_item(
    targets: Sequence[str | Sequence[str]],
    predictions: Sequence[str],
    kinds: Sequence[str] | None = None,
) -> Float[np.ndarray, " n"]:
    """1 or 0 for each question; their sum is the score.

    Raises:
      ValueError: the three differ in length, or are empty.
    """
    check_lengths(targets, predictions)
    kinds = [""] * len(targets) if kinds is None else kinds
    check_lengths(targets, kinds)
    each = zip(map(as_references, targets), predictions, kinds, strict=True)
    return np.array([contains(*row) for row in each], np.float64)


def _text(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")
