# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy over a vocabulary or over classes: logits and targets -> loss of each position."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "*b V"],
    targets: Int[Array, "*b"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> Float[Array, "*b"]:
    """Softmax cross-entropy of each position in nats, computed in float32.

    Args:
      logits: scores before the softmax.
      targets: index of the right answer.
      label_smoothing: share of the probability that is spread evenly over all V answers.
      z_loss: weight of log(Z)^2, which keeps the softmax's normaliser near 1 (T5X's default for
        pre-training is 1e-4).
    """
    logits = logits.astype(jnp.float32)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    right = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    aim = (1 - label_smoothing) * right + label_smoothing * logits.mean(axis=-1)
    return log_z - aim + z_loss * jnp.square(log_z)
