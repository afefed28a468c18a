# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.models.vit against Hugging Face's ViT, SigLIP and CLIP on torch, and against itself.

Tolerances, float32: 1e-5 for one layer, 1e-4 for a stack, absolute and relative alike.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pali.checkpoints import merge
from pali.models import vit
from pali.models.vit import ViT
from tests.models import parity

LAYER = dict(rtol=1e-5, atol=1e-5)
STACK = dict(rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def pictures():
    size = (3, parity.VIT.image_size, parity.VIT.image_size, 3)
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, size), jnp.uint8)


def as_torch_pixels(pictures):
    """What Hugging Face's image processors make of bytes with mean and deviation 0.5."""
    pixels = (np.asarray(pictures, np.float32) / 255 - 0.5) / 0.5
    return torch.tensor(pixels.transpose(0, 3, 1, 2))


def apply(config, params, pictures):
    return jax.jit(ViT(config).apply)({"params": params}, pictures)


def test_vit_and_its_layers_equal_hugging_face(pictures):
    theirs = parity.hugging_face_vit()
    params = parity.vit_params(theirs)
    calls = [parity.recorded(layer) for layer in theirs.layers]
    with torch.no_grad():
        expected = theirs(as_torch_pixels(pictures)).last_hidden_state.numpy()

    block = jax.jit(vit.Block(parity.VIT).apply)
    for i, [(before, after)] in enumerate(calls):
        layer = {"params": params["Transformer"][f"encoderblock_{i}"]}
        np.testing.assert_allclose(block(layer, before, None)[0], after, **LAYER)

    tokens, pooled, classes = apply(parity.VIT, params, pictures)
    assert pooled is None
    assert classes is None
    # The class token is read by attention but is not a visual token.
    assert tokens.shape == (3, parity.VIT.num_visual_tokens, parity.VIT.width)
    np.testing.assert_allclose(tokens, expected[:, 1:], **STACK)


def test_siglip_its_layers_and_its_pooling_equal_hugging_face(pictures):
    theirs = parity.hugging_face_siglip()
    params = parity.siglip_params(theirs)
    calls = [parity.recorded(layer) for layer in theirs.encoder.layers]
    with torch.no_grad():
        expected = theirs(as_torch_pixels(pictures))

    block = jax.jit(vit.Block(parity.SIGLIP).apply)
    for i, [(before, after)] in enumerate(calls):
        layer = {"params": params["Transformer"][f"encoderblock_{i}"]}
        np.testing.assert_allclose(block(layer, before, None)[0], after, **LAYER)

    tokens, pooled, classes = apply(parity.SIGLIP, params, pictures)
    assert classes is None
    np.testing.assert_allclose(tokens, expected.last_hidden_state.numpy(), **STACK)
    np.testing.assert_allclose(pooled, expected.pooler_output.numpy(), **STACK)


def random_pictures(config):
    size = (3, *config.image_shape, 3)
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, size), jnp.uint8)


def check(config, params, pictures, layers, tokens, pooled=None, classes=None):
    """Layers by themselves, given what went into each; then the whole, with scan and without."""
    block = jax.jit(vit.Block(config).apply)
    for i, [(before, after)] in enumerate(layers):
        layer = {"params": params["Transformer"][f"encoderblock_{i}"]}
        np.testing.assert_allclose(block(layer, before, None)[0], after, **LAYER)
    for scan in (False, True):
        form = merge.stack_layers(params) if scan else params
        seen = apply(dataclasses.replace(config, scan=scan), form, pictures)
        assert seen.tokens.shape[1] == config.num_visual_tokens
        for ours, theirs in zip(seen, (tokens, pooled, classes), strict=True):
            assert (ours is None) == (theirs is None)
            if theirs is not None:
                np.testing.assert_allclose(ours, theirs.numpy(), **STACK)


def test_vit_with_pooler_equals_hugging_face():
    config = parity.POOLED_VIT
    theirs, pictures = parity.hugging_face_vit(config), random_pictures(config)
    layers = [parity.recorded(layer) for layer in theirs.layers]
    with torch.no_grad():
        expected = theirs(as_torch_pixels(pictures))
    tokens = expected.last_hidden_state[:, 1:]
    check(
        config, parity.vit_params(theirs), pictures, layers, tokens, pooled=expected.pooler_output
    )


