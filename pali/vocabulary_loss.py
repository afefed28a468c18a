# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy over a large vocabulary that holds the logits of some positions at a time.

The logits of a few target positions of every row are made, their share of the loss and, while
training, of the gradients is taken from them, and they are let go. The loss is the end of the
graph, so its gradients to the decoder's states and to the head are known as soon as the logits are:
they are made in the forward pass, scaled in the backward pass, and nothing is computed twice (as in
Hsu et al. 2024, "Liger Kernel", arXiv 2410.10989). Three products of states, head and logits, which
the plain loss has too; recomputing logits part by part of the vocabulary would take four.

What parts cost: the head's gradient is added up once for each, V·D numbers read and written. With
at least FEWEST positions in a part the products outweigh that; what is too little for two such
parts is done at once.

Parts are cut along the target positions, so that each has all rows of the batch, however these are
divided among devices, and the vocabulary whole, however it is divided. All else is sums and maxima
over the vocabulary.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from pali.models.layers import contract

FEWEST = 256
"""Positions in a part, over all rows, below which more parts save little and cost much."""


class Found(NamedTuple):
    """What the logits said."""

    loss: Float[Array, ""]
    """In nats: the sum over positions, each times its weight."""
    right: Bool[Array, "b t"]
    """Where no token is likelier than the target."""


def parts(batch: int, length: int, chunks: int) -> int:
    """In how many parts `length` positions of `batch` rows are done, if `chunks` are asked for."""
    wanted = min(chunks, length, max(batch * length // FEWEST, 1))
    return -(-length // -(-length // wanted))


def vocabulary_loss(
    states: Float[Array, "b t D"],
    kernel: Float[Array, "D V"],
    targets: Int[Array, "b t"],
    weights: Float[Array, "b t"],
    *,
    dtype: Any = jnp.float32,
    chunks: int = 1,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Found:
    """`losses.cross_entropy` of `states @ kernel`, summed with weights.

    Args:
      states: what the output head reads.
      kernel: of the output head.
      targets: index of the right token.
      weights: of each position; 0 where there is none.
      dtype: of the operands of all products, forwards and backwards; sums are float32.
      chunks: parts in which the positions are done, at most: see `parts`.
      label_smoothing, z_loss: as in `losses.cross_entropy`.
    """
    batch, length = targets.shape
    count = parts(batch, length, chunks)
    settings = _Settings(dtype, count, label_smoothing, z_loss, (states.dtype, kernel.dtype))
    found: Any = _loss(settings, states, kernel, targets, weights.astype(jnp.float32))
    return found


class _Settings(NamedTuple):
    dtype: Any
    count: int
    label_smoothing: float
    z_loss: float
    types: tuple[Any, Any]
    """Of states and kernel, and of their gradients."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(settings: Any, states: Array, kernel: Array, targets: Array, weights: Array) -> Any:
    return _run(settings, states, kernel, targets, weights, (False, False))[0]


def _forwards(settings: Any, states: Any, kernel: Any, targets: Any, weights: Any) -> Any:
    # What is frozen, and what it would take, is not computed.
    wanted = (states.perturbed, kernel.perturbed)
    values = (states.value, kernel.value, targets.value, weights.value)
    found, *saved = _run(settings, *values, wanted)
    return found, saved


def _backwards(settings: Any, saved: Any, cotangents: Any) -> Any:
    *grads, each = saved
    factor = cotangents.loss
    if isinstance(factor, jax.custom_derivatives.SymbolicZero):
        return None, None, None, None
    scaled = (
        None if grad is None else (factor * grad).astype(kind)
        for grad, kind in zip(grads, settings.types, strict=True)
    )
    return (*scaled, None, factor * each)


_loss.defvjp(_forwards, _backwards, symbolic_zeros=True)


def _run(
    settings: _Settings,
    states: Array,
    kernel: Array,
    targets: Array,
    weights: Array,
    wanted: tuple[bool, bool],
) -> tuple[Found, Array | None, Array | None, Array]:
    """What was found; in float32, gradients to states and kernel where wanted; each loss."""
    dtype, count, smoothing, z_loss, _ = settings
    low = kernel.astype(dtype)
    vocabulary, length = kernel.shape[1], targets.shape[1]

    def part(to_kernel: Array | None, inputs: Any) -> Any:
        x, own_targets, own_weights = inputs
        logits = contract("btD,DV->btV", x, low, dtype)
        is_target = lax.broadcasted_iota(jnp.int32, logits.shape, 2) == own_targets[..., None]
        # A gather along a divided vocabulary would bring the logits of all devices together.
        right = jnp.where(is_target, logits, 0.0).sum(-1)
        largest = logits.max(-1)
        log_z = largest + jnp.log(jnp.exp(logits - largest[..., None]).sum(-1))
        aim = (1 - smoothing) * right
        if smoothing:
            aim += smoothing * logits.mean(-1)
        each = log_z - aim + z_loss * jnp.square(log_z)
        to_x = None
        if any(wanted):
            share = jnp.exp(logits - log_z[..., None]) * (1 + 2 * z_loss * log_z)[..., None]
            to_logits = share - smoothing / vocabulary - jnp.where(is_target, 1 - smoothing, 0.0)
            to_logits = (to_logits * own_weights[..., None]).astype(dtype)
            if wanted[0]:
                to_x = contract("btV,DV->btD", to_logits, low, dtype)
            if wanted[1]:
                added = contract("btD,btV->DV", x, to_logits, dtype)
                to_kernel = added if to_kernel is None else to_kernel + added
        return to_kernel, (each, right >= largest, to_x)

    if count == 1:
        to_kernel, (each, right, to_states) = part(None, (states, targets, weights))
    else:
        inputs = tuple(_cut(x, count) for x in (states, targets, weights))
        start = jnp.zeros(kernel.shape) if wanted[1] else None
        to_kernel, outputs = lax.scan(part, start, inputs)
        each, right, to_states = jax.tree.map(lambda x: _joined(x, length), outputs)
    return Found((each * weights).sum(), right), to_states, to_kernel, each


def _cut(x: Array, count: int) -> Array:
    """[b t …] -> [count b t/count …], the last part filled up with zeros."""
    missing = -x.shape[1] % count
    x = jnp.pad(x, ((0, 0), (0, missing), *((0, 0) for _ in x.shape[2:])))
    return jnp.moveaxis(x.reshape(x.shape[0], count, -1, *x.shape[2:]), 1, 0)


def _joined(x: Array, length: int) -> Array:
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]
