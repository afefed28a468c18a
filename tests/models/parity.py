# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Small Hugging Face models with random weights, and the same weights under pali's names.

Every parameter is random and nowhere zero or one, norms' scales and all biases included, so that a
parameter read in the wrong place, or not at all, shows. Trees have the unscanned names
(`encoder/layers_0/…`); `pali.checkpoints.merge.stack_layers` makes the other form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import torch
import transformers

from pali.config import MT5Config, ViTConfig
from tests.checkpoints.foreign import randomise

# Heads times head width is not the width, and the decoder is shallower than the encoder.
MT5 = MT5Config(
    vocab_size=61,
    width=24,
    mlp_dim=40,
    num_heads=3,
    head_dim=5,
    encoder_layers=3,
    decoder_layers=2,
    scan=False,
)


UMT5 = dataclasses.replace(MT5, relative_bias="layer")


def hugging_face_mt5(ours: MT5Config = MT5, seed: int = 0) -> transformers.PreTrainedModel:
    """The model of `MT5` or `UMT5` above, with random weights, on eager attention in float32."""
    layers = ours.relative_bias == "layer"
    config = (transformers.UMT5Config if layers else transformers.MT5Config)(
        vocab_size=ours.vocab_size,
        d_model=ours.width,
        d_ff=ours.mlp_dim,
        num_heads=ours.num_heads,
        d_kv=ours.head_dim,
        num_layers=ours.encoder_layers,
        num_decoder_layers=ours.decoder_layers,
        attn_implementation="eager",
    )
    # The config insists on one matrix for embedding and output head, and takes no other argument;
    # both families have two, and umT5's logits are then not scaled.
    config.tie_word_embeddings = False
    if layers:
        model = transformers.UMT5ForConditionalGeneration(config)
    else:
        model = transformers.MT5ForConditionalGeneration(config)
    randomise(model, seed)
    model.encoder.embed_tokens = model.decoder.embed_tokens = model.shared
    return model


def mt5_params(model: transformers.PreTrainedModel) -> dict:
    """The parameters of `pali.models.mt5.MT5`."""
    return {
        "token_embedder": {"embedding": _array(model.shared.weight)},
        "encoder": {
            **_shared_bias(model.encoder),
            **{
                f"layers_{i}": {
                    **_own_bias(model.encoder, block),
                    "pre_attention_layer_norm": _norm(block.layer[0].layer_norm),
                    "attention": _mt5_attention(block.layer[0].SelfAttention),
                    "pre_mlp_layer_norm": _norm(block.layer[1].layer_norm),
                    "mlp": _mt5_mlp(block.layer[1].DenseReluDense),
                }
                for i, block in enumerate(model.encoder.block)
            },
            "encoder_norm": _norm(model.encoder.final_layer_norm),
        },
        "decoder": {
            **_shared_bias(model.decoder),
            **{
                f"layers_{i}": {
                    **_own_bias(model.decoder, block),
                    "pre_self_attention_layer_norm": _norm(block.layer[0].layer_norm),
                    "self_attention": _mt5_attention(block.layer[0].SelfAttention),
                    "pre_cross_attention_layer_norm": _norm(block.layer[1].layer_norm),
                    "encoder_decoder_attention": _mt5_attention(block.layer[1].EncDecAttention),
                    "pre_mlp_layer_norm": _norm(block.layer[2].layer_norm),
                    "mlp": _mt5_mlp(block.layer[2].DenseReluDense),
                }
                for i, block in enumerate(model.decoder.block)
            },
            "decoder_norm": _norm(model.decoder.final_layer_norm),
            "logits_dense": _linear(model.lm_head),
        },
    }


VIT = ViTConfig(
    width=24,
    depth=3,
    mlp_dim=40,
    num_heads=4,
    patch_size=4,
    image_size=20,
    class_token=True,
    gelu="exact",
    layer_norm_epsilon=1e-12,
    scan=False,
)


