# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of what is minimised on one batch, at once or a part of its rows at a time.

With `config.accumulate` of k, every k-th row makes a micro-batch, and k of them are computed one
after the other: memory for the activations of one, and the gradients and sums of the whole. What is
minimised divides sums over rows by counts of the whole batch, which are known before anything is
computed, so the gradients of micro-batches add up to the gradient of the batch, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from pali import objectives, optim
from pali.config import Config
from pali.objectives import Objective, Sums
from pali.types import Batch, Params


def gradients(
    objective: Objective,
    config: Config,
    trained: Params,
    frozen: Params,
    parts: Sequence[Batch],
    dropout: Array | None,
) -> tuple[Params, Sums]:
    """Gradients of the trained parameters, and the sums of the batch; none exist for the frozen.

    Raises:
      ValueError: a part of the batch cannot be cut into `config.accumulate` equal micro-batches.
    """

    def minimised(
        trained: Params, parts: Sequence[Batch], dropout: Array | None, counts: Sums
    ) -> tuple[Array, Sums]:
        sums = objective(optim.join(trained, frozen), parts, dropout)
        return objectives.minimised(config, sums | counts), sums

    grad = jax.grad(minimised, has_aux=True)
    if config.accumulate == 1:
        return grad(trained, parts, dropout, {})
    counts = objectives.counts(config, parts)

    def add(total: Params, batch: tuple[Array, Sequence[Batch]]) -> tuple[Params, Sums]:
        number, micro = batch
        key = None if dropout is None else jax.random.fold_in(dropout, number)
        grads, sums = grad(trained, micro, key, counts)
        return jax.tree.map(jnp.add, total, grads), sums

    micro = tuple(jax.tree.map(lambda x: _every(x, config.accumulate), part) for part in parts)
    zeros = jax.tree.map(jnp.zeros_like, trained)
    grads, sums = lax.scan(add, zeros, (jnp.arange(config.accumulate), micro))
    return grads, jax.tree.map(lambda x: x.sum(0), sums)


def _every(x: Array, count: int) -> Array:
    """[rows …] -> [count rows/count …]: row i goes to micro-batch i mod count.

    So each of the devices among which the rows are divided has its share of every micro-batch.
    """
    if len(x) % count:
        raise ValueError(
            f"accumulate is {count}, which does not divide the {len(x)} rows of a part of the "
            "batch; choose a data.batch_size of which every part can be divided"
        )
    return x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)
