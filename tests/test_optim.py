# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
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
    return jax.device_put(initial.random_params(TINY, 0))


def gradients(params, seed=0):
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return structure.unflatten([jnp.asarray(rng.normal(size=x.shape), "f4") for x in leaves])


def change(update, grads, params):
    """What the first step adds to the parameters."""
    after, _ = update.apply(grads, update.init(params), params)
    return jax.tree.map(lambda new, old: new - old, after, params)


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


@pytest.mark.parametrize("name", ["adamw", "muon", "adafactor"])
def test_frozen_parameters_have_no_optimizer_slots(params, name):
    trained, _ = optim.partition(params, ("vit/.*",))
    state = optim.optimizer(OptimConfig(name=name), 10).init(trained)
    assert "vit" not in {
        str(k.key)
        for p, _ in jax.tree_util.tree_leaves_with_path(state)
        for k in p
        if isinstance(k, jax.tree_util.DictKey)
    }


@pytest.mark.parametrize("name", ["adamw", "muon", "adafactor"])
def test_stacked_layers_are_updated_as_layers_apart(params, name):
    decay = 0.0 if name == "adafactor" else 0.1
    config = OptimConfig(name=name, warmup_steps=0, weight_decay=decay)

    def after_three_steps(params):
        update = optim.optimizer(config, 10)
        state, update_fn = update.init(params), jax.jit(update.apply)
        for step in range(3):
            grads = gradients(merge.stack_layers(params), step)
            if "layers_0" in params["mt5"]["encoder"]:
                grads = merge.unstack_layers(grads)
            params, state = update_fn(grads, state, params)
        return params

    stacked = after_three_steps(merge.stack_layers(params))
    apart = after_three_steps(merge.unstack_layers(params))
    for name, leaf in merge.flatten(merge.stack_layers(apart)).items():
        np.testing.assert_allclose(merge.flatten(stacked)[name], leaf, atol=1e-6, err_msg=name)


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
        for group in adamw.param_groups:
            group["lr"] = float(optim.schedule(config, steps)(step))
        theirs.grad = torch.tensor(np.asarray(grads["kernel"]))
        adamw.step()
        tree, state = update.apply(grads, state, tree)
    np.testing.assert_allclose(tree["kernel"], theirs.detach().numpy(), atol=1e-5)


def test_weight_decay_spares_norms_and_biases(params):
    config = OptimConfig("adamw", 0.1, warmup_steps=0, weight_decay=1.0)
    update = optim.optimizer(config, 10)
    zeros = jax.tree.map(jnp.zeros_like, params)
    for name, leaf in merge.flatten(change(update, zeros, params)).items():
        decayed = not name.endswith(("scale", "bias", "probe"))
        assert bool(jnp.any(leaf != 0)) == decayed, name


def test_muon_orthogonalises_every_hidden_matrix_and_nothing_else(params):
    config = OptimConfig("muon", 1.0, warmup_steps=0, clip_norm=1e9)
    update = optim.optimizer(config, 10)
    changes = change(update, gradients(params), params)
    flat = merge.flatten(merge.unstack_layers(changes))
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
    step = change(update, grads, params)
    # Adam's first step is the rate in the gradient's direction; beside Muon it looks ahead.
    size = 0.01 * (1 if name == "adamw" else 1 + 0.9 * 0.1 / (1 - 0.9**2))
    np.testing.assert_allclose(step["auxiliary"]["temperature"], -size, rtol=1e-4)
    np.testing.assert_allclose(step["auxiliary"]["bias"], size, rtol=1e-4)


def test_schedules_warm_up_to_the_peak_and_decay():
    at = {
        name: optim.schedule(
            dataclasses.replace(OptimConfig(), schedule=name, warmup_steps=10), 110
        )
        for name in ("cosine", "linear", "rsqrt", "constant")
    }
    for schedule in at.values():
        np.testing.assert_allclose([schedule(0), schedule(5), schedule(10)], [0, 5e-4, 1e-3])
    np.testing.assert_allclose([at["cosine"](60), at["cosine"](110)], [5e-4, 0], atol=1e-9)
    np.testing.assert_allclose([at["linear"](60), at["linear"](110)], [5e-4, 0], atol=1e-9)
    np.testing.assert_allclose(at["rsqrt"](40), 5e-4)  # sqrt(10 / 40) of the peak
    np.testing.assert_allclose([at["constant"](60), at["constant"](110)], 1e-3)


def test_the_rates_of_pali_are_those_of_t5x():
    """constant * linear_warmup * rsqrt_decay: base · min(1, t / warmup) / sqrt(max(t, warmup))."""
    warmup, base = 1000, 1e-2 * 1000**0.5
    config = OptimConfig("adafactor", 1e-2, warmup, "rsqrt", clip_norm=None)
    rate = optim.schedule(config, 382_000)
    for step in (0, 1, 500, 999, 1000, 1001, 4000, 381_999):
        theirs = base * min(1, step / warmup) / max(step, warmup) ** 0.5
        # The warm-up is a difference from the peak, so its rounding is that of the peak.
        np.testing.assert_allclose(rate(step), theirs, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_clipping_is_by_the_norm_of_the_whole_gradient_or_not_at_all(params, name):
    kept, params = {}, params["projection"]
    grads = gradients(params)
    norm = float(np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(grads))))
    halved = jax.tree.map(lambda leaf: leaf / 2, grads)
    for clip, tree in ((None, grads), (norm / 2, grads), (None, halved), (2 * norm, grads)):
        update = optim.optimizer(OptimConfig(name, 0.1, 0, "constant", clip_norm=clip), 10)
        # The first step does not show the size of a gradient; what is kept of it does.
        _, kept[clip, tree is halved] = update.apply(tree, update.init(params), params)
    chex_close(kept[norm / 2, False], kept[None, True])
    chex_close(kept[2 * norm, False], kept[None, False])


def chex_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def chex_close(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7), left, right)
