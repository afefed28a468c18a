# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's ViT, SigLIP, SigLIP 2 and CLIP picture halves <-> pali/models/vit.py.

The class token's own position is added to the class token: the sum is all that a model sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pali.checkpoints import huggingface_pixels
from pali.checkpoints.renaming import (
    Arrays,
    Rule,
    convolution,
    from_heads,
    into_heads,
    joined,
    joined_heads,
    layers,
    linear,
    norm,
    same,
)
from pali.checkpoints.said import number, truth, whole
from pali.checkpoints.weights import Tensor
from pali.config import ImageSize, ViTConfig, image_shape

_SIZES = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
DEFAULTS: dict[str, dict[str, Any]] = {
    "vit": {
        **_SIZES,
        "image_size": 224,
        "patch_size": 16,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "qkv_bias": True,
    },
    "siglip_vision_model": {
        **_SIZES,
        "image_size": 224,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
    "siglip2_vision_model": {
        **_SIZES,
        "num_patches": 256,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
    "clip_vision_model": {
        **_SIZES,
        "image_size": 224,
        "patch_size": 32,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
}
"""By `model_type` of the picture half: what a config.json may leave out."""

_GELU = {"gelu": "exact", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "quick_gelu": "quick"}
_ACTS = {"exact": "gelu", "tanh": "gelu_pytorch_tanh", "quick": "quick_gelu"}

UNUSED = ("embeddings.position_ids",)
"""Buffers that older versions saved."""


def config(said: Mapping[str, Any], found: Mapping[str, Tensor], where: str) -> ViTConfig:
    """The configuration of a picture half.

    Args:
      said: what config.json, or its "vision_config", holds.
      found: the arrays it has, without a prefix.
      where: for errors.

    Raises:
      ValueError: a field is of no use, or says that the ViT computes otherwise than ours.
    """
    kind = said["model_type"]
    fields = {**DEFAULTS[kind], **said}
    _check_kind(fields, found, where)
    patch = whole(fields, "patch_size", where)
    if patch < 1:
        raise ValueError(f"{where} has patch_size {patch}; it must be at least 1")
    size = _image_size(fields, patch, where)
    own: dict[str, Any] = {}
    if any(side % patch for side in image_shape(size)):
        own["cut_rest"] = True  # as a strided convolution does
    if kind == "clip_vision_model":
        own |= dict(class_token=True, pool="token", final_norm="pooled", embedding_norm=True)
        own["patch_bias"] = False
    elif kind == "vit":
        own |= dict(class_token=True, qkv_bias=truth(fields, "qkv_bias", where))
        if "classifier.weight" in found:
            own |= dict(pool="token", num_classes=found["classifier.weight"].shape[0])
        elif "pooler.dense.weight" in found:
            own |= dict(pool="token", pre_logits=True)
    elif "head.probe" in found:
        own["pool"] = "map"
    return ViTConfig(
        width=whole(fields, "hidden_size", where),
        depth=whole(fields, "num_hidden_layers", where),
        mlp_dim=whole(fields, "intermediate_size", where),
        num_heads=whole(fields, "num_attention_heads", where),
        patch_size=patch,
        image_size=size,
        gelu=_GELU[fields["hidden_act"]],  # type: ignore[arg-type]
        layer_norm_epsilon=number(fields, "layer_norm_eps", where),
        pixels=huggingface_pixels.DEFAULTS[kind],
        **own,
    )


def _image_size(fields: Mapping[str, Any], patch: int, where: str) -> ImageSize:
    """As said, or what a number of patches says of a square."""
    said = fields.get("image_size")
    if said is None:
        count = whole(fields, "num_patches", where)
        side = math.isqrt(max(count, 0))
        if not side or side**2 != count:
            raise ValueError(f"{where} has num_patches {count}, which make no square")
        return side * patch
    if isinstance(said, list) and len(said) == 2:
        named = {"height": said[0], "width": said[1]}
        return (
            whole(named, "height", f"{where}, image_size,"),
            whole(named, "width", f"{where}, image_size,"),
        )
    return whole(fields, "image_size", where)


def _check_kind(fields: Mapping[str, Any], found: Mapping[str, Tensor], where: str) -> None:
    """Fields that ours has not."""
    wanted: dict[str, Any] = {"num_channels": 3}
    if "pooler.dense.weight" in found:
        width = fields["hidden_size"]
        wanted |= {"pooler_act": "tanh", "pooler_output_size": width}
    for name, value in wanted.items():
        if fields.get(name, value) not in (value, None):
            raise ValueError(f"{where} has {name} {fields[name]!r}; pali's ViT knows {value!r}")
    if fields["hidden_act"] not in [*_GELU]:
        raise ValueError(
            f"{where} has hidden_act {fields['hidden_act']!r}; known: {', '.join(_GELU)}"
        )


def kind_of(config: ViTConfig) -> str:
    """The `model_type` that such a ViT is in `transformers`.

    Raises:
      ValueError: there is none.
    """
    height, width = config.image_shape
    square = height == width
    if config.parallel or config.qk_norm or config.norm != "layer" or config.class_token_visual:
        wrong = "parallel blocks, norms on queries and keys, other norms than LayerNorm"
    elif config.final_norm == "pooled":
        if config.class_token and config.embedding_norm and not config.patch_bias and square:
            return "clip_vision_model"
        wrong = (
            'final_norm="pooled" without what else makes a CLIP, or pictures that are no squares'
        )
    elif config.embedding_norm or not config.patch_bias:
        wrong = "a norm before the first block, or no patch bias"
    elif config.class_token:
        if config.pool != "map":
            return "vit"
        wrong = 'a class token with pool="map"'
    elif not config.qkv_bias or not square:
        wrong = "no biases on queries, keys and values, or pictures that are no squares"
    else:
        return "siglip_vision_model"
    raise ValueError(f"no model of transformers is such a ViT: {wrong}")


def fields(config: ViTConfig) -> dict[str, Any]:
    """The config.json of a folder for `transformers`."""
    kind = kind_of(config)
    names = {
        "vit": "ViTForImageClassification" if config.num_classes else "ViTModel",
        "siglip_vision_model": "SiglipVisionModel",
        "clip_vision_model": "CLIPVisionModel",
    }
    height, width = config.image_shape
    said: dict[str, Any] = {
        "architectures": [names[kind]],
        "model_type": kind,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.mlp_dim,
        "image_size": height if height == width else [height, width],
        "patch_size": config.patch_size,
        "hidden_act": _ACTS[config.gelu],
        "layer_norm_eps": config.layer_norm_epsilon,
    }
    if kind == "vit":
        said["qkv_bias"] = config.qkv_bias
        if config.num_classes:
            said["id2label"] = {str(i): f"LABEL_{i}" for i in range(config.num_classes)}
    if kind == "siglip_vision_model":
        said["vision_use_head"] = config.pool == "map"
    return said


def rules(kind: str, config: ViTConfig) -> list[Rule]:
    """Every parameter of a picture half of that `model_type`."""
    if kind == "vit":
        return _vit(config)
    ours, theirs = "Transformer/encoderblock_{}", "encoder.layers.{}"
    block = [
        *norm(f"{ours}/LayerNorm_0", f"{theirs}.layer_norm1"),
        *_attention(f"{ours}/{_ATTENTION}", f"{theirs}.self_attn", config),
        *norm(f"{ours}/LayerNorm_1", f"{theirs}.layer_norm2"),
        *_mlp(f"{ours}/MlpBlock_0", f"{theirs}.mlp"),
    ]
    start = _clip_start() if kind == "clip_vision_model" else _siglip_start(kind, config)
    return [
        *start,
        *layers(block, config.depth),
        *norm("Transformer/encoder_norm", "post_layernorm"),
        *_map_head(config.num_heads),
    ]


_ATTENTION = "MultiHeadDotProductAttention_0"


def _siglip_start(kind: str, config: ViTConfig) -> list[Rule]:
    patch = convolution("embedding/kernel", "embeddings.patch_embedding.weight")
    if kind == "siglip2_vision_model":  # patches come cut: a linear map of [h w colour]
        side = config.patch_size

        def read(x: Any) -> Arrays:
            return (x.T.reshape(side, side, 3, x.shape[0]),)

        patch = Rule(patch.ours, patch.theirs, read, lambda x: (x.reshape(-1, x.shape[-1]).T,))
    positions = Rule(
        ("pos_embedding",),
        ("embeddings.position_embedding.weight",),
        lambda x: (x[None],),
        lambda x: (x[0],),
    )
    return [patch, same("embedding/bias", "embeddings.patch_embedding.bias"), positions]


def _clip_start() -> list[Rule]:
    def read(cls: Any, positions: Any) -> Arrays:
        first = cls.reshape(positions.shape[1]) + positions[0]
        return first[None, None], positions[None, 1:]

    def write(cls: Any, positions: Any) -> Arrays:
        return cls[0, 0], joined([0 * cls[0], positions[0]])

    names = ("embeddings.class_embedding", "embeddings.position_embedding.weight")
    return [
        convolution("embedding/kernel", "embeddings.patch_embedding.weight"),
        Rule(("cls", "pos_embedding"), names, read, write),
        *norm("Transformer/embedding_norm", "pre_layrnorm"),
    ]


def _vit(config: ViTConfig) -> list[Rule]:
    def read(cls: Any, positions: Any) -> Arrays:
        return cls.reshape(1, 1, positions.shape[2]) + positions[:, :1], positions[:, 1:]

    def write(cls: Any, positions: Any) -> Arrays:
        return cls, joined([0 * cls, positions], axis=1)

    patch = "embeddings.patch_embeddings.projection"
    ours, theirs = "Transformer/encoderblock_{}", "encoder.layer.{}"
    attention = {name: f"{theirs}.attention.attention.{name}" for name in ("query", "key", "value")}
    block = [
        *norm(f"{ours}/LayerNorm_0", f"{theirs}.layernorm_before"),
        *(
            rule
            for name, place in attention.items()
            for rule in into_heads(
                f"{ours}/{_ATTENTION}/{name}", place, config.num_heads, bias=config.qkv_bias
            )
        ),
        *from_heads(
            f"{ours}/{_ATTENTION}/out", f"{theirs}.attention.output.dense", config.num_heads
        ),
        *norm(f"{ours}/LayerNorm_1", f"{theirs}.layernorm_after"),
        *linear(f"{ours}/MlpBlock_0/Dense_0", f"{theirs}.intermediate.dense"),
        *linear(f"{ours}/MlpBlock_0/Dense_1", f"{theirs}.output.dense"),
    ]
    names = ("embeddings.cls_token", "embeddings.position_embeddings")
    return [
        convolution("embedding/kernel", f"{patch}.weight"),
        same("embedding/bias", f"{patch}.bias"),
        Rule(("cls", "pos_embedding"), names, read, write),
        *layers(block, config.depth),
        *norm("Transformer/encoder_norm", "layernorm"),
        *linear("pre_logits", "pooler.dense"),
        *linear("head", "classifier"),
    ]


def _map_head(heads: int) -> list[Rule]:
    attention = f"MAPHead_0/{_ATTENTION}"
    return [
        same("MAPHead_0/probe", "head.probe"),
        *joined_heads(
            [f"{attention}/{name}" for name in ("query", "key", "value")],
            "head.attention.in_proj",
            heads,
        ),
        *from_heads(f"{attention}/out", "head.attention.out_proj", heads),
        *norm("MAPHead_0/LayerNorm_0", "head.layernorm"),
        *_mlp("MAPHead_0/MlpBlock_0", "head.mlp"),
    ]


def _attention(ours: str, theirs: str, config: ViTConfig) -> list[Rule]:
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}
    into = [into_heads(f"{ours}/{o}", f"{theirs}.{t}", config.num_heads) for o, t in names.items()]
    out = from_heads(f"{ours}/out", f"{theirs}.out_proj", config.num_heads)
    return [*(rule for rules in into for rule in rules), *out]


def _mlp(ours: str, theirs: str) -> list[Rule]:
    return [
        *linear(f"{ours}/Dense_0", f"{theirs}.fc1"),
        *linear(f"{ours}/Dense_1", f"{theirs}.fc2"),
    ]
