# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a model to prompts about pictures it has seen.

    visual tokens [n p d], rows of (number of a picture, prompt) -> a text for each row

Rows are padded to a few batch sizes and prompt lengths, so that after the first calls nothing is
compiled again.

With a shortlist (pali/shortlist.py) the output head is computed on its columns alone. Rows of
different languages share the columns of all languages that are asked for in one call, padded to a
power of two, and each row chooses among those of its own language: what else is asked changes no
answer, but of "sample", whose draws are made for the columns.
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

from pali import constraints, decoding, kept, narrowing, sharding
from pali.config import PaLIConfig
from pali.few_at_once import few_at_once
from pali.models.pali import PaLI
from pali.narrowing import Narrowed
from pali.shortlist import Shortlists
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
    max_length: int | None = None
    """Tokens at most, the end token counted; longer answers are cut. None: what the verb has."""
    min_chars: int = 0
    """Characters before it may end; one that is spelled in bytes counts as these."""
    max_chars: int | None = None
    """Characters at most, counted so; an answer is led to its end before that, or is cut, maybe
    within a word."""
    no_repeat_ngram: int = 0
    """No so many tokens in a row twice in an answer; 0 for no such rule."""
    prefix: str = ""
    """What every answer begins with."""
    shortlist: Shortlists | None = None
    """Each answer is written in the pieces of its language alone (pali/shortlist.py), and of the
    prefix; its log-probability is then among these."""
    ensure_language: bool = False
    """An answer in another language is decoded again (pali/ensuring.py)."""

    def __post_init__(self):
        methods = ("greedy", "sample", "beam")
        if self.method not in methods:
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(methods)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be at least 0 and below 2**32")
        if self.beam_size < 1:
            raise ValueError(f"beam_size is {self.beam_size}; it must be at least 1")
        decoding.check_sampling(self.temperature, self.top_k, self.top_p)
        most = {"greedy": 1, "beam": self.beam_size}.get(self.method, MAX_BATCH)
        if not 1 <= self.n_best <= most:
            raise ValueError(
                f'n_best is {self.n_best}; with method "{self.method}" it must be between 1 and '
                f"{most}"
            )
        for name in ("min_length", "min_chars", "no_repeat_ngram"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if self.max_length is not None and self.max_length <= self.min_length:
            raise ValueError(
                f"max_length is {self.max_length}; it must be above min_length, {self.min_length}, "
                "as the end is a token, too"
            )
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
    shortlisted: bool
    """Whether `log_prob` is among the pieces of a shortlist instead of the whole vocabulary."""
    wrong_language: bool
    """Whether it is in another language, and was so again (`Decoding.ensure_language`)."""

    def __new__(
        cls,
        text: str,
        log_prob: float = 0.0,
        tokens: Sequence[int] = (),
        prompt: str = "",
        others: Sequence[Text] = (),
        shortlisted: bool = False,
        wrong_language: bool = False,
    ):
        """A string with some more facts."""
        self = super().__new__(cls, text)
        self.log_prob = log_prob
        self.tokens = tuple(tokens)
        self.prompt = prompt
        self.others = tuple(others)
        self.shortlisted = shortlisted
        self.wrong_language = wrong_language
        return self

    def with_facts(self, **facts: Any) -> Text:
        """The same text with other facts."""
        return Text(self, **(vars(self) | facts))

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
    langs: Sequence[str] | None = None,
    numbers: Sequence[int] | None = None,
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
      langs: for each row the language of its answer, by code; needed for a shortlist.
      numbers: for each row the number that its random draws come from; by default its place.

    Raises:
      ValueError: no answer can be as `chosen` says.
    """
    max_length = check(tokenizer, chosen, max_length, langs)
    encoded = [[*tokenizer.encode(prompt), tokenizer.eos_id] for prompt in asked]
    draws = chosen.n_best if chosen.method == "sample" else 1
    chars, prefix = _counted(config, tokenizer, chosen), _prefix(tokenizer, chosen)
    shared = _shared(config, params, chosen, langs, prefix)
    if shared is not None:
        chars = None if chars is None else chars[:, shared.columns]
        prefix = None if prefix is None else shared.places(prefix)
    # These come as arrays, or are done with: others are no new program.
    how = replace(chosen, seed=0, prefix="", max_length=None, shortlist=None, ensure_language=False)
    numbers = range(len(asked)) if numbers is None else numbers
    texts: list[Text] = []
    for start, count, size in batches(len(asked) * draws):
        drawn = filled(start, count, size)
        picked = [number // draws for number in drawn]
        answers = answer(
            config,
            how,
            max_length,
            params,
            visual[[rows[i] for i in picked]],
            np.full(size, seen),
            padded([encoded[i] for i in picked]),
            np.uint32(chosen.seed),
            np.array([numbers[n // draws] * draws + n % draws for n in drawn], np.uint32),
            chars,
            prefix,
            None if shared is None or langs is None else shared.batch([langs[i] for i in picked]),
        )
        # [size best …], of which a row may have found fewer.
        every = jax.device_get(sharding.collect(answers))
        for row in range(count):
            found = [
                Text(
                    tokenizer.decode(own := ids[:length].tolist()),
                    float(log_prob),
                    own,
                    prompt,
                    shortlisted=shared is not None,
                )
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
    return first.with_facts(others=tuple(others))


def check(
    tokenizer: Tokenizer, chosen: Decoding, max_length: int, langs: Sequence[str] | None
) -> int:
    """The most tokens that an answer may have, where answers can be as `chosen` says.

    Args:
      tokenizer: the model's.
      chosen: how the words are chosen.
      max_length: the most tokens unless `chosen` says another number.
      langs: the languages of the answers, by code; None where they are in no certain one.

    Raises:
      ValueError: no answer can be as it says.
    """
    max_length = chosen.max_length or max_length
    if chosen.min_length >= max_length:
        raise ValueError(
            f"min_length is {chosen.min_length}, and an answer has at most {max_length} tokens, "
            "the end counted: give a smaller one, or a larger max_length"
        )
    if (length := len(tokenizer.encode(chosen.prefix))) >= max_length:
        raise ValueError(
            f"the prefix {chosen.prefix!r} has {length} tokens, and an answer at most "
            f"{max_length}: shorten it, or give a larger max_length"
        )
    if (chosen.shortlist or chosen.ensure_language) and langs is None:
        raise ValueError(
            "a shortlist and ensure_language are of a language: they hold for caption, ocr and "
            "answer, which know what language they ask for"
        )
    if chosen.shortlist and langs is not None:
        chosen.shortlist.check(tokenizer)
        for lang in dict.fromkeys(langs):
            chosen.shortlist.mask(lang)
    return max_length


def _shared(
    config: PaLIConfig,
    params: Params,
    chosen: Decoding,
    langs: Sequence[str] | None,
    prefix: Int[np.ndarray, " p"] | None,
) -> narrowing.Shared | None:
    """The head on the columns of a shortlist, where there is one; the prefix is added to it."""
    if chosen.shortlist is None or not langs:
        return None
    masks = {lang: chosen.shortlist.mask(lang).copy() for lang in dict.fromkeys(langs)}
    if prefix is not None:
        for mask in masks.values():
            mask[prefix] = True
    head = params["mt5"]["decoder"]["logits_dense"]
    return narrowing.share(head, config.mt5.vocab_size, masks)


def _counted(
    config: PaLIConfig, tokenizer: Tokenizer, chosen: Decoding
) -> Int[np.ndarray, "2 V"] | None:
    """What `constraints` counts characters by, if it has to."""
    if not chosen.min_chars and chosen.max_chars is None:
        return None
    added = tokenizer.characters
    return np.pad(added, ((0, 0), (0, config.mt5.vocab_size - added.shape[1])))


def _prefix(tokenizer: Tokenizer, chosen: Decoding) -> Int[np.ndarray, " p"] | None:
    """The ids that all answers begin with, then 0."""
    return padded([tokenizer.encode(chosen.prefix)])[0] if chosen.prefix else None


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


@kept.traced(3)
def answer(
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
    prefix: Int[Array, " k"] | None,
    narrowed: Narrowed | None,
) -> decoding.Decoded:
    """One batch, compiled once for each of its shapes; [b best …].

    Rows draw by their number, so that batching changes no sample.
    """

    def call(method: str, *args: Any) -> Any:
        return PaLI(config).apply({"params": params}, *args, method=method)

    def step(cache: decoding.Cache, tokens: Array, index: Array) -> tuple[Array, decoding.Cache]:
        if narrowed is None:
            return call("decode_step", cache, tokens, index)
        ids = narrowed.columns[tokens]
        logits, cache = call("decode_step", cache, ids, index, narrowed.head)
        return narrowed.mask(logits), cache

    batch = len(prompt)
    read = functools.partial(call, "encode")
    gated = 2 * config.mt5.mlp_dim * (visual_tokens.shape[1] + prompt.shape[1])
    encoded, mask = few_at_once(read, gated, visual_tokens, seen, prompt)
    cache = call("init_cache", encoded, mask, max_length)
    constrain = constraints.constraint(
        min_length=chosen.min_length,
        min_chars=chosen.min_chars,
        max_chars=chosen.max_chars,
        no_repeat_ngram=chosen.no_repeat_ngram,
        chars=chars,
        prefix=prefix,
        only=None if narrowed is None else narrowed.allowed,
    )
    if chosen.method == "beam":
        found = decoding.beam(
            step,
            cache,
            batch,
            max_length,
            beam_size=chosen.beam_size,
            length_penalty=chosen.length_penalty,
            best=chosen.n_best,
            constrain=constrain,
        )
    elif chosen.method == "greedy":
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
    if chosen.method != "beam":
        found = decoding.Decoded(*(field[:, None] for field in found))
    return found if narrowed is None else found._replace(tokens=narrowed.columns[found.tokens])


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
