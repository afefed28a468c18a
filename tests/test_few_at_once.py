# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A batch in parts is the batch, and is in parts on one CPU alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pali.few_at_once import TOGETHER, few_at_once

calls = []


def both(x, mask):
    """Two results, and how many rows there were at once."""
    calls.append(len(x))
    return {"twice": 2 * x, "sum": jnp.where(mask, x.sum(-1), 0)}


@pytest.mark.parametrize(
    ("rows", "widest", "at_once"),
    [
        (8, TOGETHER // 2, 2),
        (8, TOGETHER // 3, 2),
        (9, TOGETHER // 3, 3),
        (36, TOGETHER // 4, 4),
        (36, TOGETHER // 10, 9),
        (8, 2 * TOGETHER, 1),
        (8, TOGETHER // 8, 8),
        (7, TOGETHER // 2, 7),
        (1, TOGETHER // 2, 1),
    ],
)
def test_results_are_those_of_the_whole(rows, widest, at_once):
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(rows, 3)).astype(np.float32), rng.random(rows) < 0.5
    calls.clear()
    found = jax.jit(lambda *batch: few_at_once(both, widest, *batch))(x, mask)
    assert calls == [at_once]
    jax.tree.map(np.testing.assert_array_equal, found, both(x, mask))


def test_on_a_mesh_the_batch_is_whole():
    x, mask = jnp.ones((8, 3)), jnp.ones(8, bool)
    calls.clear()
    with jax.set_mesh(jax.make_mesh((1,), ("data",))):
        jax.jit(lambda *batch: few_at_once(both, TOGETHER // 2, *batch))(x, mask)
    assert calls == [8]
