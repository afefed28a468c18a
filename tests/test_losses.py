# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pali.losses import cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_value_and_gradient_are_those_of_torch(smoothing):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 7, 11)).astype(np.float32) * 3
    targets = rng.integers(0, 11, (5, 7))

    theirs = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        theirs.reshape(-1, 11),
        torch.tensor(targets).reshape(-1),
        label_smoothing=smoothing,
        reduction="sum",
    )
    loss.backward()

    def ours(logits):
        return cross_entropy(logits, jnp.asarray(targets), label_smoothing=smoothing).sum()

    value, gradient = jax.value_and_grad(ours)(jnp.asarray(logits))
    np.testing.assert_allclose(value, loss.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-6)


def test_z_loss_is_its_weight_times_the_squared_log_normaliser():
    logits = jnp.array([[2.0, 1.0, 0.0]])
    log_z = float(np.log(np.exp(logits).sum()))
    plain = cross_entropy(logits, jnp.array([0]))
    np.testing.assert_allclose(
        cross_entropy(logits, jnp.array([0]), z_loss=0.5) - plain, [0.5 * log_z**2], rtol=1e-5
    )


def test_low_precision_logits_are_summed_in_float32():
    logits = jnp.zeros((1, 1000), jnp.bfloat16)
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([3])), [np.log(1000.0)], rtol=1e-6)
