# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy over a vocabulary or over classes, and SigLIP's contrast of pictures and texts."""

from __future__ import annotations

import math

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


TEMPERATURE, BIAS = math.log(10.0), -10.0
"""Where SigLIP begins: log of the factor on similarities, and what is added to them."""


def sigmoid_contrast(
    pictures: Float[Array, "b d"],
    texts: Float[Array, "b d"],
    labels: Int[Array, " b"],
    temperature: Float[Array, ""],
    bias: Float[Array, ""],
) -> Float[Array, " b"]:
    """SigLIP's loss (arXiv 2303.15343, algorithm 1) of each picture with every text, in nats.

    Each pair is a question of its own: do the two belong together? Here they do when they have the
    same label: one thing may be in a batch several times, named in several languages.

    Args:
      pictures, texts: vectors of any length.
      labels: what a row is about; rows below 0 are left out, and their loss is 0.
      temperature: log of the factor on the cosines.
      bias: added to them.
    """

    def unit(x: Array) -> Array:
        x = x.astype(jnp.float32)
        return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)

    logits = jnp.exp(temperature) * unit(pictures) @ unit(texts).T + bias
    known = labels >= 0
    sign = jnp.where(labels[:, None] == labels, 1.0, -1.0)
    return -(jax.nn.log_sigmoid(sign * logits) * known * known[:, None]).sum(-1)