def test_vit_that_classifies_by_its_class_token_equals_hugging_face():
    config = parity.CLASSIFYING_VIT
    theirs, pictures = parity.hugging_face_vit(config), random_pictures(config)
    layers = [parity.recorded(layer) for layer in theirs.vit.layers]
    final = parity.recorded(theirs.vit.layernorm)
    with torch.no_grad():
        expected = theirs(as_torch_pixels(pictures))
    tokens = torch.tensor(np.asarray(final[0][1]))
    params = parity.vit_params(theirs)
    check(config, params, pictures, layers, tokens[:, 1:], tokens[:, 0], expected.logits)


def test_vit_of_wide_pictures_with_its_class_token_equals_hugging_face():
    config = parity.WIDE_VIT
    theirs, pictures = parity.hugging_face_vit(config), random_pictures(config)
    assert pictures.shape == (3, 12, 28, 3)
    layers = [parity.recorded(layer) for layer in theirs.layers]
    with torch.no_grad():
        tokens = theirs(as_torch_pixels(pictures)).last_hidden_state
    assert tokens.shape[1] == 1 + 3 * 7
    check(config, parity.vit_params(theirs), pictures, layers, tokens)


def test_siglip_2_of_wide_pictures_equals_hugging_face():
    config = parity.WIDE_SIGLIP
    theirs, pictures = parity.hugging_face_siglip2(), random_pictures(config)
    layers = [parity.recorded(layer) for layer in theirs.encoder.layers]
    with torch.no_grad():
        expected = theirs(**parity.siglip2_inputs(as_torch_pixels(pictures)))
    tokens, pooled = expected.last_hidden_state, expected.pooler_output
    check(config, parity.siglip2_params(theirs), pictures, layers, tokens, pooled)


@pytest.fixture(scope="module")
def clip():
    """Their model, our parameters, pictures, and what they make of them."""
    theirs, pictures = parity.hugging_face_clip(), random_pictures(parity.CLIP)
    layers = [parity.recorded(layer) for layer in theirs.encoder.layers]
    with torch.no_grad():
        expected = theirs(as_torch_pixels(pictures))
    return parity.clip_params(theirs), pictures, layers, expected


@pytest.mark.parametrize("visual", [False, True])
def test_clip_equals_hugging_face(clip, visual):
    params, pictures, layers, expected = clip
    config = dataclasses.replace(parity.CLIP, class_token_visual=visual)
    tokens = expected.last_hidden_state[:, int(not visual) :]
    check(config, params, pictures, layers, tokens, expected.pooler_output)


def test_clip_in_bfloat16_is_close_to_float32(clip):
    """Within 2 % of the length of every token, which no final norm has brought to one scale."""
    params, pictures, _, expected = clip
    config = dataclasses.replace(parity.CLIP, dtype="bfloat16")
    tokens, pooled, _ = apply(config, params, pictures)
    assert (tokens.dtype, pooled.dtype) == (jnp.bfloat16, jnp.float32)
    pairs = ((tokens, expected.last_hidden_state[:, 1:]), (pooled, expected.pooler_output))
    for ours, theirs in pairs:
        difference = np.linalg.norm(np.asarray(ours, np.float32) - theirs.numpy(), axis=-1)
        assert (difference / np.linalg.norm(theirs.numpy(), axis=-1)).max() < 0.02


def test_what_patches_do_not_fill_is_cut_as_hugging_face_does(pictures):
    """SigLIP So400m/14 at 384 pixels, which 27 patches of 14 do not fill."""
    config = dataclasses.replace(parity.SIGLIP, image_size=22, cut_rest=True)
    assert config.grid == (5, 5)
    theirs = parity.hugging_face_siglip(config)
    pictures = jnp.pad(pictures, ((0, 0), (0, 2), (0, 2), (0, 0)), constant_values=99)
    with torch.no_grad():
        expected = theirs(as_torch_pixels(pictures)).last_hidden_state.numpy()
    run = jax.jit(functools.partial(ViT(config).apply, {"params": parity.siglip_params(theirs)}))
    ours = run(pictures).tokens
    np.testing.assert_allclose(ours, expected, **STACK)
    other = pictures.at[:, 20:].set(0).at[:, :, 20:].set(255)
    np.testing.assert_array_equal(run(other).tokens, ours)


@pytest.fixture(scope="module")
def siglip():
    return parity.siglip_params(parity.hugging_face_siglip())


