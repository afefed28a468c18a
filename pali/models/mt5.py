# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""mT5 and umT5: embeddings [b s D] -> encoder -> decoder -> logits [b t V], with a cache.

Pre-norm blocks with RMSNorm and no biases; a gated tanh-GELU; attention logits that are not scaled
(the factor 1/sqrt(H) is in the query's initialiser); one learned bias over relative positions for
each stack, shared by its layers and absent from cross-attention (in umT5, arXiv 2304.09151, one for
each layer); an output head of its own, whose logits are not scaled either (arXiv 2010.11934).
Parameter names, initialisers and the places of dropout are those of T5X (`t5x/examples/t5`, for
umT5 `scalable_t5`), so importing its checkpoints is renaming.

The encoder reads embeddings, not tokens: what is embedded, and what stands before it, is decided
outside (pali/models/pali.py). The cache is a plain dict that the caller holds and passes. With
mutable=["intermediates"] every attention also returns its weights, as "weights" [B N T S] under its
own name; `cross_attention` gathers those of the decoder over the source.

Einsum letters (pali/types.py): B batch, T queries, S keys, N heads, H head width, D width, F MLP
width, V vocabulary, L layers. Keys lie as [B N H S] and values as [B N S H], the order in which
attention's two products read them.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt16

from pali.config import MT5Config
from pali.models import int8
from pali.models.layers import (
    BATCH,
    Dense,
    RMSNorm,
    block_stack,
    contract,
    divide,
    gelu,
    project,
)
from pali.models.relative_bias import RelativeBias

MASKED = -1e9
"""Logit of a hidden key. Finite, so that a row with nothing to see is uniform instead of NaN."""

Cache = dict[str, Array]

WHOLE_WIDTH = (BATCH, None, None)
"""How a mesh divides [b s D]: along the batch alone."""

_fan_in_normal = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_fan_in_truncated = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


class MT5(nn.Module):
    """Encoder and decoder over one embedding table."""

    config: MT5Config

    def setup(self):
        """Parameters: token_embedder/embedding, encoder/…, decoder/…."""
        cfg = self.config
        init = nn.initializers.normal(1.0)
        self.token_embedder = nn.Embed(cfg.vocab_size, cfg.width, embedding_init=init)
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)

    def __call__(
        self,
        encoder_input_tokens: Int[Array, "b s"],
        decoder_input_tokens: Int[Array, "b t"],
        deterministic: bool = True,
    ) -> Float[Array, "b t V"]:
        """Text to text, without a picture: teacher-forced logits in float32; id 0 is padding."""
        mask = encoder_input_tokens > 0
        encoded = self.encode(self.embed(encoder_input_tokens), mask, deterministic)
        return self.decode(encoded, mask, decoder_input_tokens, deterministic)

    def embed(self, tokens: Int[Array, "*b s"]) -> Float[Array, "*b s D"]:
        """Rows of the embedding table, in `config.dtype`."""
        rows = lookup(self.token_embedder.embedding, tokens).astype(self.config.dtype)
        between = (None,) * (tokens.ndim - 1)
        # The table lies in parts along the width: looked up there, and then exchanged for whole
        # rows of a part of the batch. Gathering the table instead would cost its size.
        rows = divide(rows, "data", *between, "fsdp")
        return divide(rows, BATCH, *between, None)

    def encode(
        self, embedded: Float[Array, "b s D"], mask: Bool[Array, "b s"], deterministic: bool = True
    ) -> Float[Array, "b s D"]:
        """Reads the source; `mask` is True where it is real, and nothing attends elsewhere."""
        return self.encoder(embedded.astype(self.config.dtype), mask, deterministic)

    def decode(
        self,
        encoded: Float[Array, "b s D"],
        encoder_mask: Bool[Array, "b s"],
        decoder_input_tokens: Int[Array, "b t"],
        deterministic: bool = True,
    ) -> Float[Array, "b t V"]:
        """Float32 logits of every target position, each seeing only the inputs up to its own."""
        return self.logits(
            self.decoder_states(encoded, encoder_mask, decoder_input_tokens, deterministic)
        )

    def decoder_states(
        self,
        encoded: Float[Array, "b s D"],
        encoder_mask: Bool[Array, "b s"],
        decoder_input_tokens: Int[Array, "b t"],
        deterministic: bool = True,
    ) -> Float[Array, "b t D"]:
        """What `logits` reads, for a loss that never holds the logits of all positions at once."""
        embedded = self.embed(decoder_input_tokens)
        return self.decoder(embedded, encoded, encoder_mask, deterministic)

    def logits(self, states: Float[Array, "*b D"]) -> Float[Array, "*b V"]:
        """The output head, in float32."""
        return self.decoder.logits_dense(states)

    def init_cache(
        self, encoded: Float[Array, "b s D"], encoder_mask: Bool[Array, "b s"], max_length: int
    ) -> Cache:
        """The decoder's memory before its first step, in `cache_dtype`.

        Returns:
          self_key [L b N H t], self_value [L b N t H]: zeros, t = `max_length`; `decode_step` fills
          one position at a time. cross_key [L b N H s], cross_value [L b N s H] and cross_mask
          [1 b s]: what the decoder sees of the source, the same at every step. The batch is axis 1
          of every array. Layers that are not scanned have arrays of their own, self_key_0
          [1 b N H t], self_key_1 …: a step then copies none of them.
        """
        cfg = self.config
        dtype, heads = cache_dtype(cfg), (encoded.shape[0], cfg.num_heads)
        by_head = (None, BATCH, "model", None, None)
        key = (*heads, cfg.head_dim, max_length)
        value = (*heads, max_length, cfg.head_dim)
        layers, names = (cfg.decoder_layers, [""]) if cfg.scan else (1, _suffixes(cfg))
        own = {
            f"{name}{suffix}": divide(jnp.zeros((layers, *shape), dtype), *by_head)
            for name, shape in (("self_key", key), ("self_value", value))
            for suffix in names
        }
        return {"cross_mask": encoder_mask[None], **own, **self.decoder.cross_cache(encoded)}

    def decode_step(
        self, cache: Cache, tokens: Int[Array, " b"], index: Int[Array, ""]
    ) -> tuple[Float[Array, "b V"], Cache]:
        """One position for each row: the logits that follow, and the cache with it written in.

        Args:
          cache: from `init_cache`, or from the step before.
          tokens: the token at position `index`; at index 0 the start token, 0.
          index: how many positions the cache already holds, the same for every row.

        Several hypotheses of one example can share its source: with w times as many tokens, and
        rows of "self_…", as there are rows of "cross_…", rows i·w … i·w + w - 1 belong to source i.
        """
        states, cache = self.decoder.step(self.embed(tokens)[:, None], cache, index)
        return self.logits(states[:, 0]), cache


