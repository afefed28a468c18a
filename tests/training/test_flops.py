# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Operations of a step, against sums on paper."""

import jax
import jax.numpy as jnp
import pytest

from pali.training import flops


def shaped(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_products_are_two_operations_for_each_term():
    assert flops.count(jnp.dot, shaped(3, 5), shaped(5, 7)) == 2 * 3 * 5 * 7
    batched = lambda a, b: jnp.einsum("bij,bjk->bik", a, b)  # noqa: E731
    assert flops.count(batched, shaped(2, 3, 5), shaped(2, 5, 7)) == 2 * 2 * 3 * 5 * 7


def test_a_convolution():
    run = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
        x, k, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert flops.count(run, shaped(2, 8, 8, 3), shaped(4, 4, 3, 6)) == 2 * (2 * 2 * 2 * 6) * 48


def test_loops_count_each_turn_and_conditions_one_branch():
    def run(x, w):
        x, _ = jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=9)
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x)

    assert flops.count(jax.jit(run), shaped(4, 4), shaped(4, 4)) == 10 * 2 * 4**3


def test_what_has_no_result_is_nothing():
    def run(x):
        jax.debug.callback(lambda _: None, x)
        return x @ x

    assert flops.count(run, shaped(4, 4)) == 2 * 4**3


def test_what_is_frozen_is_counted_forward_alone():
    def loss(trained, frozen, x):
        return jnp.sum((x @ frozen) @ trained)

    shapes = shaped(6, 6), shaped(6, 6), shaped(5, 6)
    once = 2 * 5 * 6 * 6
    assert flops.count(jax.grad(loss), *shapes) in (2 * once, 3 * once)  # the loss itself may go
    both = jax.grad(loss, argnums=(0, 1))
    assert flops.count(both, *shapes) > flops.count(jax.grad(loss), *shapes)


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("cpu", None),
    ],
)
def test_peaks_by_the_longest_name(kind, rate):
    assert flops.peak(kind) == rate
