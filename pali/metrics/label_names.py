# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Top-1 accuracy of a model that scores the names of classes: ImageNet and its relatives.

A model gives each name y of each class a log-likelihood log p(y | picture, prompt). The score of a
name is, by variant:

  sum              that sum over the tokens of the name
  mean             divided by their number, end of text included: names of many tokens lose less
  sum-minus-prior  less log p(y | no picture): what the name earns without looking

and the score of a class the highest of its names (synonyms). The class with the highest score is
the answer; accuracy = 100 * mean over pictures of [the answer is right], where of k classes that
tie the right one earns 1/k (choice.py, which also has the prior by other pictures).

A picture may have several right classes (ReaL, ObjectNet), and one without any is left out. For
ImageNet-A and -R the candidates are their 200 classes; the caller leaves the others out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from pali.metrics import choice

VARIANTS = ("sum", "mean", "sum-minus-prior")


def name_scores(
    log_likelihoods: Float[np.ndarray, "n names"],
    variant: str = "sum",
    *,
    lengths: Int[np.ndarray, " names"] | None = None,
    prior: Float[np.ndarray, " names"] | None = None,
) -> Float[np.ndarray, "n names"]:
    """Scores of all names for all pictures.

    Args:
      log_likelihoods: of each name, summed over its tokens.
      variant: one of VARIANTS.
      lengths: tokens of each name, end of text included; `mean` needs them.
      prior: log-likelihood of each name without a picture; `sum-minus-prior` needs it.

    Raises:
      ValueError: there is no such variant, or what it needs is missing or below one token.
    """
    if variant == "sum":
        return log_likelihoods
    if variant == "mean":
        if lengths is None or (lengths < 1).any():
            raise ValueError("the variant mean needs the number of tokens of each name, at least 1")
        return log_likelihoods / lengths
    if variant == "sum-minus-prior":
        if prior is None:
            raise ValueError("the variant sum-minus-prior needs each name's score without picture")
        return log_likelihoods - prior
    raise ValueError(f"no variant {variant!r} of label names; there are {', '.join(VARIANTS)}")


def class_scores(
    scores: Float[np.ndarray, "n names"], class_of_name: Int[np.ndarray, " names"]
) -> Float[np.ndarray, "n classes"]:
    """The highest score among the names of each class.

    Raises:
      ValueError: a class between 0 and the last has no name.
    """
    count = int(class_of_name.max()) + 1
    missing = sorted(set(range(count)) - set(class_of_name.tolist()))
    if missing:
        raise ValueError(f"{len(missing)} classes have no name, such as {missing[:3]}")
    result = np.full((len(scores), count), -np.inf)
    for name, index in enumerate(class_of_name):
        result[:, index] = np.maximum(result[:, index], scores[:, name])
    return result


def top_1(scores: Float[np.ndarray, "n classes"], truth: Sequence[Sequence[int]]) -> float:
    """Percentage of pictures whose best class is right.

    Args:
      scores: of `class_scores`.
      truth: per picture the classes that are right; a picture without one is left out.

    Raises:
      ValueError: the two differ in length, a class is unknown, no picture has a right class, or a
        score is no number.
    """
    if len(scores) != len(truth):
        raise ValueError(f"{len(scores)} rows of scores for {len(truth)} pictures")
    if np.isnan(scores).any():
        raise ValueError(f"picture {int(np.isnan(scores).any(1).argmax())} has a score that is NaN")
    right = np.zeros(scores.shape, bool)
    for row, classes in enumerate(truth):
        unknown = [c for c in classes if not 0 <= c < scores.shape[1]]
        if unknown:
            raise ValueError(
                f"picture {row}: class {unknown[0]} is not in 0..{scores.shape[1] - 1}"
            )
        right[row, list(classes)] = True
    labelled = right.any(1)
    if not labelled.any():
        raise ValueError("no picture has a right class: there is nothing to score")
    return 100.0 * float(choice.credit(scores[labelled], right[labelled]).mean())
