# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from pali import optim
from pali.checkpoints import initial, merge
from pali.config import MT5Config, OptimConfig, PaLIConfig, ViTConfig

TINY = PaLIConfig(
    vit=ViTConfig(16, 2, 32, 2, 4, 8, pool="map", num_classes=3),
    mt5=MT5Config(128, 24, 32, 2, 8, 2, 2),
)


@pytest.fixture(scope="module")
def params():
    return initial.random_params(TINY, 0)


def gradients(params, seed=0):
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return structure.unflatten([rng.normal(size=x.shape).astype(np.float32) for x in leaves])


def test_partition_and_join_are_inverse(params):
    trained, frozen = optim.partition(params, ("vit/.*", ".*/relpos_bias/.*"))
    assert set(trained) == {"projection", "mt5"}
    assert set(frozen) == {"vit", "mt5"}
    assert set(frozen["mt5"]["encoder"]) == {"relpos_bias"}
    chex_equal(optim.join(trained, frozen), params)


def test_a_pattern_that_matches_nothing_is_an_error(params):
    with pytest.raises(ValueError, match="'vit' matches no parameter"):
        optim.partition(params, ("vit",))


def test_a_pattern_for_some_layers_of_a_stack_is_an_error(params):
    with pytest.raises(ValueError, match="set scan=False"):
        optim.partition(params, (".*/layers_0/.*",))
    separate = merge.unstack_layers(params)
    _, frozen = optim.partition(separate, (".*/layers_0/.*",))
    assert set(frozen["mt5"]["encoder"]) == {"layers_0"}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_frozen_parameters_have_no_optimizer_slots(params, name):
    trained, _ = optim.partition(params, ("vit/.*",))
    state = optim.optimizer(OptimConfig(name=name), 10).init(trained)
    assert "vit" not in {
        str(k.key)
        for p, _ in jax.tree_util.tree_leaves_with_path(state)
        for k in p
        if isinstance(k, jax.tree_util.DictKey)
    }


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_stacked_layers_are_updated_as_layers_apart(params, name):
    config = OptimConfig(name=name, warmup_steps=0, weight_decay=0.1)

    def after_three_steps(params):
        update = optim.optimizer(config, 10)
        state, update_fn = update.init(params), jax.jit(update.update)
        for step in range(3):
            grads = gradients(merge.stack_layers(params), step)
            if "layers_0" in params["mt5"]["encoder"]:
                grads = merge.unstack_layers(grads)
            updates, state = update_fn(grads, state, params)
            params = optax.apply_updates(params, updates)
        return params

    stacked = after_three_steps(merge.stack_layers(params))
    apart = after_three_steps(merge.unstack_layers(params))
    for name, leaf in merge.flatten(merge.stack_layers(apart)).items():
        np.testing.assert_allclose(merge.flatten(stacked)[name], leaf, atol=2e-6, err_msg=name)


def test_adamw_is_that_of_torch(params):
    config = OptimConfig(
        "adamw", 0.01, warmup_steps=0, schedule="linear", weight_decay=0.1, clip_norm=1e9
    )
    steps, tree = 4, {"kernel": params["projection"]["kernel"]}
    update = optim.optimizer(config, steps)
    state = update.init(tree)
    theirs = torch.nn.Parameter(torch.tensor(np.asarray(tree["kernel"])))
    adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.1)
    for step in range(steps):
        grads = gradients(tree, step)
        updates, state = update.update(grads, state, tree)
        tree = optax.apply_updates(tree, updates)
        for group in adamw.param_groups:
            group["lr"] = float(optim.schedule(config, steps)(step))
        theirs.grad = torch.tensor(grads["kernel"])
        adamw.step()
    np.testing.assert_allclose(tree["kernel"], theirs.detach().numpy(), atol=1e-5)


def test_weight_decay_spares_norms_and_biases(params):
    config = OptimConfig("adamw", 0.1, warmup_steps=0, weight_decay=1.0)
    update = optim.optimizer(config, 10)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = update.update(zeros, update.init(params), params)
    for name, leaf in merge.flatten(updates).items():
        decayed = not name.endswith(("scale", "bias", "probe"))
        assert bool(jnp.any(leaf != 0)) == decayed, name


def test_muon_orthogonalises_every_hidden_matrix_and_nothing_else(params):
    config = OptimConfig("muon", 1.0, warmup_steps=0, clip_norm=1e9)
    update = optim.optimizer(config, 10)
    updates, _ = update.update(gradients(params), update.init(params), params)
    flat = merge.flatten(merge.unstack_layers(updates))
    hidden = {
        "vit/Transformer/encoderblock_1/MultiHeadDotProductAttention_0/query/kernel": (16, 16),
        "vit/Transformer/encoderblock_0/MultiHeadDotProductAttention_0/out/kernel": (16, 16),
        "mt5/decoder/layers_1/mlp/wi_0/kernel": (24, 32),
        "projection/kernel": (16, 24),
    }
    for name, shape in hidden.items():
        values = np.linalg.svd(np.asarray(flat[name]).reshape(shape), compute_uv=False)
        assert values.max() / values.min() < 2.5, name  # Newton-Schulz comes near one, not to it
    outer = (
        "mt5/token_embedder/embedding",
        "vit/embedding/kernel",
        "mt5/decoder/logits_dense/kernel",
    )
    for name in outer:
        steps = np.abs(flat[name])  # Adam's first step is the sign of the gradient, times a number
        np.testing.assert_allclose(steps, steps.max(), rtol=1e-3)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_single_numbers_are_adams_and_do_not_decay(name, decay):
    """What an objective learns beside the model: a temperature, a bias."""
    params = {"auxiliary": {"temperature": jnp.asarray(2.0), "bias": jnp.asarray(-10.0)}}
    config = OptimConfig(name, 0.01, warmup_steps=0, b1=0.9, clip_norm=1e9, weight_decay=decay)
    update = optim.optimizer(config, 10)
    grads = {"auxiliary": {"temperature": jnp.asarray(3.0), "bias": jnp.asarray(-0.2)}}
    step, _ = update.update(grads, update.init(params), params)
    # Adam's first step is the rate in the gradient's direction; beside Muon it looks ahead.
    size = 0.01 * (1 if name == "adamw" else 1 + 0.9 * 0.1 / (1 - 0.9**2))
    np.testing.assert_allclose(step["auxiliary"]["temperature"], -size, rtol=1e-4)
    np.testing.assert_allclose(step["auxiliary"]["bias"], size, rtol=1e-4)


def test_schedules_warm_up_to_the_peak_and_decay():
    at = {
        name: optim.schedule(
            dataclasses.replace(OptimConfig(), schedule=name, warmup_steps=10), 110
        )
        for name in ("cosine", "linear", "rsqrt")
    }
    for schedule in at.values():
        np.testing.assert_allclose([schedule(0), schedule(5), schedule(10)], [0, 5e-4, 1e-3])
    np.testing.assert_allclose([at["cosine"](60), at["cosine"](110)], [5e-4, 0], atol=1e-9)
    np.testing.assert_allclose([at["linear"](60), at["linear"](110)], [5e-4, 0], atol=1e-9)
    np.testing.assert_allclose(at["rsqrt"](40), 5e-4)  # sqrt(10 / 40) of the peak


def chex_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)
