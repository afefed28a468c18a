# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ANLS: average normalised Levenshtein similarity (Biten et al. 2019), of answers read in pictures.

    s(a)  = 1 - edits between a and the prediction / length of the longer one
    score = max over answers a of s(a), or 0 where that is too small;  mean over questions, 0..1

The variants differ in the text compared, in the length, and in what is too small:

  rrc          the server of DocVQA and InfographicVQA: lower case, single spaces, ends stripped;
               lengths are those of the texts before that (in upper case); below 0.5 is too small
  paper        the formula as printed, and as big_vision has it: text as it is; 0.5 is too small
  paper-lower  the same in lower case
  mmf          ST-VQA as mmf scores it: lower case, ends stripped; below 0.5 is too small

Two empty texts are equal and score 1, also in mmf, whose script divides by zero there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import Levenshtein

from pali.metrics.per_item import chosen, per_item

THRESHOLD = 0.5
MOST_ITEMS = 6
"""Lists of more items are not tried in every order: 6 have 720."""


def anls(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], variant: str = "rrc"
) -> dict[str, float]:
    """ANLS of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per question one answer or several.
      predictions: per question one answer.
      variant: one of VARIANTS.

    Returns:
      `{"anls": x}` with x in 0..1.

    Raises:
      ValueError: the two differ in length or are empty, a question has no answer, or there is no
        such variant.
    """
    return {"anls": float(anls_per_item(targets, predictions, variant).mean())}


def anls_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], variant: str = "rrc"
) -> Float[np.ndarray, " n"]:
    """The score of each question; the arguments are those of `anls`."""
    similarity = chosen(VARIANTS, variant, "variant of ANLS")

    def nearest(answers: list[str], said: str) -> float:
        return max(similarity(answer, said) for answer in answers)

    return per_item(targets, predictions, nearest, needs="ANLS needs at least one")


def in_any_order(answer: str) -> list[str]:
    """A list such as "a, b" in every order: InfographicVQA's answers of several spans.

    Of more than MOST_ITEMS items only the given and the sorted order.
    """
    items = answer.split(", ")
    if len(items) > MOST_ITEMS:
        return list(dict.fromkeys([answer, ", ".join(sorted(items))]))
    return list(dict.fromkeys(", ".join(order) for order in itertools.permutations(items)))


def _rrc(answer: str, prediction: str) -> float:
    one, other = (" ".join(text.lower().split()) for text in (answer, prediction))
    length = max(len(answer.upper()), len(prediction.upper()))
    return _kept(Levenshtein.distance(one, other), length)


def _mmf(answer: str, prediction: str) -> float:
    one, other = answer.lower().strip(), prediction.lower().strip()
    return _kept(Levenshtein.distance(one, other), max(len(one), len(other)))


def _kept(edits: int, length: int) -> float:
    similarity = 1 - edits / length if length else 1.0
    return similarity if similarity >= THRESHOLD else 0.0


def _paper(answer: str, prediction: str) -> float:
    length = max(len(answer), len(prediction))
    distance = Levenshtein.distance(answer, prediction) / length if length else 0.0
    return 1 - distance if distance < THRESHOLD else 0.0


VARIANTS: dict[str, Callable[[str, str], float]] = {
    "rrc": _rrc,
    "paper": _paper,
    "paper-lower": lambda answer, prediction: _paper(answer.lower(), prediction.lower()),
    "mmf": _mmf,
}
"""(answer, prediction) -> similarity in 0..1; what is too small is 0 already."""
