# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory a PaLI needs on each device: bytes by purpose, without allocating any.

Parameters, gradients and optimizer slots are counted from shapes. What training keeps of the
forward pass is read off JAX's own derivative of the model (`jax.vjp` under `jax.eval_shape`), so
that it follows the code of the model. What a layer needs while it is computed was measured on what
XLA plans for small models; tests/test_memory.py checks the sums against XLA again, and ERROR is how
far off they may be.

What a mesh divides is said by the rules of pali/sharding.py and, of activations, by the models
(`pali.models.layers.divide`): those of the width of the model are whole on each device of `model`.
XLA then planned 0.97 of these sums for four devices of `fsdp`, 0.85 for four of `model`, 0.91 for
eight of all three axes; left to divide activations by itself it took 1.97 on four of `fsdp`.
Training updates the language half and the projection, in float32, beside a frozen ViT in float32;
its optimizer is Adafactor without momentum, whose update needs no room of its own.

Layers are taken to be scanned, as those of the presets are: a CPU does not recompute the ones of a
loop in Python, remat or not.

Not counted: the batch itself, buffers of communication but for the weights that `fsdp` gathers,
what the compiler adds, fragmentation.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pali import adafactor, sharding
from pali.checkpoints.pretrained import expected_arrays, expected_params
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.mesh_config import MeshConfig
from pali.models.mt5 import MT5
from pali.models.pali import PaLI
from pali.models.vit import ViT
from pali.types import Params

FORWARD = 2.5
"""Room for a layer at work, in arrays as large as the largest it makes: logits of attention, their
softmax, and what else there is at that moment."""

BACKWARD, BACKWARD_WITH_REMAT = 0.5, 1.1
"""The same for the backward pass, beside what is kept: as a share of what is kept of one layer, or
with `remat` would be, since then that layer is computed again."""

ERROR = 0.15
"""How far activations and cache may be from XLA's plan for a CPU in float32."""

BFLOAT16_ON_CPU = 2
"""How many times as much a CPU may need in bfloat16, of which it makes float32. Found: in training
1.4 times without remat, 1.1 with it; in greedy decoding more."""

CHUNKS = 16
"""Parts in which a loss in chunks computes the logits."""

_BATCH = 10_007
"""Batch of the traces, which allocate nothing: a prime, so that arrays that grow with the batch are
told from those that do not."""


@dataclass(frozen=True)
class Work:
    """What is computed at once, by all devices together."""

    batch_size: int = 64
    inputs_length: int = 64
    """Prompt tokens of an example; the visual tokens come before them."""
    targets_length: int = 64


