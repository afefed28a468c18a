# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a model to prompts about pictures it has seen.

    visual tokens [n p d], rows of (number of a picture, prompt) -> a text for each row

Rows are padded to a few batch sizes and prompt lengths, so that after the first calls nothing is
compiled again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from pali import decoding, sharding
from pali.config import PaLIConfig
from pali.models.pali import PaLI
from pali.tokenizer import Tokenizer
from pali.types import Params

MAX_BATCH = 64
"""Rows that run together; a power of two, as every smaller batch."""

MAX_LENGTH = 64
"""Longest answer in tokens unless another is asked for; decoding stops where the answers end."""

_SHORTEST = 16  # Prompts are padded to a power of two that is at least this.


@dataclass(frozen=True)
class Decoding:
    """How the answer is chosen: greedily, unless said otherwise."""

    method: Literal["greedy", "sample", "beam"] = "greedy"
    temperature: float = 1.0
    """Of "sample": below 1 sharper, above 1 more varied."""
    top_k: int | None = None
    """Of "sample": only the k likeliest tokens."""
    top_p: float | None = None
    """Of "sample": only the likeliest tokens that together have this probability."""
    seed: int = 0
    """Of "sample": the same seed, pictures and prompts give the same answers."""
    beam_size: int = 4
    """Of "beam"."""
    length_penalty: decoding.LengthPenalty = field(default_factory=decoding.LengthPenalty)
    """Of "beam": T5X's or Hugging Face's."""

    def __post_init__(self):
        methods = ("greedy", "sample", "beam")
        if self.method not in methods:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(methods)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be at least 0 and below 2**32")
        if not isinstance(self.length_penalty, decoding.LengthPenalty):
            raise TypeError(
                f"length_penalty is {self.length_penalty!r}; it must be a "
                "pali.decoding.LengthPenalty, which says by name whose formula it is"
            )


class Text(str):
    """An answer: a plain `str` that also knows what was asked, and how sure the model was."""

    log_prob: float
    """Sum over the tokens of their log-probability, the end token counted (natural logarithm)."""
    tokens: tuple[int, ...]
    """Ids of the answer, the end token counted; the same text may be spelled in other ids too."""
    prompt: str
    """What was asked."""

    def __new__(
        cls, text: str, log_prob: float = 0.0, tokens: Sequence[int] = (), prompt: str = ""
    ):
        """A string with three more facts."""
        self = super().__new__(cls, text)
        self.log_prob = log_prob
        self.tokens = tuple(tokens)
        self.prompt = prompt
        return self

    @property
    def num_tokens(self) -> int:
        """Tokens of the answer, the end token counted."""
        return len(self.tokens)


def generate(
    config: PaLIConfig,
    params: Params,
    tokenizer: Tokenizer,
    visual: Float[np.ndarray, "n p d_vit"],
    rows: Sequence[int],
    asked: Sequence[str],
    max_length: int,
    chosen: Decoding,
    seen: bool = True,
) -> list[Text]:
    """The answer to each row's prompt.

    Args:
      config, params, tokenizer: the model.
      visual: visual tokens of the pictures.
      rows: for each row the number of its picture.
      asked: for each row its prompt.
      max_length: longest answer in tokens, the end token counted; longer ones are cut.
      chosen: how the words are chosen.
      seen: whether the visual tokens are looked at; if not, the prompts are text alone.
    """
    encoded = [[*tokenizer.encode(prompt), tokenizer.eos_id] for prompt in asked]
    texts: list[Text] = []
    for start, count, size in batches(len(asked)):
        picked = filled(start, count, size)
        answers = _answer(
            config,
            replace(chosen, seed=0),  # The seed comes as an array: another is no new program.
            max_length,
            params,
            visual[[rows[i] for i in picked]],
            np.full(size, seen),
            padded([encoded[i] for i in picked]),
            np.uint32(chosen.seed),
            np.array(picked, np.uint32),
        )
        ids, log_probs, lengths = jax.device_get(sharding.collect(answers))
        for row in range(count):
            tokens = ids[row, : lengths[row]].tolist()
            log_prob = float(log_probs[row])
            texts.append(Text(tokenizer.decode(tokens), log_prob, tokens, asked[start + row]))
    return texts


def batches(total: int) -> Iterator[tuple[int, int, int]]:
    """Cuts `total` rows into batches: (start, rows, size), sizes 1, 2, 4 … 64.

    A batch is filled up to the next size unless more than a quarter of it would be filler: 7 rows
    run as 8, but 36 as 32 and 4.
    """
    start = 0
    while start < total:
        left = min(total - start, MAX_BATCH)
        size = 1 << (left - 1).bit_length()
        if left < size and left * 4 < size * 3:
            size //= 2
        count = min(left, size)
        yield start, count, size
        start += count


def filled(start: int, count: int, size: int) -> list[int]:
    """`count` rows from `start`, then the last one again as filler, `size` rows in all.

    An empty prompt as filler might keep the loop of decoding going for longer than any real one.
    """
    return [start + min(i, count - 1) for i in range(size)]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _answer(
    config: PaLIConfig,
    chosen: Decoding,
    max_length: int,
    params: Any,
    visual_tokens: Float[Array, "b p d_vit"],
    seen: Bool[Array, " b"],
    prompt: Int[Array, "b s"],
    seed: Any,
    row: UInt[Array, " b"],
) -> decoding.Decoded:
    """One answer for each row; rows draw by their number, so that batching changes no sample."""

    def call(method: str, *args: Any) -> Any:
        return PaLI(config).apply({"params": params}, *args, method=method)

    batch = len(prompt)
    encoded, mask = call("encode", visual_tokens, seen, prompt)
    cache = call("init_cache", encoded, mask, max_length)
    step = functools.partial(call, "decode_step")
    if chosen.method == "greedy":
        return decoding.greedy(step, cache, batch, max_length)
    if chosen.method == "sample":
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(row)
        return decoding.sample(
            step,
            cache,
            batch,
            max_length,
            rng=keys,
            temperature=chosen.temperature,
            top_k=chosen.top_k,
            top_p=chosen.top_p,
        )
    return decoding.beam(
        step,
        cache,
        batch,
        max_length,
        beam_size=chosen.beam_size,
        length_penalty=chosen.length_penalty,
    )


def padded(rows: Sequence[Sequence[int]], multiple: int | None = None) -> Int[np.ndarray, "b s"]:
    """Ids as one array, 0 where there is none, its width a multiple or one of 16, 32, 64 …"""
    longest = max(map(len, rows))
    if multiple:
        width = -(-longest // multiple) * multiple
    else:
        width = 1 << (max(_SHORTEST, longest) - 1).bit_length()
    made = np.zeros((len(rows), width), np.int32)
    for row, ids in zip(made, rows, strict=True):
        row[: len(ids)] = ids
    return made
