# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Vision Transformer: image [b h w 3] -> visual tokens [b p d], one for each patch, not pooled.

Pre-norm blocks, learned absolute positions, an optional class token and an optional
attention-pooling (MAP) head, as in "Scaling Vision Transformers" (arXiv 2106.04560) and SigLIP;
with the flags of the config also the ViT of CLIP (arXiv 2103.00020) and ViT-22B (arXiv 2302.05442,
section 2). Parameter names are those of big_vision's `models/vit.py`, and Flax's for norms on
queries and keys: importing their checkpoints is renaming.

The class token is no visual token unless `class_token_visual` asks for it; it has no position of
its own, since adding one to it is the same as having learned another class token.

Einsum letters (pali/types.py): B batch, S queries, T keys, N heads, H head width, D width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from pali.config import Norm, PixelConfig, ViTConfig
from pali.models.layers import (
    BATCH,
    Dense,
    LayerNorm,
    RMSNorm,
    block_stack,
    contract,
    divide,
    gelu,
    project,
)


class Seen(NamedTuple):
    """What a ViT makes of pictures."""

    tokens: Float[Array, "b p d"]
    """Visual tokens in `config.dtype`, after the final norm where it is for all tokens."""
    pooled: Float[Array, "b d"] | None
    """Unless `pool="none"`: one vector for each picture, in float32."""
    classes: Float[Array, "b classes"] | None
    """With `num_classes` as well: the class logits in float32."""


class ViT(nn.Module):
    """Patches, Transformer, and the head that only classification reads."""

    config: ViTConfig

    @nn.compact
    def __call__(
        self, image: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"], deterministic: bool = True
    ) -> Seen:
        """What it makes of the pictures.

        Args:
          image: bytes 0..255, scaled here as `config.pixels` says; or floats, taken as they are.
          deterministic: False turns dropout on, which needs a "dropout" rng.

        Raises:
          ValueError: the picture is not of the configured size.
        """
        cfg = self.config
        if image.shape[1:] != (*cfg.image_shape, 3):
            raise ValueError(
                f"the picture has shape {image.shape[1:]}; this ViT reads "
                f"{(*cfg.image_shape, 3)}: resize it with pali.image.resize"
            )
        x = Patches(cfg, name="embedding")(scale_pixels(image, cfg.pixels))
        positions = self.param(
            "pos_embedding", nn.initializers.normal(cfg.width**-0.5), (1, x.shape[1], cfg.width)
        )
        x = x + positions.astype(x.dtype)
        if cfg.class_token:
            cls = self.param("cls", nn.initializers.zeros_init(), (1, 1, cfg.width))
            x = jnp.concatenate([jnp.tile(cls.astype(x.dtype), (x.shape[0], 1, 1)), x], axis=1)
        x = nn.Dropout(cfg.dropout)(divide(x, BATCH, None, None), deterministic)
        x, normed = Transformer(cfg, name="Transformer")(x, deterministic)

        pooled = classes = None
        if cfg.pool != "none":
            head = MAPHead(cfg, name="MAPHead_0") if cfg.pool == "map" else _first
            pooled = head(normed).astype(jnp.float32)
            if cfg.pre_logits:
                pooled = jnp.tanh(Dense((cfg.width,), name="pre_logits")(pooled))
            if cfg.num_classes:
                classes = Dense((cfg.num_classes,), name="head")(pooled)
        hidden = int(cfg.class_token and not cfg.class_token_visual)
        return Seen(x[:, hidden:], pooled, classes)


def scale_pixels(image: Array, pixels: PixelConfig) -> Float[Array, "b h w 3"]:
    """Bytes 0..255 as the ViT wants them, on the device, so that only bytes travel.

    Floats pass unchanged.
    """
    if image.dtype != jnp.uint8:
        return image
    mean, std = (np.array(value, np.float32) * 255 for value in (pixels.mean, pixels.std))
    return (image.astype(jnp.float32) - mean) / std


def _first(x: Float[Array, "b p d"]) -> Float[Array, "b d"]:
    return x[:, 0]


def make_norm(config: ViTConfig, kind: Norm, name: str) -> nn.Module:
    """The norm of a kind, its parameters under `name`."""
    if kind == "rms":
        return RMSNorm(config.layer_norm_epsilon, config.dtype, name=name)
    bias = kind == "layer"
    return LayerNorm(config.layer_norm_epsilon, config.dtype, use_bias=bias, name=name)


class Patches(nn.Module):
    """A strided convolution, written as the matrix product over patches that it is."""

    config: ViTConfig

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b p d"]:
        """One vector for each patch, row by row from the top left."""
        size, width = self.config.patch_size, self.config.width
        init = nn.initializers.variance_scaling(
            1.0, "fan_in", "truncated_normal", in_axis=(0, 1, 2), out_axis=3
        )
        kernel = self.param("kernel", init, (size, size, 3, width))
        rows, columns = self.config.grid
        image = image[:, : rows * size, : columns * size]  # All of it, unless `cut_rest`.
        b, _, _, c = image.shape
        x = image.reshape(b, rows, size, columns, size, c).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(b, rows * columns, size * size * c)
        x = project(x, kernel.reshape(-1, width), self.config.dtype)
        if self.config.patch_bias:
            x = x + self.param("bias", nn.initializers.zeros_init(), (width,))
        return x.astype(self.config.dtype)