def test_bytes_and_their_floats_are_one_picture(siglip, pictures):
    floats = pictures.astype(jnp.float32) / 127.5 - 1
    from_bytes, from_floats = (apply(parity.SIGLIP, siglip, x).tokens for x in (pictures, floats))
    np.testing.assert_allclose(from_bytes, from_floats, rtol=1e-5, atol=1e-5)


def test_a_picture_of_another_size_is_an_error(siglip, pictures):
    with pytest.raises(ValueError, match=r"\(16, 20, 3\).*\(20, 20, 3\).*pali.image.resize"):
        apply(parity.SIGLIP, siglip, pictures[:, :16])


def test_other_pictures_of_the_batch_change_nothing(siglip, pictures):
    together = apply(parity.SIGLIP, siglip, pictures)[:2]
    alone = apply(parity.SIGLIP, siglip, pictures[1:2])[:2]
    for one, all_ in zip(alone, together, strict=True):
        np.testing.assert_allclose(one[0], all_[1], rtol=2e-5, atol=2e-5)


def loss_and_gradients(config, params, pictures):
    def loss(params):
        seen = ViT(config).apply({"params": params}, pictures)
        return jnp.mean(jnp.sin(seen.tokens)) + jnp.mean(jnp.sin(seen.pooled))

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.fixture(scope="module")
def scanned_gradients(siglip, pictures):
    config = dataclasses.replace(parity.SIGLIP, scan=True)
    return loss_and_gradients(config, merge.stack_layers(siglip), pictures)


@pytest.mark.parametrize(
    ("scan", "remat"),
    [(False, "none"), (False, "full"), (True, "full"), (True, "minimal"), (True, "dots")],
)
def test_scan_and_remat_change_neither_the_loss_nor_its_gradients(
    siglip, pictures, scanned_gradients, scan, remat
):
    config = dataclasses.replace(parity.SIGLIP, scan=scan, remat=remat)
    params = merge.stack_layers(siglip) if scan else siglip
    loss, gradients = loss_and_gradients(config, params, pictures)
    expected_loss, expected = scanned_gradients
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    for name, gradient in merge.flatten(merge.stack_layers(gradients)).items():
        np.testing.assert_allclose(gradient, merge.flatten(expected)[name], 1e-4, 1e-6, name)
        assert np.abs(gradient).max() > 0, name


def test_bfloat16_is_close_to_float32(siglip, pictures):
    config = dataclasses.replace(parity.SIGLIP, dtype="bfloat16")
    expected = apply(parity.SIGLIP, siglip, pictures).tokens
    tokens, pooled, _ = apply(config, siglip, pictures)
    assert tokens.dtype == jnp.bfloat16
    assert pooled.dtype == jnp.float32
    difference = np.abs(tokens.astype(jnp.float32) - expected)
    assert difference.mean() < 0.02
    assert difference.max() < 0.15
    products = parity.equations("dot_general", ViT(config).apply, {"params": siglip}, pictures)
    # Patches; 6 products of attention and 2 of the MLP in each block and in the pooling head.
    assert len(products) == 1 + 8 * (config.depth + 1)
    for product in products:
        assert [operand.aval.dtype for operand in product.invars] == [jnp.bfloat16] * 2
        assert product.params["preferred_element_type"] == jnp.float32


def test_classes_come_from_the_pooled_vector(siglip, pictures):
    config = dataclasses.replace(parity.SIGLIP, num_classes=7)
    rng = np.random.default_rng(1)
    head = {"kernel": jnp.asarray(rng.normal(size=(config.width, 7))), "bias": jnp.arange(7.0)}
    pooled = apply(parity.SIGLIP, siglip, pictures).pooled
    seen = apply(config, siglip | {"head": head}, pictures)
    np.testing.assert_allclose(seen.pooled, pooled, **LAYER)
    np.testing.assert_allclose(seen.classes, pooled @ head["kernel"] + head["bias"], **LAYER)


def test_dropout_depends_on_its_key_alone(siglip, pictures):
    config = dataclasses.replace(parity.SIGLIP, dropout=0.2)

    def at_step(step):
        keys = {"dropout": jax.random.fold_in(jax.random.key(7), step)}
        return ViT(config).apply({"params": siglip}, pictures, False, rngs=keys).tokens

    np.testing.assert_array_equal(at_step(3), at_step(3))
    assert np.abs(at_step(3) - at_step(4)).max() > 1e-2