class Encoder(nn.Module):
    """Bidirectional stack over the whole source."""

    config: MT5Config

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s D"], mask: Bool[Array, "b s"], deterministic: bool
    ) -> Float[Array, "b s D"]:
        """All positions attend to those where `mask` is True."""
        cfg = self.config
        positions = jnp.arange(x.shape[1])
        bias = None
        if cfg.relative_bias == "stack":
            bias = RelativeBias(cfg, bidirectional=True, name="relpos_bias")(positions, positions)
        blocks = _layers(EncoderBlock, cfg.encoder_layers, cfg, deterministic)
        x, _ = blocks(dropout(cfg, deterministic)(x), None, mask[:, None, None, :], bias)
        x = RMSNorm(dtype=cfg.dtype, name="encoder_norm")(x)
        return nn.Dropout(cfg.dropout, deterministic=deterministic)(x)


class Decoder(nn.Module):
    """Causal stack that also attends to the encoded source."""

    config: MT5Config

    def setup(self):
        """What stands beside the layers."""
        cfg = self.config
        if cfg.relative_bias == "stack":
            self.relpos_bias = RelativeBias(cfg, bidirectional=False)
        self.decoder_norm = RMSNorm(dtype=cfg.dtype)
        self.logits_dense = Head(cfg)
        self.dropout = dropout(cfg)

    def __call__(
        self,
        x: Float[Array, "b t D"],
        encoded: Float[Array, "b s D"],
        encoder_mask: Bool[Array, "b s"],
        deterministic: bool,
    ) -> Float[Array, "b t D"]:
        """All positions at once (teacher forcing)."""
        positions = jnp.arange(x.shape[1])
        causal = positions[:, None] >= positions
        bias = self._shared_bias(positions, positions)
        shared = (encoded, causal, bias, encoder_mask[:, None, None, :])
        x = self.dropout(x, deterministic)
        x, _ = self._through("__call__", deterministic, x, None, *shared)
        return self.dropout(self.decoder_norm(x), deterministic)

    def cross_cache(self, encoded: Float[Array, "b s D"]) -> Cache:
        """Keys and values of the source in every layer: cross_key and cross_value of the cache."""
        _, made = self._through("cross_cache", True, encoded, None)
        return _joined(self.config, made)

    def step(
        self, x: Float[Array, "b 1 D"], cache: Cache, index: Int[Array, ""]
    ) -> tuple[Float[Array, "b 1 D"], Cache]:
        """The position `index` alone, reading earlier ones from the cache."""
        mask, per_layer = cache["cross_mask"][0, :, None, None, :], _by_layer(self.config, cache)
        first = per_layer if self.config.scan else per_layer[0]
        positions = jnp.arange(first["self_key"].shape[-1])
        bias = self._shared_bias(index[None], positions)
        shared = (index, positions <= index, bias, mask)
        x, written = self._through("step", True, x, per_layer, *shared)
        return self.decoder_norm(x), cache | _joined(self.config, written)

    def _shared_bias(self, queries: Array, keys: Array) -> Array | None:
        return self.relpos_bias(queries, keys) if self.config.relative_bias == "stack" else None

    @nn.compact
    def _through(self, method: str, deterministic: bool, x: Any, cache: Any, *shared: Any) -> Any:
        cfg = self.config
        return _layers(DecoderBlock, cfg.decoder_layers, cfg, deterministic, method)(
            x, cache, *shared
        )


