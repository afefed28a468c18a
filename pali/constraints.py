# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer may go on with: how long it must and may be, what it begins with, no repetition.

    constrain(scores f32[r V], tokens i32[r t], index i32[]) -> scores

The scores (logits or log-probabilities) of tokens that may not stand at position `index` become
-inf; `tokens` holds what stands before it. Nothing is renormalised, so the log-probability of an
answer stays what the model itself gives it. pali/decoding.py asks before each token.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Constrain = Callable[[Array, Array, Array], Array]


def anything(
    scores: Float[Array, "r V"], tokens: Int[Array, "r t"], index: Int[Array, ""]
) -> Float[Array, "r V"]:
    """No constraint."""
    del tokens, index
    return scores


def constraint(
    *,
    eos_id: int = 1,
    min_length: int = 0,
    min_chars: int = 0,
    max_chars: int | None = None,
    no_repeat_ngram: int = 0,
    chars: Int[Array, "2 V"] | None = None,
    prefix: Int[Array, " p"] | None = None,
    only: Callable[[int], Array] | None = None,
) -> Constrain:
    """All of these at once.

    Where nothing at all is left, the answer ends; where a prefix goes on, nothing else counts.

    Args:
      eos_id: the end token.
      min_length: so many tokens at least come before the end token, if there is room for them
        (`min_new_tokens` of Hugging Face).
      min_chars, max_chars: characters of the text, at least and at most. The end comes when no
        piece fits any more, maybe within a word.
      no_repeat_ngram: no so many tokens in a row stand twice (`no_repeat_ngram_size` of Hugging
        Face); 0 for no such rule, 1 for no token twice.
      chars: how many characters each token adds, as the first of an answer and later
        (`Tokenizer.characters`); needed where characters are counted.
      prefix: ids that every answer begins with, then 0.
      only: gives for so many rows the tokens that each may have at all, [r V].
    """
    asked = min_length or no_repeat_ngram or chars is not None or prefix is not None
    if not (asked or only is not None):
        return anything  # Not even a mask of the whole vocabulary is made.
    return functools.partial(
        _constrain, eos_id, min_length, min_chars, max_chars, no_repeat_ngram, chars, prefix, only
    )


def _constrain(
    eos_id: int,
    min_length: int,
    min_chars: int,
    max_chars: int | None,
    no_repeat_ngram: int,
    chars: Array | None,
    prefix: Array | None,
    only: Callable[[int], Array] | None,
    scores: Array,
    tokens: Array,
    index: Array,
) -> Array:
    ids = jnp.arange(scores.shape[-1])
    allowed = jnp.ones(scores.shape, bool) if only is None else only(len(scores))
    if min_length:
        allowed &= (ids != eos_id) | (index >= min_length)
    if no_repeat_ngram:
        allowed &= ~repeated(tokens, index, no_repeat_ngram, scores.shape[-1])
    if chars is not None:
        place = jnp.arange(tokens.shape[1])
        each = jnp.where(place == 0, chars[0][tokens], chars[1][tokens])
        written = jnp.where(place < index, each, 0).sum(1, keepdims=True)
        allowed &= (ids != eos_id) | (written >= min_chars)
        if max_chars is not None:
            added = jnp.where(index == 0, chars[0], chars[1])
            allowed &= (ids == eos_id) | (written + added <= max_chars)
    allowed |= (ids == eos_id) & ~allowed.any(-1, keepdims=True)
    if prefix is not None:
        forced = jnp.where(index < len(prefix), prefix[index], 0)
        allowed = jnp.where(forced > 0, ids == forced, allowed)
    return jnp.where(allowed, scores, -jnp.inf)


def repeated(
    tokens: Int[Array, "r t"], index: Int[Array, ""], n: int, vocab_size: int
) -> Bool[Array, "r V"]:
    """Which tokens at `index` would end n tokens in a row that stand before it already."""
    rows, length = tokens.shape
    starts = jnp.arange(length)
    same = starts + n - 1 < index
    for k in range(n - 1):
        there = jnp.roll(tokens, -k, axis=1)
        before = jnp.take(tokens, index - (n - 1) + k, axis=1, mode="clip")[:, None]
        same = same & (there == before)
    last = jnp.roll(tokens, -(n - 1), axis=1)
    same = jnp.broadcast_to(same, last.shape)
    found = jnp.zeros((rows, vocab_size), bool)
    return found.at[jnp.arange(rows)[:, None], last].max(same)
