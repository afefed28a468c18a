# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters beside the kernels of a tiny model: peft's formula, merging, freezing, devices."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pali import lora, optim, sharding
from pali.checkpoints import merge, pretrained
from pali.config import LoRAConfig, MT5Config, PaLIConfig, ViTConfig
from pali.mesh_config import MeshConfig
from pali.models.layers import Dense
from pali.models.pali import PaLI

MODEL = PaLIConfig(
    ViTConfig(width=16, depth=2, mlp_dim=32, num_heads=2, patch_size=8, image_size=16),
    MT5Config(96, 16, 24, 2, 6, encoder_layers=2, decoder_layers=2),
)
CONFIG = LoRAConfig(rank=3, alpha=5.0)


def unscanned(config):
    halves = (dataclasses.replace(half, scan=False) for half in (config.vit, config.mt5))
    return PaLIConfig(*halves)


def random_tree(expected, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(scale=0.3, size=leaf.shape), jnp.float32), expected
    )


def filled(params, seed=1):
    """The same, no adapter of zeros."""
    rng = np.random.default_rng(seed)
    flat = merge.flatten(params)
    for name, leaf in flat.items():
        if name.endswith("lora_b"):
            flat[name] = jnp.asarray(rng.normal(scale=0.3, size=leaf.shape), jnp.float32)
    return merge.unflatten(flat)


@pytest.fixture(scope="module")
def params():
    return random_tree(pretrained.expected_params(MODEL))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(2)
    arrays = {
        "image": rng.integers(0, 255, (2, 16, 16, 3)).astype(np.uint8),
        "image_mask": np.ones(2, bool),
        "encoder_input_tokens": rng.integers(1, 96, (2, 5)).astype(np.int32),
        "decoder_input_tokens": rng.integers(1, 96, (2, 4)).astype(np.int32),
    }
    return jax.tree.map(jnp.asarray, arrays)


@pytest.fixture(scope="module")
def logits(batch):
    return jax.jit(lambda params: PaLI(MODEL).apply({"params": params}, batch))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.01)])
def test_an_adapted_layer_computes_what_peft_defines(dtype, tolerance):
    rng = np.random.default_rng(0)
    x, w, a, b = (
        rng.normal(size=shape).astype(np.float32) for shape in [(2, 4, 7), (7, 6), (7, 3), (3, 6)]
    )
    # peft keeps the factors as torch.nn.Linear does: A [r k], B [n r].
    base, down, up = (torch.nn.Linear(*m.shape, bias=False) for m in (w, a, b))
    with torch.no_grad():
        for layer, matrix in ((base, w), (down, a), (up, b)):
            layer.weight.copy_(torch.from_numpy(matrix.T))
        expected = base(torch.from_numpy(x)) + up(down(torch.from_numpy(x))) * (5.0 / 3)
    layer = {"kernel": w, "lora_a": a, "lora_b": b}
    own = {"mt5": {"wo": jax.tree.map(jnp.asarray, layer)}}
    scaled = lora.scaled(CONFIG, own)["mt5"]["wo"]
    found = Dense((6,), use_bias=False, dtype=dtype).apply({"params": scaled}, jnp.asarray(x))
    error = np.linalg.norm(np.asarray(found, np.float32) - expected.numpy())
    assert error < tolerance * np.linalg.norm(expected.numpy())  # bfloat16 has 2^-8 of a number
    (kernel,) = merge.flatten(lora.merged(CONFIG, own)).values()
    np.testing.assert_allclose(x @ kernel, expected.numpy(), atol=1e-5)


def test_the_first_step_starts_from_the_model_and_adapters_change_it(params, logits):
    adapted = lora.added(CONFIG, params, seed=0)
    before = logits(params)
    np.testing.assert_array_equal(logits(lora.scaled(CONFIG, adapted)), before)
    changed = logits(lora.scaled(CONFIG, filled(adapted)))
    assert np.abs(changed - before).max() > 0.1


def test_merged_and_unmerged_answer_alike(params, logits):
    adapted = filled(lora.added(CONFIG, params, seed=0))
    merged = lora.merged(CONFIG, adapted)
    merge.check_shapes(merge.flatten(merged), merge.flatten(params))
    unmerged = logits(lora.scaled(CONFIG, adapted))
    np.testing.assert_allclose(logits(merged), unmerged, rtol=1e-4, atol=1e-4)
    # As from a checkpoint: adapters with their layers apart beside stacked kernels.
    trained, frozen = optim.partition(adapted, (".*",))
    apart = lora.merged(CONFIG, optim.join(merge.unstack_layers(trained), frozen))
    expected = merge.flatten(merge.unstack_layers(merged))
    found = merge.flatten(apart)
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_allclose(found[name], leaf, atol=1e-6, err_msg=name)


