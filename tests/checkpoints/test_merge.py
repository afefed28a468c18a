# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Nested dicts, names, stacked and separate layers, and `fit`."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.checkpoints import merge


def weights(depth: int = 3, dtype=np.float32) -> dict:
    """A small model by its separate layers, every number different."""
    rng = np.random.default_rng(0)

    def layer():
        return {"mlp": {"wo": {"kernel": rng.normal(size=(4, 2)).astype(dtype)}}}

    return {
        "vit": {
            "pos_embedding": rng.normal(size=(1, 9, 4)).astype(dtype),
            "Transformer": {
                "encoder_norm": {"scale": rng.normal(size=4).astype(dtype)},
                **{f"encoderblock_{i}": layer() for i in range(2)},
            },
        },
        "mt5": {
            "token_embedder": {"embedding": rng.normal(size=(11, 4)).astype(dtype)},
            "encoder": {
                "relpos_bias": {"rel_embedding": rng.normal(size=(2, 3)).astype(dtype)},
                **{f"layers_{i}": layer() for i in range(depth)},
            },
        },
    }


def assert_same(got: dict, wanted: dict) -> None:
    got, wanted = merge.flatten(got), merge.flatten(wanted)
    assert got.keys() == wanted.keys()
    for name in wanted:
        assert got[name].dtype == wanted[name].dtype, name
        np.testing.assert_array_equal(got[name], wanted[name], err_msg=name)


NAMES = st.text("abc_/", min_size=1, max_size=3).filter(lambda name: "/" not in name)
TREES = st.recursive(
    st.integers(), lambda tree: st.dictionaries(NAMES, tree, min_size=1), max_leaves=12
).filter(lambda tree: isinstance(tree, dict))


@given(TREES)
def test_unflatten_is_the_inverse_of_flatten(tree):
    assert merge.unflatten(merge.flatten(tree)) == tree


def test_a_name_cannot_be_an_array_and_a_folder():
    with pytest.raises(ValueError, match="a/b"):
        merge.unflatten({"a": 1, "a/b": 2})
    with pytest.raises(ValueError, match="'a'"):
        merge.unflatten({"a/b": 2, "a": 1})


def test_stacking_gathers_layers_in_order_and_leaves_the_rest_alone():
    separate = weights(depth=12)  # two digits: layers_10 must not stand before layers_2
    stacked = merge.stack_layers(separate)
    kernel = stacked["mt5"]["encoder"]["layers"]["mlp"]["wo"]["kernel"]
    assert kernel.shape == (12, 4, 2)
    for i in range(12):
        wanted = separate["mt5"]["encoder"][f"layers_{i}"]["mlp"]["wo"]["kernel"]
        np.testing.assert_array_equal(kernel[i], wanted)
    assert stacked["mt5"]["encoder"].keys() == {"relpos_bias", "layers"}
    assert stacked["vit"]["Transformer"].keys() == {"encoder_norm", "encoderblock"}
    relpos = separate["mt5"]["encoder"]["relpos_bias"]["rel_embedding"]
    assert stacked["mt5"]["encoder"]["relpos_bias"]["rel_embedding"] is relpos


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_unstacking_is_the_inverse_of_stacking(kind):
    separate = jax.tree.map(kind, weights())
    back = merge.unstack_layers(merge.stack_layers(separate))
    assert_same(back, separate)
    assert type(jax.tree.leaves(back)[0]) is type(jax.tree.leaves(separate)[0])


def test_shapes_alone_change_form_like_arrays():
    shapes = jax.eval_shape(lambda: weights())
    stacked = merge.stack_layers(shapes)
    assert stacked == jax.eval_shape(lambda: merge.stack_layers(weights()))
    assert merge.unstack_layers(stacked) == shapes


def test_a_gap_between_layers_is_named():
    tree = weights()
    del tree["mt5"]["encoder"]["layers_1"]
    with pytest.raises(ValueError, match=r"mt5/encoder/layers.*\[0, 2\]"):
        merge.stack_layers(tree)


def test_layers_of_different_names_are_named():
    tree = weights()
    tree["mt5"]["encoder"]["layers_1"]["extra"] = np.zeros(1)
    with pytest.raises(ValueError, match="mt5/encoder/layers/extra"):
        merge.stack_layers(tree)


def test_layers_of_different_shapes_are_named():
    tree = weights()
    tree["mt5"]["encoder"]["layers_1"]["mlp"]["wo"]["kernel"] = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"layers/mlp/wo/kernel.*\(4, 3\)"):
        merge.stack_layers(tree)


