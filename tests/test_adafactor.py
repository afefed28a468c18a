# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.adafactor against T5X's formula in float64, against optax and against transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from pali import adafactor
from pali.checkpoints import merge

# Of one layer: {name: (shape, shape as the matrix that T5X factors, or None)}.
LAYER = {
    "query/kernel": ((130, 4, 36), (130, 144)),  # heads and head width are one side
    "out/kernel": ((4, 36, 130), (144, 130)),
    "mlp/wi_0/kernel": ((130, 256), (130, 256)),
    "small/kernel": ((130, 100), None),  # too narrow
    "query/bias": ((4, 36), None),
    "norm/scale": ((130,), None),
}
BESIDE = {
    "token_embedder/embedding": ((384, 130), (384, 130)),
    "relpos_bias/rel_embedding": ((4, 32), None),
    "pos_embedding": ((1, 140, 130), (140, 130)),
    "probe": ((1, 1, 130), None),
    "temperature": ((), None),
}
DEPTH, STEPS = 2, 5
SHAPES = BESIDE | {f"layers_{i}/{name}": kind for i in range(DEPTH) for name, kind in LAYER.items()}


def random(seed, scale=1.0):
    """Each array of another size, so that scale and clipping differ between layers as well."""
    rng = np.random.default_rng(seed)
    sizes = {name: scale * 10 ** rng.uniform(-3, 1) for name in SHAPES}
    return {
        name: (rng.normal(size=shape) * sizes[name]).astype(np.float32)
        for name, (shape, _) in SHAPES.items()
    }


PARAMS, GRADS, RATES = random(0), [random(1 + step) for step in range(STEPS)], [0.3, 0.1, 0, 1, 0.2]


@pytest.fixture(scope="module")
def expected():
    """T5X's rule by hand, each layer alone, as a matrix where it is one, in float64."""
    ends = {}
    for name, (shape, matrix) in SHAPES.items():
        param = PARAMS[name].astype(np.float64).reshape(matrix or shape)
        row = column = second = 0.0
        for step, (grads, rate) in enumerate(zip(GRADS, RATES, strict=True)):
            grad = grads[name].astype(np.float64).reshape(param.shape)
            beta = 1 - (step + 1) ** -0.8
            square = grad**2 + 1e-30
            if matrix:
                row = beta * row + (1 - beta) * square.mean(1)
                column = beta * column + (1 - beta) * square.mean(0)
                second = np.outer(row, column) / row.mean()
            else:
                second = beta * second + (1 - beta) * square
            update = grad / np.sqrt(second)
            update /= max(1.0, np.sqrt(np.mean(update**2)))
            param = param - rate * max(np.sqrt(np.mean(param**2)), 1e-3) * update
        ends[name] = param.reshape(shape)
    return ends


def ours(stacked):
    tree = merge.stack_layers if stacked else merge.unstack_layers
    params = jax.tree.map(jnp.asarray, tree(merge.unflatten(PARAMS)))
    state, step = adafactor.init(params), jax.jit(adafactor.apply)
    for grads, rate in zip(GRADS, RATES, strict=True):
        params, state = step(tree(merge.unflatten(grads)), state, params, jnp.float32(rate))
    return params, state