class Transformer(nn.Module):
    """Blocks and the final norm."""

    config: ViTConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "b p d"], deterministic: bool
    ) -> tuple[Float[Array, "b p d"], Float[Array, "b p d"]]:
        """The tokens after all blocks as `final_norm` wants them, and through the final norm."""
        cfg = self.config
        if cfg.embedding_norm:
            x = make_norm(cfg, cfg.norm, "embedding_norm")(x)
        blocks = block_stack(
            Block,
            cfg.depth,
            scan=cfg.scan,
            remat=cfg.remat,
            name="encoderblock",
            config=cfg,
            deterministic=deterministic,
        )
        x, _ = blocks(x, None)
        normed = make_norm(cfg, cfg.norm, "encoder_norm")(x)
        return (normed if cfg.final_norm == "tokens" else x), normed


class Block(nn.Module):
    """Attention on a norm, then an MLP on a norm, each added to its input; or both on one norm."""

    config: ViTConfig
    deterministic: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b p d"], _: None) -> tuple[Float[Array, "b p d"], None]:
        """The form that `block_stack` wants."""
        cfg = self.config
        dropout = nn.Dropout(cfg.dropout, deterministic=self.deterministic)
        attention = Attention(cfg, out_bias=not cfg.parallel, name="MultiHeadDotProductAttention_0")
        mlp = MLP(cfg, name="MlpBlock_0")
        y = make_norm(cfg, cfg.norm, "LayerNorm_0")(x)
        if cfg.parallel:
            return divide(x + dropout(attention(y, y) + mlp(y)), BATCH, None, None), None
        x = divide(x + dropout(attention(y, y)), BATCH, None, None)
        y = make_norm(cfg, cfg.norm, "LayerNorm_1")(x)
        return divide(x + dropout(mlp(y)), BATCH, None, None), None


class Attention(nn.Module):
    """Multi-head attention of `queries` over `keys`; softmax in float32."""

    config: ViTConfig
    out_bias: bool = True

    @nn.compact
    def __call__(
        self, queries: Float[Array, "b s d"], keys: Float[Array, "b t d"]
    ) -> Float[Array, "b s d"]:
        """What each query gathers; every key is seen."""
        cfg = self.config
        init = nn.initializers.xavier_uniform()
        heads = (cfg.num_heads, cfg.head_dim)
        plain: Any = {"dtype": cfg.dtype, "kernel_init": init, "use_bias": cfg.qkv_bias}
        by_head = (BATCH, None, "model", None)
        query = divide(Dense(heads, name="query", **plain)(queries), *by_head)
        key = divide(Dense(heads, name="key", **plain)(keys), *by_head)
        value = divide(Dense(heads, name="value", **plain)(keys), *by_head)
        if cfg.qk_norm:
            query = make_norm(cfg, cfg.qk_norm, "query_ln")(query)
            key = make_norm(cfg, cfg.qk_norm, "key_ln")(key)
        logits = contract("BSNH,BTNH->BNST", query, key, cfg.dtype) * cfg.head_dim**-0.5
        weights = jax.nn.softmax(logits, axis=-1)
        x = contract("BNST,BTNH->BSNH", weights, value, cfg.dtype).astype(cfg.dtype)
        plain["use_bias"] = self.out_bias
        return Dense((cfg.width,), contracted=2, name="out", **plain)(x)


class MLP(nn.Module):
    """Two linear maps with a GELU between."""

    config: ViTConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b p d"]) -> Float[Array, "b p d"]:
        """Each token apart."""
        cfg = self.config
        init = nn.initializers.xavier_uniform()
        bias = nn.initializers.normal(1e-6)
        x = Dense(
            (cfg.mlp_dim,), dtype=cfg.dtype, kernel_init=init, bias_init=bias, name="Dense_0"
        )(x)
        x = gelu(divide(x, BATCH, None, "model"), cfg.gelu)
        return Dense(
            (cfg.width,), dtype=cfg.dtype, kernel_init=init, bias_init=bias, name="Dense_1"
        )(x)


class MAPHead(nn.Module):
    """Multi-head attention pooling: one learned probe attends to all tokens; [b p d] -> [b d]."""

    config: ViTConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b p d"]) -> Float[Array, "b d"]:
        """What the probe gathers."""
        cfg = self.config
        probe = self.param("probe", nn.initializers.xavier_uniform(), (1, 1, cfg.width))
        probe = jnp.tile(probe.astype(x.dtype), (x.shape[0], 1, 1))
        x = Attention(cfg, name="MultiHeadDotProductAttention_0")(probe, x)
        y = make_norm(cfg, cfg.norm, "LayerNorm_0")(x)
        x = x + MLP(cfg, name="MlpBlock_0")(y)
        return x[:, 0]
