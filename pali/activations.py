# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What training keeps of the forward pass, for the plan of memory: bytes for each example.

It is read off JAX's own derivative of each part of the model (`jax.vjp` under `jax.eval_shape`), so
that it follows the code, the policy of rematerialisation and what is frozen. Nothing is allocated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pali import kept
from pali.checkpoints import merge
from pali.checkpoints.pretrained import expected_params
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.models.mt5 import MT5
from pali.models.pali import PaLI
from pali.models.vit import ViT
from pali.types import Params

BATCH = 10_007
"""Rows of the traces: a prime, so that arrays that grow with the batch are told from those that do
not."""


class Kept(NamedTuple):
    """Of one part of the model."""

    bytes: float
    """For each example of the batch."""
    largest: float
    """Of these, the largest array of one layer."""
    copies: int
    """Of parameters, whatever the batch."""


def _remembered(trace: Callable[..., Kept]) -> Callable[..., Kept]:
    """Once for the same arguments in this process, and in later ones where that is kept."""

    @functools.cache
    @functools.wraps(trace)
    def found(*args: Any) -> Kept:
        return Kept(*kept.numbers(trace, *args))

    return found


def of(names: frozenset[str], *parts: str) -> frozenset[str]:
    """Those of some parts of the model, so that traces of the others serve again."""
    return frozenset(name for name in names if name.startswith(parts))


def _ints(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def _mask(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.bool_)


def _encoded(config: MT5Config, length: int, batch: int) -> tuple[Any, Any]:
    shape = (batch, length)
    return jax.ShapeDtypeStruct((*shape, config.width), config.dtype), _mask(*shape)


def _apply(model: Any, dropout: float, params: Params, *inputs: Any, method: str) -> Any:
    """The model as training applies it."""
    rngs = {"dropout": jax.random.key(0)} if dropout else {}
    given = {"deterministic": not dropout, "rngs": rngs, "method": method}
    return model.apply({"params": params}, *inputs, **given)


def encoder(config: PaLIConfig, trained: frozenset[str], inputs_length: int) -> Kept:
    """From visual tokens and prompt to the encoding."""
    parts = ("projection/", "mt5/token_embedder/", "mt5/encoder/")
    seen = bool(of(trained, "vit/"))
    return _encoder_of(config, of(trained, *parts), seen, inputs_length)


@_remembered
def _encoder_of(
    config: PaLIConfig, trained: frozenset[str], seen: bool, inputs_length: int
) -> Kept:
    """`seen`: the gradient goes on, to the visual tokens."""
    shape = (BATCH, config.vit.num_visual_tokens, config.vit.width)
    visual = jax.ShapeDtypeStruct(shape, config.vit.dtype)
    flat = merge.flatten({n: p for n, p in expected_params(config).items() if n != "vit"})
    wanted = {"params": _only(flat, trained)} | ({"visual": visual} if seen else {})
    others = {"params": _only(flat, flat.keys() - trained), "visual": visual}
    others |= {"mask": _mask(BATCH), "tokens": _ints(BATCH, inputs_length)}

    def encode(wanted: Any, others: Any) -> Any:
        params = merge.unflatten(wanted["params"] | others["params"])
        given = others | wanted
        inputs = (given["visual"], given["mask"], given["tokens"])
        return _apply(PaLI(config), config.mt5.dropout, params, *inputs, method="encode")[0]

    return _kept(encode, wanted, others)


def decoder(
    config: MT5Config, trained: frozenset[str], source_length: int, targets_length: int
) -> Kept:
    """From the encoding to what the output head reads."""
    before = of(trained, "vit/", "projection/", "mt5/token_embedder/", "mt5/encoder/")
    own = of(trained, "mt5/decoder/", "mt5/token_embedder/")
    own = frozenset(name.removeprefix("mt5/") for name in own)
    return _decoder_of(config, own, bool(before), source_length, targets_length)


@_remembered
def _decoder_of(
    config: MT5Config, trained: frozenset[str], read: bool, source_length: int, length: int
) -> Kept:
    """`read`: the gradient goes on, to the encoding."""
    encoded, mask = _encoded(config, source_length, BATCH)
    flat = merge.flatten(expected_params(config))
    wanted = {"params": _only(flat, trained)} | ({"encoded": encoded} if read else {})
    others = {"params": _only(flat, flat.keys() - trained), "encoded": encoded}
    others |= {"mask": mask, "tokens": _ints(BATCH, length)}

    def decode(wanted: Any, others: Any) -> Any:
        params = merge.unflatten(wanted["params"] | others["params"])
        given = others | wanted
        inputs = (given["encoded"], given["mask"], given["tokens"])
        return _apply(MT5(config), config.dropout, params, *inputs, method="decoder_states")

    return _kept(decode, wanted, others)


@_remembered
def vit(vit: ViTConfig, model: int, trained: frozenset[str] | None, heads: bool) -> Kept:
    """From picture to visual tokens, and classes with the `heads`; `trained` None: all."""
    image = jax.ShapeDtypeStruct((BATCH, *vit.image_shape, 3), jnp.uint8)
    shapes = jax.eval_shape(ViT(vit).init, jax.random.key(0), image)["params"]
    flat = {f"vit/{name}": leaf for name, leaf in merge.flatten(shapes).items()}
    trained = frozenset(flat) if trained is None else trained
    wanted = {"params": _only(flat, trained)}
    others = {"params": _only(flat, flat.keys() - trained), "image": image}

    def look(wanted: Any, others: Any) -> Any:
        params = merge.unflatten(wanted["params"] | others["params"])["vit"]
        seen = _apply(ViT(vit), vit.dropout, params, others["image"], method="__call__")
        return seen if heads else seen.tokens

    def parts(shape: tuple[int, ...]) -> int:
        return model if {vit.num_heads, vit.mlp_dim} & set(shape[1:]) else 1

    return _kept(look, wanted, others, parts)


def _only(flat: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: leaf for name, leaf in flat.items() if name in names}


def _kept(
    run: Callable[[Any, Any], Any],
    wanted: dict[str, Any],
    others: dict[str, Any],
    parts: Callable[[tuple[int, ...]], int] = lambda shape: 1,
) -> Kept:
    """What the derivative of `run` to all of `wanted` keeps, the parameters left out.

    `parts` says of an array among how many devices it is divided.
    """

    def backward(wanted: Any, others: Any) -> Any:
        return jax.vjp(lambda wanted: run(wanted, others), wanted)[1]

    if not jax.tree.leaves(wanted):
        return Kept(0.0, 0.0, 0)
    params = jax.tree.leaves((wanted["params"], others["params"]))
    own = {(leaf.shape, leaf.dtype) for leaf in params}
    total, largest, copies = 0.0, 0.0, 0
    for leaf in jax.tree.leaves(jax.eval_shape(backward, wanted, others)):
        size = leaf.size * leaf.dtype.itemsize
        if any(side % BATCH == 0 for side in leaf.shape):
            size /= BATCH * parts(leaf.shape)
            # Of a stack of layers, the batch is not the first axis.
            layers = leaf.shape[0] if leaf.shape[0] % BATCH else 1
            total, largest = total + size, max(largest, size / layers)
        elif (leaf.shape, leaf.dtype) not in own:
            copies += size
    return Kept(total, largest, copies)
