# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy over a vocabulary or over classes, and a contrast of pictures with words."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


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


def even_cross_entropy(
    logits: Float[Array, "*b V"], asked: Bool[Array, " V"], right: Bool[Array, "*b V"]
) -> Float[Array, "*b"]:
    """Cross-entropy with an even share for each right answer, in nats; 0 where none is right.

    Args:
      logits: scores before the softmax.
      asked: which of the V answers are compared at all.
      right: which of them are right; several may be.
    """
    log_shares = jax.nn.log_softmax(jnp.where(asked, logits, -jnp.inf))
    return -jnp.where(right, log_shares, 0).sum(-1) / jnp.maximum(right.sum(-1), 1)


START_TEMPERATURE = math.log(10.0)
"""Log of the factor on cosines where training begins, as in SigLIP."""


def word_contrast(
    patches: Float[Array, "b p d"],
    words: Float[Array, "v d"],
    asked: Bool[Array, " v"],
    right: Bool[Array, "b v"],
    temperature: Float[Array, ""],
) -> Float[Array, " b"]:
    """Contrast of pictures with the words of a whole batch: which of them are its own, in nats.

    As FILIP (arXiv 2111.07783) does, each word is compared with every patch, here by a soft
    maximum; as in SuperClass (arXiv 2411.03313), the words of a text are targets without an order.
    So a patch is drawn towards the word that it shows, in whatever place of the text.

    Args:
      patches: vectors of any length for each part of a picture.
      words: vectors of any length for each word.
      asked: which of the words are compared at all.
      right: which words belong to which picture.
      temperature: log of the factor on the cosines.

    Returns:
      `even_cross_entropy` over the words.
    """

    def unit(x: Array) -> Array:
        x = x.astype(jnp.float32)
        return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)

    scores = jnp.exp(temperature) * jnp.einsum("bpd,vd->bpv", unit(patches), unit(words))
    return even_cross_entropy(jax.nn.logsumexp(scores, axis=1), asked, right)