class EncoderBlock(nn.Module):
    """Self-attention, then MLP, each added to its input."""

    config: MT5Config
    deterministic: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s D"], _: None, mask: Array, bias: Float[Array, "N s s"] | None
    ) -> tuple[Float[Array, "b s D"], None]:
        """`mask` and `bias` as in `Attention`; the second argument and result are unused.

        Without `bias` the layer has one of its own.
        """
        cfg = self.config
        if bias is None:
            positions = jnp.arange(x.shape[1])
            bias = RelativeBias(cfg, bidirectional=True, name="relpos_bias")(positions, positions)
        drop = dropout(cfg, self.deterministic)
        attention = Attention(cfg, self.deterministic, name="attention")
        y = RMSNorm(dtype=cfg.dtype, name="pre_attention_layer_norm")(x)
        x = divide(x + drop(attention(y, attention.keys_and_values(y), mask, bias)), *WHOLE_WIDTH)
        y = RMSNorm(dtype=cfg.dtype, name="pre_mlp_layer_norm")(x)
        return divide(x + drop(MLP(cfg, self.deterministic, name="mlp")(y)), *WHOLE_WIDTH), None


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention, MLP, each added to its input."""

    config: MT5Config
    deterministic: bool = True

    def setup(self):
        """Three sublayers, a norm before each."""
        cfg = self.config
        if cfg.relative_bias == "layer":
            self.relpos_bias = RelativeBias(cfg, bidirectional=False)
        self.pre_self_attention_layer_norm = RMSNorm(dtype=cfg.dtype)
        self.self_attention = Attention(cfg, self.deterministic)
        self.pre_cross_attention_layer_norm = RMSNorm(dtype=cfg.dtype)
        self.encoder_decoder_attention = Attention(cfg, self.deterministic)
        self.pre_mlp_layer_norm = RMSNorm(dtype=cfg.dtype)
        self.mlp = MLP(cfg, self.deterministic)
        self.dropout = dropout(cfg, self.deterministic)

    def __call__(
        self,
        x: Float[Array, "b t D"],
        _: None,
        encoded: Float[Array, "b s D"],
        mask: Array,
        bias: Float[Array, "N t t"] | None,
        cross_mask: Array,
    ) -> tuple[Float[Array, "b t D"], None]:
        """Every target position at once; without `bias` the layer has one of its own."""
        if bias is None:
            positions = jnp.arange(x.shape[1])
            bias = self.relpos_bias(positions, positions)
        y = self.pre_self_attention_layer_norm(x)
        seen = self.self_attention.keys_and_values(y)
        x = divide(x + self.dropout(self.self_attention(y, seen, mask, bias)), *WHOLE_WIDTH)
        source = self.encoder_decoder_attention.keys_and_values(encoded)
        return self._after_self_attention(x, source, cross_mask), None

    def cross_cache(self, encoded: Float[Array, "b s D"], _: None) -> tuple[Array, Cache]:
        """This layer's keys and values of the source, which goes to the next layer unchanged."""
        keys, values = self.encoder_decoder_attention.keys_and_values(encoded)
        dtype = cache_dtype(self.config)
        return encoded, {"cross_key": keys.astype(dtype), "cross_value": values.astype(dtype)}

    def step(
        self,
        x: Float[Array, "b 1 D"],
        cache: Cache,
        index: Int[Array, ""],
        mask: Array,
        bias: Float[Array, "N 1 t"] | None,
        cross_mask: Array,
    ) -> tuple[Float[Array, "b 1 D"], Cache]:
        """One position, written into this layer's part of the cache (no leading L)."""
        if bias is None:
            bias = self.relpos_bias(index[None], jnp.arange(cache["self_key"].shape[-1]))
        dtype = cache["self_key"].dtype
        y = self.pre_self_attention_layer_norm(x)
        key, value = (x.astype(dtype) for x in self.self_attention.keys_and_values(y))
        keys = lax.dynamic_update_slice_in_dim(cache["self_key"], key, index, axis=3)
        values = lax.dynamic_update_slice_in_dim(cache["self_value"], value, index, axis=2)
        x = x + self.self_attention(y, (keys, values), mask, bias)
        x = self._after_self_attention(x, (cache["cross_key"], cache["cross_value"]), cross_mask)
        return x, {"self_key": keys, "self_value": values}

    def _after_self_attention(self, x: Array, source: tuple[Array, Array], mask: Array) -> Array:
        y = self.pre_cross_attention_layer_norm(x)
        # The hypotheses of one example are so many queries to its one set of keys and values.
        y = y.reshape(source[0].shape[0], -1, self.config.width)
        y = self.encoder_decoder_attention(y, source, mask)
        x = divide(x + self.dropout(y.reshape(x.shape)), *WHOLE_WIDTH)
        return divide(x + self.dropout(self.mlp(self.pre_mlp_layer_norm(x))), *WHOLE_WIDTH)


