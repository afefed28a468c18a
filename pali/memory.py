# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory a PaLI needs on each device: bytes by purpose, without allocating any.

Parameters, gradients and optimizer slots are counted from shapes, as a config trains and freezes
them. What training keeps of the forward pass is read off the derivative of the model
(pali/activations.py). What a layer needs while it is computed, and an update, was
measured on what XLA plans for small models; tests/test_memory.py checks the sums against XLA again,
and ERROR is how far off they may be.

What a mesh divides is said by the rules of pali/sharding.py and, of activations, by the models
(`pali.models.layers.divide`): those of the width of the model are whole on each device of `model`.
XLA then planned 0.97 of these sums for four devices of `fsdp`, 0.85 for four of `model`, 0.91 for
eight of all three axes; left to divide activations by itself it took 1.97 on four of `fsdp`.

Layers are taken to be scanned, as those of the presets are: a CPU does not recompute the ones of a
loop in Python, remat or not. All texts are taken to be of the longest lengths of the config.

Not counted: batches that are being prepared, evaluation, buffers of communication but for the
weights that `fsdp` gathers, what the compiler adds, fragmentation.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh

from pali import activations, lora, objectives, optim, sharding, vocabulary_loss
from pali.activations import Kept
from pali.checkpoints import merge
from pali.checkpoints.pretrained import expected_params
from pali.config import Config, DataConfig, OptimConfig, PaLIConfig
from pali.mesh_config import MeshConfig
from pali.models.mt5 import MT5
from pali.types import Params

FORWARD = 2.5
"""Room for a layer at work, in arrays as large as the largest it makes: logits of attention, their
softmax, and what else there is at that moment."""

BACKWARD, RECOMPUTED = 0.5, 0.9
"""The same for the backward pass, beside what is kept: as shares of what is kept of one layer, and
of what its policy of rematerialisation does not keep and computes again."""

UPDATE = {"adafactor": 0.25, "adamw": 0.05, "muon": 0.15}
"""Room for an update, in copies of the gradients beside the gradients."""

CLIPPED = {"adafactor": 0.2, "adamw": 0.2, "muon": 0.1}
"""And for clipping them first."""

ADDED = 0.5
"""Of a micro-batch, as much of its gradients is there at once beside the sum of those before."""

ERROR = 0.15
"""How far activations and cache may be from XLA's plan for a CPU in float32."""

BFLOAT16_ON_CPU = 2
"""How many times as much a CPU may need in bfloat16, of which it makes float32. Found: in training
1.4 times without remat, 1.1 with it; in greedy decoding more."""

NAMES = {"adafactor": "Adafactor", "adamw": "AdamW", "muon": "Muon"}


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
    moments: dict[str, int]
    """Beside these, each at another time: the largest counts."""

    @property
    def at_work(self) -> int:
        """The largest of the moments."""
        return max(0, *self.moments.values())

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.rows.values()) + self.at_work


def inference(config: PaLIConfig, mesh: MeshConfig, work: Work) -> Plan:
    """Greedy decoding of one batch, all weights in bfloat16.

    Raises:
      ValueError: the mesh cannot divide the model or the batch.
    """
    shapes = expected_params(config)
    rows = _rows(shapes, mesh, work)
    device = _on_device(config, mesh)
    cache, own = _cache(device, work)
    stages = _stages(pretraining(config, work), mesh, frozenset())
    largest = max(stage.plain.largest for stage in stages if stage.name != "decoder")
    return Plan(
        {
            "parameters": _parameter_bytes(merge.flatten(shapes), mesh, 2),
            "gathered parameters": _gathered(shapes, config, mesh),
            "decoder's cache": cache * rows,  # Set aside before picture and prompt are read.
        },
        {
            "a layer": int(FORWARD * largest * rows),
            # A step of the decoder writes its part of the cache beside the old one, and back.
            "a step of the decoder": 2 * own * rows,
            "logits": 2 * rows * device.mt5.vocab_size * 4,
        },
    )


def pretraining(model: PaLIConfig, work: Work, remat: str = "none") -> Config:
    """Training of the language half beside a frozen ViT by T5X's Adafactor, as PaLI begins."""
    return Config(
        replace(model, mt5=replace(model.mt5, remat=remat)),
        DataConfig("", **vars(work)),
        OptimConfig("adafactor", clip_norm=None, freeze=("vit/.*",)),
    )