# Hugging Face's `pooler`; its classifier, which has none; pictures that are no squares.
POOLED_VIT = replace(VIT, pool="token", pre_logits=True)
CLASSIFYING_VIT = replace(VIT, pool="token", num_classes=7)
WIDE_VIT = replace(VIT, image_size=(12, 28), class_token_visual=True)


def hugging_face_vit(
    config: ViTConfig = VIT, seed: int = 0
) -> transformers.ViTModel | transformers.ViTForImageClassification:
    """The model of a config above: class token, exact GELU."""
    theirs = transformers.ViTConfig(
        layer_norm_eps=config.layer_norm_epsilon,
        hidden_act="gelu",
        num_labels=config.num_classes,
        **_vit_sizes(config),
    )
    if config.num_classes:
        return randomise(transformers.ViTForImageClassification(theirs), seed)
    return randomise(transformers.ViTModel(theirs, add_pooling_layer=config.pre_logits), seed)


def vit_params(classifier: transformers.ViTModel | transformers.ViTForImageClassification) -> dict:
    """The parameters of `pali.models.vit.ViT`."""
    model = getattr(classifier, "vit", classifier)
    heads = model.config.num_attention_heads
    embeddings = model.embeddings
    positions = _array(embeddings.position_embeddings)
    head = {}
    if model.pooler is not None:
        head["pre_logits"] = _linear(model.pooler.dense)
    if model is not classifier:
        head["head"] = _linear(classifier.classifier)
    return head | {
        "embedding": _patches(embeddings.patch_embeddings.projection),
        "pos_embedding": positions[:, 1:],
        # Hugging Face gives the class token a position; big_vision, and so pali, does not.
        "cls": _array(embeddings.cls_token) + positions[:, :1],
        "Transformer": {
            **{
                f"encoderblock_{i}": {
                    "LayerNorm_0": _norm(layer.layernorm_before),
                    "MultiHeadDotProductAttention_0": {
                        "query": _into_heads(layer.attention.q_proj, heads),
                        "key": _into_heads(layer.attention.k_proj, heads),
                        "value": _into_heads(layer.attention.v_proj, heads),
                        "out": _from_heads(layer.attention.o_proj, heads),
                    },
                    "LayerNorm_1": _norm(layer.layernorm_after),
                    "MlpBlock_0": _vit_mlp(layer.mlp),
                }
                for i, layer in enumerate(model.layers)
            },
            "encoder_norm": _norm(model.layernorm),
        },
    }


SIGLIP = ViTConfig(
    width=24,
    depth=3,
    mlp_dim=40,
    num_heads=4,
    patch_size=4,
    image_size=20,
    pool="map",
    gelu="tanh",
    scan=False,
)


def hugging_face_siglip(ours: ViTConfig = SIGLIP) -> transformers.SiglipVisionModel:
    """The model of `SIGLIP` above: no class token, tanh GELU, attention pooling."""
    config = transformers.SiglipVisionConfig(hidden_act="gelu_pytorch_tanh", **_vit_sizes(ours))
    return randomise(transformers.SiglipVisionModel(config), seed=0)


def siglip_params(model: transformers.SiglipVisionModel) -> dict:
    """The parameters of `pali.models.vit.ViT`."""
    return {
        "embedding": _patches(model.embeddings.patch_embedding),
        "pos_embedding": _array(model.embeddings.position_embedding.weight)[None],
        "Transformer": _blocks(model),
        "MAPHead_0": _map_head(model.head, model.config.num_attention_heads),
    }


# The checkpoints of SigLIP 2 for one resolution are such models, too. Those for any resolution
# ("NaFlex") are Siglip2VisionModel, which is fed with patches, resamples its positions to their
# grid, and is then one of these, on grids that are no squares as well.
WIDE_SIGLIP = replace(SIGLIP, image_size=(8, 32))


def hugging_face_siglip2(seed: int = 0) -> transformers.Siglip2VisionModel:
    """The model of `WIDE_SIGLIP` above, positions on a square grid of as many patches."""
    sizes = _vit_sizes(WIDE_SIGLIP)
    del sizes["image_size"]
    config = transformers.Siglip2VisionConfig(
        hidden_act="gelu_pytorch_tanh", num_patches=WIDE_SIGLIP.num_visual_tokens, **sizes
    )
    return randomise(transformers.Siglip2VisionModel(config), seed)


