# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Vision Transformer: image [b h w 3] -> visual tokens [b p d], one for each patch, not pooled.

Pre-LN blocks with biases, learned absolute positions, an optional class token and an optional
attention-pooling (MAP) head, as in "Scaling Vision Transformers" (arXiv 2106.04560) and SigLIP.
Parameter names are those of big_vision's `models/vit.py`: importing its checkpoints is renaming.

Einsum letters (pali/types.py): B batch, S queries, T keys, N heads, H head width, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from pali.config import ViTConfig
from pali.models.layers import Dense, LayerNorm, block_stack, contract, gelu, project


class Seen(NamedTuple):
    """What a ViT makes of pictures."""

    tokens: Float[Array, "b p d"]
    """Visual tokens in `config.dtype`, after the final LayerNorm, the class token left out."""
    pooled: Float[Array, "b d"] | None
    """With `pool="map"`: one vector for each picture, in float32."""
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
          image: bytes 0..255, scaled here to [-1, 1]; or floats, taken as they are.
          deterministic: False turns dropout on, which needs a "dropout" rng.

        Raises:
          ValueError: the picture is not of the configured size.
        """
        cfg = self.config
        if image.shape[1:] != (cfg.image_size, cfg.image_size, 3):
            raise ValueError(
                f"the picture has shape {image.shape[1:]}; this ViT reads "
                f"({cfg.image_size}, {cfg.image_size}, 3): resize it with pali.image.resize"
            )
        x = Patches(cfg, name="embedding")(scale_pixels(image))
        positions = self.param(
            "pos_embedding", nn.initializers.normal(cfg.width**-0.5), (1, x.shape[1], cfg.width)
        )
        x = x + positions.astype(x.dtype)
        if cfg.class_token:
            cls = self.param("cls", nn.initializers.zeros_init(), (1, 1, cfg.width))
            x = jnp.concatenate([jnp.tile(cls.astype(x.dtype), (x.shape[0], 1, 1)), x], axis=1)
        x = nn.Dropout(cfg.dropout)(x, deterministic)
        x = Transformer(cfg, name="Transformer")(x, deterministic)

        pooled = classes = None
        if cfg.pool == "map":
            pooled = MAPHead(cfg, name="MAPHead_0")(x).astype(jnp.float32)
            if cfg.num_classes:
                classes = Dense((cfg.num_classes,), name="head")(pooled)
        return Seen(x[:, int(cfg.class_token) :], pooled, classes)


def scale_pixels(image: Array) -> Float[Array, "b h w 3"]:
    """Bytes 0..255 to [-1, 1], on the device, so that only bytes travel; floats pass unchanged."""
    if image.dtype == jnp.uint8:
        return image.astype(jnp.float32) / 127.5 - 1.0
    return image


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
        bias = self.param("bias", nn.initializers.zeros_init(), (width,))
        b, h, w, c = image.shape
        x = image.reshape(b, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(b, (h // size) * (w // size), size * size * c)
        dtype = self.config.dtype
        return (project(x, kernel.reshape(-1, width), dtype) + bias).astype(dtype)


class Transformer(nn.Module):
    """Blocks and the final norm."""

    config: ViTConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b p d"], deterministic: bool) -> Float[Array, "b p d"]:
        """All blocks, then the norm."""
        cfg = self.config
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
        return LayerNorm(cfg.layer_norm_epsilon, cfg.dtype, name="encoder_norm")(x)


class Block(nn.Module):
    """Pre-LN attention, then pre-LN MLP, each added to its input."""

    config: ViTConfig
    deterministic: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b p d"], _: None) -> tuple[Float[Array, "b p d"], None]:
        """The form that `block_stack` wants."""
        cfg = self.config
        dropout = nn.Dropout(cfg.dropout, deterministic=self.deterministic)
        y = LayerNorm(cfg.layer_norm_epsilon, cfg.dtype, name="LayerNorm_0")(x)
        y = Attention(cfg, name="MultiHeadDotProductAttention_0")(y, y)
        x = x + dropout(y)
        y = LayerNorm(cfg.layer_norm_epsilon, cfg.dtype, name="LayerNorm_1")(x)
        y = MLP(cfg, name="MlpBlock_0")(y)
        return x + dropout(y), None


class Attention(nn.Module):
    """Multi-head attention of `queries` over `keys`; softmax in float32."""

    config: ViTConfig

    @nn.compact
    def __call__(
        self, queries: Float[Array, "b s d"], keys: Float[Array, "b t d"]
    ) -> Float[Array, "b s d"]:
        """What each query gathers; every key is seen."""
        cfg = self.config
        init = nn.initializers.xavier_uniform()
        heads = (cfg.num_heads, cfg.head_dim)
        query = Dense(heads, dtype=cfg.dtype, kernel_init=init, name="query")(queries)
        key = Dense(heads, dtype=cfg.dtype, kernel_init=init, name="key")(keys)
        value = Dense(heads, dtype=cfg.dtype, kernel_init=init, name="value")(keys)
        logits = contract("BSNH,BTNH->BNST", query, key, cfg.dtype) * cfg.head_dim**-0.5
        weights = jax.nn.softmax(logits, axis=-1)
        x = contract("BNST,BTNH->BSNH", weights, value, cfg.dtype).astype(cfg.dtype)
        return Dense((cfg.width,), contracted=2, dtype=cfg.dtype, kernel_init=init, name="out")(x)


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
        x = gelu(x, exact=cfg.gelu == "exact")
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
        y = LayerNorm(cfg.layer_norm_epsilon, cfg.dtype, name="LayerNorm_0")(x)
        x = x + MLP(cfg, name="MlpBlock_0")(y)
        return x[:, 0]
