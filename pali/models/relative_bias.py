# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""T5's positions: a learned bias on attention logits, by head and by bucket of relative distance.

Section 2.1 of arXiv 1910.10683; the parameter's name and initialiser are those of T5X.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pali.config import MT5Config


class RelativeBias(nn.Module):
    """One learned number for each head and each bucket of distance, added to attention logits."""

    config: MT5Config
    bidirectional: bool

    @nn.compact
    def __call__(self, queries: Int[Array, " t"], keys: Int[Array, " s"]) -> Float[Array, "N t s"]:
        """The bias between positions `queries` and positions `keys`, in float32."""
        cfg = self.config
        shape = (cfg.num_heads, cfg.relative_buckets)
        init = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        table = self.param("rel_embedding", init, shape)
        buckets = relative_buckets(
            keys - queries[:, None],
            bidirectional=self.bidirectional,
            num_buckets=cfg.relative_buckets,
            max_distance=cfg.relative_max_distance,
        )
        return table[:, buckets]


def relative_buckets(
    offset: Int[Array, "*n"], *, bidirectional: bool, num_buckets: int, max_distance: int
) -> Int[Array, "*n"]:
    """Bucket of each relative position, key minus query.

    With both directions, keys after the query take the upper half of the buckets; without, they
    share bucket 0 (they are masked). Half of a direction's buckets hold one distance each, the rest
    grow geometrically up to `max_distance`; the last holds everything beyond.
    """
    if bidirectional:
        num_buckets //= 2
    exact = num_buckets // 2
    # Distances are few and whole: a table made with 64-bit logarithms is the same on every device.
    # 1e-9 lifts the distances where the logarithm is exactly a bucket's edge, as in T5X.
    distances = np.arange(max_distance + 1)
    growth = np.log(np.maximum(distances, exact) / exact) / np.log(max_distance / exact)
    far = exact + (growth * (num_buckets - exact) + 1e-9).astype(np.int32)
    table = np.where(distances < exact, distances, np.minimum(far, num_buckets - 1))
    distance = jnp.abs(offset) if bidirectional else jnp.maximum(-offset, 0)
    buckets = jnp.asarray(table, jnp.int32)[jnp.minimum(distance, max_distance)]
    return buckets + jnp.where(offset > 0, num_buckets, 0) if bidirectional else buckets
