# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Exact match and F1 of SQuAD 1.1 (Rajpurkar et al. 2016), which XQuAD uses for every language.

Both sides are in lower case, without ASCII punctuation, without the words a, an and the, with
single spaces. Tokens are what stands between spaces, also in Chinese and Thai.

    EM = [equal],   F1 = 2 P R / (P + R) of the tokens that the two have in common, counted as a bag

Each is the best over the answers of a question, and the score is the mean over questions in per
cent, as the official script prints it. Without a token in common F1 is 0, also of two empty texts.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics.exact_match import as_references, check_lengths

VARIANT = "squad-1.1"
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad(targets: Sequence[str | Sequence[str]], predictions: Sequence[str]) -> dict[str, float]:
    """EM and F1 of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per question one answer or several.
      predictions: per question one answer.

    Returns:
      `{"em": x, "f1": y}` in 0..100.

    Raises:
      ValueError: the two differ in length or are empty, or a question has no answer.
    """
    em, f1 = squad_per_item(targets, predictions).mean(0)
    return {"em": 100.0 * float(em), "f1": 100.0 * float(f1)}


def squad_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> Float[np.ndarray, "n 2"]:
    """EM and F1 of each question, in 0..1; the arguments are those of `squad`."""
    check_lengths(targets, predictions)
    rows = []
    for i, (answers, said) in enumerate(zip(map(as_references, targets), predictions, strict=True)):
        if not answers:
            raise ValueError(f"question {i} has no answer: EM and F1 need at least one")
        found = normalise(said)
        known = [normalise(answer) for answer in answers]
        rows.append((float(found in known), max(_f1(answer, found) for answer in known)))
    return np.array(rows)


def normalise(text: str) -> str:
    """Text as the official script compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _f1(answer: str, prediction: str) -> float:
    known, said = Counter(answer.split()), Counter(prediction.split())
    common = (known & said).total()
    if not common:
        return 0.0
    precision, recall = common / said.total(), common / known.total()
    return 2 * precision * recall / (precision + recall)
