# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""BLEU-1 to BLEU-4 as coco-caption computes them: on the corpus, without smoothing.

Text comes tokenised (pali/metrics/caption_tokens.py); tokens are what stands between white space.

    p_n    = (clipped matches of n-grams + 1e-15) / (n-grams of the predictions + 1e-9)
    BLEU-k = (p_1 * ... * p_k)^(1/k) * B,   B = exp(1 - 1/ratio) if ratio < 1, else 1
    ratio  = (tokens of the predictions + 1e-15) / (tokens of the references + 1e-9)

Counts are summed over all pictures before the division. A match is clipped by the reference that
has most of that n-gram; the length of the references is that of the one closest in length, of two
the shorter. The score of one picture is the same formula on its own counts; their mean is not the
score of the corpus.

Variant `coco-bleu|closest`, scale 0..1. Source: pycocoevalcap 1.2, to which it is equal up to
rounding. It is not sacrebleu's BLEU, whose tokens and smoothing are others.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics.cider import ORDERS, ngrams
from pali.metrics.exact_match import as_references, check_lengths

VARIANT = "coco-bleu|closest"
_SMALL, _TINY = 1e-9, 1e-15

Counts = Float[np.ndarray, "10"]
"""Matches of n = 1..4, n-grams of n = 1..4, tokens of the prediction, of the reference."""


def bleu(targets: Sequence[str | Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """BLEU-1..4 of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per picture one tokenised reference or several.
      predictions: per picture one tokenised caption.

    Returns:
      `{"bleu_1": x, ..., "bleu_4": x}` with x in 0..1.

    Raises:
      ValueError: the two differ in length or are empty, or a picture has no reference.
    """
    total = np.sum(_counts_of_all(targets, predictions), axis=0)
    return {f"bleu_{k}": value for k, value in enumerate(_scores(total), start=1)}


def bleu_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> Float[np.ndarray, "n 4"]:
    """BLEU-1..4 of each picture alone; the arguments are those of `bleu`."""
    return np.array([_scores(counts) for counts in _counts_of_all(targets, predictions)])


def _counts_of_all(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> list[Counts]:
    check_lengths(targets, predictions)
    pairs = enumerate(zip(map(as_references, targets), predictions, strict=True))
    return [_counts(i, known, said) for i, (known, said) in pairs]


def _counts(i: int, references: Sequence[str], prediction: str) -> Counts:
    if not references:
        raise ValueError(f"picture {i} has no reference: BLEU needs at least one")
    most: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(ORDERS)]
    lengths = []
    for reference in map(ngrams, references):
        lengths.append(reference[0].total())
        for n in range(ORDERS):
            most[n] |= reference[n]
    said = ngrams(prediction)
    length = said[0].total()
    closest = min((abs(other - length), other) for other in lengths)[1]
    matches = [(said[n] & most[n]).total() for n in range(ORDERS)]
    return np.array([*matches, *(counts.total() for counts in said), length, closest], np.float64)


def _scores(counts: Counts) -> list[float]:
    *parts, said, known = counts.tolist()
    ratio = (said + _TINY) / (known + _SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    result, product = [], 1.0
    for n in range(ORDERS):
        product *= (parts[n] + _TINY) / (parts[ORDERS + n] + _SMALL)
        result.append(product ** (1 / (n + 1)) * penalty)
    return result
