# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.models.layers: what the parity tests of the two backbones cannot see."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers.activations

from pali.checkpoints import merge
from pali.models.layers import Dense, LayerNorm, RMSNorm, block_stack, contract, gelu, project
from pali.remat import POLICIES
from tests.models import parity


def test_contract_accumulates_in_float32():
    ones = jnp.ones((1, 4096))
    # Summed in bfloat16, 256 + 1 is 256 again.
    assert contract("ij,kj->ik", ones, ones, "bfloat16") == 4096
    assert contract("ij,kj->ik", ones, ones, "bfloat16").dtype == jnp.float32


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_norms_compute_in_float32_and_return_their_dtype(norm):
    x = (1000 + jnp.arange(64.0)).reshape(1, 64)
    params = norm().init(jax.random.key(0), x)
    low = norm(dtype="bfloat16").apply(params, x)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_array_equal(low, norm().apply(params, x).astype(jnp.bfloat16))


def test_kernels_of_many_axes_start_as_the_matrix_they_stand_for():
    x = jnp.ones((1, 8, 32))
    init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    kernel = Dense((64,), contracted=2, kernel_init=init).init(jax.random.key(0), x)["params"]
    assert kernel["kernel"].shape == (8, 32, 64)
    assert np.std(kernel["kernel"]) == pytest.approx(256**-0.5, rel=0.05)


class Drop(nn.Module):
    @nn.compact
    def __call__(self, x, per_layer, factor):
        y = nn.Dropout(0.5, deterministic=False)(jnp.ones_like(x))
        return x + factor * per_layer, y


class Stack(nn.Module):
    scan: bool

    @nn.compact
    def __call__(self, x, per_layer, factor):
        return block_stack(Drop, 3, scan=self.scan, remat="none", name="layers")(
            x, per_layer, factor
        )


@pytest.mark.parametrize("scan", [False, True])
def test_a_stack_hands_each_layer_its_own_part_and_its_own_dropout(scan):
    x = jnp.zeros((2, 50))
    rngs = {"dropout": jax.random.key(0)}
    y, masks = Stack(scan).apply({}, x, jnp.array([1.0, 10.0, 100.0]), 2.0, rngs=rngs)
    np.testing.assert_array_equal(y, np.full((2, 50), 222.0))
    assert len(masks) == 3  # One array of them, or a list.
    assert all(mask.shape == (2, 50) for mask in masks)
    assert len({np.asarray(mask).tobytes() for mask in masks}) == 3


@pytest.fixture(scope="module")
def product():
    """Operands of a product, and the gradient that arrives at its result."""
    rng = np.random.default_rng(0)
    shapes = {"x": (3, 7, 40), "kernel": (40, 24), "grad": (3, 7, 24)}
    return {k: jnp.asarray(rng.normal(size=shape), jnp.float32) for k, shape in shapes.items()}


def gradients(multiply, product, dtype="float32"):
    """Of x and of the kernel, by the function's own backward pass."""
    result, backwards = jax.vjp(lambda x, k: multiply(x, k, dtype), product["x"], product["kernel"])
    return backwards(product["grad"].astype(result.dtype))