def distance(found, wanted):
    """Largest difference, in shares of the array's own size."""
    return np.abs(np.asarray(found, np.float64) - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize(("stacked", "block"), [(True, 2**23), (True, 7_000), (False, 7_000)])
def test_five_steps_are_those_of_the_formula(expected, stacked, block, monkeypatch):
    """Layers in one array or apart, at once or in blocks: always as if each lay apart."""
    monkeypatch.setattr(adafactor, "block", lambda: block)
    jax.clear_caches()  # The size of a block is a constant of what is compiled.
    params, state = ours(stacked)
    for name, leaf in merge.flatten(merge.unstack_layers(params)).items():
        assert distance(leaf, expected[name]) < 1e-6, name
    assert int(state["step"]) == STEPS
    if block == 7_000:  # A matrix in blocks, and the layers of a stack, each in blocks.
        assert adafactor._blocks((384, 130)) == 8
        assert adafactor._blocks((DEPTH, 130, 256)) == DEPTH
        assert adafactor._blocks((130, 256)) == 5


def test_slots_are_rows_and_columns_of_matrices_and_all_of_the_rest():
    params = merge.stack_layers(merge.unflatten(PARAMS))
    slots = merge.flatten(adafactor.init(params)["slots"])
    assert {name: slot.shape for name, slot in slots.items()} == {
        "layers/query/kernel/v_row": (2, 130),
        "layers/query/kernel/v_col": (2, 4, 36),
        "layers/out/kernel/v_row": (2, 4, 36),
        "layers/out/kernel/v_col": (2, 130),
        "layers/mlp/wi_0/kernel/v_row": (2, 130),
        "layers/mlp/wi_0/kernel/v_col": (2, 256),
        "layers/small/kernel/v": (2, 130, 100),
        "layers/query/bias/v": (2, 4, 36),
        "layers/norm/scale/v": (2, 130),
        "token_embedder/embedding/v_row": (384,),
        "token_embedder/embedding/v_col": (130,),
        "relpos_bias/rel_embedding/v": (4, 32),
        "pos_embedding/v_row": (1, 140),
        "pos_embedding/v_col": (130,),
        "probe/v": (1, 1, 130),
        "temperature/v": (),
    }


def test_it_is_optax_where_all_is_matrices_and_vectors():
    names = ("token_embedder/embedding", "layers_0/mlp/wi_0/kernel", "layers_1/norm/scale")
    theirs = {name: jnp.asarray(PARAMS[name]) for name in names}
    mine = merge.unflatten(theirs)
    update = optax.adafactor(0.1, min_dim_size_to_factor=128)
    state, own_state = update.init(theirs), adafactor.init(mine)
    for grads in GRADS:
        own = {name: jnp.asarray(grads[name]) for name in names}
        updates, state = update.update(own, state, theirs)
        theirs = optax.apply_updates(theirs, updates)
        mine, own_state = adafactor.apply(merge.unflatten(own), own_state, mine, jnp.float32(0.1))
    for name, leaf in merge.flatten(mine).items():
        assert distance(leaf, np.asarray(theirs[name], np.float64)) < 1e-6, name


def test_it_is_that_of_transformers_where_all_is_matrices_and_vectors():
    from transformers.optimization import Adafactor

    names = ("token_embedder/embedding", "layers_0/mlp/wi_0/kernel", "layers_1/norm/scale")
    theirs = [torch.nn.Parameter(torch.tensor(PARAMS[name])) for name in names]
    update = Adafactor(theirs, lr=0.1, scale_parameter=True, relative_step=False)
    mine = merge.unflatten({name: jnp.asarray(PARAMS[name]) for name in names})
    state = adafactor.init(mine)
    for grads in GRADS:
        own = {name: jnp.asarray(grads[name]) for name in names}
        mine, state = adafactor.apply(merge.unflatten(own), state, mine, jnp.float32(0.1))
        for name, param in zip(names, theirs, strict=True):
            param.grad = torch.tensor(grads[name])
        update.step()
    flat = merge.flatten(mine)
    for name, param in zip(names, theirs, strict=True):
        assert distance(flat[name], param.detach().double().numpy()) < 1e-6, name


def test_a_gradient_of_zeros_and_a_parameter_of_zeros_are_no_nan():
    zeros = {"a": {"kernel": jnp.zeros((130, 140))}, "b": {"scale": jnp.zeros(7)}}
    ones = jax.tree.map(jnp.ones_like, zeros)
    params, state = adafactor.apply(zeros, adafactor.init(ones), ones, jnp.float32(0.1))
    jax.tree.map(np.testing.assert_array_equal, params, ones)
    # What is zero counts as if it had the least size that any has.
    params, _ = adafactor.apply(ones, state, zeros, jnp.float32(0.1))
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, -1e-4, rtol=1e-5), params)


def test_the_update_needs_no_room_beside_what_is_donated(monkeypatch):
    monkeypatch.setattr(adafactor, "block", lambda: 2**16)
    params = {
        "token_embedder": {"embedding": jax.ShapeDtypeStruct((8192, 256), jnp.float32)},
        "layers": {"wi_0": {"kernel": jax.ShapeDtypeStruct((8, 256, 512), jnp.float32)}},
    }
    state = jax.eval_shape(adafactor.init, params)
    step = jax.jit(lambda *given: adafactor.apply(*given), donate_argnums=(1, 2))
    rate = jax.ShapeDtypeStruct((), jnp.float32)
    plan = step.lower(params, state, params, rate).compile().memory_analysis()
    own = sum(4 * leaf.size for leaf in jax.tree.leaves((params, state)))
    assert plan.alias_size_in_bytes == own  # All that is donated is used again.
    assert plan.temp_size_in_bytes < 0.15 * own