def siglip2_inputs(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a Siglip2VisionModel wants to know of pictures [b c h w] of `WIDE_SIGLIP`."""
    size, grid = WIDE_SIGLIP.patch_size, torch.tensor(WIDE_SIGLIP.grid)
    patches = pixels.unfold(2, size, size).unfold(3, size, size)  # b c rows columns size size
    patches = patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.int32),
        "spatial_shapes": grid.expand(len(pixels), 2),
    }


def siglip2_params(model: transformers.Siglip2VisionModel) -> dict:
    """The parameters of `pali.models.vit.ViT` for `WIDE_SIGLIP`."""
    embeddings, config = model.embeddings, WIDE_SIGLIP
    patches = _linear(embeddings.patch_embedding)
    patches["kernel"] = patches["kernel"].reshape(config.patch_size, config.patch_size, 3, -1)
    side = embeddings.position_embedding_size
    positions = embeddings.resize_positional_embeddings(
        embeddings.position_embedding.weight.reshape(side, side, -1),
        torch.tensor([config.grid]),
        config.num_visual_tokens,
    )
    return {
        "embedding": patches,
        "pos_embedding": _array(positions),
        "Transformer": _blocks(model),
        "MAPHead_0": _map_head(model.head, model.config.num_attention_heads),
    }


CLIP = ViTConfig(
    width=24,
    depth=3,
    mlp_dim=40,
    num_heads=4,
    patch_size=4,
    image_size=20,
    class_token=True,
    pool="token",
    gelu="quick",
    layer_norm_epsilon=1e-5,
    final_norm="pooled",
    embedding_norm=True,
    patch_bias=False,
    scan=False,
)


def hugging_face_clip(seed: int = 0) -> transformers.CLIPVisionModel:
    """The model of `CLIP` above."""
    config = transformers.CLIPVisionConfig(
        hidden_act="quick_gelu", layer_norm_eps=CLIP.layer_norm_epsilon, **_vit_sizes(CLIP)
    )
    return randomise(transformers.CLIPVisionModel(config), seed)


def clip_params(model: transformers.CLIPVisionModel) -> dict:
    """The parameters of `pali.models.vit.ViT`."""
    positions = _array(model.embeddings.position_embedding.weight)[None]
    return {
        "embedding": _patches(model.embeddings.patch_embedding),
        "pos_embedding": positions[:, 1:],
        "cls": _array(model.embeddings.class_embedding)[None, None] + positions[:, :1],
        "Transformer": _blocks(model) | {"embedding_norm": _norm(model.pre_layrnorm)},
    }


def recorded(block: torch.nn.Module) -> list[tuple[jnp.ndarray, jnp.ndarray]]:
    """Collects (input, output) of a block's first argument at every later call of its model."""
    calls = []

    def record(_, args, output):
        output = output[0] if isinstance(output, tuple) else output
        calls.append((_array(args[0]), _array(output)))

    block.register_forward_hook(record)
    return calls


def _array(tensor: torch.Tensor) -> jnp.ndarray:
    return jnp.asarray(tensor.detach().numpy())


def _vit_sizes(config: ViTConfig) -> dict:
    return dict(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        intermediate_size=config.mlp_dim,
        num_attention_heads=config.num_heads,
        patch_size=config.patch_size,
        image_size=config.image_size,
        attn_implementation="eager",
    )


def _norm(norm: torch.nn.Module) -> dict:
    params = {"scale": _array(norm.weight)}
    if getattr(norm, "bias", None) is not None:
        params["bias"] = _array(norm.bias)
    return params


def _blocks(model: torch.nn.Module) -> dict:
    """Of SigLIP, SigLIP 2 and CLIP, which name them alike."""
    heads = model.config.num_attention_heads
    return {
        **{
            f"encoderblock_{i}": {
                "LayerNorm_0": _norm(layer.layer_norm1),
                "MultiHeadDotProductAttention_0": {
                    "query": _into_heads(layer.self_attn.q_proj, heads),
                    "key": _into_heads(layer.self_attn.k_proj, heads),
                    "value": _into_heads(layer.self_attn.v_proj, heads),
                    "out": _from_heads(layer.self_attn.out_proj, heads),
                },
                "LayerNorm_1": _norm(layer.layer_norm2),
                "MlpBlock_0": _vit_mlp(layer.mlp),
            }
            for i, layer in enumerate(model.encoder.layers)
        },
        "encoder_norm": _norm(model.post_layernorm),
    }


def _map_head(pool: torch.nn.Module, heads: int) -> dict:
    joined = pool.attention.in_proj_weight.chunk(3), pool.attention.in_proj_bias.chunk(3)
    into = [_split_heads(_array(w).T, _array(b), heads) for w, b in zip(*joined, strict=True)]
    return {
        "probe": _array(pool.probe),
        "MultiHeadDotProductAttention_0": {
            **dict(zip(("query", "key", "value"), into, strict=True)),
            "out": _from_heads(pool.attention.out_proj, heads),
        },
        "LayerNorm_0": _norm(pool.layernorm),
        "MlpBlock_0": _vit_mlp(pool.mlp),
    }


def _linear(linear: torch.nn.Linear) -> dict:
    params = {"kernel": _array(linear.weight).T}
    if linear.bias is not None:
        params["bias"] = _array(linear.bias)
    return params


def _shared_bias(stack: torch.nn.Module) -> dict:
    """Of mT5, which keeps it in the first layer."""
    return {} if stack.config.model_type == "umt5" else _relative_bias(stack.block[0])


def _own_bias(stack: torch.nn.Module, block: torch.nn.Module) -> dict:
    """Of umT5."""
    return _relative_bias(block) if stack.config.model_type == "umt5" else {}


def _relative_bias(block: torch.nn.Module) -> dict:
    table = block.layer[0].SelfAttention.relative_attention_bias
    return {"relpos_bias": {"rel_embedding": _array(table.weight).T}}


def _mt5_attention(attention: torch.nn.Module) -> dict:
    names = {"query": attention.q, "key": attention.k, "value": attention.v, "out": attention.o}
    return {name: _linear(linear) for name, linear in names.items()}


def _mt5_mlp(mlp: torch.nn.Module) -> dict:
    return {name: _linear(getattr(mlp, name)) for name in ("wi_0", "wi_1", "wo")}


def _vit_mlp(mlp: torch.nn.Module) -> dict:
    return {"Dense_0": _linear(mlp.fc1), "Dense_1": _linear(mlp.fc2)}


def _patches(convolution: torch.nn.Conv2d) -> dict:
    params = {"kernel": _array(convolution.weight).transpose(2, 3, 1, 0)}
    if convolution.bias is not None:
        params["bias"] = _array(convolution.bias)
    return params


def _into_heads(linear: torch.nn.Linear, heads: int) -> dict:
    return _split_heads(_array(linear.weight).T, _array(linear.bias), heads)


def _split_heads(kernel: jnp.ndarray, bias: jnp.ndarray, heads: int) -> dict:
    return {"kernel": kernel.reshape(len(kernel), heads, -1), "bias": bias.reshape(heads, -1)}


def _from_heads(linear: torch.nn.Linear, heads: int) -> dict:
    kernel = _array(linear.weight).T
    return {"kernel": kernel.reshape(heads, -1, kernel.shape[1]), "bias": _array(linear.bias)}


def equations(primitive: str, function: Callable, *args: Any) -> list:
    """Every equation of one kind in what JAX traces of function(*args), inner loops included."""
    return list(_equations(primitive, jax.make_jaxpr(function)(*args).jaxpr))


def _equations(primitive: str, jaxpr: Any) -> Iterator:
    for equation in jaxpr.eqns:
        if equation.primitive.name == primitive:
            yield equation
        for value in equation.params.values():  # the body of a scan, of a remat, of a jit …
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _equations(primitive, inner)
