# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CIDEr, as coco-caption prints it under that name: CIDEr-D (Vedantam et al. 2015).

Text comes tokenised (pali/metrics/caption_tokens.py); tokens are what stands between white space.

    w_g(c)  = count of the n-gram g in c * (ln N - ln max(1, df(g)))
    s_n     = sum over g of min(w_g(h), w_g(r)) * w_g(r) / (|w(h)| |w(r)|) * exp(-d^2 / (2 * 6^2))
    CIDEr-D = 10 * mean over references r of the mean over n = 1..4 of s_n

N is the number of pictures, df(g) the number of pictures that have g in any reference, and d how
many *bigrams* more the prediction has than the reference: lengths 0 and 1 are the same there. A
norm of zero is not divided by.

The scale is that of the script: 1.419 here is the 141.9 of a paper. Every score depends on all
references of the split, through N and df: scores of parts cannot be averaged, gather the texts. An
n-gram that every picture's references have weighs nothing; so a single picture always scores 0.

Variant `cider-d|n:4|sigma:6`. Source: pycocoevalcap 1.2, to which it is equal up to rounding.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics.exact_match import as_references, check_lengths

VARIANT = "cider-d|n:4|sigma:6"
ORDERS = 4
SIGMA = 6.0

NGrams = list[Counter[tuple[str, ...]]]


def cider(targets: Sequence[str | Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """CIDEr-D of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per picture one tokenised reference or several.
      predictions: per picture one tokenised caption.

    Returns:
      `{"cider": x}` with x in 0..10.

    Raises:
      ValueError: the two differ in length or are empty, or a picture has no reference.
    """
    return {"cider": float(cider_per_item(targets, predictions).mean())}


def cider_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> Float[np.ndarray, " n"]:
    """What each picture contributes to `cider`; the arguments are the same."""
    check_lengths(targets, predictions)
    references = [[ngrams(text) for text in known] for known in map(as_references, targets)]
    weights = _weights(references)
    unseen = math.log(len(references))
    scores = np.zeros(len(references))
    for i, (known, said) in enumerate(zip(references, predictions, strict=True)):
        if not known:
            raise ValueError(f"picture {i} has no reference: CIDEr needs at least one")
        mine = _Vectors(ngrams(said), weights, unseen)
        theirs = (_Vectors(reference, weights, unseen) for reference in known)
        similar = sum(_similarity(mine, reference) for reference in theirs)
        scores[i] = 10.0 * similar / len(known)
    return scores


def ngrams(text: str) -> NGrams:
    """How often each n-gram occurs in a tokenised text, for n = 1..4."""
    words = text.split()
    return [
        Counter(zip(*(words[i:] for i in range(n)), strict=False)) for n in range(1, ORDERS + 1)
    ]


def _weights(references: Sequence[Sequence[NGrams]]) -> dict[tuple[str, ...], float]:
    """ln N - ln df of every n-gram of the references."""
    pictures: Counter[tuple[str, ...]] = Counter()
    for known in references:
        pictures.update({gram for reference in known for counts in reference for gram in counts})
    total = math.log(len(references))
    logarithms = [math.log(df) if df else 0.0 for df in range(len(references) + 1)]
    return {gram: total - logarithms[df] for gram, df in pictures.items()}


class _Vectors:
    """A caption as one weighed vector for each n, with its norm."""

    def __init__(self, counts: NGrams, weights: Mapping, unseen: float):
        self.weighed = [
            {gram: count * weights.get(gram, unseen) for gram, count in order.items()}
            for order in counts
        ]
        self.norms = [math.sqrt(sum(w * w for w in order.values())) for order in self.weighed]
        self.bigrams = counts[1].total()


def _similarity(said: _Vectors, reference: _Vectors) -> float:
    """Mean over n of s_n."""
    distance = said.bigrams - reference.bigrams
    total = 0.0
    for n in range(ORDERS):
        theirs = reference.weighed[n]
        dot = 0.0
        for gram, weight in said.weighed[n].items():
            other = theirs.get(gram)
            if other is not None:
                dot += min(weight, other) * other
        norm = said.norms[n] * reference.norms[n]
        total += dot / norm if norm else dot
    return total / ORDERS * math.exp(-(distance**2) / (2 * SIGMA**2))
