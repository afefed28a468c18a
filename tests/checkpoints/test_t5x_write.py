# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""T5X checkpoints that pali writes: read without pali, and again by pali, they are the same."""

import json
from pathlib import Path
from typing import Any

import flax.serialization
import ml_dtypes
import numpy as np
import pytest
import tensorstore as ts

from pali.checkpoints import merge, pretrained, t5x, t5x_files
from pali.checkpoints.weights import Tensor
from pali.config import MT5Config, PaLIConfig, ViTConfig
from tests.checkpoints.full_disk import files_end_at
from tests.checkpoints.t5x_layouts import (
    E,
    H,
    K,
    M,
    V,
    assert_holds,
    chunks,
    drawer,
    legacy,
    model,
    separate,
)

CONFIG = MT5Config(V, E, M, H, K, encoder_layers=2, decoder_layers=3)
UMT5 = MT5Config(V, E, M, H, K, encoder_layers=2, decoder_layers=3, relative_bias="layer")


def tensors(named):
    return {name: Tensor.of(array) for name, array in named.items()}


def reader(folder):
    """All of `target` by flax and TensorStore, without pali: {name: array}."""
    tree: Any = flax.serialization.msgpack_restore((folder / "checkpoint").read_bytes())
    assert tree["version"] == 3
    assert tree.keys() == {"version", "optimizer"}
    assert tree["optimizer"].keys() == {"state", "target"}
    assert tree["optimizer"]["state"].keys() == {"step"}  # T5X stumbles over empty param_states

    def walk(node, above=()):
        for key, value in node.items():
            if "kvstore" in value:
                assert value["kvstore"]["driver"] == "file"
                path = value["kvstore"]["path"]
                assert path == ".".join(("target", *above, key)) + "/"
                spec = {**value, "kvstore": {"driver": "file", "path": f"{folder}/{path}"}}
                # T5X opens it with all of the spec that it was noted with.
                yield "/".join((*above, key)), ts.open(spec, open=True).result().read().result()
            else:
                yield from walk(value, (*above, key))

    return tree["optimizer"]["state"]["step"], dict(walk(tree["optimizer"]["target"]))


def assert_same(got, wanted):
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        assert got[name].tobytes() == np.asarray(array).tobytes(), name


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_an_mt5_is_written_as_t5x_has_it(tmp_path, dtype):
    named = separate(*model(dtype=dtype))
    folder = t5x.write(tmp_path / "run", CONFIG, tensors(named), step=1234)
    assert folder == tmp_path / "run" / "checkpoint_1234"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    step, found = reader(folder)
    assert (step, step.dtype) == (1234, np.int32)
    assert_same(found, named)
    assert_holds(t5x.read(folder), CONFIG, named)


def test_a_umt5_is_written_in_the_scalable_layout(tmp_path):
    outside, layers = model(per_layer_bias=True)
    named = separate(outside, layers)
    folder = t5x.write(tmp_path, UMT5, tensors(named))
    assert_same(reader(folder)[1], separate(outside, layers, change=lambda name, array: array))
    assert_holds(t5x.read(folder), UMT5, named)


def test_import_export_import_changes_nothing(tmp_path):
    folder = legacy(tmp_path / "imported", separate(*model()))
    first = {name: tensor.read() for name, tensor in t5x.read(folder).tensors.items()}
    exported = t5x.write(tmp_path / "exported", CONFIG, tensors(first))
    assert_holds(t5x.read(exported), CONFIG, first)


PALI = PaLIConfig(
    ViTConfig(4, 2, 8, 2, 4, (8, 12), class_token=True, gelu="quick", pool="map", num_classes=3),
    CONFIG,
)


@pytest.fixture
def whole():
    """Parameters of a whole PaLI, by name."""
    draw = drawer()
    expected = pretrained.expected_arrays(PALI)
    return {name: draw(*leaf.shape) for name, leaf in expected.items()}


def test_a_whole_pali_is_written_with_the_language_half_in_its_place(tmp_path, whole):
    folder = t5x.write(tmp_path, PALI, tensors(whole), step=5)
    _, found = reader(folder)
    assert_same(found, {name.removeprefix("mt5/"): array for name, array in whole.items()})
    assert "vit/Transformer/encoderblock_1/MlpBlock_0/Dense_0/kernel" in found
    assert_holds(t5x.read(folder), PALI, whole)


def test_without_its_configuration_a_pali_is_an_mt5(tmp_path, whole):
    """As T5X leaves it when it saves what it has loaded."""
    folder = t5x.write(tmp_path, PALI, tensors(whole))
    (folder / "pali_config.json").unlink()
    component = t5x.read(folder)
    language = {n.removeprefix("mt5/"): a for n, a in whole.items() if n.startswith("mt5/")}
    assert_holds(component, CONFIG, language)
    assert set(component.unused) == {n for n in whole if not n.startswith("mt5/")}


def test_large_arrays_have_several_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(t5x_files, "_CHUNK_BYTES", 60)
    named = separate(*model())
    folder = t5x.write(tmp_path, CONFIG, tensors(named))
    assert len(chunks(folder, "token_embedder/embedding")) == 6  # of 11 rows two fit in 60 bytes
    assert_same(reader(folder)[1], named)


def test_parameters_of_another_model_are_not_written(tmp_path):
    named = separate(*model())
    del named["decoder/logits_dense/kernel"]
    with pytest.raises(merge.MismatchError, match="decoder/logits_dense/kernel"):
        t5x.write(tmp_path / "run", CONFIG, tensors(named))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_not_overwritten(tmp_path):
    (tmp_path / "checkpoint_3").mkdir()
    with pytest.raises(FileExistsError, match="checkpoint_3 is there already"):
        t5x.write(tmp_path, CONFIG, tensors(separate(*model())), step=3)
    assert list((tmp_path / "checkpoint_3").iterdir()) == []


def test_half_a_checkpoint_is_never_there(tmp_path, monkeypatch):
    named = tensors(separate(*model()))
    stored = []

    def fail(folder: Path, name, array):
        stored.append(name)
        if len(stored) == 9:
            raise OSError("No space left on device")
        return store(folder, name, array)

    store = t5x_files.store
    monkeypatch.setattr(t5x_files, "store", fail)
    with pytest.raises(OSError, match="No space left"):
        t5x.write(tmp_path, CONFIG, named)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [500, 4000])  # an array does not fit, or the index does not
def test_a_full_disk_is_said(tmp_path, limit):
    named = tensors(separate(*model()))
    message = r"checkpoint_0.* cannot be written: File too large$"
    with files_end_at(limit), pytest.raises(OSError, match=message):
        t5x.write(tmp_path / "run", CONFIG, named)
    assert not list(tmp_path.iterdir())


def test_the_index_is_json_but_for_its_arrays(tmp_path):
    """Lists stay lists: T5X refuses {"0": 16}."""
    folder = t5x.write(tmp_path, CONFIG, tensors(separate(*model())))
    tree = flax.serialization.msgpack_restore((folder / "checkpoint").read_bytes())
    spec = tree["optimizer"]["target"]["decoder"]["logits_dense"]["kernel"]
    assert json.loads(json.dumps(spec)) == spec
    assert spec["metadata"]["shape"] == [E, V]
    assert spec["dtype"] == "float32"
