# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.losses against torch, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pali.losses import cross_entropy, word_contrast


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


@pytest.fixture(scope="module")
def compared():
    """Four pictures of three patches, six words; each picture's own; which are asked about."""
    rng = np.random.default_rng(1)
    patches = rng.normal(size=(4, 3, 5)).astype(np.float32)
    words = rng.normal(size=(6, 5)).astype(np.float32)
    right = np.array([[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6, [1, 1, 0, 0, 1, 0]], bool)
    asked = np.array([1, 1, 1, 1, 1, 0], bool)
    return tuple(map(jnp.asarray, (patches, words, asked, right, np.float32(0.7))))


def test_the_word_contrast_is_a_cross_entropy_of_soft_maxima_over_patches(compared):
    patches, words, asked, right, temperature = compared
    expected = []
    for picture, own in zip(np.asarray(patches, np.float64), right, strict=True):
        scores = []
        for word in np.asarray(words, np.float64)[asked]:
            lengths = np.linalg.norm(picture, axis=1) * np.linalg.norm(word)
            scores.append(np.log(np.exp(np.exp(temperature) * (picture @ word) / lengths).sum()))
        shares = np.exp(scores) / np.exp(scores).sum()
        own = own[asked]
        expected.append(-np.log(shares[own]).mean() if own.any() else 0.0)
    np.testing.assert_allclose(word_contrast(*compared), expected, rtol=1e-5)


def test_one_patch_and_one_word_are_a_classification_by_cosine(compared):
    patches, words, _, _, temperature = compared
    own = np.array([3, 0, 5, 1])
    cosines = torch.nn.functional.cosine_similarity(
        torch.tensor(np.asarray(patches[:, :1])), torch.tensor(np.asarray(words)), dim=-1
    )
    theirs = torch.nn.functional.cross_entropy(
        float(np.exp(temperature)) * cosines, torch.tensor(own), reduction="none"
    )
    ours = word_contrast(
        patches[:, :1], words, jnp.ones(6, bool), jnp.arange(6) == own[:, None], temperature
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_lengths_of_vectors_and_the_order_of_words_mean_nothing(compared):
    patches, words, asked, right, temperature = compared
    order = np.array([2, 5, 0, 1, 4, 3])
    moved = word_contrast(
        7 * patches, 0.3 * words[order], asked[order], right[:, order], temperature
    )
    np.testing.assert_allclose(moved, word_contrast(*compared), rtol=1e-5)


def test_words_not_asked_about_and_pictures_without_words_get_no_gradient(compared):
    patches, words, asked, right, temperature = compared

    def loss(patches, words):
        return word_contrast(patches, words, asked, right, temperature).sum()

    to_patches, to_words = jax.grad(loss, argnums=(0, 1))(patches, words)
    np.testing.assert_array_equal(to_words[5], 0)
    np.testing.assert_array_equal(to_patches[2], 0)
    assert np.all(np.abs(to_words[:5]).max(-1) > 0)
    nothing = jax.grad(loss)(jnp.zeros_like(patches), words)
    assert np.isfinite(nothing).all()
