# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Files of ours read by the library, the library's by us, and none of it copied."""

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from pali.checkpoints import safetensors_files
from pali.checkpoints.weights import Tensor

RNG = np.random.default_rng(0)
ARRAYS = {
    "odd": RNG.normal(size=(3, 5)).astype(np.float32),
    "matrix": RNG.normal(size=(64, 32)).astype(ml_dtypes.bfloat16),
    "nothing": np.zeros((0, 4), np.float32),
    "number": np.array(7.5, np.float32),
    "Größe/ü": RNG.normal(size=(32,)).astype(np.float16),
    "turned": RNG.normal(size=(16, 8)).astype(np.float32).T,
    "big-endian": RNG.normal(size=(4, 4)).astype(">f4"),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {name: Tensor.of(array) for name, array in ARRAYS.items()}
    safetensors_files.write(path, tensors, {"format": "pali", "said": 'a "word"\n'})
    return path


def test_the_library_reads_what_is_written(path):
    found = safetensors.numpy.load_file(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pali", "said": 'a "word"\n'}


@pytest.mark.parametrize("writer", ["ours", "the library's"])
def test_what_is_read_is_a_view_of_the_file(path, writer):
    plain = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in ARRAYS.items()}
    if writer != "ours":
        safetensors.numpy.save_file({n: np.ascontiguousarray(a) for n, a in plain.items()}, path)
    for name, tensor in safetensors_files.open_file(path).items():
        array = tensor.read()
        np.testing.assert_array_equal(array, plain[name])
        assert not array.flags.writeable
        assert not array.flags.owndata


def test_jax_uses_the_pages_of_a_file_as_they_are(path):
    array = safetensors_files.open_file(path)["matrix"].read()
    put = jax.device_put(array, jax.devices("cpu")[0])
    assert put.unsafe_buffer_pointer() == array.ctypes.data


def test_a_file_may_be_replaced_while_it_is_used(path):
    array = safetensors_files.open_file(path)["matrix"].read()
    other = path.with_name("other")
    other.write_bytes(b"of no use")
    other.replace(path)
    np.testing.assert_array_equal(array, ARRAYS["matrix"])
