# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.losses against torch and transformers, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from pali.losses import cross_entropy, sigmoid_contrast


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


def test_contrast_of_different_things_is_the_loss_of_siglip():
    sizes = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2)
    torch.manual_seed(0)
    siglip = transformers.SiglipModel(
        transformers.SiglipConfig(
            text_config=dict(vocab_size=50, max_position_embeddings=6, **sizes),
            vision_config=dict(image_size=8, patch_size=4, **sizes),
        )
    ).eval()
    with torch.no_grad():
        siglip.logit_scale.fill_(1.3)
        siglip.logit_bias.fill_(-2.1)
        theirs = siglip(
            input_ids=torch.randint(0, 50, (5, 6)),
            pixel_values=torch.randn(5, 3, 8, 8),
            return_loss=True,
        )
    # Theirs are vectors of length 1; ours may have any.
    lengths = np.array([[0.2], [3.0], [1.0], [7.0], [0.5]], np.float32)
    ours = sigmoid_contrast(
        jnp.asarray(theirs.image_embeds.numpy() * lengths),
        jnp.asarray(theirs.text_embeds.numpy() * lengths[::-1]),
        jnp.array([4, 0, 9, 1, 2]),
        jnp.asarray(1.3),
        jnp.asarray(-2.1),
    )
    np.testing.assert_allclose(ours.mean(), theirs.loss.item(), rtol=1e-5)


LABELS = np.array([3, 0, 3, 7, 0, 400])
"""Two things come twice."""


@pytest.fixture(scope="module")
def pairs():
    """Vectors of six pictures and their texts, temperature and bias."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2, 6, 5)).astype(np.float32)
    return (*map(jnp.asarray, vectors), jnp.asarray(0.7), jnp.asarray(-1.5))


def contrast(pairs, labels):
    pictures, texts, temperature, bias = pairs
    return sigmoid_contrast(pictures, texts, jnp.asarray(labels), temperature, bias)


def test_pictures_and_texts_of_one_label_belong_together(pairs):
    pictures, texts, temperature, bias = (np.asarray(part, np.float64) for part in pairs)
    expected = []
    for picture, label in zip(pictures, LABELS, strict=True):
        loss = 0.0
        for text, other in zip(texts, LABELS, strict=True):
            cosine = picture @ text / np.linalg.norm(picture) / np.linalg.norm(text)
            probability = 1 / (1 + np.exp(-(np.exp(temperature) * cosine + bias)))
            loss -= np.log(probability if label == other else 1 - probability)
        expected.append(loss)
    np.testing.assert_allclose(contrast(pairs, LABELS), expected, rtol=1e-5)


def test_the_order_of_rows_and_the_numbers_of_labels_mean_nothing(pairs):
    order = np.array([2, 5, 0, 1, 4, 3])
    pictures, texts, *numbers = pairs
    moved = contrast((pictures[order], texts[order], *numbers), LABELS[order])
    np.testing.assert_allclose(moved, contrast(pairs, LABELS)[order], rtol=1e-6)
    renamed = contrast(pairs, 1000 - LABELS)
    np.testing.assert_array_equal(renamed, contrast(pairs, LABELS))


def test_rows_without_a_label_change_nothing(pairs):
    pictures, texts, *numbers = pairs
    known = [0, 2, 3, 5]
    labels = np.where(np.isin(np.arange(6), known), LABELS, -1)

    def loss(pictures, texts, labels):
        return contrast((pictures, texts, *numbers), labels).sum()

    alone = contrast((pictures[np.array(known)], texts[np.array(known)], *numbers), LABELS[known])
    among = contrast(pairs, labels)
    np.testing.assert_allclose(among[np.array(known)], alone, rtol=1e-6)
    np.testing.assert_array_equal(among[np.array([1, 4])], 0)
    for gradient in jax.grad(loss, argnums=(0, 1))(pictures, texts, labels):
        np.testing.assert_array_equal(gradient[np.array([1, 4])], 0)
        assert np.all(np.abs(gradient[np.array(known)]).max(-1) > 0)


def test_a_text_without_a_word_has_finite_gradients(pairs):
    pictures, texts, *numbers = pairs
    empty = texts.at[1].set(0)
    gradient = jax.grad(lambda t: contrast((pictures, t, *numbers), LABELS).sum())(empty)
    assert np.isfinite(gradient).all()
