# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Exact match: the share of predictions equal to one of their references.

Formula: `100 * mean over examples of [n(prediction) is one of n(reference) …]`, n = `normalise`.

Variant `nfkc-space`: both sides are brought to Unicode NFKC, runs of white space become one
space, and the ends are stripped; case, accents and punctuation count. NFKC, because a
SentencePiece tokenizer of the mT5 family applies it to everything the model ever sees: a model
cannot write Thai SARA AM in its composed form, and a reader cannot see the difference.
"""

import unicodedata
from collections.abc import Sequence

VARIANT = "nfkc-space"


def normalise(text: str) -> str:
    """Text as the variant `nfkc-space` compares it: NFKC, single spaces, ends stripped."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def is_match(prediction: str, references: Sequence[str]) -> bool:
    """Whether the prediction equals one of the references in the variant `nfkc-space`."""
    found = normalise(prediction)
    return any(found == normalise(reference) for reference in references)


def exact_match(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """Percentage of matches over a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per example one reference or several.
      predictions: per example one string.

    Returns:
      `{"exact_match": x}` with x in 0..100.

    Raises:
      ValueError: the two differ in length, or are empty.
    """
    check_lengths(targets, predictions)
    hits = [is_match(p, as_references(t)) for t, p in zip(targets, predictions, strict=True)]
    return {"exact_match": 100.0 * sum(hits) / len(hits)}


def as_references(target: str | Sequence[str]) -> list[str]:
    """One reference or several, always as a list."""
    return [target] if isinstance(target, str) else list(target)


def check_lengths(targets: Sequence, predictions: Sequence) -> None:
    """Raises ValueError unless there are equally many targets and predictions, at least one."""
    if len(targets) != len(predictions):
        raise ValueError(
            f"{len(predictions)} predictions for {len(targets)} targets: a metric needs exactly "
            "one prediction per target, in the same order"
        )
    if not targets:
        raise ValueError("no examples to score: the split is empty")
