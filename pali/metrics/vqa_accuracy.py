# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""VQA accuracy (Antol et al. 2015): how many of ten people gave that answer.

    accuracy of a question = mean over its answers i of min(1, matches among the others / 3)

so with ten answers 0, 0.3, 0.6, 0.9 and 1 for none to four of them or more. The score of a split is
the mean over its questions, in 0..1. The variants differ in what is compared:

  official  GT-Vision-Lab/VQA, with its correction of March 2021: line ends and tabs are spaces; if
            the answers of a question are then all the same, nothing more is done ("Teal" is not ten
            times "teal"), else both sides are normalised (vqa_normalisation.py)
  m4c       TextVQA as mmf scores it: both sides are always normalised, and in another way
  vizwiz    the API of VizWiz-VQA: the prediction is normalised, the answers stay as they are
  bv        big_vision for OK-VQA and others: min(1, matches / 3) of the texts as they are

"The others" are those at other places of the list, as everywhere but in the official script, which
tells answers apart by their content and answer_id; on its own files that is the same. A question
with a single answer has no others and always scores 0 (but in bv).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics import vqa_normalisation as spelling
from pali.metrics.per_item import chosen, per_item

ANSWERS = 10
"""How many answers a question has in the official data."""


def vqa_accuracy(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], variant: str = "official"
) -> dict[str, float]:
    """VQA accuracy of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per question the answers of all people, as they were given.
      predictions: per question one answer.
      variant: one of VARIANTS.

    Returns:
      `{"vqa_accuracy": x}` with x in 0..1.

    Raises:
      ValueError: the two differ in length or are empty, a question has no answer, or there is no
        such variant.
    """
    return {"vqa_accuracy": float(vqa_accuracy_per_item(targets, predictions, variant).mean())}


def vqa_per_cent(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """The official variant in per cent, as a task names it in `metric_fns`."""
    return {"vqa_accuracy": 100.0 * vqa_accuracy(targets, predictions)["vqa_accuracy"]}


def vizwiz_per_cent(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str]
) -> dict[str, float]:
    """The variant of VizWiz in per cent."""
    return {"vqa_accuracy": 100.0 * vqa_accuracy(targets, predictions, "vizwiz")["vqa_accuracy"]}


def vqa_accuracy_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], variant: str = "official"
) -> Float[np.ndarray, " n"]:
    """The accuracy of each question; the arguments are those of `vqa_accuracy`."""
    accuracy = chosen(VARIANTS, variant, "variant of VQA accuracy")
    needs = "VQA accuracy compares with people's"
    return per_item(targets, predictions, accuracy, needs=needs)


def _official(answers: Sequence[str], prediction: str) -> float:
    answers = [spelling.one_line(answer) for answer in answers]
    prediction = spelling.one_line(prediction)
    if len(set(answers)) > 1:
        answers = [spelling.official(answer) for answer in answers]
        prediction = spelling.official(prediction)
    return _leaving_one_out(answers, prediction)


def _m4c(answers: Sequence[str], prediction: str) -> float:
    return _leaving_one_out([spelling.m4c(answer) for answer in answers], spelling.m4c(prediction))


def _vizwiz(answers: Sequence[str], prediction: str) -> float:
    return _leaving_one_out(answers, spelling.vizwiz(spelling.one_line(prediction)))


def _bv(answers: Sequence[str], prediction: str) -> float:
    return min(1.0, sum(answer == prediction for answer in answers) / 3)


def _leaving_one_out(answers: Sequence[str], prediction: str) -> float:
    matches = [answer == prediction for answer in answers]
    total = sum(matches)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(matches)


VARIANTS: dict[str, Callable[[Sequence[str], str], float]] = {
    "official": _official,
    "m4c": _m4c,
    "vizwiz": _vizwiz,
    "bv": _bv,
}
"""(answers, prediction) -> accuracy of the question, in 0..1."""
