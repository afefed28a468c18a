# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""PaLI: picture and prompt -> answer, the figure of the paper (arXiv 2209.06794) in one file.

    image [b h w 3] --ViT--> visual tokens [b p d_vit] --linear--> [b p D]  \
                                                                            concat -> mT5 encoder
    prompt [b s] ----------------------text embedding------------> [b s D]  /              |
                                                                                           v
    answer so far [b t] --------------------------------------------------------> mT5 decoder
                                                                                           |
                                                                                           v
                                                                                   logits [b t V]

The visual tokens stand first and are not pooled. One relative-position bias runs over the
concatenated sequence; the paper does not say how it treats positions, see docs/design.md.
"""

from __future__ import annotations

from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pali.config import PaLIConfig
from pali.models.layers import Dense
from pali.models.mt5 import MT5
from pali.models.vit import ViT
from pali.types import Batch, Params


class PaLI(nn.Module):
    """The whole model; parameters {"vit", "projection", "mt5"}. Each method is one arrow above."""

    config: PaLIConfig

    def setup(self):
        """Three parts, as the figure has them."""
        self.vit = ViT(self.config.vit)
        self.projection = Dense((self.config.mt5.width,), dtype=self.config.mt5.dtype)
        self.mt5 = MT5(self.config.mt5)

    def __call__(self, batch: Batch, deterministic: bool = True) -> Float[Array, "b t V"]:
        """Teacher-forced logits in float32, from pixels or from visual tokens made before."""
        return self.mt5.logits(self.decoder_states(batch, deterministic))

    def decoder_states(self, batch: Batch, deterministic: bool = True) -> Float[Array, "b t D"]:
        """What the output head reads, for a loss that never holds all logits at once."""
        tokens = batch.get("visual_tokens")
        if tokens is None:
            tokens = self.look(batch["image"], deterministic)
        encoded, mask = self.encode(
            tokens, batch["image_mask"], batch["encoder_input_tokens"], deterministic
        )
        inputs = batch["decoder_input_tokens"]
        return self.mt5.decoder_states(encoded, mask, inputs, deterministic)

    def look(self, image: Array, deterministic: bool = True) -> Float[Array, "b p d_vit"]:
        """The picture as visual tokens; the same for every prompt and language, so made once."""
        return self.vit(image, deterministic).tokens

    def classify(self, image: Array) -> Float[Array, "b classes"]:
        """The ViT's own answer through its pooling head, which PaLI otherwise leaves unused."""
        logits = self.vit(image).classes
        if logits is None:
            raise ValueError('this ViT has no classes: its config needs pool="map" and num_classes')
        return logits

    def encode(
        self,
        visual_tokens: Float[Array, "b p d_vit"],
        image_mask: Bool[Array, " b"],
        encoder_input_tokens: Int[Array, "b s"],
        deterministic: bool = True,
    ) -> tuple[Float[Array, "b p+s D"], Bool[Array, "b p+s"]]:
        """Reads picture and prompt together; returns the encoding and which positions are real."""
        pictures = self.projection(visual_tokens)
        text = self.mt5.embed(encoder_input_tokens)
        joined = jnp.concatenate([pictures, text.astype(pictures.dtype)], axis=1)
        seen = jnp.broadcast_to(image_mask[:, None], pictures.shape[:2])
        mask = jnp.concatenate([seen, encoder_input_tokens > 0], axis=1)
        return self.mt5.encode(joined, mask, deterministic), mask

    def decode(
        self,
        encoded: Float[Array, "b S D"],
        mask: Bool[Array, "b S"],
        decoder_input_tokens: Int[Array, "b t"],
        deterministic: bool = True,
    ) -> Float[Array, "b t V"]:
        """Logits of every target position at once."""
        return self.mt5.decode(encoded, mask, decoder_input_tokens, deterministic)

    def init_cache(self, encoded: Array, mask: Array, max_length: int) -> Any:
        """What the decoder keeps between steps: see `MT5.init_cache`."""
        return self.mt5.init_cache(encoded, mask, max_length)

    def decode_step(
        self, cache: Any, tokens: Array, index: Array, head: Any = None
    ) -> tuple[Array, Any]:
        """Logits [b V] of the position after `tokens` [b], and the cache with that one in it."""
        return self.mt5.decode_step(cache, tokens, index, head)


def init_params(config: PaLIConfig, key: Array) -> Params:
    """Freshly initialised float32 parameters, in the form (`scan` or not) that the config asks for.

    Under `jax.eval_shape` it tells structure and shapes at any size without computing anything.
    """
    batch: Batch = {
        "image": jnp.zeros((1, *config.vit.image_shape, 3), jnp.uint8),
        "image_mask": jnp.ones((1,), jnp.bool_),
        "encoder_input_tokens": jnp.ones((1, 1), jnp.int32),
        "decoder_input_tokens": jnp.ones((1, 1), jnp.int32),
    }
    return cast("Params", PaLI(config).init(key, batch)["params"])
