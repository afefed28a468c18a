# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""From a step function to token ids: greedy search, sampling, beam search; and scoring given ids.

    step_fn(cache, tokens i32[b], index i32[]) -> (logits f32[b V], cache)

`tokens` stand at position `index`; the logits are those of the position after. Decoding starts from
token 0 at index 0 and ends a row at `eos_id`; the loop (`lax.while_loop`) ends when every row has
ended, or at `max_length` tokens. All functions are pure and may be jitted with what is not an array
held static. What an answer may go on with is said by `constrain` (pali/constraints.py).

The cache is a dict of arrays with the batch as axis 1. A beam search repeats them for the w
hypotheses of an example and reorders them with these, except those whose names start with "cross_":
they belong to the example and its hypotheses share them, so `step_fn` then gets w times as many
tokens as they have rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import export, lax
from jaxtyping import Array, Bool, Float, Int, Key

from pali.constraints import Constrain, anything

Cache = dict[str, Array]
StepFn = Callable[[Cache, Array, Array], tuple[Array, Cache]]
NEVER = -jnp.inf


class Decoded(NamedTuple):
    """One answer for each row; of the best of a beam search, [b n …], best first."""

    tokens: Int[Array, "b t"]
    """Ids; 0 after the end-of-sequence token, which is kept."""
    log_prob: Float[Array, " b"]
    """Sum of the model's own log-probabilities of these tokens, whatever chose them."""
    lengths: Int[Array, " b"]
    """Tokens before the padding, the end-of-sequence token counted; 0 where there is no answer."""


export.register_namedtuple_serialization(Decoded, serialized_name="pali.Decoded")


def greedy(
    step_fn: StepFn,
    cache: Cache,
    batch_size: int,
    max_length: int,
    eos_id: int = 1,
    *,
    constrain: Constrain = anything,
) -> Decoded:
    """The most probable token at each position; of equals, the smallest id."""

    def choose(logits: Array, index: Array) -> Array:
        del index
        return first_argmax(logits)

    return _token_by_token(step_fn, cache, batch_size, max_length, eos_id, constrain, choose)