def training(config: Config, mesh: MeshConfig) -> Plan:
    """One step of `pali train`.

    Args:
      config: the experiment; of its mesh nothing is read.
      mesh: how many devices there are along each axis.

    Raises:
      ValueError: the mesh cannot divide the model or the batch, or `freeze` fits no parameter.
    """
    data, model, shapes = config.data, config.model, parameters(config)
    held = _rows(shapes, mesh, Work(data.batch_size, data.inputs_length, data.targets_length))
    rows = -(-held // config.accumulate)
    trained, frozen = map(merge.flatten, lora.partition(config, shapes))
    gradients = _parameter_bytes(trained, mesh, 4)
    # An adapter waits for what its kernel would wait for, and for little else.
    stages = _stages(config, mesh, frozenset(map(lora.kernel_of, trained)))
    kept = int(rows * sum(stage.kept.bytes for stage in stages))
    copies = sum(stage.kept.copies for stage in stages) // mesh.fsdp

    name = config.optim.name
    updating = UPDATE[name] + (CLIPPED[name] if config.optim.clip_norm is not None else 0)
    moments = {"update": int(updating * gradients) - kept - copies}
    before = 0
    added = int(ADDED * gradients) if config.accumulate > 1 else 0
    for stage in stages:
        again = stage.plain.bytes - stage.kept.bytes if stage.kept.bytes else 0
        layer = (BACKWARD * stage.kept.bytes + RECOMPUTED * again) / stage.depth
        moments[f"a layer of the {stage.name}"] = max(
            int(rows * layer) + added if stage.kept.bytes else 0,
            # Forwards, what later stages keep is not there yet.
            int(FORWARD * stage.plain.largest * rows) - kept - copies + before,
        )
        before += int(rows * stage.kept.bytes)
    if config.objective == "generate":
        head = "mt5/decoder/logits_dense/kernel" in trained
        # Then of all gradients of this micro-batch there is the head's alone, added up from part to
        # part.
        logits, own = _logits(config, mesh, rows)
        there = gradients if config.accumulate == 1 else 0
        moments["logits"] = logits + (own if head else 0) - there
    if compared := (config.contrast_weight > 0) + (config.patch_weight > 0):
        numbers = rows * model.vit.num_visual_tokens * objectives.WORDS
        moments["patches against words"] = int(4 * (1 + compared) * numbers)
    return Plan(
        {
            "parameters, frozen": _parameter_bytes(frozen, mesh, 4),
            "parameters, trained": _parameter_bytes(trained, mesh, 4),
            "gradients": gradients,
            f"{NAMES[name]}'s slots": _slots(config, mesh, trained),
            "gathered parameters": _gathered(shapes, model, mesh),
            "parameters in bfloat16": copies,
            "activations kept": kept,
            "batch": held * _example(config) * (2 if config.accumulate > 1 else 1),
        },
        moments,
    )


def logits(config: Config, mesh: MeshConfig) -> tuple[int, int]:
    """Bytes of logits and their gradients in a step: as the config cuts them, and all at once."""
    rows = config.data.batch_size // mesh.shares
    both = (config, replace(config, loss_chunks=1))
    in_parts, at_once = (_logits(each, mesh, rows)[0] for each in both)
    return in_parts, at_once


def parameters(config: Config) -> Params:
    """Shapes of all parameters of a run, trained and frozen."""
    shapes = expected_params(config.model)
    if config.objective == "classify":
        shapes = {"vit": shapes["vit"]}
    else:
        shapes = jax.eval_shape(lambda shapes: lora.added(config.lora, shapes, 0), shapes)
    return {**shapes, **jax.eval_shape(lambda: objectives.auxiliary_params(config))}


class _Stage(NamedTuple):
    name: str
    depth: int
    kept: Kept
    """By what is trained, of a model with its policies of rematerialisation."""
    plain: Kept
    """If all were trained and nothing computed again."""


def _stages(config: Config, mesh: MeshConfig, trained: frozenset[str]) -> list[_Stage]:
    """What a step computes, in its order."""
    data, vit = config.data, config.model.vit
    everything = frozenset(merge.flatten(parameters(config)))
    if not activations.of(trained, "vit/"):  # Nothing goes back to it in either case.
        everything -= activations.of(everything, "vit/")
    device = _on_device(config.model, mesh)
    plain = replace(device, mt5=replace(device.mt5, remat="none"))
    found = []
    if not data.visual_token_cache:
        heads = config.objective == "classify" or config.class_weight > 0
        kept = activations.vit(vit, mesh.model, activations.of(trained, "vit/"), heads)
        whole = activations.vit(replace(vit, remat="none"), mesh.model, None, heads)
        found.append(_Stage("ViT", vit.depth, kept, whole))
    if config.objective == "generate":
        reading, source = data.inputs_length, vit.num_visual_tokens + data.inputs_length
        found.append(
            _Stage(
                "encoder",
                device.mt5.encoder_layers,
                activations.encoder(device, trained, reading),
                activations.encoder(plain, everything, reading),
            )
        )
        lengths = (source, data.targets_length)
        found.append(
            _Stage(
                "decoder",
                device.mt5.decoder_layers,
                activations.decoder(device.mt5, trained, *lengths),
                activations.decoder(plain.mt5, everything, *lengths),
            )
        )
    return found


def _logits(config: Config, mesh: MeshConfig, rows: int) -> tuple[int, int]:
    """Those of one part of the target positions and their gradients; and the head's gradient."""
    length, mt5 = config.data.targets_length, config.model.mt5
    parts = vocabulary_loss.parts(rows * mesh.shares, length, config.loss_chunks)
    logits = 2 * rows * -(-length // parts) * (mt5.vocab_size // mesh.model) * 4
    return logits, 4 * mt5.width * mt5.vocab_size // (mesh.fsdp * mesh.model)


def _slots(config: Config, mesh: MeshConfig, trained: Mapping[str, Any]) -> int:
    """Bytes of what the optimizer keeps."""
    params = merge.unflatten(dict(trained))
    kept = jax.eval_shape(optim.optimizer(config.optim, config.steps).init, params)
    shape = {axis: getattr(mesh, axis) for axis in sharding.AXES}
    devices = AbstractMesh(tuple(shape.values()), tuple(shape))
    places = sharding.optimizer_shardings(devices, params, kept)
    sizes = jax.tree.map(
        lambda leaf, place: math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize,
        kept,
        places,
    )
    return sum(jax.tree.leaves(sizes))


def _example(config: Config) -> int:
    """Bytes of one example of a batch."""
    data, vit = config.data, config.model.vit
    seen = 3 * math.prod(vit.image_shape)
    if data.visual_token_cache:
        seen = 2 * vit.num_visual_tokens * vit.width
    return seen + 4 * (data.inputs_length + 3 * data.targets_length)


def _rows(shapes: Params, mesh: MeshConfig, work: Work) -> int:
    """Examples on each device."""
    for name, value in {"axis data": mesh.data, **vars(work)}.items():
        if not 1 <= value < 2**31:
            raise ValueError(f"{name} is {value}; it must be at least 1, and below 2^31")
    sharding.check(mesh, shapes)
    sharding.check_batch(mesh, work.batch_size)
    return work.batch_size // mesh.shares


def _parameter_bytes(flat: Mapping[str, Any], mesh: MeshConfig, each: int) -> int:
    return each * sum(math.prod(shape) for shape in sharding.shard_shapes(mesh, flat).values())


def _gathered(shapes: Params, model: PaLIConfig, mesh: MeshConfig) -> int:
    """What `fsdp` brings together for a while: the layer in hand and the next, or the head."""
    if mesh.fsdp == 1:
        return 0
    layers: Counter[str] = Counter()
    for name, leaf in merge.flatten(shapes).items():
        own = merge.separate(name, leaf.shape)
        for layer in own:
            if match := re.match(r".*(encoderblock|layers)_\d+/", layer):
                layers[match[0]] += leaf.size // len(own)
    head = model.mt5.width * model.mt5.vocab_size if "mt5" in shapes else 0
    return 2 * max(2 * max(layers.values()), head) // mesh.model


def _on_device(config: PaLIConfig, mesh: MeshConfig) -> PaLIConfig:
    """The part of the language half that one device along `model` computes."""
    mt5 = replace(
        config.mt5,
        num_heads=config.mt5.num_heads // mesh.model,
        mlp_dim=config.mt5.mlp_dim // mesh.model,
        vocab_size=config.mt5.vocab_size // mesh.model,
    )
    return replace(config, mt5=mt5)


def _cache(config: PaLIConfig, work: Work) -> tuple[int, int]:
    """Bytes of the decoder's cache for one example; those of its own positions apart."""
    length = config.vit.num_visual_tokens + work.inputs_length
    encoded = jax.ShapeDtypeStruct((1, length, config.mt5.width), config.mt5.dtype)
    mask = jax.ShapeDtypeStruct((1, length), "bool")

    def init(params: Params, *encoded: Any) -> Any:
        cache = functools.partial(MT5(config.mt5).apply, method="init_cache")
        return cache({"params": params}, *encoded, work.targets_length)

    cache = jax.eval_shape(init, expected_params(config)["mt5"], encoded, mask)
    # In the type that an accelerator keeps it in.
    width = jax.numpy.dtype(config.mt5.dtype).itemsize
    sizes = {name: leaf.size * (1 if leaf.dtype == bool else width) for name, leaf in cache.items()}
    own = sum(size for name, size in sizes.items() if name.startswith("self_"))
    return sum(sizes.values()), own
