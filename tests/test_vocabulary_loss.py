# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.vocabulary_loss against the plain loss of all logits, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pali import losses, vocabulary_loss
from pali.models.layers import project
from pali.vocabulary_loss import parts

B, T, D, V = 3, 7, 16, 37


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(B, T, D)).astype(np.float32)
    kernel = rng.normal(size=(D, V)).astype(np.float32)
    targets = (states @ kernel).argmax(-1)  # right in places
    targets = np.where(rng.random((B, T)) < 0.5, rng.integers(0, V, (B, T)), targets)
    weights = rng.uniform(0.1, 2, (B, T)).astype(np.float32)
    weights[0, 4:] = 0
    return tuple(map(jnp.asarray, (states, kernel, targets.astype(np.int32), weights)))


def plain(dtype, smoothing, z_loss, states, kernel, targets, weights):
    logits = project(states, kernel, dtype)
    loss = losses.cross_entropy(logits, targets, label_smoothing=smoothing, z_loss=z_loss)
    return 0.3 * (loss * weights).sum(), logits.argmax(-1) == targets


def in_parts(dtype, chunks, smoothing, z_loss, *given):
    settings = {"label_smoothing": smoothing, "z_loss": z_loss, "dtype": dtype, "chunks": chunks}
    found = vocabulary_loss.vocabulary_loss(*given, **settings)
    return 0.3 * found.loss, found.right


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(vocabulary_loss, "FEWEST", 1)


@pytest.mark.parametrize(
    ("chunks", "smoothing", "z_loss"),
    [(1, 0.1, 1e-2), (3, 0.0, 0.0), (3, 0.1, 1e-2), (99, 0.1, 0.0)],
)
def test_value_and_gradients_are_those_of_the_plain_loss(
    given, small_parts, chunks, smoothing, z_loss
):
    expected = jax.value_and_grad(
        lambda *a: plain(jnp.float32, smoothing, z_loss, *a), argnums=(0, 1, 3), has_aux=True
    )(*given)
    found = jax.jit(
        jax.value_and_grad(
            lambda *a: in_parts(jnp.float32, chunks, smoothing, z_loss, *a),
            argnums=(0, 1, 3),
            has_aux=True,
        )
    )(*given)
    (loss, right), grads = found
    (wanted_loss, wanted_right), wanted_grads = expected
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-6)
    np.testing.assert_array_equal(right, wanted_right)
    assert 0 < right.sum() < right.size
    for ours, theirs in zip(grads, wanted_grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def test_in_bfloat16_it_is_as_near_as_the_plain_one(given, small_parts):
    states, *others = given
    low = (states.astype(jnp.bfloat16), *others)
    exact = jax.grad(lambda *a: plain(jnp.float32, 0.1, 1e-2, *a)[0], (0, 1))(
        low[0].astype(jnp.float32), low[1].astype(jnp.bfloat16).astype(jnp.float32), *low[2:]
    )
    wanted, right = plain(jnp.bfloat16, 0.1, 1e-2, *low)
    loss, found_right = in_parts(jnp.bfloat16, 3, 0.1, 1e-2, *low)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    np.testing.assert_array_equal(found_right, right)
    for function in (
        lambda *a: plain(jnp.bfloat16, 0.1, 1e-2, *a)[0],
        lambda *a: in_parts(jnp.bfloat16, 3, 0.1, 1e-2, *a)[0],
    ):
        grads = jax.grad(function, (0, 1))(*low)
        assert [g.dtype for g in grads] == [jnp.bfloat16, jnp.float32]
        for ours, theirs in zip(grads, exact, strict=True):
            # Half a unit of bfloat16's last place is 1 / 512.
            assert np.abs(np.asarray(ours, "f4") - theirs).max() < 2**-8 * np.abs(theirs).max()


def products(function, *given):
    """Matrix products that are computed, loops counted once."""
    return str(jax.make_jaxpr(function)(*given)).count("dot_general")


@pytest.mark.parametrize("chunks", [1, 3])
def test_nothing_is_computed_twice_nor_for_what_is_frozen(given, small_parts, chunks):
    def loss(*given):
        return in_parts(jnp.float32, chunks, 0.0, 1e-4, *given)[0]

    assert products(loss, *given) == 1
    assert products(jax.grad(loss, (0, 1)), *given) == 3
    assert products(jax.grad(loss), *given) == 2
    assert products(jax.grad(loss, 1), *given) == 2


def test_parts_are_of_whole_positions_and_never_small():
    assert parts(8, 32, 8) == 1  # 256 positions in all
    assert parts(64, 32, 8) == 8
    assert parts(64, 32, 1) == 1
    assert parts(1024, 3, 8) == 3
    assert parts(1024, 24, 7) == 6  # four positions each


def test_logits_of_all_positions_are_never_there():
    shapes = ((32, 64, 32), (32, 4096), (32, 64), (32, 64))
    given = [
        jax.ShapeDtypeStruct(shape, kind)
        for shape, kind in zip(shapes, ("f4", "f4", "i4", "f4"), strict=True)
    ]

    def planned(chunks):
        def loss(*given):
            return in_parts(jnp.float32, chunks, 0.0, 1e-4, *given)[0]

        compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*given).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    logits = 32 * 64 * 4096 * 4
    assert planned(1) > logits
    assert planned(8) < 2 * logits / 8 + 3 * 4 * 32 * 4096
