# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Products of eight-bit integers are those of the numbers that they stand for."""

import jax.numpy as jnp
import numpy as np
import pytest

from pali.models import int8


def project(*arrays):
    return np.asarray(int8.project(*map(jnp.asarray, arrays)))


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_a_product_is_that_of_the_rounded_numbers(rows):
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 3, 48)).astype(np.float32)
    kernel = (rng.normal(size=(48, 20)) * rng.uniform(0.01, 9, 20)).astype(np.float32)
    integers, scale = int8.quantise(kernel)

    step = np.abs(x).max(-1, keepdims=True) / 127
    expected = (np.round(x / step) * step) @ (integers * scale)
    np.testing.assert_allclose(project(x, integers, scale), expected, rtol=1e-4, atol=1e-4)


def test_one_row_alone_is_as_it_is_among_others():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 48)).astype(np.float32)
    kernel = int8.quantise(rng.normal(size=(48, 20)))
    together = project(x, *kernel)
    for row, expected in zip(x, together, strict=True):
        np.testing.assert_array_equal(project(row[None], *kernel)[0], expected)


def test_rounding_is_by_channel_and_off_by_half_a_step_at_most():
    kernel = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    kernel *= 10.0 ** np.arange(-5, 5, dtype=np.float32)
    kernel[:, 3] = 0
    integers, scale = int8.quantise(kernel)
    assert integers.dtype == np.int8
    assert (np.abs(integers).max(0) == np.where(np.arange(10) == 3, 0, 127)).all()
    assert (np.abs(integers * scale - kernel) <= scale * 0.5001).all()


def test_a_row_of_zeros_stays_zero():
    kernel = int8.quantise(np.ones((4, 2), np.float32))
    np.testing.assert_array_equal(project(np.zeros((2, 4)), *kernel), np.zeros((2, 2)))
