# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""T5X checkpoints that are damaged, or made to deceive, are refused in a sentence."""

import json
import shutil

import flax.serialization
import numpy as np
import pytest

from pali.checkpoints import t5x
from pali.config import MT5Config
from tests.checkpoints.t5x_layouts import (
    E,
    H,
    K,
    M,
    V,
    legacy,
    model,
    note,
    scanned,
    separate,
    store_zarr,
)

CONFIG = MT5Config(V, E, M, H, K, encoder_layers=2, decoder_layers=3)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A legacy checkpoint of mT5, to be copied and damaged."""
    return legacy(tmp_path_factory.mktemp("t5x") / "checkpoint_7", separate(*model()))


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run" / "checkpoint_7")


NAME = "encoder/encoder_norm/scale"


def changed(folder, spec):
    """What the index notes of one array is `spec`, or a function of what it noted."""
    path = folder / "checkpoint"
    tree = flax.serialization.msgpack_restore(path.read_bytes())
    norm = tree["optimizer"]["target"]["encoder"]["encoder_norm"]
    norm["scale"] = spec(norm["scale"]) if callable(spec) else spec
    path.write_bytes(flax.serialization.msgpack_serialize(tree))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        *({"kvstore": "file:///somewhere"}, {"kvstore": None}, {"kvstore": []}, {"kvstore": {}}),
        *({"kvstore": {"path": path}} for path in (7, None, "", "/", "..", "a/..", ["a"])),
        *({"metadata": []}, {"metadata": None}, {"metadata": {"shape": None}}, {"dtype": 7}),
        {"metadata": {"shape": "(6,)"}},
    ],
)
def test_a_note_that_is_no_place_of_an_array_is_damaged(folder, change):
    with pytest.raises(ValueError, match=rf"checkpoint is damaged: of optimizer/target/{NAME} it"):
        t5x.read(changed(folder, lambda spec: spec | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"driver": ["zarr"]}, r"encoder_norm/scale is a \['zarr'\], neither array nor zarr"),
        ({"metadata": {"shape": [10**12]}}, r"has shape \(6,\), but .* says \(1000000000000,\)"),
        ({"metadata": {"shape": ["a"]}}, r"has shape \(6,\), but .* says \('a',\)"),
        ({"dtype": "bfloat16"}, "has type float32, but the file `checkpoint` says bfloat16"),
        ({"dtype": "uint16"}, "has type float32, but the file `checkpoint` says bfloat16"),
    ],
)
def test_a_note_that_is_not_true_is_refused(folder, change, message):
    with pytest.raises(ValueError, match=message):
        t5x.read(changed(folder, lambda spec: spec | change))


def test_a_note_of_a_link_elsewhere_is_not_followed(folder):
    other = shutil.copytree(folder, folder.parent.parent / "other")
    spec = {"kvstore": {"driver": "file", "path": f"{other}/../x"}}
    with pytest.raises(FileNotFoundError, match="lacks the folder x of the array"):
        t5x.read(changed(folder, lambda old: old | spec))


@pytest.mark.parametrize("version", [99, 1, 0, -3, "3", None, [3], np.ones(2)])
def test_another_version_of_the_format_is_refused(folder, version):
    path = folder / "checkpoint"
    tree = flax.serialization.msgpack_restore(path.read_bytes())
    content = flax.serialization.msgpack_serialize({**tree, "version": version})
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint is of version .*; pali reads 2 and 3\."):
        t5x.read(folder)


@pytest.mark.parametrize("version", [2, 3, np.int32(3)])
def test_the_versions_of_t5x_are_read(folder, version):
    path = folder / "checkpoint"
    tree = flax.serialization.msgpack_restore(path.read_bytes())
    path.write_bytes(flax.serialization.msgpack_serialize({**tree, "version": version}))
    assert t5x.read(folder).config == CONFIG


@pytest.mark.parametrize("content", [7, [], "text", None])
def test_an_index_that_is_no_tree_is_damaged(folder, content):
    (folder / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(content))
    with pytest.raises(ValueError, match="checkpoint is damaged or no file of T5X: it holds a"):
        t5x.read(folder)


def test_keys_may_be_numbers_but_no_name_is_there_twice(folder):
    path = folder / "checkpoint"
    tree = flax.serialization.msgpack_restore(path.read_bytes())
    tree["optimizer"]["state"]["param_states"] = {7: np.ones(3), 8: {9: np.ones(3)}}
    path.write_bytes(flax.serialization.msgpack_serialize(tree))
    assert t5x.read(folder).config == CONFIG
    tree["optimizer"]["state"]["param_states"] = {"a/b": np.ones(3), "a": {"b": np.ones(3)}}
    path.write_bytes(flax.serialization.msgpack_serialize(tree))
    with pytest.raises(ValueError, match="two arrays that are both optimizer/state/param_"):
        t5x.read(folder)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.complex64])
@pytest.mark.parametrize("where", ["index", "zarr"])
def test_what_is_no_weight_is_harmless_until_it_is_read(folder, dtype, where):
    array = np.ones(E, dtype)
    if where == "zarr":
        shutil.rmtree(folder / "target.encoder.encoder_norm.scale")
        array = store_zarr(folder, f"target/{NAME}", array)
    tensor = t5x.read(changed(folder, array)).tensors[NAME]
    with pytest.raises(ValueError, match=rf"scale.* is stored as {np.dtype(dtype)}, and a weight"):
        tensor.read()


def test_an_array_beyond_all_memory_is_no_end_of_the_process(folder):
    path = folder / "target.encoder.encoder_norm.scale" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shape": [10**15]}))
    spec = {"metadata": {"shape": [10**15]}}
    tensor = t5x.read(changed(folder, lambda old: old | spec)).tensors[NAME]
    with pytest.raises(ValueError, match=r"scale cannot be read, .*Unable to allocate"):
        tensor.read()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("token_embedder/embedding", (), r"token_embedder/embedding is \(\); a matrix"),
        ("token_embedder/embedding", (V,), r"token_embedder/embedding is \(11,\); a matrix"),
        ("token_embedder/embedding", (0, E), r"token_embedder/embedding is \(0, 6\); a matrix"),
        ("encoder/relpos_bias/rel_embedding", (0, 32), r"rel_embedding is \(0, 32\); a matrix"),
        ("encoder/relpos_bias/rel_embedding", (H, 1), "relative_buckets is 1"),
        ("encoder/layers_0/attention/query/kernel", (E,), r"query/kernel is \(6,\); a matrix"),
        ("encoder/layers_0/attention/query/kernel", (E, 0), r"query/kernel is \(6, 0\); a matrix"),
        ("encoder/layers_0/mlp/wi_0/kernel", (M,), r"wi_0/kernel is \(7,\); a matrix"),
    ],
)
def test_shapes_of_no_model_are_refused(tmp_path, name, shape, message):
    named = separate(*model()) | {name: np.ones(shape, np.float32)}
    (tmp_path / "shapes").mkdir()
    note(tmp_path / "shapes", named)
    with pytest.raises(ValueError, match=f"shapes is no mT5.*{message}"):
        t5x.read(tmp_path / "shapes")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("encoder/layers_0/attention/query/kernel", (E, K, H)),
        ("decoder/layers_1/encoder_decoder_attention/value/kernel", (E, 1, H * K)),
        ("decoder/layers_2/self_attention/out/kernel", (K, H, E)),
    ],
)
def test_heads_of_another_number_than_in_the_table_are_refused(tmp_path, name, shape):
    """As matrices these kernels would be of the right shape."""
    named = separate(*model(), change=lambda name, array: array)
    note(tmp_path, named)
    assert t5x.read(tmp_path).config == CONFIG
    note(tmp_path, named | {name: np.ones(shape, np.float32)})
    heads = shape[1:] if shape[0] == E else shape[:2]
    found = rf"{name} has shape .*, which is {heads[0]} heads of {heads[1]}, .* for {H} heads, of"
    with pytest.raises(ValueError, match=found):
        t5x.read(tmp_path)


@pytest.mark.parametrize("shape", [(), (E,), (E, 10**5)])
def test_what_is_no_stack_is_refused(tmp_path, shape):
    named = scanned(*model()) | {"encoder/encoder/mlp/wi_0/kernel": np.ones(shape, np.float32)}
    note(tmp_path, named)
    with pytest.raises(ValueError, match=r"encoder/layers/mlp/wi_0/kernel has shape .* no stack"):
        t5x.read(tmp_path)


def test_layers_that_are_there_twice_are_refused(tmp_path):
    outside, layers = model()
    note(tmp_path, scanned(outside, layers) | separate(outside, layers))
    with pytest.raises(ValueError, match=r"holds both decoder/layers/.* and decoder/layers_0/"):
        t5x.read(tmp_path)
    stacks = ("encoder/layers", "decoder/layers")
    note(tmp_path, scanned(outside, layers) | scanned(outside, layers, stacks=stacks))
    with pytest.raises(ValueError, match="holds two arrays that are both decoder/layers/"):
        t5x.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"vit": 7}', b"[" * 100_000])
def test_a_damaged_configuration_of_a_pali_is_named(folder, content):
    (folder / "pali_config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"pali_config.json is damaged, it does not describe a Pa"):
        t5x.read(folder)
