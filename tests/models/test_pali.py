# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.models.pali: how picture and text meet; and the parameter names of every golden model."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pali.checkpoints import merge, pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig, from_json
from pali.models.mt5 import MT5
from pali.models.pali import PaLI
from pali.models.vit import ViT

VIT = ViTConfig(12, 2, 20, num_heads=2, patch_size=4, image_size=12, pool="map", num_classes=5)
LANGUAGE = MT5Config(
    vocab_size=50,
    width=16,
    mlp_dim=24,
    num_heads=2,
    head_dim=6,
    encoder_layers=2,
    decoder_layers=2,
)
CONFIG = PaLIConfig(VIT, LANGUAGE)
P = VIT.num_visual_tokens

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    source = np.where(np.arange(7) < np.array([[7], [4], [2]]), rng.integers(2, 50, (3, 7)), 0)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (3, 12, 12, 3)), jnp.uint8),
        "image_mask": jnp.array([True, True, False]),
        "encoder_input_tokens": jnp.asarray(source, jnp.int32),
        "decoder_input_tokens": jnp.asarray(rng.integers(2, 50, (3, 5)), jnp.int32),
    }


@pytest.fixture(scope="module")
def params(batch):
    shapes = jax.eval_shape(PaLI(CONFIG).init, jax.random.key(0), batch)["params"]
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        scale = 0.3 if len(leaf.shape) < 2 else 1.0 / np.sqrt(leaf.shape[-2])
        return jnp.asarray(rng.normal(1.0 * (path[-1].key == "scale"), scale, leaf.shape), "f4")

    return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def jitted(config, method):
    return jax.jit(functools.partial(PaLI(config).apply, method=method))


def apply(params, *args, config=CONFIG, method="__call__", **kwargs):
    return jitted(config, method)({"params": params}, *args, **kwargs)


def test_visual_tokens_are_projected_and_stand_before_the_text(params, batch):
    tokens = apply(params, batch["image"], method="look")
    assert tokens.shape == (3, P, VIT.width)
    encoded, mask = apply(
        params, tokens, batch["image_mask"], batch["encoder_input_tokens"], method="encode"
    )
    expected = [[seen] * P + [i < n for i in range(7)] for seen, n in ((1, 7), (1, 4), (0, 2))]
    np.testing.assert_array_equal(mask, expected)

    language = {"params": params["mt5"]}
    text = MT5(LANGUAGE).apply(language, batch["encoder_input_tokens"], method="embed")
    pictures = tokens @ params["projection"]["kernel"] + params["projection"]["bias"]
    joined = jnp.concatenate([pictures, text], axis=1)
    by_hand = MT5(LANGUAGE).apply(language, joined, mask, method="encode")
    np.testing.assert_allclose(encoded, by_hand, rtol=1e-5, atol=1e-5)


def test_visual_tokens_made_before_give_the_same_logits(params, batch):
    cached = {name: value for name, value in batch.items() if name != "image"}
    cached["visual_tokens"] = apply(params, batch["image"], method="look")
    np.testing.assert_allclose(apply(params, cached), apply(params, batch), rtol=1e-5, atol=1e-5)


def test_pixels_reach_the_logits_only_where_the_mask_says(params, batch):
    other = dict(batch, image=255 - batch["image"])
    ours, theirs = apply(params, batch), apply(params, other)
    np.testing.assert_array_equal(ours[2], theirs[2])
    for row in (0, 1):
        assert np.abs(ours[row] - theirs[row]).max() > 1e-2


def test_without_a_picture_it_is_the_mt5_alone(params, batch):
    batch = dict(batch, image_mask=jnp.zeros(3, bool))
    alone = MT5(LANGUAGE).apply(
        {"params": params["mt5"]}, batch["encoder_input_tokens"], batch["decoder_input_tokens"]
    )
    # Relative positions: that the text stands P places later changes nothing.
    np.testing.assert_allclose(apply(params, batch), alone, rtol=2e-5, atol=2e-5)


def test_cached_decoding_equals_teacher_forcing(params, batch):
    expected = apply(params, batch)
    tokens = apply(params, batch["image"], method="look")
    encoded, mask = apply(
        params, tokens, batch["image_mask"], batch["encoder_input_tokens"], method="encode"
    )
    cache = PaLI(CONFIG).apply({"params": params}, encoded, mask, 5, method="init_cache")
    for index in range(5):
        last = batch["decoder_input_tokens"][:, index]
        logits, cache = apply(params, cache, last, jnp.int32(index), method="decode_step")
        np.testing.assert_allclose(logits, expected[:, index], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("scan", "remat"), [(False, "none"), (False, "full"), (True, "full")])
def test_scan_and_remat_change_no_logit(params, batch, scan, remat):
    config = PaLIConfig(
        dataclasses.replace(VIT, scan=scan, remat=remat),
        dataclasses.replace(LANGUAGE, scan=scan, remat=remat),
    )
    ours = apply(params if scan else merge.unstack_layers(params), batch, config=config)
    np.testing.assert_allclose(ours, apply(params, batch), rtol=1e-5, atol=1e-5)


def test_one_step_of_dropout_is_one_draw(params, batch):
    model = PaLI(PaLIConfig(VIT, dataclasses.replace(LANGUAGE, dropout=0.2)))
    key = jax.random.key(7, impl="rbg")  # a generator that compiles fast

    @jax.jit
    def at_step(step):
        keys = {"dropout": jax.random.fold_in(key, step)}
        return model.apply({"params": params}, batch, deterministic=False, rngs=keys)

    np.testing.assert_array_equal(at_step(3), at_step(3))
    assert np.abs(at_step(3) - at_step(4)).max() > 1e-2


def test_classify_is_the_vits_own_head(params, batch):
    expected = ViT(VIT).apply({"params": params["vit"]}, batch["image"]).classes
    ours = apply(params, batch["image"], method="classify")
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    assert ours.shape == (3, 5)
    # Without classes, and without even a pooled vector.
    for bare in (dict(num_classes=0), dict(num_classes=0, pool="none")):
        config = PaLIConfig(dataclasses.replace(VIT, **bare), LANGUAGE)
        with pytest.raises(ValueError, match='no classes: .* pool="map" and num_classes'):
            apply(params, batch["image"], config=config, method="classify")


def shapes_of(config, scan):
    config = PaLIConfig(
        dataclasses.replace(config.vit, scan=scan), dataclasses.replace(config.mt5, scan=scan)
    )
    flat = pretrained.expected_arrays(config)
    assert {leaf.dtype for leaf in flat.values()} == {jnp.dtype("float32")}
    return {name: list(leaf.shape) for name, leaf in flat.items()}


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("parameters_*.json")), ids=lambda p: p.stem)
def test_parameter_names_and_shapes_are_golden(path, scan):
    golden = json.loads(path.read_text())
    config = from_json(PaLIConfig, json.dumps(golden["config"]))
    assert shapes_of(config, scan) == golden["parameters"]


def test_published_sizes():
    """mT5-small has 300,176,768 parameters, SigLIP B/16 at 224 pixels 92,884,224 (model cards)."""
    golden = json.loads((GOLDEN / "parameters_mt5_small_siglip_b16.json").read_text())
    count = lambda part: sum(  # noqa: E731
        np.prod(shape) for name, shape in golden["parameters"].items() if name.startswith(part)
    )
    assert count("mt5/") == 300_176_768
    assert count("vit/") == 92_884_224
