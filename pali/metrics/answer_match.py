# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""When an answer counts as the right one: the rules of benchmarks with exact match.

Formula: `mean over questions of [rule(prediction) equals rule(an answer)]`, in 0..1.

  nfkc-space  NFKC, single spaces, ends stripped (exact_match.py); case and punctuation count
  raw         the very same string: GQA, xGQA and AI2D, as big_vision scores them
  tally       TallyQA: number words none, zero, one to twenty are numbers, in any case, on both
              sides (big_vision)
  maxm        MaXM: lower case, ends stripped, single spaces, one mark at the end dropped. No script
              was published with it; this rule is pali's
  maxm-joined the same without any space, for Thai, Chinese and Japanese

AI2D's answer is the text of an option, not its letter. xGQA's answers are English in every
language.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from pali.metrics.exact_match import normalise
from pali.metrics.per_item import chosen, per_item

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
_NUMERALS = {"none": "0"} | {word: str(i) for i, word in enumerate(_NUMBERS.split())}
_FINAL_MARKS = ".!?。．！？।॥؟۔;,:،"


def answer_match(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], rule: str = "nfkc-space"
) -> dict[str, float]:
    """Share of right answers of a whole split; the signature SeqIO asks of a metric function.

    Args:
      targets: per question one answer or several.
      predictions: per question one answer.
      rule: one of RULES.

    Returns:
      `{"exact_match": x}` with x in 0..1.

    Raises:
      ValueError: the two differ in length or are empty, or there is no such rule.
    """
    return {"exact_match": float(answer_match_per_item(targets, predictions, rule).mean())}


def answer_match_per_item(
    targets: Sequence[str | Sequence[str]], predictions: Sequence[str], rule: str = "nfkc-space"
) -> Float[np.ndarray, " n"]:
    """1 or 0 for each question; the arguments are those of `answer_match`."""
    spelled = chosen(RULES, rule, "rule of exact match")

    def right(answers: list[str], said: str) -> bool:
        return spelled(said) in map(spelled, answers)

    return per_item(targets, predictions, right)


def _tally(text: str) -> str:
    return _NUMERALS.get(text.lower(), text)


def _maxm(text: str) -> str:
    text = " ".join(text.lower().split())
    return text[:-1].rstrip() if text.endswith(tuple(_FINAL_MARKS)) else text


RULES: dict[str, Callable[[str], str]] = {
    "nfkc-space": normalise,
    "raw": lambda text: text,
    "tally": _tally,
    "maxm": _maxm,
    "maxm-joined": lambda text: "".join(_maxm(text).split()),
}
"""What is compared, of either side."""
