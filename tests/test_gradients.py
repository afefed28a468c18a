# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.gradients: a batch in micro-batches has the sums and gradients of the whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pali import objectives, optim
from pali.config import Config, DataConfig, MT5Config, PaLIConfig, ViTConfig
from pali.gradients import gradients
from pali.models.pali import init_params

CLASSES = 5
MODEL = PaLIConfig(
    ViTConfig(8, 1, 16, 2, 4, 8, pool="map", num_classes=CLASSES),
    MT5Config(40, 12, 16, 2, 6, 1, 1),
)
CONFIG = Config(
    MODEL,
    DataConfig("no data are read"),
    class_weight=0.7,
    label_smoothing=0.1,
    z_loss=1e-2,
)


def part(rows, inputs, targets, seed):
    """Rows of random lengths, so that micro-batches hold different numbers of tokens."""
    rng = np.random.default_rng(seed)
    real = np.arange(targets) < rng.integers(1, targets + 1, (rows, 1))
    wanted = np.where(real, rng.integers(2, 40, (rows, targets)), 0)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (rows, 8, 8, 3)), jnp.uint8),
        "image_mask": jnp.asarray(rng.random(rows) < 0.8),
        "encoder_input_tokens": jnp.asarray(rng.integers(0, 40, (rows, inputs)), jnp.int32),
        "decoder_input_tokens": jnp.asarray(np.roll(wanted, 1, 1), jnp.int32),
        "decoder_target_tokens": jnp.asarray(wanted, jnp.int32),
        "decoder_loss_weights": jnp.asarray(real, jnp.float32),
        "label": jnp.asarray(rng.integers(-2, CLASSES + 1, rows), jnp.int32),
    }


PARTS = (part(8, 5, 6, 0), part(4, 3, 3, 1))


@pytest.fixture(scope="module")
def params():
    params = jax.jit(init_params, static_argnums=0)(MODEL, jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, 0.2, x.shape), "f4"), params)


def computed(config, params, parts, freeze=()):
    objective = objectives.of(config)
    trained, frozen = optim.partition(params, freeze) if freeze else (params, {})
    run = jax.jit(lambda trained: gradients(objective, config, trained, frozen, parts, None))
    return run(trained)


def assert_equal(found, wanted):
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
    ):
        size = np.abs(theirs).max()
        # Sums in another order, each step of which rounds to 6e-8 of what it adds, most of which
        # cancels. (The bias of keys has no gradient at all, since a softmax does not see it.)
        # Counts of micro-batches in place of the batch's would be off by tenths.
        assert np.abs(ours - theirs).max() <= 1e-5 * size + 1e-7, path
        assert size > 0 or "exact" in jax.tree_util.keystr(path), path


def test_four_micro_batches_are_one_batch(params):
    grads, sums = whole = computed(CONFIG, params, PARTS)
    assert_equal(computed(dataclasses.replace(CONFIG, accumulate=4), params, PARTS), whole)
    assert grads.keys() == params.keys()
    # What the sums are divided by is known before them, and differs between micro-batches.
    counts = objectives.counts(CONFIG, PARTS)
    assert counts.keys() == {"count", "class_count"}
    for name, count in counts.items():
        np.testing.assert_allclose(count, sums[name], rtol=1e-6)
        micro = [[{k: v[i::4] for k, v in part.items()} for part in PARTS] for i in range(4)]
        assert len({float(objectives.counts(CONFIG, parts)[name]) for parts in micro}) > 1


def test_classes_alone_add_up_as_well(params):
    config = dataclasses.replace(CONFIG, objective="classify", class_weight=0.0)
    pictures = ({name: PARTS[0][name] for name in ("image", "label")},)
    vit = {"vit": params["vit"]}
    whole = computed(config, vit, pictures)
    found = computed(dataclasses.replace(config, accumulate=2), vit, pictures)
    np.testing.assert_allclose(found[1]["count"], whole[1]["count"])
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_rows_that_cannot_be_cut_are_an_error(params):
    with pytest.raises(ValueError, match="accumulate is 8, which does not divide the 4 rows"):
        computed(dataclasses.replace(CONFIG, accumulate=8), params, PARTS)


def test_what_is_frozen_has_no_gradient_and_costs_no_product(params):
    config = dataclasses.replace(CONFIG, class_weight=0.0)
    objective = objectives.generate(config)

    def products(freeze):
        """Matrix products beside those of the forward pass, loops counted once."""
        trained, frozen = optim.partition(params, freeze)

        def run(trained, frozen):
            return gradients(objective, config, trained, frozen, PARTS, None)

        jaxpr, shapes = jax.make_jaxpr(run, return_shape=True)(trained, frozen)
        assert set(shapes[0]) == set(trained)
        return str(jaxpr).count("dot_general") - forward

    forward = str(jax.make_jaxpr(lambda p: objective(p, PARTS, None))(params)).count("dot_general")
    # Of each part of the batch one product: its states and what its logits are wrong by.
    assert products(("(?!mt5/decoder/logits_dense/).*",)) == len(PARTS)
    # The ViT looks once at all parts, and has nothing to learn.
    assert products(("vit/.*",)) < 2 * forward