def sample(
    step_fn: StepFn,
    cache: Cache,
    batch_size: int,
    max_length: int,
    eos_id: int = 1,
    *,
    rng: Key[Array, "*b"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    constrain: Constrain = anything,
) -> Decoded:
    """Draws each token at random; see `restrict` for temperature, top-k and top-p.

    Args:
      step_fn, cache, batch_size, max_length, eos_id, constrain: as for `greedy`.
      rng: a key (`jax.random.key`) for each row; or one for all, of which row i takes its part,
        fold_in(rng, i). A row's draws come from its own key and the position alone, so that
        neither the other rows nor their number changes them.

    Raises:
      ValueError: temperature, top_k or top_p is out of range.
    """
    check_sampling(temperature, top_k, top_p)
    if rng.ndim == 0:
        rng = jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(batch_size))

    def draw(logits: Array, index: Array) -> Array:
        keys = jax.vmap(jax.random.fold_in, (0, None))(rng, index)
        allowed = restrict(logits, temperature, top_k, top_p)
        return jax.vmap(jax.random.categorical)(keys, allowed).astype(jnp.int32)

    return _token_by_token(step_fn, cache, batch_size, max_length, eos_id, constrain, draw)


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raises ValueError if one of them is out of range."""
    if not 1e-6 <= temperature < math.inf:
        raise ValueError(
            f"temperature is {temperature}; it must be at least 1e-6 and finite (0 would be "
            "`greedy`)"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}; it must be at least 1, or None for all tokens")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; it must be above 0 and at most 1")


def restrict(
    logits: Float[Array, "b V"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Float[Array, "b V"]:
    """Logits divided by `temperature`, with -inf for the tokens that may not be drawn.

    `top_k` keeps the k most probable tokens; `top_p` then keeps the smallest set of most probable
    ones that holds at least the mass p (arXiv 1904.09751). Equals of the last one kept stay too.
    """
    logits = logits / temperature
    if top_k is not None:
        least = lax.top_k(logits, min(top_k, logits.shape[-1]))[0][:, -1:]
        logits = jnp.where(logits < least, NEVER, logits)
    if top_p is not None:
        ordered = jnp.sort(logits, axis=-1, descending=True)
        mass = jax.nn.softmax(ordered, axis=-1)
        enough = jnp.cumsum(mass, axis=-1) - mass >= top_p
        least = jnp.min(jnp.where(enough, jnp.inf, ordered), axis=-1, keepdims=True)
        logits = jnp.where(logits < least, NEVER, logits)
    return logits


def score(logits: Float[Array, "b t V"], targets: Int[Array, "b t"]) -> Float[Array, " b"]:
    """Log-probability of each row of `targets` under teacher-forced logits; id 0 is padding."""
    return jnp.where(targets > 0, _log_prob(logits, targets), 0.0).sum(axis=-1)


def _log_prob(logits: Float[Array, "*b V"], tokens: Int[Array, "*b"]) -> Float[Array, "*b"]:
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, axis=-1)


def first_argmax(logits: Float[Array, "b V"]) -> Int[Array, " b"]:
    """`jnp.argmax` over the last axis, in two plain reductions: 5 times as fast on a CPU."""
    ids = jnp.arange(logits.shape[-1], dtype=jnp.int32)
    best = logits == logits.max(axis=-1, keepdims=True)
    return jnp.min(jnp.where(best, ids, logits.shape[-1] - 1), axis=-1)


class _Rows(NamedTuple):
    index: Array
    last: Array
    tokens: Array
    log_prob: Array
    lengths: Array
    ended: Array
    cache: Cache


def _token_by_token(
    step_fn: StepFn,
    cache: Cache,
    batch_size: int,
    max_length: int,
    eos_id: int,
    constrain: Constrain,
    choose: Callable[[Array, Array], Array],
) -> Decoded:
    def unfinished(rows: _Rows) -> Array:
        return (rows.index < max_length) & ~rows.ended.all()

    def advance(rows: _Rows) -> _Rows:
        logits, cache = step_fn(rows.cache, rows.last, rows.index)
        allowed = constrain(logits, rows.tokens, rows.index)
        token = jnp.where(rows.ended, 0, choose(allowed, rows.index))
        return _Rows(
            index=rows.index + 1,
            last=token,
            tokens=lax.dynamic_update_slice_in_dim(rows.tokens, token[:, None], rows.index, 1),
            log_prob=rows.log_prob + jnp.where(rows.ended, 0.0, _log_prob(logits, token)),
            lengths=rows.lengths + ~rows.ended,
            ended=rows.ended | (token == eos_id),
            cache=cache,
        )

    zeros = jnp.zeros(batch_size, jnp.int32)
    start = _Rows(
        index=jnp.int32(0),
        last=zeros,
        tokens=jnp.zeros((batch_size, max_length), jnp.int32),
        log_prob=jnp.zeros(batch_size),
        lengths=zeros,
        ended=zeros > 0,
        cache=cache,
    )
    rows = lax.while_loop(unfinished, advance, start)
    return Decoded(rows.tokens, rows.log_prob, rows.lengths)


@dataclass(frozen=True)
class LengthPenalty:
    """Whose beam search this is: a hypothesis' score is its log-probability / penalty(length).

    "t5x": ((5 + length) / 6) ** alpha. Whatever ends among the 2w best continuations is kept; the
    search stops when no live hypothesis could still beat the worst kept one at `max_length`; what
    has not ended by then counts only if nothing has.
    "huggingface": length ** alpha. Only the w best continuations may end; the search stops as
    `generate(early_stopping=False)` does, when no live hypothesis beats the worst kept one at its
    present length; what has not ended at `max_length` counts as ended.
    """

    kind: Literal["t5x", "huggingface"] = "t5x"
    alpha: float = 0.6

    def __post_init__(self):
        if self.kind not in ("t5x", "huggingface"):
            raise ValueError(f'kind is {self.kind!r}; it must be "t5x" or "huggingface"')

    def __call__(self, length: Array | int) -> Array:
        """The divisor for a hypothesis of `length` tokens, the end-of-sequence token counted."""
        length = jnp.asarray(length, jnp.float32)
        return ((5 + length) / 6 if self.kind == "t5x" else length) ** self.alpha


class _Hypotheses(NamedTuple):
    """`w` token sequences for each example, best first; position 0 holds the start token."""

    tokens: Int[Array, "b w t+1"]
    log_prob: Float[Array, "b w"]
    score: Float[Array, "b w"]
    """-inf where there is none yet."""
    lengths: Int[Array, "b w"]

    def pick(self, which: Int[Array, "b v"]) -> _Hypotheses:
        """The hypotheses numbered `which` of each example."""
        take = jax.vmap(lambda array, rows: array[rows])
        return _Hypotheses(*(take(field, which) for field in self))


class _Search(NamedTuple):
    index: Array
    live: _Hypotheses
    ended: _Hypotheses
    improvable: Bool[Array, " b"]
    cache: Cache


def beam(
    step_fn: StepFn,
    cache: Cache,
    batch_size: int,
    max_length: int,
    eos_id: int = 1,
    *,
    beam_size: int = 4,
    length_penalty: LengthPenalty = LengthPenalty(),
    best: int | None = None,
    constrain: Constrain = anything,
) -> Decoded:
    """The best hypothesis that a beam search of width `beam_size` finds, or so many as `best`.

    An example that can no longer improve keeps its answer while others go on, so that a batch
    changes nothing. With Hugging Face's penalty width 1 is greedy search; with T5X's it is not: a
    second-best continuation may end, and win.

    Raises:
      ValueError: beam_size is below 1, or best is not between 1 and beam_size.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size is {beam_size}; it must be at least 1")
    if best is not None and not 1 <= best <= beam_size:
        raise ValueError(f"best is {best}; it must be between 1 and beam_size, {beam_size}")
    b, w = batch_size, beam_size
    huggingface = length_penalty.kind == "huggingface"

    def unfinished(search: _Search) -> Array:
        return (search.index < max_length) & search.improvable.any()

    def advance(search: _Search) -> _Search:
        index, live, ended, improvable, cache = search
        length = index + 1
        last = lax.dynamic_index_in_dim(live.tokens, index, axis=2, keepdims=False)
        logits, cache = step_fn(cache, last.reshape(b * w), index)
        vocabulary = logits.shape[-1]
        # Not `log_softmax`: XLA would fuse it with the output head, which then takes a CPU 8 times
        # as long.
        each = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        each = constrain(each, live.tokens[:, :, 1:].reshape(b * w, -1), index)
        log_prob = live.log_prob[:, :, None] + each.reshape(b, w, vocabulary)
        # 2w, because w of them may end, and w must remain to go on with.
        log_prob, flat = lax.top_k(log_prob.reshape(b, w * vocabulary), 2 * w)
        parent, token = flat // vocabulary, flat % vocabulary
        tokens = live.pick(parent).tokens
        tokens = lax.dynamic_update_slice_in_dim(tokens, token[..., None], length, axis=2)

        stops = token == eos_id
        ends = stops | (length == max_length) if huggingface else stops
        eligible = (jnp.arange(2 * w) < (w if huggingface else 2 * w)) & improvable[:, None]
        value = jnp.where(ends & eligible, log_prob / length_penalty(length), NEVER)
        candidates = _Hypotheses(tokens, log_prob, value, jnp.full_like(token, length))
        both = _Hypotheses(*map(lambda *x: jnp.concatenate(x, axis=1), ended, candidates))
        ended = both.pick(lax.top_k(both.score, w)[1])

        goes_on, kept = lax.top_k(jnp.where(stops, NEVER, log_prob), w)
        live = candidates.pick(kept)._replace(log_prob=goes_on)
        best_to_come = goes_on[:, 0] / length_penalty(length if huggingface else max_length)
        improvable = improvable & (best_to_come > ended.score[:, -1])
        parent = jnp.take_along_axis(parent, kept, axis=1)
        return _Search(length, live, ended, improvable, _reorder(cache, parent))

    nothing = _Hypotheses(
        tokens=jnp.zeros((b, w, max_length + 1), jnp.int32),
        log_prob=jnp.full((b, w), NEVER),
        score=jnp.full((b, w), NEVER),
        lengths=jnp.zeros((b, w), jnp.int32),
    )
    # One hypothesis to begin with: w equal ones would stay equal.
    live = nothing._replace(log_prob=nothing.log_prob.at[:, 0].set(0.0))
    yes = jnp.ones(b, bool)
    start = _Search(jnp.int32(0), live, nothing, yes, _repeat(cache, w))
    search = lax.while_loop(unfinished, advance, start)
    live, ended = search.live, search.ended
    # What has not ended counts where nothing has.
    found = ended.score > NEVER
    first = ~found & (jnp.arange(w) == 0)
    tokens = jnp.where(first[..., None], live.tokens, ended.tokens)[:, :, 1:]
    log_prob = jnp.where(first, live.log_prob, ended.log_prob)
    lengths = jnp.where(first, live.lengths, jnp.where(found, ended.lengths, 0))
    every = Decoded(tokens, log_prob, lengths)
    return Decoded(*(field[:, 0] if best is None else field[:, :best] for field in every))


def _repeat(cache: Cache, w: int) -> Cache:
    return {
        name: array if name.startswith("cross_") else jnp.repeat(array, w, axis=1)
        for name, array in cache.items()
    }


def _reorder(cache: Cache, parent: Int[Array, "b w"]) -> Cache:
    b, w = parent.shape
    rows = (jnp.arange(b)[:, None] * w + parent).reshape(-1)
    return {
        name: array if name.startswith("cross_") else array[:, rows]
        for name, array in cache.items()
    }
