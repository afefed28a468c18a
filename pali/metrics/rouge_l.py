# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ROUGE-L as coco-caption computes it (Lin 2004, with a rule of its own for several references).

Text comes tokenised (pali/metrics/caption_tokens.py), with one space between tokens.

    P = max over references of LCS / tokens of the prediction
    R = max over references of LCS / tokens of the reference
    F = (1 + b^2) P R / (R + b^2 P),  b = 1.2;  0 where P or R is

LCS is the length of the longest common subsequence of tokens. The two maxima are taken apart, so P
and R may be those of different references. Tokens are split at every single space: an empty caption
is one empty token. The score of a split is the mean over its pictures.

Variant `coco-rouge-l|beta:1.2`, scale 0..1. Source: pycocoevalcap 1.2. The package rouge-score
computes another ROUGE-L.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import LCSseq

from pali.metrics.exact_match import as_references, check_lengths

VARIANT = "coco-rouge-l|beta:1.2"
BETA_SQUARED = 1.2**2


def rouge_l(targets: Sequence[str | Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """ROUGE-L of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per picture one tokenised reference or several.
      predictions: per picture one tokenised caption.

    Returns:
      `{"rouge_l": x}` with x in 0..1.

    Raises:
      ValueError: the two differ in length or are empty, or a picture has no reference.
    """
    return {"rouge_l": float(rouge_l_per_item(targets, predictions).mean())}


def rouge_l_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> Float[np.ndarray, " n"]:
    """F of each picture; the arguments are those of `rouge_l`."""
    check_lengths(targets, predictions)
    pairs = enumerate(zip(map(as_references, targets), predictions, strict=True))
    return np.array([_f(i, known, said) for i, (known, said) in pairs])


def _f(i: int, references: Sequence[str], prediction: str) -> float:
    if not references:
        raise ValueError(f"picture {i} has no reference: ROUGE-L needs at least one")
    said = prediction.split(" ")
    precision = recall = 0.0
    for reference in references:
        known = reference.split(" ")
        common = LCSseq.similarity(said, known)
        precision = max(precision, common / len(said))
        recall = max(recall, common / len(known))
    if not precision or not recall:
        return 0.0
    return (1 + BETA_SQUARED) * precision * recall / (recall + BETA_SQUARED * precision)
