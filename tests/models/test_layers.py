# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.models.layers: what the parity tests of the two backbones cannot see."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pali.models.layers import Dense, LayerNorm, RMSNorm, block_stack, contract


def test_contract_accumulates_in_float32():
    ones = jnp.ones((1, 4096))
    # Summed in bfloat16, 256 + 1 is 256 again.
    assert contract("ij,kj->ik", ones, ones, "bfloat16") == 4096
    assert contract("ij,kj->ik", ones, ones, "bfloat16").dtype == jnp.float32


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_norms_compute_in_float32_and_return_their_dtype(norm):
    x = (1000 + jnp.arange(64.0)).reshape(1, 64)
    params = norm().init(jax.random.key(0), x)
    low = norm(dtype="bfloat16").apply(params, x)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_array_equal(low, norm().apply(params, x).astype(jnp.bfloat16))


def test_kernels_of_many_axes_start_as_the_matrix_they_stand_for():
    x = jnp.ones((1, 8, 32))
    init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    kernel = Dense((64,), contracted=2, kernel_init=init).init(jax.random.key(0), x)["params"]
    assert kernel["kernel"].shape == (8, 32, 64)
    assert np.std(kernel["kernel"]) == pytest.approx(256**-0.5, rel=0.05)


class Drop(nn.Module):
    @nn.compact
    def __call__(self, x, per_layer, factor):
        y = nn.Dropout(0.5, deterministic=False)(jnp.ones_like(x))
        return x + factor * per_layer, y


class Stack(nn.Module):
    scan: bool

    @nn.compact
    def __call__(self, x, per_layer, factor):
        return block_stack(Drop, 3, scan=self.scan, remat=False, name="layers")(
            x, per_layer, factor
        )


@pytest.mark.parametrize("scan", [False, True])
def test_a_stack_hands_each_layer_its_own_part_and_its_own_dropout(scan):
    x = jnp.zeros((2, 50))
    rngs = {"dropout": jax.random.key(0)}
    y, masks = Stack(scan).apply({}, x, jnp.array([1.0, 10.0, 100.0]), 2.0, rngs=rngs)
    np.testing.assert_array_equal(y, np.full((2, 50), 222.0))
    assert masks.shape == (3, 2, 50)
    assert len({np.asarray(mask).tobytes() for mask in masks}) == 3
