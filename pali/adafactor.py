# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Adafactor (arXiv 1804.04235) as T5X defines it: no momentum, and slots of rows and columns only.

For a matrix G of gradients at step t = 1, 2, …, with β = 1 - t^-0.8 and means over the axes named:

    row = β row + (1 - β) mean_columns(G² + ε₁)       column = β column + (1 - β) mean_rows(G² + ε₁)
    Y   = G / sqrt(row column / mean(row))            the second moments, as if of rank one
    P   = P - rate · max(ε₂, rms(P)) · Y / max(1, rms(Y))

What is no matrix keeps every second moment, `v` for row column / mean(row).

What is a matrix: T5X factors kernels of attention with heads and head width merged, MLPs, heads and
embeddings, and leaves norms, biases and relative positions whole. That is one rule here. The last
axis is the columns and all others together are the rows, but for the kernels [D, N, H] of queries,
keys and values, whose rows are D; and both sides must have 128 at least. (T5X's own rules, which it
asks for arrays of three axes or more, have no such minimum; published sizes are all above it.)
A leading layer axis is a batch: each layer has slots, scale and clipping of its own, as if it lay
apart, whatever is in memory.

No update of a whole tree is ever made. Large arrays are updated block by block, in three passes
over the gradient (moments; mean square of Y; P), so that beside parameters, gradients and slots
there is room for no more than a few blocks. A block takes every n-th row: an axis that is divided
among devices stays divided in the same way, and no rows travel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from pali.checkpoints import merge
from pali.types import Params

DECAY = 0.8
"""Exponent of the running mean: at step t the newest gradient weighs t^-0.8."""

CLIP = 1.0
"""Root mean square above which the update of one matrix is scaled down."""

FACTORED_FROM = 128
"""Fewest rows, and columns, of what is factored."""

EPSILON_1, EPSILON_2 = 1e-30, 1e-3
"""Added to squared gradients; least root mean square that a parameter counts with."""

State = dict[str, Any]
"""{"step": updates done, "slots": for each parameter path {"v_row", "v_col"} or {"v"}}."""

Slots = dict[str, Array]


class Sides(NamedTuple):
    """What the axes of one array are."""

    batch: tuple[int, ...]
    """The layers, if they are stacked."""
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    factored: bool


def sides(name: str, shape: tuple[int, ...]) -> Sides:
    """Tells batch, rows and columns of the array at a parameter path apart."""
    stacked = merge.layer_axes(name, shape)
    axes = tuple(range(stacked, len(shape)))
    first = name.endswith(("query/kernel", "key/kernel", "value/kernel"))
    cut = 1 if first else max(len(axes) - 1, 0)
    rows, columns = axes[:cut], axes[cut:]
    least = min(math.prod(shape[axis] for axis in side) for side in (rows, columns))
    return Sides(tuple(range(stacked)), rows, columns, least >= FACTORED_FROM)


def init(params: Params) -> State:
    """Slots of zeros, in float32, before the first step."""
    slots = {}
    for name, leaf in merge.flatten(params).items():
        shape, kind = jnp.shape(leaf), sides(name, jnp.shape(leaf))
        kept = {"v": shape}
        if kind.factored:
            kept = {"v_row": _without(shape, kind.columns), "v_col": _without(shape, kind.rows)}
        slots[name] = {slot: jnp.zeros(kept_shape) for slot, kept_shape in kept.items()}
    return {"step": jnp.zeros((), jnp.int32), "slots": merge.unflatten(slots)}


def apply(grads: Params, state: State, params: Params, rate: Array) -> tuple[Params, State]:
    """One step: (gradients, state, parameters, learning rate) -> (parameters, state).

    Donate `state` and `params` to the compiled step, and both are changed in place.
    """
    step = state["step"] + 1
    decay = 1.0 - step.astype(jnp.float32) ** -DECAY
    flat_grads, slots = merge.flatten(grads), merge.flatten(state["slots"])
    new_params, new_slots = {}, {}
    for name, leaf in merge.flatten(params).items():
        kind = sides(name, leaf.shape)
        own = {
            slot: slots[f"{name}/{slot}"] for slot in (("v_row", "v_col") if kind.factored else "v")
        }
        new_params[name], own = _update(kind, flat_grads[name], own, leaf, decay, rate)
        new_slots |= {f"{name}/{slot}": value for slot, value in own.items()}
    return merge.unflatten(new_params), {"step": step, "slots": merge.unflatten(new_slots)}


def _whole(
    kind: Sides, grad: Array, slots: Slots, param: Array, decay: Array, rate: Array
) -> tuple[Array, Slots]:
    """The formula as it stands in the docstring, over a batch of arrays at once."""
    grad, each = grad.astype(jnp.float32), (*kind.rows, *kind.columns)
    square = jnp.square(grad) + EPSILON_1
    if kind.factored:
        slots = {
            "v_row": _mix(decay, slots["v_row"], square.mean(kind.columns)),
            "v_col": _mix(decay, slots["v_col"], square.mean(kind.rows)),
        }
        update = grad * _row_factor(kind, slots["v_row"]) * _column_factor(kind, slots["v_col"])
    else:
        slots = {"v": _mix(decay, slots["v"], square)}
        update = grad * lax.rsqrt(slots["v"])
    mean_square = jnp.square(update).mean(each, keepdims=True)
    size = _step_size(rate, jnp.square(param).mean(each, keepdims=True), mean_square)
    return (param - size * update).astype(param.dtype), slots


