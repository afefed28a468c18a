# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's MT5, UMT5 and T5 v1.1 (mT0 and Aya-101 are such) <-> pali/models/mt5.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pali.checkpoints.renaming import Rule, layers, linear, norm, same, transposed
from pali.checkpoints.said import whole
from pali.config import MT5Config

ARCHITECTURES = {"mt5": "MT5ForConditionalGeneration", "umt5": "UMT5ForConditionalGeneration"}
"""What is written, by `model_type`."""

_SIZES = dict(d_model=512, d_kv=64, num_decoder_layers=None)
DEFAULTS: dict[str, dict[str, Any]] = {
    name: {
        **_SIZES,
        **own,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
    }
    for name, own in {
        "mt5": dict(
            vocab_size=250112, d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu"
        ),
        "umt5": dict(
            vocab_size=250112, d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu"
        ),
        "t5": dict(
            vocab_size=32128, d_ff=2048, num_layers=6, num_heads=8, feed_forward_proj="relu"
        ),
    }.items()
}
"""By `model_type`: what a config.json may leave out."""

SENTINELS = {"mt5": 0, "umt5": 300, "t5": 100}
"""How many sentinels stand after the pieces of a published spiece.model, where it has none inside:
T5's 100 (t5x), umT5's 300 (t5x, umt5/vocab.gin). mT5's file has its 100 inside."""

_ALWAYS = {
    "layer_norm_epsilon": 1e-6,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "is_encoder_decoder": True,
}

_OURS = (
    "pali's language half is T5 v1.1 (gated GELU, a head of its own, nothing scaled): give mT5, "
    "umT5, mT0, Aya or a T5 v1.1 checkpoint."
)

UNUSED = (
    "encoder.embed_tokens.weight",  # `shared` under another name
    "decoder.embed_tokens.weight",
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",  # never read
)


def config(said: Mapping[str, Any], names: Iterable[str], where: str) -> MT5Config:
    """The configuration of a folder.

    Args:
      said: what its config.json holds.
      names: of the arrays it has.
      where: for errors.

    Raises:
      ValueError: it is a T5 v1.0, or something else that mT5 is not; or a field is of no use.
    """
    kind = said["model_type"]
    fields = {**DEFAULTS[kind], **said}
    if fields["feed_forward_proj"] != "gated-gelu":
        raise ValueError(
            f"{where} is no mT5: its MLP is {fields['feed_forward_proj']!r}, as in T5 v1.0. {_OURS}"
        )
    if "lm_head.weight" not in names:
        raise ValueError(
            f"the weights beside {where} have no output head (lm_head.weight): it is tied to the "
            f"embedding, as in T5 v1.0, or was left out, as MT5Model and encoders alone do. {_OURS}"
        )
    # As transformers reads it: 5 writes the field, what was there before meant it by the tie.
    scaled = fields.get("scale_decoder_outputs", fields.get("tie_word_embeddings") is not False)
    if kind == "t5" and scaled:
        raise ValueError(
            f"{where} scales what its output head reads (scale_decoder_outputs, or "
            f"tie_word_embeddings without it), as T5 v1.0 does. {_OURS}"
        )
    for name, value in _ALWAYS.items():
        if fields.get(name, value) not in (value, None):
            raise ValueError(f"{where} has {name} {fields[name]!r}; every T5 has {value}")
    encoder = whole(fields, "num_layers", where)
    decoder = fields["num_decoder_layers"]
    return MT5Config(
        vocab_size=whole(fields, "vocab_size", where),
        width=whole(fields, "d_model", where),
        mlp_dim=whole(fields, "d_ff", where),
        num_heads=whole(fields, "num_heads", where),
        head_dim=whole(fields, "d_kv", where),
        encoder_layers=encoder,
        decoder_layers=encoder if decoder is None else whole(fields, "num_decoder_layers", where),
        relative_buckets=whole(fields, "relative_attention_num_buckets", where),
        relative_max_distance=whole(fields, "relative_attention_max_distance", where),
        relative_bias="layer" if kind == "umt5" else "stack",
    )


def fields(config: MT5Config) -> dict[str, Any]:
    """The config.json of a folder for `transformers`."""
    kind = "umt5" if config.relative_bias == "layer" else "mt5"
    return {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "d_model": config.width,
        "d_kv": config.head_dim,
        "d_ff": config.mlp_dim,
        "num_heads": config.num_heads,
        "num_layers": config.encoder_layers,
        "num_decoder_layers": config.decoder_layers,
        "relative_attention_num_buckets": config.relative_buckets,
        "relative_attention_max_distance": config.relative_max_distance,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
        "dropout_rate": config.dropout,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }


def rules(config: MT5Config) -> list[Rule]:
    """Every parameter."""
    return [
        same("token_embedder/embedding", "shared.weight"),
        *_stack(config, "encoder", config.encoder_layers),
        *_stack(config, "decoder", config.decoder_layers),
        *linear("decoder/logits_dense", "lm_head", bias=False),
    ]


def _stack(config: MT5Config, stack: str, count: int) -> list[Rule]:
    ours, theirs = f"{stack}/layers_{{}}", f"{stack}.block.{{}}.layer"
    attention, mlp = ("attention", 1) if stack == "encoder" else ("self_attention", 2)
    block = [
        *norm(f"{ours}/pre_{attention}_layer_norm", f"{theirs}.0.layer_norm", bias=False),
        *_attention(f"{ours}/{attention}", f"{theirs}.0.SelfAttention"),
        *norm(f"{ours}/pre_mlp_layer_norm", f"{theirs}.{mlp}.layer_norm", bias=False),
    ]
    for name in ("wi_0", "wi_1", "wo"):
        dense = f"{theirs}.{mlp}.DenseReluDense.{name}"
        block += linear(f"{ours}/mlp/{name}", dense, bias=False)
    if stack == "decoder":
        cross = "encoder_decoder_attention"
        block += norm(
            f"{ours}/pre_cross_attention_layer_norm", f"{theirs}.1.layer_norm", bias=False
        )
        block += _attention(f"{ours}/{cross}", f"{theirs}.1.EncDecAttention")
    table = "SelfAttention.relative_attention_bias.weight"
    own = config.relative_bias == "layer"
    folder = ours if own else stack
    first = theirs if own else f"{stack}.block.0.layer"
    bias = transposed(f"{folder}/relpos_bias/rel_embedding", f"{first}.0.{table}")
    shared = [] if own else [bias]
    ending = norm(f"{stack}/{stack}_norm", f"{stack}.final_layer_norm", bias=False)
    return [*shared, *layers([*block, bias] if own else block, count), *ending]


def _attention(ours: str, theirs: str) -> list[Rule]:
    names = {"query": "q", "key": "k", "value": "v", "out": "o"}
    return [
        rule
        for our, their in names.items()
        for rule in linear(f"{ours}/{our}", f"{theirs}.{their}", bias=False)
    ]
