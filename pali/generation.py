# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a model to prompts about pictures it has seen.

    visual tokens [n p d], rows of (number of a picture, prompt) -> a text for each row

Rows are padded to a few batch sizes and prompt lengths, so that after the first calls nothing is
compiled again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt

from pali import constraints, decoding, sharding
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
    n_best: int = 1
    """Answers for each prompt, the others in `Text.others`: of "beam" at most `beam_size`; of
    "sample" so many draws, likeliest first."""
    min_length: int = 0
    """Tokens before the answer may end."""
    min_chars: int = 0
    """Characters before it may end; one that is spelled in bytes counts as these."""
    max_chars: int | None = None
    """Characters at most, counted so; an answer is led to its end before that, or is cut, maybe
    within a word."""
    no_repeat_ngram: int = 0
    """No so many tokens in a row twice in an answer; 0 for no such rule."""
    prefix: str = ""
    """What every answer begins with."""

    def __post_init__(self):
        methods = ("greedy", "sample", "beam")
        if self.method not in methods:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(methods)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be at least 0 and below 2**32")
        most = {"greedy": 1, "beam": self.beam_size}.get(self.method, MAX_BATCH)
        if not 1 <= self.n_best <= most:
            raise ValueError(
                f'n_best is {self.n_best}; with method "{self.method}" it must be between 1 and '
                f"{most}"
            )
        for name in ("min_length", "min_chars", "no_repeat_ngram"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if self.max_chars is not None and self.max_chars < max(1, self.min_chars):
            raise ValueError(
                f"max_chars is {self.max_chars}; it must be at least 1 and min_chars, "
                f"{self.min_chars}"
            )
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
    others: tuple[Text, ...]
    """Further answers, likeliest first, where `Decoding.n_best` asked for some."""

    def __new__(
        cls,
        text: str,
        log_prob: float = 0.0,
        tokens: Sequence[int] = (),
        prompt: str = "",
        others: Sequence[Text] = (),
    ):
        """A string with four more facts."""
        self = super().__new__(cls, text)
        self.log_prob = log_prob
        self.tokens = tuple(tokens)
        self.prompt = prompt
        self.others = tuple(others)
        return self

    @property
    def confidence(self) -> float:
        """The geometric mean of the probabilities of its tokens, 0 to 1, the end counted.

        How sure the model is of its words, not how right they are. Shorter and longer answers can
        be compared by it; languages whose words are spelled in more pieces score higher.
        """
        return math.exp(self.log_prob / self.num_tokens) if self.tokens else 0.0

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
    draws = chosen.n_best if chosen.method == "sample" else 1
    chars, prefix = _counted(config, tokenizer, chosen), _prefix(tokenizer, chosen, max_length)
    texts: list[Text] = []
    for start, count, size in batches(len(asked) * draws):
        numbers = filled(start, count, size)
        picked = [number // draws for number in numbers]
        answers = _answer(
            config,
            # These come as arrays: others are no new program.
            replace(chosen, seed=0, prefix=""),
            max_length,
            params,
            visual[[rows[i] for i in picked]],
            np.full(size, seen),
            padded([encoded[i] for i in picked]),
            np.uint32(chosen.seed),
            np.array(numbers, np.uint32),
            chars,
            prefix,
        )
        # [size best …], of which a row may have found fewer.
        every = jax.device_get(sharding.collect(answers))
        for row in range(count):
            found = [
                Text(tokenizer.decode(own := ids[:length].tolist()), float(log_prob), own, prompt)
                for prompt in [asked[picked[row]]]
                for ids, log_prob, length in zip(*(field[row] for field in every), strict=True)
                if length
            ]
            texts.append(_with_others(found))
    if draws > 1:
        rows_of = (texts[i : i + draws] for i in range(0, len(texts), draws))
        texts = [_with_others(sorted(own, key=lambda text: -text.log_prob)) for own in rows_of]
    return texts


def _with_others(found: Sequence[Text]) -> Text:
    """The first of some answers to one prompt, which knows the rest."""
    first, *others = found
    return Text(first, first.log_prob, first.tokens, first.prompt, others)


def _counted(
    config: PaLIConfig, tokenizer: Tokenizer, chosen: Decoding
) -> Int[np.ndarray, "2 V"] | None:
    """What `constraints` counts characters by, if it has to."""
    if not chosen.min_chars and chosen.max_chars is None:
        return None
    added = tokenizer.characters
    return np.pad(added, ((0, 0), (0, config.mt5.vocab_size - added.shape[1])))


def _prefix(
    tokenizer: Tokenizer, chosen: Decoding, max_length: int
) -> Int[np.ndarray, " p"] | None:
    """The ids that all answers begin with.

    Raises:
      ValueError: nothing could follow them.
    """
    if not chosen.prefix:
        return None
    ids = tokenizer.encode(chosen.prefix)
    if len(ids) >= max_length:
        raise ValueError(
            f"the prefix {chosen.prefix!r} has {len(ids)} tokens, and an answer at most "
            f"{max_length}: shorten it, or give a larger max_length"
        )
    return padded([ids])[0]


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
    chars: Int[Array, "2 V"] | None,
    prefix: Int[Array, " p"] | None,
) -> decoding.Decoded:
    """[b best …]; rows draw by their number, so that batching changes no sample."""

    def call(method: str, *args: Any) -> Any:
        return PaLI(config).apply({"params": params}, *args, method=method)

    batch = len(prompt)
    encoded, mask = call("encode", visual_tokens, seen, prompt)
    cache = call("init_cache", encoded, mask, max_length)
    step = functools.partial(call, "decode_step")
    constrain = constraints.constraint(
        min_length=chosen.min_length,
        min_chars=chosen.min_chars,
        max_chars=chosen.max_chars,
        no_repeat_ngram=chosen.no_repeat_ngram,
        chars=chars,
        prefix=prefix,
    )
    if chosen.method == "beam":
        return decoding.beam(
            step,
            cache,
            batch,
            max_length,
            beam_size=chosen.beam_size,
            length_penalty=chosen.length_penalty,
            best=chosen.n_best,
            constrain=constrain,
        )
    if chosen.method == "greedy":
        found = decoding.greedy(step, cache, batch, max_length, constrain=constrain)
    else:
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(row)
        found = decoding.sample(
            step,
            cache,
            batch,
            max_length,
            rng=keys,
            temperature=chosen.temperature,
            top_k=chosen.top_k,
            top_p=chosen.top_p,
            constrain=constrain,
        )
    return decoding.Decoded(*(field[:, None] for field in found))


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
