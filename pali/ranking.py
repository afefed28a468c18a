# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How likely a model finds given answers: classification and multiple choice by log-likelihood.

    visual tokens [n p d], rows of (number of a picture, prompt, candidates)
        -> for each row the log-likelihoods of its candidates, f32[m]

Picture and prompt are encoded once, however many candidates follow; the candidates of many rows are
sorted by length and run together, so that short names are not padded to the longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pali import decoding, kept, sharding
from pali.config import PaLIConfig
from pali.generation import MAX_BATCH, filled, padded
from pali.models.pali import PaLI
from pali.tokenizer import Tokenizer
from pali.types import Params

_PROMPT_STEP, _CANDIDATE_STEP = 16, 8  # Both are padded to a multiple of so many tokens.


def log_likelihoods(
    config: PaLIConfig,
    params: Params,
    tokenizer: Tokenizer,
    visual: Float[np.ndarray, "n p d_vit"],
    rows: Sequence[int],
    asked: Sequence[str],
    candidates: Sequence[Sequence[str]],
    seen: bool = True,
) -> list[Float[np.ndarray, " m"]]:
    """Log-likelihood of every candidate as the answer to its row's prompt.

    Args:
      config, params, tokenizer: the model.
      visual: visual tokens of the pictures.
      rows: for each row the number of its picture.
      asked: for each row its prompt.
      candidates: for each row its candidates, as text; their number may differ between rows.
      seen: whether the visual tokens are looked at; if not, the prompts are text alone.

    Returns:
      For each row log p(candidate, end of text | picture, prompt), summed over the tokens (natural
      logarithm), in the order of its candidates.
    """
    answers: list[np.ndarray] = []
    for start in range(0, len(asked), MAX_BATCH):
        part = slice(start, start + MAX_BATCH)
        prompts = [[*ids, tokenizer.eos_id] for ids in tokenizer.encode_batch(asked[part])]
        ((places, _),) = filled_batches(len(prompts))
        prompt = padded([prompts[place] for place in places], multiple=_PROMPT_STEP)
        pictures = visual[[rows[start + place] for place in places]]
        encoding = _encode(config, params, pictures, np.full(len(prompt), seen), prompt)
        answers += _score_rows(config, params, tokenizer, encoding, candidates[part])
    return answers


def filled_batches(total: int) -> Iterator[tuple[list[int], int]]:
    """Cuts `total` rows into batches of one size: (rows, how many of them are not filler).

    The size is MAX_BATCH, or for fewer rows the next power of two; the last row again fills up the
    last batch. So a long run compiles one program, not one for every size of a remainder.
    """
    size = min(MAX_BATCH, 1 << (total - 1).bit_length())
    for start in range(0, total, size):
        count = min(size, total - start)
        yield filled(start, count, size), count


def _score_rows(
    config: PaLIConfig,
    params: Params,
    tokenizer: Tokenizer,
    encoding: tuple[Array, Array],
    candidates: Sequence[Sequence[str]],
) -> list[Float[np.ndarray, " m"]]:
    """The candidates of some rows, given their encoding and its mask."""
    pairs = [(row, text) for row, texts in enumerate(candidates) for text in texts]
    distinct = list(dict.fromkeys(text for _, text in pairs))
    encoded = tokenizer.encode_batch(distinct)
    ids_of = {text: [*ids, tokenizer.eos_id] for text, ids in zip(distinct, encoded, strict=True)}
    order = sorted(range(len(pairs)), key=lambda i: len(ids_of[pairs[i][1]]))
    scores = np.zeros(len(pairs), np.float32)
    for places, count in filled_batches(len(order)):
        chosen = [order[place] for place in places]
        targets = padded([ids_of[pairs[i][1]] for i in chosen], multiple=_CANDIDATE_STEP)
        rows = np.array([pairs[i][0] for i in chosen], np.int32)
        found = sharding.collect(_score(config, params, *encoding, rows, targets))
        scores[chosen[:count]] = np.asarray(found)[:count]
    ends = np.cumsum([len(texts) for texts in candidates])
    return np.split(scores, ends[:-1])


@kept.traced(1)
def _encode(
    config: PaLIConfig,
    params: Any,
    visual_tokens: Float[Array, "b p d_vit"],
    seen: Bool[Array, " b"],
    prompt: Int[Array, "b s"],
) -> tuple[Float[Array, "b p+s D"], Bool[Array, "b p+s"]]:
    encoded: Any = PaLI(config).apply(
        {"params": params}, visual_tokens, seen, prompt, method="encode"
    )
    return encoded


@kept.traced(1)
def _score(
    config: PaLIConfig,
    params: Any,
    encoded: Float[Array, "rows seen D"],
    mask: Bool[Array, "rows seen"],
    row: Int[Array, " b"],
    targets: Int[Array, "b t"],
) -> Float[Array, " b"]:
    before = jnp.pad(targets[:, :-1], ((0, 0), (1, 0)))
    logits: Any = PaLI(config).apply(
        {"params": params}, encoded[row], mask[row], before, method="decode"
    )
    return decoding.score(logits, targets)