@pytest.mark.parametrize("stack_loaded", [False, True])
@pytest.mark.parametrize("stack_expected", [False, True])
def test_fit_reaches_the_expected_form_from_either(stack_loaded, stack_expected):
    separate = weights()
    loaded = merge.stack_layers(separate) if stack_loaded else separate
    expected = merge.stack_layers(separate) if stack_expected else separate
    assert_same(merge.fit(loaded, jax.eval_shape(lambda: expected)), expected)


def test_fit_follows_each_stack_by_itself():
    separate = weights()
    expected = {"vit": merge.stack_layers(separate)["vit"], "mt5": separate["mt5"]}
    assert_same(merge.fit(separate, expected), expected)
    assert_same(merge.fit(expected, separate), separate)


def test_fit_casts_to_the_expected_dtype():
    stored = weights(dtype=ml_dtypes.bfloat16)
    expected = merge.stack_layers(weights())
    fitted = merge.fit(stored, expected)
    assert {leaf.dtype for leaf in jax.tree.leaves(fitted)} == {np.dtype(np.float32)}
    kernel = stored["mt5"]["encoder"]["layers_2"]["mlp"]["wo"]["kernel"].astype(np.float32)
    got = fitted["mt5"]["encoder"]["layers"]["mlp"]["wo"]["kernel"][2]
    np.testing.assert_array_equal(got, kernel)


def test_a_mismatch_lists_every_path_with_both_shapes():
    loaded = weights(depth=3)
    del loaded["vit"]["Transformer"]["encoder_norm"]
    loaded["mt5"]["encoder"]["layers_1"]["mlp"]["wo"]["kernel"] = np.zeros((4, 7))
    loaded["mt5"]["encoder"]["relpos_bias"]["rel_embedding"] = np.zeros((5, 3))
    loaded["extra"] = {"bias": np.zeros(6)}
    with pytest.raises(merge.MismatchError) as error:
        merge.fit(loaded, merge.stack_layers(weights(depth=3)))
    assert error.value.missing == {"vit/Transformer/encoder_norm/scale": (4,)}
    assert error.value.unexpected == {"extra/bias": (6,)}
    assert error.value.wrong_shape == {
        "mt5/encoder/layers_1/mlp/wo/kernel": ((4, 7), (4, 2)),
        "mt5/encoder/relpos_bias/rel_embedding": ((5, 3), (2, 3)),
    }
    for line in (
        "1 missing, 1 unexpected, 2 of another shape",
        "vit/Transformer/encoder_norm/scale: expected (4,)",
        "extra/bias: found (6,)",
        "mt5/encoder/layers_1/mlp/wo/kernel: found (4, 7), expected (4, 2)",
        "mt5/encoder/relpos_bias/rel_embedding: found (5, 3), expected (2, 3)",
    ):
        assert line in str(error.value)


def renamed(tree: dict) -> dict:
    tree["vit"]["pos_embeddings"] = tree["vit"].pop("pos_embedding")
    return tree


def with_vocabulary(tree: dict, pieces: int) -> dict:
    tree["mt5"]["token_embedder"]["embedding"] = np.zeros((pieces, 4))
    return tree


def with_positions(tree: dict, positions: int) -> dict:
    tree["vit"]["pos_embedding"] = np.zeros((1, positions, 4))
    return tree


@pytest.mark.parametrize(
    ("loaded", "fix"),
    [
        ({"params": weights()}, "the weights are wrapped in 'params': pass tree['params']"),
        (weights(depth=5), "mt5/encoder/layers: 5 layers in the weights, 3 in the model"),
        (weights(depth=2), "mt5/encoder/layers: 2 layers in the weights, 3 in the model"),
        (
            with_vocabulary(weights(), 99),
            "another vocabulary: the weights have 99 pieces, the model 11",
        ),
        (
            with_positions(weights(), 16),
            "another resolution: the weights have 16 positions, the model 9",
        ),
        (renamed(weights()), "'vit/pos_embeddings' may be what the model calls"),
    ],
)
def test_a_mismatch_names_the_likely_fix(loaded, fix):
    with pytest.raises(merge.MismatchError) as error:
        merge.fit(loaded, weights())
    assert f"\nLikely fix: {fix}" in str(error.value)


def test_weights_of_one_half_are_recognised():
    whole = {"mt5": weights()["mt5"]}
    with pytest.raises(
        merge.MismatchError, match="Likely fix: these are the weights of 'mt5' alone"
    ):
        merge.fit(whole["mt5"], whole)
