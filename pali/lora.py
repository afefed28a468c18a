# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (LoRA, arXiv 2106.09685) of the language half, merged when a model is exported.

Beside a kernel W [k n] that is adapted lie `lora_a` A [k r] and `lora_b` B [r n], and it acts as

    W + alpha / r · A B

A begins uniform in ±1/sqrt(k) and B with zeros, as in peft, so the first step starts from the very
model that is adapted. Only A and B are trained: W has neither gradient nor optimizer slots, and a
checkpoint holds them alone. They never decay.

`pali.models.layers.Dense` adds (x A) B to x W wherever its parameters hold such factors, and no
other code of a model knows of them. The other way, making W + A B before each step, needs no word
in the model at all, but would hold every kernel twice more: the sum, and its gradient, of which
those of A and B are then made. Here the cost is 2 r (k + n) operations for each position beside
2 k n, and x A to keep.

Dropout on the way into A, which peft has and by default leaves at 0, is not there; that of the
mT5 (`model.mt5.dropout`) acts as ever.
"""

from __future__ import annotations

import math
import re
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pali import optim
from pali.checkpoints import merge
from pali.config import Config, LoRAConfig
from pali.models.layers import ADAPTER
from pali.types import Params

ADAPTABLE = re.compile(r"mt5/.*/(query|key|value|out|wi_0|wi_1|wo)/kernel")
"""Kernels that are read by a `Dense`, as paths in either form."""


def frozen(config: LoRAConfig) -> tuple[str, ...]:
    """Patterns of what is frozen for the sake of adapters: the language half."""
    return (r"mt5/.*",) if config.rank else ()


def partition(config: Config, params: Params) -> tuple[Params, Params]:
    """(trained, frozen), as a config has them: `optim.partition` by `optim.freeze` and adapters."""
    return optim.partition(params, (*config.optim.freeze, *frozen(config.lora)))


def added(config: LoRAConfig, params: Params, seed: int) -> Params:
    """The parameters with new adapters beside the kernels of `config.targets`.

    A function of the seed and of each kernel's path, whatever form the layers have.

    Raises:
      ValueError: a target is no regular expression, matches no parameter or one that cannot be
        adapted, or the rank is above what an update of a kernel can have.
    """
    if not config.rank:
        return params
    flat = merge.flatten(params)
    # Sorted, so that no run depends on the order of a set.
    targets = {name for target in config.targets for name in _matching(flat, target)}
    for name in sorted(targets):
        kernel = flat[name]
        *stack, rows, columns = kernel.shape
        if config.rank > min(rows, columns):
            raise ValueError(
                f"lora.rank is {config.rank}, above the {min(rows, columns)} that an update of "
                f"{name} [{rows} x {columns}] can have; choose a smaller one, or other lora.targets"
            )
        down = [
            _uniform(seed, layer, (rows, config.rank))
            for layer in merge.separate(name, kernel.shape)
        ]
        first, second = (_beside(name, factor) for factor in ADAPTER)
        flat[first] = jnp.stack(down) if stack else down[0]
        flat[second] = jnp.zeros((*stack, config.rank, columns), jnp.float32)
    return merge.unflatten(flat)


def kernel_of(name: str) -> str:
    """The path of the kernel beside which a factor lies; of every other parameter its own."""
    for factor in ADAPTER:
        if name.endswith(f"/{factor}"):
            return name.removesuffix(factor) + "kernel"
    return name


def scaled(config: LoRAConfig, params: Params) -> Params:
    """The parameters as the model reads them: B times alpha / rank."""
    if not config.rank:
        return params
    scale = config.alpha / config.rank
    flat = merge.flatten(params)
    return merge.unflatten(
        {name: leaf * scale if name.endswith(ADAPTER[1]) else leaf for name, leaf in flat.items()}
    )


def merged(config: LoRAConfig, params: Params) -> Params:
    """The parameters of an ordinary model that computes the same; computed in float32, in NumPy.

    Adapters read from a checkpoint have their layers apart, whatever form the kernels are in; then
    all layers of the result are apart.
    """
    if not config.rank:
        return params
    flat: dict[str, Any] = merge.flatten(params)
    if any(_kernel(name) not in flat for name in flat if name.endswith(ADAPTER)):
        flat = merge.flatten(merge.unstack_layers(params))
    found = {name: leaf for name, leaf in flat.items() if not name.endswith(ADAPTER)}
    for name in {_kernel(name) for name in flat.keys() - found.keys()}:
        a, b = (np.asarray(flat[_beside(name, factor)], np.float32) for factor in ADAPTER)
        found[name] = np.asarray(found[name]) + config.alpha / config.rank * (a @ b)
    return merge.unflatten(found)


def _matching(flat: dict[str, Any], target: str) -> set[str]:
    example = r"mt5/.*/mlp/\w+/kernel adapts the MLPs"
    names = optim.matching(flat, target, "lora.targets", example)
    if wrong := sorted(name for name in names if not ADAPTABLE.fullmatch(name)):
        raise ValueError(
            f"lora.targets pattern {target!r} matches {wrong[0]}, which cannot be adapted: only "
            "kernels of the mT5's attention and MLPs can"
        )
    return names


def _uniform(seed: int, layer: str, shape: tuple[int, int]) -> jax.Array:
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(layer.encode()))
    limit = 1 / math.sqrt(shape[0])
    return jax.random.uniform(key, shape, jnp.float32, -limit, limit)


def _beside(name: str, factor: str) -> str:
    return name.removesuffix("kernel") + factor


def _kernel(factor: str) -> str:
    return f"{factor.rpartition('/')[0]}/kernel"