def test_a_projection_in_float32_has_the_gradients_of_a_plain_product(product):
    x, kernel = product["x"], product["kernel"]
    np.testing.assert_array_equal(project(x, kernel, "float32"), x @ kernel)
    expected = gradients(lambda x, kernel, _: jnp.einsum("abD,DN->abN", x, kernel), product)
    for ours, theirs in zip(gradients(project, product), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_projection_in_bfloat16_rounds_operands_and_nothing_else(product):
    to_x, to_kernel = gradients(project, product, "bfloat16")
    rounded = {k: np.asarray(v.astype(jnp.bfloat16), np.float64) for k, v in product.items()}
    expected_x = np.einsum("abN,DN->abD", rounded["grad"], rounded["kernel"])
    expected_kernel = np.einsum("abD,abN->DN", rounded["x"], rounded["grad"])
    # Sums in float32 over 24 and 21 products: far below bfloat16's rounding of 2^-9.
    np.testing.assert_allclose(to_x, expected_x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(to_kernel, expected_kernel, rtol=1e-5, atol=1e-5)
    assert to_kernel.dtype == jnp.float32
    assert np.any(to_kernel != to_kernel.astype(jnp.bfloat16).astype(jnp.float32))
    # Two rounded operands: each product is off by less than 2^-8 of its size, and a little.
    exact = {k: np.asarray(v, np.float64) for k, v in product.items()}
    size = np.einsum("abD,abN->DN", abs(exact["x"]), abs(exact["grad"]))
    error = abs(to_kernel - np.einsum("abD,abN->DN", exact["x"], exact["grad"]))
    assert np.all(error < 2.0**-8 * 1.01 * size)


def test_a_projection_multiplies_bfloat16_by_bfloat16_forwards_and_backwards(product):
    products = parity.equations(
        "dot_general", lambda given: gradients(project, given, "bfloat16"), product
    )
    assert len(products) == 3
    for equation in products:
        assert [operand.aval.dtype for operand in equation.invars] == [jnp.bfloat16] * 2
        assert equation.params["preferred_element_type"] == jnp.float32


def test_gradients_come_in_the_types_of_what_they_are_of(product):
    low = product | {"x": product["x"].astype(jnp.bfloat16)}
    to_x, to_kernel = gradients(project, low, "bfloat16")
    assert (to_x.dtype, to_kernel.dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_projection_of_many_at_once_is_that_of_each(product, dtype):
    kernels = jnp.stack([product["kernel"], -2 * product["kernel"], 0.3 * product["kernel"]])

    def loss(x, kernel):
        return jnp.sin(project(x, kernel, dtype)).sum()

    both = jax.vmap(jax.grad(loss, argnums=(0, 1)))(product["x"], kernels)
    for i in range(3):
        one = jax.grad(loss, argnums=(0, 1))(product["x"][i], kernels[i])
        for many, alone in zip(both, one, strict=True):
            np.testing.assert_allclose(many[i], alone, rtol=1e-4, atol=1e-4)


class Layer(nn.Module):
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x, _):
        y = gelu(Dense((16,), dtype=self.dtype, name="in")(x))
        return x + Dense((8,), dtype=self.dtype, name="out")(y), None


class Layers(nn.Module):
    dtype: str
    scan: bool
    remat: str

    @nn.compact
    def __call__(self, x):
        blocks = block_stack(
            Layer, 3, scan=self.scan, remat=self.remat, name="layers", dtype=self.dtype
        )
        return blocks(x, None)[0]


@pytest.mark.parametrize(("scan", "remat"), [(False, "full"), (True, "none"), (True, "full")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_pass_through_scan_and_remat(dtype, scan, remat):
    x = jax.random.normal(jax.random.key(0), (4, 8)).astype(dtype)
    stacked = Layers(dtype, scan=True, remat="none").init(jax.random.key(1), x)["params"]
    apart = merge.unstack_layers(stacked)

    def grad(params, scan, remat):
        def loss(params):
            y = Layers(dtype, scan, remat).apply({"params": params}, x)
            return jnp.sin(y.astype(jnp.float32)).sum()

        return jax.jit(jax.grad(loss))(params)

    found = merge.flatten(merge.unstack_layers(grad(stacked if scan else apart, scan, remat)))
    expected = merge.flatten(grad(apart, False, "none"))
    assert found.keys() == expected.keys()
    for name, theirs in expected.items():
        assert found[name].dtype == jnp.float32
        # XLA may leave out a rounding to bfloat16 between two operations that it fuses.
        tolerance = 1e-5 if dtype == "float32" else 2e-2
        assert np.linalg.norm(found[name] - theirs) < tolerance * np.linalg.norm(theirs), name


def test_every_policy_keeps_the_gradient_and_they_keep_ever_less():
    x = jax.random.normal(jax.random.key(0), (4, 8))
    params = Layers("float32", scan=True, remat="none").init(jax.random.key(1), x)["params"]

    def loss(remat, params):
        return jnp.sin(Layers("float32", True, remat).apply({"params": params}, x)).sum()

    def kept(remat):
        return sum(
            leaf.size
            for leaf in jax.tree.leaves(jax.vjp(functools.partial(loss, remat), params)[1])
        )

    plain = merge.flatten(jax.jit(jax.grad(functools.partial(loss, "none")))(params))
    for remat in POLICIES:
        grads = merge.flatten(jax.jit(jax.grad(functools.partial(loss, remat)))(params))
        for name, leaf in plain.items():
            np.testing.assert_allclose(grads[name], leaf, rtol=1e-5, atol=1e-6, err_msg=name)
    assert kept("everything_saveable") > kept("minimal") > kept("full")


def test_the_policies_are_those_of_jax_that_need_nothing_else():
    dot = jax.make_jaxpr(jnp.dot)(np.ones((2, 2)), np.ones((2, 2))).eqns[0]
    known = {name for name in dir(jax.checkpoint_policies) if not name.startswith("_")}
    makers = ("save_", "offload_")  # Of names that nothing here has, or to other memory.
    assert {n for n in known if not n.startswith(makers)} <= POLICIES.keys()
    assert {policy for policy in POLICIES.values() if policy} <= known
    minimal = getattr(jax.checkpoint_policies, POLICIES["minimal"])
    assert minimal(dot.primitive, **dot.params)


@pytest.mark.parametrize("form", ["tanh", "exact", "quick"])
def test_gelu_and_its_gradient_are_those_of_torch(form):
    values = np.linspace(-6, 6, 97, dtype=np.float32)
    theirs = torch.tensor(values, requires_grad=True)
    name = {"tanh": "gelu_pytorch_tanh", "exact": "gelu", "quick": "quick_gelu"}[form]
    result = transformers.activations.ACT2FN[name](theirs)
    result.sum().backward()
    ours = gelu(jnp.asarray(values), form)
    gradient = jax.grad(lambda x: gelu(x, form).sum())(jnp.asarray(values))
    np.testing.assert_allclose(ours, result.detach().numpy(), rtol=1e-5, atol=1e-6)
    # 1 - tanh^2 has few digits where tanh is nearly 1, theirs as ours.
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-5, atol=5e-6)


def test_gelu_computes_in_float32_and_keeps_the_type():
    values = jnp.linspace(-4, 4, 97, dtype=jnp.bfloat16)
    ours = gelu(values)
    assert ours.dtype == jnp.bfloat16
    theirs = torch.nn.functional.gelu(
        torch.tensor(np.asarray(values, np.float32)), approximate="tanh"
    )
    # To a digit of bfloat16, also in the tail, where 1 + tanh has none of them left.
    np.testing.assert_allclose(ours.astype(jnp.float32), theirs.numpy(), rtol=2.0**-8)
