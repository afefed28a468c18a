# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays that are not read yet: what is made of them, and how often they are read."""

import re

import ml_dtypes
import numpy as np
import pytest

from pali.checkpoints.weights import Tensor, by_name, listed, not_found, separate_layers


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
    separate = separate_layers(tensors, axis, "a file")
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
    stacked = {"layers/a": Tensor((3, 2), stack.dtype, lambda: stack)}
    layer = separate_layers(stacked, 0, "a file")
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


@pytest.mark.parametrize("first", ["stacked", "separate"])
def test_an_array_that_is_both_stacked_and_separate_is_refused(first):
    names = {"layers/a": (3, 2), "layers_2/a": (2,)}
    names = dict(sorted(names.items(), reverse=first == "separate"))
    tensors = {name: Tensor.of(np.ones(shape)) for name, shape in names.items()}
    with pytest.raises(ValueError, match=r"a file holds both layers/a, .* and layers_2/a: two"):
        separate_layers(tensors, 0, "a file")


@pytest.mark.parametrize("shape", [(), (3,), (3, 10**12)])
def test_what_is_no_stack_is_refused(shape):
    tensors = {"layers/a": Tensor(shape, np.dtype(np.float32), lambda: np.zeros(0))}
    with pytest.raises(ValueError, match=r"a file: layers/a has shape .* no stack of layers"):
        separate_layers(tensors, 1, "a file")


def test_no_name_is_there_twice():
    assert by_name([("a", 1), ("b", 2)], "a file") == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="a file holds two arrays that are both a,"):
        by_name([("a", 1), ("b", 2), ("a", 1)], "a file")


# What is read as a weight.


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", ">f4", ">f8"])
def test_weights_are_floating_point(dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = np.array([0.5, -2], dtype)
    tensor = Tensor.stored([2], dtype, lambda: array, "w in a file")
    got = tensor.read_finite("w", "a file")
    np.testing.assert_array_equal(got.astype(np.float32), [0.5, -2])
    assert got.dtype.itemsize == min(4, dtype.itemsize)


@pytest.mark.parametrize(
    "dtype",
    [
        *("i1", "u1", "i2", "u2", "i4", "i8", "?", "c8", "c16", "V1", "V2", "V4", "U3", "S2"),
        *("M8[s]", "m8[s]", "O", [("x", "f4")], ml_dtypes.float8_e4m3fn, ml_dtypes.int4),
    ],
)
def test_nothing_else_is_a_weight(dtype):
    array, dtype = np.zeros(2, dtype), np.dtype(dtype)
    tensor = Tensor.stored((2,), dtype, lambda: array, "w in a file")
    unknown = re.escape(f"w in a file is stored as {dtype.name}, and a weight is one of float64")
    changed = tensor.then((), np.sum)
    for read in (tensor.read, changed.read, tensor.astype(np.float32).read):
        with pytest.raises(ValueError, match=unknown):
            read()
    for read in (tensor, Tensor.of(array)):
        with pytest.raises(ValueError, match=unknown):
            read.read_finite("w", "a file")


@pytest.mark.parametrize(
    ("value", "stored", "wanted"),
    [
        (1e300, np.float64, np.float32),
        (-1e300, np.float64, ml_dtypes.bfloat16),
        (3.4e38, np.float32, ml_dtypes.bfloat16),
        (-3.4e38, np.float32, ml_dtypes.bfloat16),
    ],
)
def test_no_number_becomes_infinite_unnoticed(value, stored, wanted):
    tensor = Tensor.of(np.array([1, value], stored))
    with pytest.raises(
        ValueError, match=rf"w in a file holds {re.escape(f'{value:g}')}, which .*end at"
    ):
        tensor.astype(wanted, "w in a file").read()
    if stored == np.float64:
        with pytest.raises(ValueError, match="w in a file holds .*, which float32 cannot"):
            tensor.read_finite("w", "a file")


def test_a_cast_keeps_what_fits_and_what_was_infinite_before():
    values = np.array([3.3e38, -np.inf, np.nan, 1e-300, 0], np.float64)
    got = Tensor.of(values).astype(ml_dtypes.bfloat16).read()
    assert got.dtype == ml_dtypes.bfloat16
    wanted = values.astype(np.float32).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(got.astype(np.float32), wanted.astype(np.float32))


def test_an_array_of_another_shape_than_was_said_is_refused():
    tensor = Tensor((2, 3), np.dtype(np.float32), lambda: np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"w in a file has shape \(1, 3\) now .* and \(2, 3\) was"):
        tensor.read_finite("w", "a file")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("place", [0, 5_000_000, 8_999_999])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_one_number_that_is_none_is_found(dtype, place, value):
    array = np.full(9_000_000, -1.5, dtype)
    Tensor.of(array).read_finite("w", "a file")
    array[place] = value
    with pytest.raises(ValueError, match="a file holds infinite numbers or NaN, first in w"):
        Tensor.of(array).read_finite("w", "a file")


def test_the_largest_bfloat16_and_the_smallest_are_numbers():
    bits = np.array([[0x7F7F, 0xFF7F], [0x0001, 0x8000]], np.uint16)
    array = bits.view("bfloat16")
    np.testing.assert_array_equal(Tensor.of(array).read_finite("w", "a file"), array)
    empty = np.zeros((0, 3), "bfloat16")
    assert Tensor.of(empty).read_finite("w", "a file").size == 0
