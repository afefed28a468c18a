# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""chrF: character n-gram F-score (Popović 2015), as sacrebleu 2 computes it by default.

Variant `chrF2|nc:6|nw:0|space:no|nfkc`: character n-grams of order 1 to 6, no word n-grams,
white space removed, beta 2 (recall weighs twice as much as precision), effective order: only
orders that occur on both sides enter the average.

For each order n, with clipped matches m, hypothesis count h, reference count r, each *summed
over the corpus first*: P_n = m/h, R_n = m/r. P and R are the means over the orders with h > 0
and r > 0, and chrF = 100 (1 + 4) P R / (4 P + R). Of several references the one with the best
sentence score counts. An order that the reference is too short for adds nothing to h.

The corpus score is therefore not the mean of the sentence scores: long names weigh more. Text
goes through NFKC first (see `exact_match`); on NFKC text the score equals
`sacrebleu.corpus_chrf`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics.exact_match import as_references, check_lengths, normalise

VARIANT = "chrF2|nc:6|nw:0|space:no|nfkc"
ORDER = 6
BETA_SQUARED = 4.0


def statistics(prediction: str, references: Sequence[str]) -> Float[np.ndarray, "3 order"]:
    """Hypothesis, reference and matched n-gram counts of one example, per order 1..6.

    The counts against the reference with the highest sentence score; the first of equals.
    Their sum over examples goes to `from_statistics`.
    """
    hypothesis = _ngrams(prediction)
    each = [_counts(hypothesis, _ngrams(reference)) for reference in references]
    return max(each, key=lambda counts: float(from_statistics(counts)))


def from_statistics(counts: Float[np.ndarray, "*batch 3 order"]) -> Float[np.ndarray, "*batch"]:
    """chrF in 0..100 of summed counts; leading axes are kept."""
    hypothesis, reference, match = (counts[..., i, :] for i in range(3))
    used = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(used.sum(-1), 1)
    precision = np.where(used, match / np.maximum(hypothesis, 1), 0).sum(-1) / orders
    recall = np.where(used, match / np.maximum(reference, 1), 0).sum(-1) / orders
    weighed = BETA_SQUARED * precision + recall
    product = (1 + BETA_SQUARED) * precision * recall
    # asarray: without leading axes NumPy would return a scalar.
    return np.asarray(100.0 * product / np.where(weighed > 0, weighed, 1))


def chrf(targets: Sequence[str | Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """Corpus chrF over a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per example one reference or several.
      predictions: per example one string.

    Returns:
      `{"chrf": x}` with x in 0..100.

    Raises:
      ValueError: the two differ in length, or are empty.
    """
    check_lengths(targets, predictions)
    pairs = zip(targets, predictions, strict=True)
    total = sum(statistics(prediction, as_references(target)) for target, prediction in pairs)
    return {"chrf": float(from_statistics(np.asarray(total)))}


def _ngrams(text: str) -> list[Counter[str]]:
    text = "".join(normalise(text).split())
    return [Counter(text[i : i + n] for i in range(len(text) - n + 1)) for n in range(1, ORDER + 1)]


def _counts(
    hypothesis: list[Counter[str]], reference: list[Counter[str]]
) -> Float[np.ndarray, "3 order"]:
    counts = np.zeros((3, ORDER))
    for n, (ours, theirs) in enumerate(zip(hypothesis, reference, strict=True)):
        counts[0, n] = ours.total() if theirs else 0
        counts[1, n] = theirs.total()
        counts[2, n] = (ours & theirs).total()
    return counts