def test_stacked_and_separate_layers_have_the_same_adapters(params, batch, logits):
    apart = lora.added(CONFIG, merge.unstack_layers(params), seed=7)
    stacked = lora.added(CONFIG, params, seed=7)
    left, right = (merge.flatten(merge.unstack_layers(tree)) for tree in (apart, stacked))
    assert left.keys() == right.keys()
    for name, leaf in left.items():
        np.testing.assert_array_equal(leaf, right[name], err_msg=name)
    ones = {name for name in left if name.endswith("lora_a")}
    assert len({left[name].tobytes() for name in ones}) == len(ones) == 2 * 7 + 2 * 11
    # As peft begins: uniform within 1 / sqrt(16).
    wide = np.concatenate([np.ravel(left[n]) for n in ones if left[n].shape[0] == 16])
    assert 0.24 < np.abs(wide).max() <= 0.25
    assert abs(wide.mean()) < 0.02
    # And the model reads them alike.
    both = filled(stacked)
    found = PaLI(unscanned(MODEL)).apply(
        {"params": lora.scaled(CONFIG, merge.unstack_layers(both))}, batch
    )
    np.testing.assert_allclose(found, logits(lora.scaled(CONFIG, both)), rtol=1e-4, atol=1e-4)


def test_only_adapters_are_trained_and_kept(params):
    adapted = lora.added(CONFIG, params, seed=0)
    freeze = ("vit/.*", "projection/.*", *lora.frozen(CONFIG))
    trained, frozen = optim.partition(adapted, freeze)
    assert all(name.endswith(("lora_a", "lora_b")) for name in merge.flatten(trained))
    assert merge.fingerprint(frozen) == merge.fingerprint(params)
    update = optim.optimizer(dataclasses.replace(optim.OptimConfig(), name="adamw"), 10)
    slots = jax.tree.leaves(jax.eval_shape(update.init, trained))
    size = sum(leaf.size for leaf in jax.tree.leaves(trained))
    assert sum(leaf.size for leaf in slots) <= 2 * size + 4


def test_no_gradient_of_a_frozen_kernel_is_made(params, batch):
    """Nothing of the shape of wi_0's kernel [16 24] is a product, of which its gradient is one."""

    def products(freeze, lora_config):
        adapted = lora.added(lora_config, params, seed=0)
        trained, frozen = optim.partition(adapted, freeze)

        def loss(trained):
            own = lora.scaled(lora_config, optim.join(trained, frozen))
            return PaLI(MODEL).apply({"params": own}, batch).sum()

        program = jax.jit(jax.grad(loss)).lower(trained).compile().as_text()
        return re.findall(r"f32\[16,24\]\S* dot\(", program)

    assert products(("vit/.*",), LoRAConfig())
    assert not products(("vit/.*", *lora.frozen(CONFIG)), CONFIG)


def test_every_adapter_of_a_big_model_has_a_rule_and_a_mesh_divides_it():
    from pali.models.presets import pali

    expected = pretrained.expected_params(pali("pali-17b"))
    adapted = jax.eval_shape(lambda tree: lora.added(LoRAConfig(rank=16), tree, 0), expected)
    mesh = MeshConfig(data=1, fsdp=8, model=4)
    sharding.check(mesh, adapted)
    shapes = sharding.shard_shapes(mesh, adapted)
    layer = "mt5/decoder/layers/mlp"
    assert shapes[f"{layer}/wi_0/lora_a"] == (24, 4096 // 8, 16)
    assert shapes[f"{layer}/wi_0/lora_b"] == (24, 16, 10240 // 4)
    assert shapes[f"{layer}/wo/lora_a"] == (24, 10240 // 4, 16)
    assert shapes[f"{layer}/wo/lora_b"] == (24, 16, 4096 // 8)


def test_what_cannot_be_adapted_is_said(params):
    def add(**fields):
        lora.added(LoRAConfig(rank=2, **fields), params, 0)

    with pytest.raises(ValueError, match=r"'mt5/.*' matches mt5/.*, which cannot be adapted"):
        add(targets=(r"mt5/.*",))
    with pytest.raises(ValueError, match=r"lora.targets pattern 'mt5/x' matches no parameter"):
        add(targets=("mt5/x",))
    with pytest.raises(ValueError, match=r"layers_0.* but not every layer of its stack"):
        add(targets=(r"mt5/encoder/layers_0/mlp/\w+/kernel",))
    with pytest.raises(ValueError, match=r"lora.rank is 13, above the 12 that an update of .*/key"):
        lora.added(LoRAConfig(rank=13), params, 0)
    assert lora.added(LoRAConfig(), params, 0) is params
