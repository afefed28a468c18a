# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Text alone -> T5's span corruption: what PaLI keeps its language with (arXiv 2209.06794).

    text      Thank you for inviting me to your party last week
    inputs    Thank you <extra_id_0> me to your party <extra_id_1> week
    targets   <extra_id_0> for inviting <extra_id_1> last

Spans are drawn as T5 draws them (arXiv 1910.10683, section 3.3): 15 % of the tokens, in spans of
three on average, which never touch; the text begins outside a span and ends inside one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from pali.data.drawing import seeded
from pali.data.skipping import RecordError, text_of
from pali.tokenizer import NUM_SENTINELS, load_tokenizer

Example = dict[str, Any]


@dataclass(frozen=True)
class CorruptSpans:
    """text -> "inputs" and "targets", i32, each ended by eos; drawn anew in every epoch.

    Of a text with more than `length` tokens, another window is read in every epoch.
    """

    tokenizer: str
    length: int
    """Tokens of a text before spans are taken out. At 15 % in spans of three, inputs keep 90 % of
    so many, and targets have 20 %."""
    density: float = 0.15
    mean_span: float = 3.0
    key: str = "text"

    def __call__(self, example: Example) -> Example:
        """Adds both.

        Raises:
          RecordError: there is no text, or one of fewer than two tokens, in which nothing is left.
        """
        tokenizer, text = load_tokenizer(self.tokenizer), text_of(example, self.key)
        tokens = np.array(tokenizer.encode(text), np.int32)
        if len(tokens) < 2:
            raise RecordError(
                "text", f"the text {text[:40]!r} has {len(tokens)} tokens, and needs two"
            )
        generator = seeded(f"{example['draw']}/span_corruption")
        start = int(generator.integers(max(len(tokens) - self.length, 0), endpoint=True))
        tokens = tokens[start : start + self.length]
        mask = noise_mask(len(tokens), self.density, self.mean_span, generator)
        sentinels = [tokenizer.sentinel(i) for i in range(NUM_SENTINELS)]
        ended = {
            "inputs": [*fill(tokens, mask, sentinels), tokenizer.eos_id],
            "targets": [*fill(tokens, ~mask, sentinels), tokenizer.eos_id],
        }
        return example | {name: np.array(ids, np.int32) for name, ids in ended.items()}


def noise_mask(
    length: int, density: float, mean_span: float, generator: np.random.Generator
) -> Bool[np.ndarray, " length"]:
    """Which tokens of a text are taken out.

    Args:
      length: tokens of the text, at least 2.
      density: the share to be taken out, in 0..1; at least one token is, and at least one stays.
      mean_span: tokens of a span on average; there are at most NUM_SENTINELS spans.
      generator: what they are drawn by.
    """
    noise = int(np.clip(round(length * density), 1, length - 1))
    spans = int(np.clip(round(noise / mean_span), 1, min(noise, length - noise, NUM_SENTINELS)))
    kept, taken = (_parts(n, spans, generator) for n in (length - noise, noise))
    lengths = np.stack([kept, taken], axis=1).reshape(-1)  # Kept and taken out, in turn.
    return np.repeat(np.arange(2 * spans) % 2 == 1, lengths)


def fill(
    tokens: Int[np.ndarray, " n"], mask: Bool[np.ndarray, " n"], sentinels: Sequence[int]
) -> list[int]:
    """The tokens outside the mask; each run of those inside is one sentinel, from the first on."""
    found: list[int] = []
    used = 0
    for i, (token, inside) in enumerate(zip(tokens.tolist(), mask.tolist(), strict=True)):
        if not inside:
            found.append(token)
        elif i == 0 or not mask[i - 1]:
            found.append(sentinels[used])
            used += 1
    return found


def _parts(total: int, count: int, generator: np.random.Generator) -> Int[np.ndarray, " count"]:
    """`count` positive numbers whose sum is `total`, every such row of numbers equally likely."""
    cuts = np.sort(generator.permutation(total - 1)[: count - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
