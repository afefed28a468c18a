# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What the ViT and the mT5 share: matrix products in low precision, the loop over layers, and where
activations lie when there are several devices."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, UInt16

from pali.models import int8
from pali.remat import POLICIES

ADAPTER = ("lora_a", "lora_b")
"""Names of the two factors of an update of low rank, beside the `kernel` that it adapts."""

BATCH = ("data", "fsdp")
"""The axes of a mesh that divide a batch between them (pali/sharding.py)."""


def divide(x: Array, *axes: str | tuple[str, ...] | None) -> Array:
    """`x`, along whose dimensions the given axes of the mesh run; without a mesh, `x` as it is.

    The mesh is that of the enclosing `jax.set_mesh`. Without these words XLA divides activations as
    it likes: along the width, as the matrices are, which made it need twice the memory. An axis
    that does not divide its dimension (the only row of a batch, a word of a mesh of your own) is
    left out, and the dimension is whole on every device.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    spec = []
    for side, names in zip(x.shape, axes, strict=True):
        names = (names,) if isinstance(names, str) else names or ()
        known = tuple(name for name in names if name in mesh.shape)
        spec.append(known if side % math.prod(mesh.shape[name] for name in known) == 0 else None)
    return lax.with_sharding_constraint(x, PartitionSpec(*spec))


def contract(equation: str, x: Array, y: Array, dtype: Any) -> Array:
    """An einsum with operands in `dtype` and float32 accumulation; the result is float32.

    A bfloat16 product that is also accumulated or stored in bfloat16 loses digits, and on a CPU
    half of the speed; asking for a float32 result costs nothing.
    """
    return jnp.einsum(
        equation, x.astype(dtype), y.astype(dtype), preferred_element_type=jnp.float32
    )


def project(
    x: Float[Array, "*b k"], kernel: Float[Array, "k n"], dtype: Any
) -> Float[Array, "*b n"]:
    """`x @ kernel` with operands in `dtype`, forwards and backwards; the result is float32.

    Left to itself, the backward pass multiplies float32 by `dtype`, which costs a CPU half of its
    speed and shows no more digits: what arrives there was rounded to `dtype` by the next layer.
    The kernel's gradient is accumulated and returned in its own type.
    """
    return _project(dtype, x.dtype, kernel.dtype, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _project(dtype: Any, x_dtype: Any, kernel_dtype: Any, x: Array, kernel: Array) -> Array:
    del x_dtype, kernel_dtype
    alone = x.size == x.shape[-1]
    if alone and jnp.dtype(dtype) == jnp.bfloat16 and jax.default_backend() == "cpu":
        rows = int8.in_company(x.reshape(1, -1))
        return contract("BD,DN->BN", rows, kernel, dtype)[0].reshape(*x.shape[:-1], -1)
    return contract("...D,DN->...N", x, kernel, dtype)


def _project_forwards(dtype: Any, x_dtype: Any, kernel_dtype: Any, x: Array, kernel: Array) -> Any:
    del x_dtype, kernel_dtype
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    # In plain sight: inside `_project`, policies of rematerialisation would not see the product.
    return contract("...D,DN->...N", x, kernel, dtype), (x, kernel)


def _project_backwards(dtype: Any, x_dtype: Any, kernel_dtype: Any, saved: Any, grad: Array) -> Any:
    x, kernel = saved
    axes = "ABCEFGHIJ"[: x.ndim - 1]
    to_x = contract(f"{axes}N,DN->{axes}D", grad, kernel, dtype)
    to_kernel = contract(f"{axes}D,{axes}N->DN", x, grad, dtype)
    return to_x.astype(x_dtype), to_kernel.astype(kernel_dtype)


_project.defvjp(_project_forwards, _project_backwards)


def gelu(
    x: Float[Array, "*b d"], form: Literal["exact", "tanh", "quick"] = "tanh"
) -> Float[Array, "*b d"]:
    """The Gaussian error linear unit or an approximation of it; float32 inside, in x's type.

    "quick" is x sigmoid(1.702 x), as CLIP has it. The inner values are made again in the backward
    pass: cheaper than keeping them.
    """

    @jax.checkpoint
    def compute(x: Array) -> Array:
        y = x.astype(jnp.float32)
        if form == "quick":
            y = y * jax.nn.sigmoid(1.702 * y)
        else:
            y = jax.nn.gelu(y, approximate=form == "tanh")
        return y.astype(x.dtype)

    return compute(x)


def lookup(
    table: Float[Array, "V D"] | UInt16[Array, "V D"], tokens: Int[Array, "*b s"]
) -> Float[Array, "*b s D"]:
    """Rows of a table; one of uint16 holds the bits of bfloat16 numbers (pali/precision.py)."""
    rows = jnp.take(table, tokens, axis=0)
    return lax.bitcast_convert_type(rows, jnp.bfloat16) if rows.dtype == jnp.uint16 else rows


class Dense(nn.Module):
    """A linear map over the last `contracted` axes of the input, onto `features` axes.

    The kernel has shape (*contracted axes, *features); operands are cast to `dtype`, products
    accumulate in float32 and the result is returned in `dtype`. Where the parameters hold factors
    [k r] and [r n] of an update beside the kernel as a matrix [k n], their product is added
    (pali/lora.py); x goes through one after the other, so that it is never made. A kernel may be of
    eight-bit integers (pali/models/int8.py).
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
        width, leading = math.prod(inputs), x.shape[: x.ndim - self.contracted]
        x = x.reshape(*leading, width)
        kernel = kernel.reshape(width, -1)
        if kernel.dtype == jnp.int8:
            y = int8.project(x, kernel, self.get_variable("params", int8.SCALE))
        else:
            y = project(x, kernel, self.dtype)
        if self.has_variable("params", ADAPTER[0]):
            down, up = (self.get_variable("params", name) for name in ADAPTER)
            y = y + project(project(x, down, self.dtype), up, self.dtype)
        y = y.reshape(*leading, *self.features)
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
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        """Mean 0 and variance 1 over d, then scale and bias."""
        scale = self.param("scale", nn.initializers.ones_init(), x.shape[-1:])
        x = x.astype(jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        x = x * jnp.reciprocal(jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + self.epsilon))
        x = x * scale
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
        return x.astype(self.dtype)


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
    remat: str,
    name: str,
    method: str = "__call__",
    **fields: Any,
) -> Callable[..., Any]:
    """`depth` blocks one after another; call it with (x, per_layer, *shared).

    A block is `block(**fields)(x, per_layer, *shared) -> (x, out)`; `shared` goes to every block
    alike. With `scan`, parameters live under `name` with a leading layer axis L and one block is
    compiled; without, under `name_0`, `name_1`, …; results agree to rounding. `per_layer` and `out`
    (a cache) are trees whose leaves have the same leading axis outside the block or, without
    `scan`, lists of the layers' trees, which nothing need cut or join; or None. `method` is
    another method of the block than `__call__`, one of the same form; `remat`, the name of a policy
    (pali/remat.py), leaves it alone. What blocks sow into "intermediates" is laid out as the
    parameters are.
    """
    if policy := POLICIES[remat]:
        # Inside a scan the loop itself keeps XLA from undoing the recomputation.
        policy = getattr(jax.checkpoint_policies, policy)
        block = nn.remat(block, policy=policy, prevent_cse=not scan)

    def scanned(x: Array, per_layer: Any, *shared: Any) -> Any:
        layers = nn.scan(
            block,
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=cast("Any", (0, *(nn.broadcast for _ in shared))),
            length=depth,
            methods=[method],
        )
        return getattr(layers(name=name, **fields), method)(x, per_layer, *shared)

    def unrolled(x: Array, per_layer: Any, *shared: Any) -> Any:
        outs = []
        for layer in range(depth):
            run = getattr(block(name=f"{name}_{layer}", **fields), method)
            x, out = run(x, None if per_layer is None else per_layer[layer], *shared)
            outs.append(out)
        return x, outs

    return scanned if scan else unrolled