class Attention(nn.Module):
    """Multi-head attention without scaling; softmax in float32. N·H need not equal D."""

    config: MT5Config
    deterministic: bool = True

    def setup(self):
        """Kernels are matrices [D, N·H] and [N·H, D], as in T5X."""
        cfg = self.config
        joined = (cfg.num_heads * cfg.head_dim,)
        # T5 has no 1/sqrt(H) on the logits; the query starts smaller by that factor instead.
        query_init = nn.initializers.variance_scaling(1.0 / cfg.head_dim, "fan_in", "normal")
        plain: Any = {"use_bias": False, "dtype": cfg.dtype}
        self.query = Dense(joined, kernel_init=query_init, **plain)
        self.key = Dense(joined, kernel_init=_fan_in_normal, **plain)
        self.value = Dense(joined, kernel_init=_fan_in_normal, **plain)
        self.out = Dense((cfg.width,), kernel_init=_fan_in_normal, **plain)
        self.dropout = dropout(cfg, self.deterministic)

    def keys_and_values(
        self, x: Float[Array, "b s D"]
    ) -> tuple[Float[Array, "b N H s"], Float[Array, "b N s H"]]:
        """What queries will read of `x`, laid out as the cache keeps it."""
        keys, values = self._split(self.key(x)), self._split(self.value(x))
        return keys.transpose(0, 2, 3, 1), values.transpose(0, 2, 1, 3)

    def __call__(
        self,
        x: Float[Array, "b t D"],
        source: tuple[Float[Array, "b N H s"], Float[Array, "b N s H"]],
        mask: Bool[Array, "*broadcast"],
        bias: Float[Array, "N t s"] | None = None,
    ) -> Float[Array, "b t D"]:
        """Queries from `x`; `mask` broadcasts to [b N t s] and is True where a query may look."""
        keys, values = source
        dtype = keys.dtype  # Of a cache, or `config.dtype`.
        logits = contract("BTNH,BNHS->BNTS", self._split(self.query(x)), keys, dtype)
        if bias is not None:
            logits = logits + bias
        weights = jax.nn.softmax(jnp.where(mask, logits, MASKED), axis=-1)
        self.sow("intermediates", "weights", weights)  # Nothing, unless that is asked for.
        y = contract("BNTS,BNSH->BTNH", self.dropout(weights), values, dtype)
        return self.out(y.reshape(*x.shape[:2], -1))

    def _split(self, x: Float[Array, "b s J"]) -> Float[Array, "b s N H"]:
        x = x.reshape(*x.shape[:2], self.config.num_heads, self.config.head_dim)
        return divide(x, BATCH, None, "model", None)


