# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How the memory of the decoder lies: one array for all layers, or some for each.

    scanned        self_key [L b N H t], self_value [L b N t H], cross_key, cross_value alike
    not scanned    self_key_0 [1 b N H t], self_key_1, … : a step then copies none of them

With cross_mask [1 b s] (pali/models/mt5.py) these are a flat dict, the batch axis 1 of every array.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pali.config import MT5Config
from pali.models.layers import BATCH, divide

Cache = dict[str, Array]


def dtype(config: MT5Config) -> Any:
    """`config.dtype`, but float32 on a CPU, which multiplies many small bfloat16 matrices slowly.

    There a step's attention over the cache takes half the time in float32, for twice the memory.
    """
    return jnp.float32 if jax.default_backend() == "cpu" else config.dtype


def empty(config: MT5Config, batch: int, max_length: int) -> Cache:
    """Zeros for the positions of the target: self_key… and self_value…"""
    by_head = (None, BATCH, "model", None, None)
    heads = (batch, config.num_heads)
    shapes = {
        "self_key": (*heads, config.head_dim, max_length),
        "self_value": (*heads, max_length, config.head_dim),
    }
    layers, ends = (config.decoder_layers, [""]) if config.scan else (1, _ends(config))
    return {
        f"{name}{end}": divide(jnp.zeros((layers, *shape), dtype(config)), *by_head)
        for name, shape in shapes.items()
        for end in ends
    }


def joined(config: MT5Config, per_layer: Any) -> Cache:
    """The cache of what `block_stack` returns."""
    if config.scan:
        return per_layer
    layers = zip(_ends(config), per_layer, strict=True)
    return {f"{name}{end}": array[None] for end, mine in layers for name, array in mine.items()}


def by_layer(config: MT5Config, cache: Cache) -> Any:
    """What `block_stack` takes, of the cache."""
    names = ("self_key", "self_value", "cross_key", "cross_value")
    if config.scan:
        return {name: cache[name] for name in names}
    return [{name: cache[name + end][0] for name in names} for end in _ends(config)]


def _ends(config: MT5Config) -> list[str]:
    return [f"_{layer}" for layer in range(config.decoder_layers)]
