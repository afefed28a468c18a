# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Matrix products of eight-bit integers: weights rounded once, inputs as they come.

A kernel [k n] is kept as integers from -127 to 127 and one float32 scale for each of its n outputs,
its largest magnitude / 127 (symmetric, per channel; nothing is clipped). The inputs of a product
are rounded in the same way, row by row, so nothing need be calibrated beforehand; products are
summed exactly, as 32-bit integers.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int8

LEVELS = 127
"""Magnitudes of an integer; -128 is left out, so that both signs have the same."""

SCALE = "kernel_scale"
"""Name of the scales, beside the `kernel` that they belong to."""


def quantise(
    kernel: Float[np.ndarray, "k n"],
) -> tuple[Int8[np.ndarray, "k n"], Float[np.ndarray, " n"]]:
    """The integers and scales of a kernel."""
    kernel = np.asarray(kernel, np.float32)
    largest = np.abs(kernel).max(0)
    scale = np.where(largest > 0, largest, 1) / np.float32(LEVELS)
    return np.rint(kernel / scale).astype(np.int8), scale


def project(
    x: Float[Array, "*b k"], kernel: Int8[Array, "k n"], scale: Float[Array, " n"]
) -> Float[Array, "*b n"]:
    """`x` times the kernel that the integers and scales stand for, in float32."""
    flat = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    rows = in_company(flat)
    step = jnp.maximum(jnp.abs(rows).max(-1, keepdims=True), 1e-30) / LEVELS
    rounded = jnp.round(rows / step).astype(jnp.int8)
    sums = lax.dot(rounded, kernel, preferred_element_type=jnp.int32)
    y = sums.astype(jnp.float32) * (step * scale)
    return y[: len(flat)].reshape(*x.shape[:-1], -1)


def in_company(rows: Float[Array, "r k"]) -> Float[Array, "s k"]:
    """The rows; one alone with another, whose products are thrown away.

    XLA multiplies a matrix of small numbers with one row alone the long way round on a CPU, 10
    times as slow as with two. (A copy of the row would be noticed, and left out.)
    """
    return jnp.concatenate([rows, rows[:, ::-1]]) if len(rows) == 1 else rows
