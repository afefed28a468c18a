# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A choice among given labels: by the log-likelihood of each, from pali/ranking.py.

names, their log-likelihoods f32[m] -> labels, likeliest first; or the likeliest as an answer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pali.generation import Text
from pali.tokenizer import Tokenizer


class Label(NamedTuple):
    """One of the labels that `classify` was given."""

    name: str
    probability: float
    """Among the labels given, which sum to 1: high also where none fits and the others fit less."""
    log_likelihood: float
    """log p(name, end of text | picture, prompt), natural logarithm."""


def labels(names: Sequence[str], scores: Float[np.ndarray, " m"]) -> list[Label]:
    """Likeliest first, of equals the one named first; probabilities by softmax."""
    shares = np.exp(scores.astype(np.float64) - scores.max())
    shares /= shares.sum()
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return [Label(names[i], float(shares[i]), float(scores[i])) for i in order]


def answers(
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    names: Sequence[str],
    scores: Sequence[Float[np.ndarray, " m"]],
) -> list[Text]:
    """For each prompt the likeliest label as if the model had written it, and the others in it."""
    ids = {name: [*tokenizer.encode(name), tokenizer.eos_id] for name in names}
    made = []
    for prompt, found in zip(prompts, scores, strict=True):
        first, *others = (
            Text(label.name, label.log_likelihood, ids[label.name], prompt)
            for label in labels(names, found)
        )
        made.append(first.with_facts(others=tuple(others)))
    return made


def probability(chosen: Text) -> float:
    """Of a label that `answers` gave: its probability among all of them."""
    scores = np.array([chosen.log_prob, *(other.log_prob for other in chosen.others)])
    return float(1 / np.exp(scores - chosen.log_prob).sum())
