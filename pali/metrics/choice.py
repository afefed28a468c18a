# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Choice among named candidates by log-likelihood, with and without an image-free prior.

A model that scores text gives every candidate name y for a picture x a log-likelihood
log p(y | x, prompt). Two scores of a candidate are kept apart by their variant:

- `sum`: the log-likelihood summed over the tokens of the candidate and end of text. Short and
  frequent names win whatever the picture shows ("surface form competition", Holtzman et al.
  2021).
- `sum-minus-prior`: the same, minus the mean of the candidate's log-likelihood over *other*
  pictures of the same language, log p(y | x) - mean over x' of log p(y | x'). What a name earns
  without looking is the same for every picture and falls out; a model that ignores the picture
  is left with ties, which count as chance. It is pointwise mutual information with the
  geometric instead of the arithmetic mean as the prior. The prior needs other pictures, never
  their labels.

Accuracy: `100 * mean of [truth has the highest score] / (number of candidates that share it)`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

VARIANTS = ("sum-minus-prior", "sum")
# Log-likelihoods are sums of float32 terms of size 1-10 in an order that depends on the batch:
# differences below this are rounding, and a tie decided by rounding would be decided by the
# order of the candidates.
TIE = 1e-3


def minus_prior(
    log_likelihoods: Float[np.ndarray, "n candidates"],
) -> Float[np.ndarray, "n candidates"]:
    """Scores of n pictures against the same candidates, less the mean over the *other* pictures.

    Raises:
      ValueError: fewer than two pictures, or not a matrix.
    """
    if log_likelihoods.ndim != 2 or len(log_likelihoods) < 2:
        raise ValueError(
            f"log-likelihoods of shape {log_likelihoods.shape}: the image-free prior needs a "
            "matrix [pictures, candidates] with at least two pictures of the same language"
        )
    n = len(log_likelihoods)
    others = (log_likelihoods.sum(0) - log_likelihoods) / (n - 1)
    return log_likelihoods - others


def credit(
    scores: Float[np.ndarray, "n candidates"],
    truth: Int[np.ndarray, " n"] | Bool[np.ndarray, "n candidates"],
) -> Float[np.ndarray, " n"]:
    """What each picture earns: 1 if the truth scores highest, 1/k if k candidates tie, else 0.

    Args:
      scores: one row per picture.
      truth: per picture the index of the right candidate, or a mask when several are right
        (two concepts may share a name in some language).
    """
    best = scores >= scores.max(-1, keepdims=True) - TIE
    right = truth if truth.dtype == bool else np.arange(scores.shape[1]) == truth[:, None]
    return (best & right).sum(-1) / best.sum(-1)


def top_k_accuracy(
    scores: Float[np.ndarray, "n classes"], truth: Int[np.ndarray, " n"], k: int = 1
) -> float:
    """Percentage of rows whose true class is among the k highest scores.

    Equal scores count against the truth, so that a constant classifier earns nothing.

    Raises:
      ValueError: k below 1, or no rows.
    """
    if k < 1 or len(scores) == 0:
        raise ValueError(f"top-{k} of {len(scores)} rows: k and the number of rows start at 1")
    true = np.take_along_axis(scores, truth[:, None], axis=1)
    not_below = (scores >= true).sum(-1)
    return 100.0 * float((not_below <= k).mean())