def _update(
    kind: Sides, grad: Array, slots: Slots, param: Array, decay: Array, rate: Array
) -> tuple[Array, Slots]:
    if _blocks(param.shape) == 1 or not (kind.batch or kind.factored):
        return _whole(kind, grad, slots, param, decay, rate)
    in_blocks = _stack_in_blocks if kind.batch else _matrix_in_blocks
    return in_blocks(kind, grad, slots, param, decay, rate)


def _stack_in_blocks(
    kind: Sides, grad: Array, slots: Slots, param: Array, decay: Array, rate: Array
) -> tuple[Array, Slots]:
    """As many layers at a time as make a block; or one, which may be many blocks itself."""
    depth, count = param.shape[0], _blocks(param.shape)
    if count == depth:
        rows, columns = (tuple(axis - 1 for axis in side) for side in (kind.rows, kind.columns))
        kind = Sides((), rows, columns, kind.factored)

    def some(i: Array, carry: tuple[Array, Slots]) -> tuple[Array, Slots]:
        own = jax.tree.map(lambda leaf: _take(leaf, i), (grads, *carry))
        if count == depth:
            own = jax.tree.map(lambda leaf: leaf[0], own)
        new = _update(kind, own[0], own[2], own[1], decay, rate)
        return jax.tree.map(lambda leaf, part: _put(leaf, part, i), carry, new)

    grads, *carry = jax.tree.map(lambda leaf: _fold(leaf, count), (grad, param, slots))
    return jax.tree.map(_unfold, lax.fori_loop(0, count, some, tuple(carry)))


def _matrix_in_blocks(
    kind: Sides, grad: Array, slots: Slots, param: Array, decay: Array, rate: Array
) -> tuple[Array, Slots]:
    """One matrix, some of its rows at a time: the three passes over its gradient."""
    count = _blocks(param.shape)
    grads, rows = _fold(grad, count), math.prod(param.shape[: len(kind.rows)])

    def block(i: Array) -> Array:
        return _take(grads, i).astype(jnp.float32)

    def moments(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        by_row, by_column = carry
        square = jnp.square(block(i)) + EPSILON_1
        by_row = _put(by_row, square.mean(kind.columns), i)
        return by_row, by_column + square.sum(kind.rows) / rows

    zeros = (_fold(jnp.zeros_like(slots["v_row"]), count), jnp.zeros_like(slots["v_col"]))
    by_row, by_column = lax.fori_loop(0, count, moments, zeros)
    slots = {
        "v_row": _mix(decay, slots["v_row"], _unfold(by_row)),
        "v_col": _mix(decay, slots["v_col"], by_column),
    }
    row_factor = _fold(_row_factor(kind, slots["v_row"]), count)
    column_factor = _column_factor(kind, slots["v_col"])

    def update(i: Array) -> Array:
        return block(i) * _take(row_factor, i) * column_factor

    def squares(i: Array, total: Array) -> Array:
        return total + jnp.square(update(i)).sum()

    mean_square = lax.fori_loop(0, count, squares, jnp.zeros(())) / param.size
    size = _step_size(rate, jnp.square(param).mean(), mean_square)

    def change(i: Array, params: Array) -> Array:
        return _put(params, (_take(params, i) - size * update(i)).astype(param.dtype), i)

    return _unfold(lax.fori_loop(0, count, change, _fold(param, count))), slots


def _mix(decay: Array, old: Array, new: Array) -> Array:
    return decay * old + (1.0 - decay) * new


def _row_factor(kind: Sides, v_row: Array) -> Array:
    """1 / sqrt(row / mean(row)); rows stand before columns, so their axes are numbered alike."""
    factor = lax.rsqrt(v_row / v_row.mean(kind.rows, keepdims=True))
    return jnp.expand_dims(factor, kind.columns)


def _column_factor(kind: Sides, v_col: Array) -> Array:
    return jnp.expand_dims(lax.rsqrt(v_col), kind.rows)


def _step_size(rate: Array, param_square: Array, update_square: Array) -> Array:
    scale = jnp.maximum(jnp.sqrt(param_square), EPSILON_2)
    return rate * scale / jnp.maximum(1.0, jnp.sqrt(update_square) / CLIP)


def _without(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(side for axis, side in enumerate(shape) if axis not in axes)


def block() -> int:
    """Numbers of an array that are updated at once.

    On a CPU as many as its caches hold: the head's rows of 250,112 then go one by one, four times
    as fast as thirty together. Elsewhere enough to be worth the start of a kernel.
    """
    return 2**18 if jax.default_backend() == "cpu" else 2**23


def _blocks(shape: tuple[int, ...]) -> int:
    """Fewest equal parts of the first axis that are no larger than a block, or all its rows."""
    wanted = -(-math.prod(shape) // block())
    if wanted <= 1:
        return 1
    return next(n for n in range(min(wanted, shape[0]), shape[0] + 1) if shape[0] % n == 0)


def _fold(x: Array, count: int) -> Array:
    """[r …] -> [r/n n …]: block i is [:, i]."""
    return x.reshape(x.shape[0] // count, count, *x.shape[1:])


def _unfold(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


def _take(x: Array, i: Array) -> Array:
    return lax.dynamic_index_in_dim(x, i, 1, keepdims=False)


def _put(x: Array, part: Array, i: Array) -> Array:
    """Also of a single row that lost its axis."""
    part = part.reshape(x.shape[0], *x.shape[2:])
    return lax.dynamic_update_index_in_dim(x, part, i, 1)