@dataclass(frozen=True)
class Plan:
    """Bytes on each device."""

    rows: dict[str, int]
    """By purpose, all there at once."""
    layer: int
    """Beside these, while a layer is computed."""
    logits: int
    """Beside these, at another time, while all logits are there."""

    def at_work(self, chunks: int = 1) -> int:
        """The larger of the two, the logits in `chunks` parts."""
        return max(self.layer, -(-self.logits // chunks))

    def total(self, chunks: int = 1) -> int:
        """All of it."""
        return sum(self.rows.values()) + self.at_work(chunks)


def inference(config: PaLIConfig, mesh: MeshConfig, work: Work) -> Plan:
    """Greedy decoding of one batch, all weights in bfloat16.

    Raises:
      ValueError: the mesh cannot divide the model or the batch.
    """
    rows = _rows(config, mesh, work)
    device = _on_device(config, mesh)
    cache, own = _cache(device, work)
    largest = max(_vit(config, mesh).largest, _encoder(device, work).largest)
    return Plan(
        {
            "parameters": _parameter_bytes(expected_arrays(config), mesh, 2),
            "gathered parameters": _gathered(config, mesh),
            "decoder's cache": cache * rows,  # Set aside before picture and prompt are read.
        },
        # A step of the decoder writes its part of the cache beside the old one, and back.
        max(int(FORWARD * largest * rows), 2 * own * rows),
        2 * rows * device.mt5.vocab_size * 4,
    )


def training(config: PaLIConfig, mesh: MeshConfig, work: Work, *, remat: bool) -> Plan:
    """One step beside a frozen ViT; `remat` computes the layers of the language half again.

    Raises:
      ValueError: the mesh cannot divide the model or the batch.
    """
    rows = _rows(config, mesh, work)
    flat = expected_arrays(config)
    frozen = {name: leaf for name, leaf in flat.items() if name.startswith("vit/")}
    trained = {name: leaf for name, leaf in flat.items() if name not in frozen}
    device = _on_device(config, mesh)
    activations = copies = layer = 0
    for trace, depth in (
        (_encoder, device.mt5.encoder_layers),
        (_decoder, device.mt5.decoder_layers),
    ):
        plain = trace(device, work)
        kept = trace(_with_remat(device), work) if remat else plain
        activations += int(kept.bytes * rows)
        copies += kept.copies // mesh.fsdp
        share = BACKWARD_WITH_REMAT if remat else BACKWARD
        layer = max(layer, int(share * plain.bytes * rows / depth))
    vit = int(FORWARD * _vit(config, mesh).largest * rows)
    return Plan(
        {
            "parameters, frozen": _parameter_bytes(frozen, mesh, 4),
            "parameters, trained": _parameter_bytes(trained, mesh, 4),
            "gradients": _parameter_bytes(trained, mesh, 4),
            "Adafactor's slots": 4 * adafactor_slots(trained, mesh),
            "gathered parameters": _gathered(config, mesh),
            "parameters in bfloat16": copies,
            "activations kept": activations,
        },
        # The ViT runs before anything is kept.
        max(layer, vit - activations - copies),
        2 * rows * work.targets_length * device.mt5.vocab_size * 4,
    )


def adafactor_slots(flat: Mapping[str, Any], mesh: MeshConfig | None = None) -> int:
    """Numbers that Adafactor keeps on a device for parameters of these names."""
    shards = sharding.shard_shapes(mesh or MeshConfig(1), flat)
    total = 0
    for name, leaf in flat.items():
        kind, shard = adafactor.sides(name, leaf.shape), shards[name]
        size = math.prod(shard)
        factored = (math.prod(shard[i] for i in side) for side in (kind.columns, kind.rows))
        total += sum(size // side for side in factored) if kind.factored else size
    return total


class _Kept(NamedTuple):
    bytes: float
    """For each example of the batch."""
    largest: float
    """Of these, the largest array of one layer."""
    copies: int
    """Of parameters, whatever the batch."""


def _rows(config: PaLIConfig, mesh: MeshConfig, work: Work) -> int:
    """Examples on each device."""
    for name, value in {"axis data": mesh.data, **vars(work)}.items():
        if not 1 <= value < 2**31:
            raise ValueError(f"{name} is {value}; it must be at least 1, and below 2^31")
    sharding.check(mesh, expected_params(config))
    sharding.check_batch(mesh, work.batch_size)
    return work.batch_size // mesh.shares


def _parameter_bytes(flat: Mapping[str, Any], mesh: MeshConfig, each: int) -> int:
    return each * sum(math.prod(shape) for shape in sharding.shard_shapes(mesh, flat).values())


def _gathered(config: PaLIConfig, mesh: MeshConfig) -> int:
    """What `fsdp` brings together for a while: the layer in hand and the next, or the head."""
    if mesh.fsdp == 1:
        return 0
    layers: Counter[str] = Counter()
    for name, leaf in expected_arrays(config).items():
        if match := re.match(r".*(encoderblock|layers)_\d+/", name):
            layers[match[0]] += leaf.size
    head = config.mt5.width * config.mt5.vocab_size
    return 2 * max(2 * max(layers.values()), head) // mesh.model


def _on_device(config: PaLIConfig, mesh: MeshConfig) -> PaLIConfig:
    """The part of the language half that one device along `model` computes, without `remat`."""
    mt5 = replace(
        config.mt5,
        num_heads=config.mt5.num_heads // mesh.model,
        mlp_dim=config.mt5.mlp_dim // mesh.model,
        vocab_size=config.mt5.vocab_size // mesh.model,
        remat=False,
    )
    return replace(config, mt5=mt5)


def _with_remat(config: PaLIConfig) -> PaLIConfig:
    return replace(config, mt5=replace(config.mt5, remat=True))


def _without_remat(config: PaLIConfig) -> PaLIConfig:
    """Of which the shapes are known already."""
    return replace(config, mt5=replace(config.mt5, remat=False))


def _ints(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def _mask(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.bool_)


def _encoded(config: MT5Config, length: int, batch: int) -> tuple[Any, Any]:
    shape = (batch, length)
    return jax.ShapeDtypeStruct((*shape, config.width), config.dtype), _mask(*shape)


def _encoder(config: PaLIConfig, work: Work) -> _Kept:
    """From visual tokens and prompt to the encoding."""
    return _encoder_of(config, work.inputs_length)


@functools.cache
def _encoder_of(config: PaLIConfig, inputs_length: int) -> _Kept:
    shape = (_BATCH, config.vit.num_visual_tokens, config.vit.width)
    visual = jax.ShapeDtypeStruct(shape, config.vit.dtype)

    def encode(params: Params, *inputs: Any) -> Any:
        return PaLI(config).apply({"params": params}, *inputs, method="encode")[0]

    inputs = (visual, _mask(_BATCH), _ints(_BATCH, inputs_length))
    shapes = expected_params(_without_remat(config))
    params = {name: part for name, part in shapes.items() if name != "vit"}
    return _kept(encode, (params,), inputs)


def _decoder(config: PaLIConfig, work: Work) -> _Kept:
    """From the encoding to what the output head reads."""
    length = config.vit.num_visual_tokens + work.inputs_length
    return _decoder_of(config.mt5, length, work.targets_length)


@functools.cache
def _decoder_of(config: MT5Config, source_length: int, targets_length: int) -> _Kept:
    encoded, mask = _encoded(config, source_length, _BATCH)

    def decode(params: Params, encoded: Array, *others: Any) -> Any:
        variables = {"params": params}
        return MT5(config).apply(variables, encoded, *others, method="decoder_states")

    others = (mask, _ints(_BATCH, targets_length))
    return _kept(decode, (expected_params(replace(config, remat=False)), encoded), others)


def _vit(config: PaLIConfig, mesh: MeshConfig) -> _Kept:
    """From picture to visual tokens, if the ViT were trained."""
    return _vit_of(replace(config.vit, remat=False), mesh.model)


@functools.cache
def _vit_of(vit: ViTConfig, model: int) -> _Kept:
    image = jax.ShapeDtypeStruct((_BATCH, *vit.image_shape, 3), jnp.uint8)

    def look(params: Params, image: Array) -> Array:
        seen: Any = ViT(vit).apply({"params": params}, image)
        return seen.tokens

    def parts(shape: tuple[int, ...]) -> int:
        return model if {vit.num_heads, vit.mlp_dim} & set(shape[1:]) else 1

    shapes = jax.eval_shape(ViT(vit).init, jax.random.key(0), image)["params"]
    return _kept(look, (shapes,), (image,), parts)


def _kept(
    run: Callable[..., Any],
    wanted: tuple[Any, ...],
    others: tuple[Any, ...],
    parts: Callable[[tuple[int, ...]], int] = lambda shape: 1,
) -> _Kept:
    """What the derivative of `run` to the arguments `wanted` keeps, the parameters left out.

    `parts` says of an array among how many devices it is divided.
    """

    def backward(wanted: Any, others: Any) -> Any:
        return jax.vjp(lambda *arguments: run(*arguments, *others), *wanted)[1]

    own = {(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(wanted[0])}
    total, largest, copies = 0.0, 0.0, 0
    for leaf in jax.tree.leaves(jax.eval_shape(backward, wanted, others)):
        size = leaf.size * leaf.dtype.itemsize
        if any(side % _BATCH == 0 for side in leaf.shape):
            size /= _BATCH * parts(leaf.shape)
            # Of a stack of layers, the batch is not the first axis.
            layers = leaf.shape[0] if leaf.shape[0] % _BATCH else 1
            total, largest = total + size, max(largest, size / layers)
        elif (leaf.shape, leaf.dtype) not in own:
            copies += size
    return _Kept(total, largest, copies)


def _cache(config: PaLIConfig, work: Work) -> tuple[int, int]:
    """Bytes of the decoder's cache for one example; those of its own positions apart."""
    length = config.vit.num_visual_tokens + work.inputs_length
    encoded, mask = _encoded(config.mt5, length, 1)

    def init(params: Params, *encoded: Any) -> Any:
        cache = functools.partial(MT5(config.mt5).apply, method="init_cache")
        return cache({"params": params}, *encoded, work.targets_length)

    cache = jax.eval_shape(init, expected_params(config)["mt5"], encoded, mask)
    sizes = {name: leaf.size * leaf.dtype.itemsize for name, leaf in cache.items()}
    return sum(sizes.values()), sizes["self_key"] + sizes["self_value"]