class MLP(nn.Module):
    """GELU(x wi_0) · (x wi_1), then wo."""

    config: MT5Config
    deterministic: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b s D"]) -> Float[Array, "b s D"]:
        """Each position by itself."""
        cfg = self.config
        init = _fan_in_truncated
        plain: Any = {"use_bias": False, "dtype": cfg.dtype, "kernel_init": init}
        gate = gelu(Dense((cfg.mlp_dim,), name="wi_0", **plain)(x))
        x = divide(gate * Dense((cfg.mlp_dim,), name="wi_1", **plain)(x), BATCH, None, "model")
        return Dense((cfg.width,), name="wo", **plain)(dropout(cfg, self.deterministic)(x))


class Head(nn.Module):
    """Width to vocabulary; unlike `Dense` it returns the sums as they are, in float32."""

    config: MT5Config

    @nn.compact
    def __call__(self, x: Float[Array, "*b D"]) -> Float[Array, "*b V"]:
        """Logits in float32."""
        shape = (self.config.width, self.config.vocab_size)
        kernel = self.param("kernel", _fan_in_truncated, shape)
        if kernel.dtype == jnp.int8:
            logits = int8.project(x, kernel, self.get_variable("params", int8.SCALE))
        else:
            logits = project(x, kernel, self.config.dtype)
        return divide(logits, BATCH, *(None,) * (logits.ndim - 2), "model")


def lookup(
    table: Float[Array, "V D"] | UInt16[Array, "V D"], tokens: Int[Array, "*b s"]
) -> Float[Array, "*b s D"]:
    """Rows of a table; one of uint16 holds the bits of bfloat16 numbers (pali/precision.py)."""
    rows = jnp.take(table, tokens, axis=0)
    return lax.bitcast_convert_type(rows, jnp.bfloat16) if rows.dtype == jnp.uint16 else rows


def cache_dtype(config: MT5Config) -> Any:
    """`config.dtype`, but float32 on a CPU, which multiplies many small bfloat16 matrices slowly.

    There a step's attention over the cache takes half the time in float32, for twice the memory.
    """
    return jnp.float32 if jax.default_backend() == "cpu" else config.dtype


def _suffixes(config: MT5Config) -> list[str]:
    return [f"_{layer}" for layer in range(config.decoder_layers)]


def _joined(config: MT5Config, per_layer: Any) -> Cache:
    """The cache of what `block_stack` returns."""
    if config.scan:
        return per_layer
    layers = zip(_suffixes(config), per_layer, strict=True)
    return {f"{name}{end}": array[None] for end, mine in layers for name, array in mine.items()}


def _by_layer(config: MT5Config, cache: Cache) -> Any:
    """What `block_stack` takes, of the cache."""
    names = ("self_key", "self_value", "cross_key", "cross_value")
    if config.scan:
        return {name: cache[name] for name in names}
    return [{name: cache[name + end][0] for name in names} for end in _suffixes(config)]


def cross_attention(config: MT5Config, intermediates: Any) -> Float[Array, "L b N t s"]:
    """The weights with which each layer and head of the decoder read the source, in float32.

    Args:
      config: the model's.
      intermediates: what `decode` or `decoder_states` returned of the collection "intermediates"
        when it was mutable.

    Returns:
      Softmax weights before dropout: the row of target position t sums to one over the source. It
      belongs to the query at t, so to the choice of the token that follows the input there.
    """
    decoder = intermediates["decoder"]
    if config.scan:
        return decoder["layers"]["encoder_decoder_attention"]["weights"][0]
    layers = (decoder[f"layers_{layer}"] for layer in range(config.decoder_layers))
    return jnp.stack([layer["encoder_decoder_attention"]["weights"][0] for layer in layers])


def dropout(config: MT5Config, deterministic: bool | None = None) -> nn.Dropout:
    """T5's dropout: one draw for all positions of a sequence (for attention, all its queries)."""
    return nn.Dropout(config.dropout, broadcast_dims=(-2,), deterministic=deterministic)


def _layers(
    block: type[nn.Module],
    depth: int,
    config: MT5Config,
    deterministic: bool,
    method: str = "__call__",
) -> Any:
    return block_stack(
        block,
        depth,
        scan=config.scan,
        remat=config.remat,
        name="layers",
        method=method,
        config=config,
        deterministic=deterministic,
    )
