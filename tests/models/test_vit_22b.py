# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.models.vit with what ViT-22B does otherwise, against the same written in torch.

ViT-22B (arXiv 2302.05442, section 2): attention and MLP side by side on one norm, norms on the
queries and keys of each head, no biases in the projections to queries, keys and values nor in the
norms. Its weights are not public; so the reference is written here, from torch's own attention and
norms. Tolerances, float32: 1e-5 for one layer, 1e-4 for a stack.
"""

import itertools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pali.checkpoints import merge
from pali.config import ViTConfig
from pali.models import vit
from pali.models.vit import ViT

VIT_22B = ViTConfig(
    width=24,
    depth=3,
    mlp_dim=40,
    num_heads=4,
    patch_size=4,
    image_size=(12, 20),
    pool="map",
    norm="rms",
    parallel=True,
    qkv_bias=False,
    qk_norm="rms",
    scan=False,
)

# What Flax calls normalize_qk keeps the centring; each flag by itself, too.
CONFIGS = {
    "ViT-22B": VIT_22B,
    "ViT-22B, centred": replace(VIT_22B, norm="centred", qk_norm="centred"),
    "parallel": replace(VIT_22B, norm="layer", qkv_bias=True, qk_norm=None),
    "parallel, norms with biases": replace(VIT_22B, norm="layer", qk_norm="layer"),
    "norms on queries and keys": replace(VIT_22B, norm="layer", qkv_bias=True, parallel=False),
    "no biases": replace(VIT_22B, norm="centred", qk_norm=None, parallel=False),
    "rms norms": replace(VIT_22B, qkv_bias=True, qk_norm="centred", parallel=False),
}


def random_params(config):
    """Every parameter random and nowhere zero or one."""
    image = jnp.zeros((1, *config.image_shape, 3), jnp.uint8)
    init = ViT(replace(config, scan=True)).init  # one layer is traced sooner than all of them
    shapes = merge.unstack_layers(jax.eval_shape(init, jax.random.key(0), image)["params"])
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise = rng.normal(size=leaf.shape)
        if path[-1].key == "scale":
            noise = 1 + 0.3 * noise
        elif path[-1].key == "bias":
            noise = 0.3 * noise
        elif path[-1].key == "kernel":
            noise = 0.2 * noise
        return jnp.asarray(noise, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def pictures(config):
    size = (2, *config.image_shape, 3)
    return jnp.asarray(np.random.default_rng(1).integers(0, 256, size), jnp.uint8)


# The reference. Parameters are pali's tree with torch tensors for leaves.


def norm(x, params, kind, epsilon=1e-6):
    if kind == "rms":
        assert params.keys() == {"scale"}
        return F.rms_norm(x, x.shape[-1:], params["scale"], epsilon)
    assert ("bias" in params) == (kind == "layer")
    return F.layer_norm(x, x.shape[-1:], params["scale"], params.get("bias"), epsilon)


def linear(x, params):
    return F.linear(x, params["kernel"].T, params.get("bias"))


def attention(queries, keys, params, config):
    def heads(x, name):  # -> batch heads length width
        into = params[name]
        assert ("bias" in into) == config.qkv_bias
        x = torch.einsum("btd,dnh->bnth", x, into["kernel"])
        return x + into["bias"][:, None] if config.qkv_bias else x

    query, key, value = heads(queries, "query"), heads(keys, "key"), heads(keys, "value")
    if config.qk_norm:
        query = norm(query, params["query_ln"], config.qk_norm)
        key = norm(key, params["key_ln"], config.qk_norm)
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    out = params["out"]
    kernel = out["kernel"].flatten(0, 1)
    return linear(mixed, {**out, "kernel": kernel})


def mlp(x, params):
    return linear(F.gelu(linear(x, params["Dense_0"]), approximate="tanh"), params["Dense_1"])


def block(x, params, config):
    y = norm(x, params["LayerNorm_0"], config.norm)
    mixed = attention(y, y, params["MultiHeadDotProductAttention_0"], config)
    if config.parallel:
        assert "LayerNorm_1" not in params
        assert "bias" not in params["MultiHeadDotProductAttention_0"]["out"]
        return x + mixed + mlp(y, params["MlpBlock_0"])
    x = x + mixed
    return x + mlp(norm(x, params["LayerNorm_1"], config.norm), params["MlpBlock_0"])


def reference(pixels, params, config):
    """What goes into every block, the tokens and the pooled vector."""
    kernel = params["embedding"]["kernel"].permute(3, 2, 0, 1)
    x = F.conv2d(pixels, kernel, params["embedding"]["bias"], stride=config.patch_size)
    x = x.flatten(2).transpose(1, 2) + params["pos_embedding"]
    states = [x]
    for i in range(config.depth):
        x = block(x, params["Transformer"][f"encoderblock_{i}"], config)
        states.append(x)
    tokens = norm(x, params["Transformer"]["encoder_norm"], config.norm)
    head = params["MAPHead_0"]
    probe = head["probe"].expand(len(x), -1, -1)
    pooled = attention(probe, tokens, head["MultiHeadDotProductAttention_0"], config)
    pooled = pooled + mlp(norm(pooled, head["LayerNorm_0"], config.norm), head["MlpBlock_0"])
    return states, tokens, pooled[:, 0]


def run_reference(config, params, image):
    pixels = torch.tensor(np.asarray(image, np.float32).transpose(0, 3, 1, 2) / 127.5 - 1)
    return reference(pixels, jax.tree.map(lambda a: torch.tensor(np.asarray(a)), params), config)


@pytest.mark.parametrize("name", CONFIGS)
def test_flags_of_vit_22b_equal_the_reference(name):
    config = CONFIGS[name]
    params, image = random_params(config), pictures(config)
    states, tokens, pooled = run_reference(config, params, image)
    layer = jax.jit(vit.Block(config).apply)
    for i, (before, after) in enumerate(itertools.pairwise(states)):
        mine = {"params": params["Transformer"][f"encoderblock_{i}"]}
        ours, _ = layer(mine, jnp.asarray(before.numpy()), None)
        np.testing.assert_allclose(ours, after.numpy(), rtol=1e-5, atol=1e-5)
    for scan in (False, True) if name == "ViT-22B" else (True,):
        form = merge.stack_layers(params) if scan else params
        seen = jax.jit(ViT(replace(config, scan=scan)).apply)({"params": form}, image)
        np.testing.assert_allclose(seen.tokens, tokens.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(seen.pooled, pooled.numpy(), rtol=1e-4, atol=1e-4)


def test_attention_is_flax_own_with_normalised_queries_and_keys():
    """Down to the names of its parameters."""
    config = CONFIGS["ViT-22B, centred"]
    rng = np.random.default_rng(2)
    x = jnp.asarray(rng.normal(size=(2, 7, config.width)), jnp.float32)
    params = random_params(config)["Transformer"]["encoderblock_0"]
    params = params["MultiHeadDotProductAttention_0"]
    theirs = nn.MultiHeadDotProductAttention(
        config.num_heads, normalize_qk=True, use_bias=False, deterministic=True
    )
    expected = theirs.apply({"params": params}, x, x)
    ours = vit.Attention(config, out_bias=False).apply({"params": params}, x, x)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_it_is_close_to_float32():
    """Within 1 % of the length of a token on average, and 2 % of any."""
    params, image = random_params(VIT_22B), pictures(VIT_22B)
    _, tokens, pooled = run_reference(VIT_22B, params, image)
    apply = jax.jit(ViT(replace(VIT_22B, dtype="bfloat16", scan=True)).apply)
    seen = apply({"params": merge.stack_layers(params)}, image)
    for ours, theirs in ((seen.tokens, tokens.numpy()), (seen.pooled, pooled.numpy())):
        difference = np.linalg.norm(np.asarray(ours, np.float32) - theirs, axis=-1)
        share = difference / np.linalg.norm(theirs, axis=-1)
        assert share.mean() < 0.01
        assert share.max() < 0.02
