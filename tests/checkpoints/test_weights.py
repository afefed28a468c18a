# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays that are not read yet: what is made of them, and how often they are read."""

import ml_dtypes
import numpy as np
import pytest

from pali.checkpoints.weights import Tensor, listed, not_found, separate_layers


def counted(array, reads, name):
    def read():
        reads.append(name)
        return array

    return Tensor(array.shape, array.dtype, read)


def test_a_changed_array_is_changed_when_it_is_read():
    array, reads = np.arange(6.0).reshape(2, 3), []
    turned = counted(array, reads, "a").then((3, 2), np.transpose)
    assert reads == []
    assert (turned.shape, turned.dtype, turned.nbytes) == ((3, 2), np.float64, 48)
    np.testing.assert_array_equal(turned.read(), array.T)
    assert Tensor((3, 2), np.dtype(ml_dtypes.bfloat16), turned.read).nbytes == 12


@pytest.mark.parametrize("axis", [0, 1])
def test_layers_are_separated_and_each_stack_is_read_once(axis):
    rng, reads = np.random.default_rng(0), []
    named = {
        "encoder/norm/scale": rng.normal(size=4),
        "encoder/layers/scale": rng.normal(size=(3, 3)),
        "encoder/layers/mlp/kernel": rng.normal(size=(3, 3, 2)),
        "Transformer/encoderblock/bias": rng.normal(size=(2, 2)),
    }
    tensors = {name: counted(array, reads, name) for name, array in named.items()}
    separate = separate_layers(tensors, axis)
    assert list(separate) == [
        "encoder/norm/scale",
        *(f"encoder/layers_{i}/scale" for i in range(3)),
        *(f"encoder/layers_{i}/mlp/kernel" for i in range(3)),
        *(f"Transformer/encoderblock_{i}/bias" for i in range(2)),
    ]
    assert reads == []
    for name, tensor in separate.items():
        whole = named.get(name)
        if whole is None:
            stack, number = name.split("_", 1)
            layer, rest = number.split("/", 1)
            whole = np.take(named[f"{stack}/{rest}"], int(layer), axis)
        got = tensor.read()
        assert (got.shape, got.dtype) == (tensor.shape, tensor.dtype)
        np.testing.assert_array_equal(got, whole)
    assert reads == list(named)
    for _ in range(2):  # in any order, only slower
        separate["encoder/layers_2/scale"].read()
        separate["encoder/layers_0/mlp/kernel"].read()
    assert len(reads) == 4 + 4


def test_a_layer_of_its_own_keeps_nothing_else_alive():
    stack = np.arange(6.0).reshape(3, 2)
    layer = separate_layers({"layers/a": Tensor((3, 2), stack.dtype, lambda: stack)}, 0)
    got = layer["layers_1/a"].read()
    assert got.base is None
    got[:] = 0
    np.testing.assert_array_equal(layer["layers_1/a"].read(), [2, 3])


def test_a_few_names_stand_for_many():
    assert listed([]) == "nothing"
    assert listed(["b", "a"]) == "a, b"
    assert listed("gfedcba") == "a, b, c, d, e and 2 more"
    assert "gcloud" in str(not_found("gs://bucket/file"))
    assert "gcloud" not in str(not_found("file"))
