# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What the ViT and the mT5 share: matrix products in low precision, and the loop over layers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def contract(equation: str, x: Array, y: Array, dtype: Any) -> Array:
    """An einsum with operands in `dtype` and float32 accumulation; the result is float32.

    A bfloat16 product that is also accumulated or stored in bfloat16 loses digits, and on a CPU
    half of the speed; asking for a float32 result costs nothing.
    """
    return jnp.einsum(
        equation, x.astype(dtype), y.astype(dtype), preferred_element_type=jnp.float32
    )


class Dense(nn.Module):
    """A linear map over the last `contracted` axes of the input, onto `features` axes.

    The kernel has shape (*contracted axes, *features); operands are cast to `dtype`, products
    accumulate in float32 and the result is returned in `dtype`.
    """

    features: tuple[int, ...]
    contracted: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: Float[Array, "*inputs"]) -> Float[Array, "*outputs"]:
        """The same leading axes, and `features` instead of the contracted ones."""
        inputs = x.shape[-self.contracted :]
        init = _as_matrix(self.kernel_init, self.contracted)
        kernel = self.param("kernel", init, inputs + self.features)
        letters = "DEFGHI"[: self.contracted]
        outputs = "NOPQ"[: len(self.features)]
        y = contract(f"...{letters},{letters}{outputs}->...{outputs}", x, kernel, self.dtype)
        if self.use_bias:
            y = y + self.param("bias", self.bias_init, self.features)
        return y.astype(self.dtype)


def _as_matrix(init: nn.initializers.Initializer, contracted: int) -> Callable[..., Array]:
    """Initialises a kernel of many axes as the matrix it stands for, so that fan-in is right."""

    def initialise(key: Array, shape: tuple[int, ...]) -> Array:
        matrix = (math.prod(shape[:contracted]), math.prod(shape[contracted:]))
        return init(key, matrix, jnp.float32).reshape(shape)

    return initialise


class LayerNorm(nn.Module):
    """Layer normalisation in float32, whatever the dtype of its input; returned in `dtype`."""

    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Mean 0 and variance 1 over d, then scale and bias."""
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
        x = x.astype(jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        x = x * jnp.reciprocal(jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + self.epsilon))
        return (x * scale + bias).astype(self.dtype)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (T5's LayerNorm): no centring, no bias; in float32."""

    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Mean square 1 over d, then scale."""
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        x = x.astype(jnp.float32)
        x = x * jnp.reciprocal(jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + self.epsilon))
        return (x * scale).astype(self.dtype)


def block_stack(
    block: type[nn.Module],
    depth: int,
    *,
    scan: bool,
    remat: bool,
    name: str,
    method: str = "__call__",
    **fields: Any,
) -> Callable[..., Any]:
    """`depth` blocks one after another; call it with (x, per_layer, *shared).

    A block is `block(**fields)(x, per_layer, *shared) -> (x, out)`. `per_layer` and `out` are trees
    whose leaves have a leading layer axis outside the block (a cache), or None; `shared` goes to
    every block alike. With `scan`, parameters live under `name` with a leading layer axis L and one
    block is compiled; without, under `name_0`, `name_1`, …; results agree to rounding. `method` is
    another method of the block than `__call__`, one of the same form; `remat` leaves it alone.
    """
    if remat:
        # Inside a scan the loop itself keeps XLA from undoing the recomputation.
        block = nn.remat(block, prevent_cse=not scan)

    def scanned(x: Array, per_layer: Any, *shared: Any) -> Any:
        layers = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=cast("Any", (0, *(nn.broadcast for _ in shared))),
            length=depth,
            methods=[method],
        )
        return getattr(layers(name=name, **fields), method)(x, per_layer, *shared)

    def unrolled(x: Array, per_layer: Any, *shared: Any) -> Any:
        outs = []
        for layer in range(depth):
            mine = jax.tree.map(operator.itemgetter(layer), per_layer)
            run = getattr(block(name=f"{name}_{layer}", **fields), method)
            x, out = run(x, mine, *shared)
            outs.append(out)
        return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outs)

    return scanned if scan else unrolled
