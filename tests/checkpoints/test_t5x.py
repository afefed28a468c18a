# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""T5X checkpoints in every layout and format, written without pali, are read."""

import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest

from pali.checkpoints import merge, pretrained, t5x
from pali.config import MT5Config
from tests.checkpoints.t5x_layouts import (
    LAYERS,
    E,
    H,
    K,
    M,
    V,
    assert_holds,
    chunks,
    drawer,
    layer,
    legacy,
    model,
    nested,
    note,
    scanned,
    separate,
    store_zarr,
)

CONFIG = MT5Config(V, E, M, H, K, encoder_layers=2, decoder_layers=3)
UMT5 = MT5Config(V, E, M, H, K, encoder_layers=2, decoder_layers=3, relative_bias="layer")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A legacy checkpoint of mT5, to be copied and damaged."""
    return legacy(tmp_path_factory.mktemp("t5x") / "checkpoint_7", separate(*model()))


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run" / "checkpoint_7")


def test_an_mt5_is_read(folder):
    component = t5x.read(folder)
    assert_holds(component, CONFIG, separate(*model()))
    assert component.unused == ()
    assert component.tokenizer is None
    assert component.origin == f"T5X checkpoint {folder}"


@pytest.mark.parametrize("config", [CONFIG, UMT5])
def test_names_and_shapes_are_those_of_the_model(tmp_path, config):
    arrays = scanned(*model(per_layer_bias=config == UMT5))
    component = t5x.read(legacy(tmp_path / "checkpoint_8", arrays))
    merge.check_shapes(component.tensors, pretrained.expected_arrays(config))


def test_the_folder_above_will_do_if_it_holds_one(folder):
    assert t5x.read(folder.parent).origin == f"T5X checkpoint {folder}"
    shutil.copytree(folder, folder.parent / "checkpoint_12")
    with pytest.raises(ValueError, match="several checkpoints: give one of checkpoint_"):
        t5x.read(folder.parent)


@pytest.mark.parametrize("place", ["kvstore", "spec"])
def test_where_it_was_written_does_not_matter(folder, place):
    """To a bucket: of the spec's path only the last part is of use here."""
    specs = {}
    for name, array in separate(*model()).items():
        path = f"run/checkpoint_7/target.{name.replace('/', '.')}"
        kvstore = {"driver": "gcs", "bucket": "t5x-dummy-bucket"}
        spec = {"driver": "zarr", "metadata": {"shape": list(array.shape)}, "kvstore": kvstore}
        (kvstore if place == "kvstore" else spec)["path"] = path
        specs[name] = spec
    note(folder, specs)
    assert_holds(t5x.read(folder), CONFIG, separate(*model()))


def test_bfloat16_stays_bfloat16(tmp_path):
    named = separate(*model(dtype=ml_dtypes.bfloat16))
    assert_holds(t5x.read(legacy(tmp_path / "new", named)), CONFIG, named)
    as_integers = {name: array.view(np.uint16) for name, array in named.items()}
    assert_holds(t5x.read(legacy(tmp_path / "old", as_integers)), CONFIG, named)


def test_small_arrays_may_lie_in_the_index_and_slots_are_passed_over(folder):
    named = separate(*model())
    specs = {}
    for name, array in named.items():
        small = name.endswith("scale")
        specs[name] = array if small else store_zarr(folder, f"target/x/{name}", array)
    slots = {"token_embedder": {"embedding": {"v_row": np.ones(3, np.float32), "m": None}}}
    note(folder, specs | {"ema/my_token_embedder/embedding": np.ones(3, np.float32)}, slots)
    component = t5x.read(folder)
    assert_holds(component, CONFIG, named)
    assert component.unused == ("ema/my_token_embedder/embedding",)


def test_what_is_not_the_language_half_is_named(folder):
    named = separate(*model())
    note(
        folder,
        {name: store_zarr(folder, f"target/y/{name}", array) for name, array in named.items()}
        | {"vit/cls": np.ones((1, 1, 3), np.float32), "projection/bias": np.ones(3, np.float32)},
    )
    component = t5x.read(folder)
    assert_holds(component, CONFIG, named)
    assert component.unused == ("projection/bias", "vit/cls")


@pytest.mark.parametrize(
    ("axis", "below", "per_layer_bias"),
    [(1, "", True), (1, "", False), (1, "layers", True), (0, "layers", False)],
)
def test_scanned_layers_are_separated(tmp_path, axis, below, per_layer_bias):
    stacks = [f"{stack}/{below or stack}" for stack in LAYERS]
    outside, layers = model(per_layer_bias)
    folder = legacy(tmp_path / "checkpoint_1", scanned(outside, layers, axis, stacks))
    expected = separate(outside, layers)
    assert_holds(t5x.read(folder), UMT5 if per_layer_bias else CONFIG, expected)


def test_as_many_layers_as_the_width_are_axis_1(tmp_path):
    """What T5X does unless it is told otherwise."""
    draw = drawer()
    outside, layers = model(per_layer_bias=True)
    layers = {s: [layer(s, draw, True) for _ in range(E)] for s in layers}
    component = t5x.read(legacy(tmp_path / "checkpoint_1", scanned(outside, layers)))
    config = MT5Config(V, E, M, H, K, E, E, relative_bias="layer")
    assert_holds(component, config, separate(outside, layers))


def test_the_scalable_layout_without_scan_is_read(tmp_path):
    outside, layers = model(per_layer_bias=True)
    named = separate(outside, layers, change=lambda name, array: array)
    assert_holds(
        t5x.read(legacy(tmp_path / "checkpoint_1", named)), UMT5, separate(outside, layers)
    )


@pytest.mark.parametrize(
    ("optimizer", "ocdbt"), [("none", True), ("adafactor", True), ("optax", False)]
)
def test_orbax_checkpoints_are_read(tmp_path, optimizer, ocdbt):
    """As `OrbaxCheckpointManagerInterface` of T5X saves a train state's `state_dict()`."""
    outside, layers = model()
    named = separate(outside, layers)
    target = nested({name: jnp.asarray(array) for name, array in named.items()})
    other = jax.tree.map(lambda array: array + 1, target)
    slots = jax.tree.map(lambda array: {"v": array, "m": None}, other)
    states = {
        "none": {"step": np.int32(3)},
        "adafactor": {"step": np.int32(3), "param_states": slots},
        "optax": {"step": np.int32(3), "param_states": {"0": {"mu": other, "nu": other}}},
    }
    state = {"target": target, "state": states[optimizer]}
    with ocp.CheckpointManager(
        tmp_path / "run",
        options=ocp.CheckpointManagerOptions(step_prefix="checkpoint"),
        item_handlers={"state": ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt)},
    ) as manager:
        manager.save(3, args=ocp.args.Composite(state=ocp.args.PyTreeSave(state)), force=True)
    folder = tmp_path / "run" / "checkpoint_3"
    assert (folder / "state" / "manifest.ocdbt").exists() == ocdbt
    for place in (folder, tmp_path / "run", folder / "state"):
        component = t5x.read(place)
        assert component.config == CONFIG
    assert_holds(component, CONFIG, named)


def test_an_orbax_tree_of_params_is_read(tmp_path):
    outside, layers = model(per_layer_bias=True)
    params = nested({n: a.astype(ml_dtypes.bfloat16) for n, a in scanned(outside, layers).items()})
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", {"params": params, "step": 3})
    expected = {n: a.astype(ml_dtypes.bfloat16) for n, a in separate(outside, layers).items()}
    assert_holds(t5x.read(tmp_path / "state"), UMT5, expected)


def test_nothing_is_read_before_it_is_asked_for(folder):
    component = t5x.read(folder)
    first = chunks(folder, "token_embedder/embedding")[0]
    first.write_bytes(first.read_bytes()[:40])  # after `read`
    with pytest.raises(ValueError, match=r"target\.token_embedder\.embedding cannot be read") as e:
        component.tensors["token_embedder/embedding"].read()
    assert "Copy or download the checkpoint again" in str(e.value)
    component.tensors["decoder/logits_dense/kernel"].read()


def test_a_missing_chunk_is_not_zeros(folder):
    chunks(folder, "encoder/layers_1/mlp/wo/kernel")[1].unlink()
    tensor = t5x.read(folder).tensors["encoder/layers_1/mlp/wo/kernel"]
    with pytest.raises(ValueError, match=r"layers_1\.mlp\.wo\.kernel cannot be read.*is missing"):
        tensor.read()


def test_a_damaged_orbax_store_is_named(tmp_path):
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", {"target": nested(separate(*model()))})
    (tmp_path / "state" / "manifest.ocdbt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="state cannot be read"):
        t5x.read(tmp_path)


def test_a_missing_array_is_named(folder):
    shutil.rmtree(folder / "target.decoder.layers_2.mlp.wi_1.kernel")
    with pytest.raises(FileNotFoundError, match=r"lacks the folder target\.decoder\.layers_2\.mlp"):
        t5x.read(folder)


def test_arrays_of_another_checkpoint_are_noticed(folder):
    array = folder / "target.encoder.encoder_norm.scale"
    shutil.rmtree(array)
    store_zarr(folder, "target/encoder/encoder_norm/scale", np.ones(E + 1, np.float32))
    with pytest.raises(ValueError, match=r"shape \(7,\), but the file `checkpoint` says \(6,\)"):
        t5x.read(folder)


def test_t5_of_the_first_version_is_refused(tmp_path):
    outside, layers = model()
    del outside["decoder/logits_dense/kernel"]
    for arrays in layers.values():
        for of_layer in arrays:
            of_layer["mlp/wi/kernel"] = of_layer.pop("mlp/wi_0/kernel")
            del of_layer["mlp/wi_1/kernel"]
    named = separate(outside, layers)
    with pytest.raises(ValueError, match="another model than mT5") as error:
        t5x.read(legacy(tmp_path / "v1", named))
    assert "layers_0/mlp/wi/kernel, not wi_0 and wi_1" in str(error.value)
    assert "lacks decoder/logits_dense/kernel" in str(error.value)
    assert "T5 v1.0 does not" in str(error.value)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("decoder/relpos_bias/rel_embedding", "one relative bias for each stack"),
        ("encoder/layers_0/mlp/wi_0/kernel", "layers_0/mlp/wi_0/kernel is not there"),
        ("token_embedder/embedding", "no array is named …/token_embedder/embedding"),
    ],
)
def test_a_part_of_a_model_is_refused(tmp_path, lost, message):
    named = separate(*model())
    del named[lost]
    with pytest.raises(ValueError, match=message):
        t5x.read(legacy(tmp_path / "part", named))


def test_heads_must_divide_the_kernels(tmp_path):
    named = separate(*model())
    for stack in LAYERS:
        named[f"{stack}/relpos_bias/rel_embedding"] = np.ones((3, 32), np.float32)
    with pytest.raises(ValueError, match="3 heads, which do not divide the 10 columns"):
        t5x.read(legacy(tmp_path / "heads", named))


def test_what_is_no_checkpoint_is_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no .*nowhere"):
        t5x.read(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="gcloud storage cp -r"):
        t5x.read("gs://t5-data/pretrained_models/t5x/mt5_small/checkpoint_1000000")
    (tmp_path / "a.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"is no checkpoint of T5X.*Found: a\.txt"):
        t5x.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no checkpoint of T5X.*Found: a file"):
        t5x.read(tmp_path / "a.txt")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-1000000"\n')
    with pytest.raises(ValueError, match="TensorFlow checkpoint of Mesh TensorFlow's T5"):
        t5x.read(tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"\xc1 nothing")
    with pytest.raises(ValueError, match="it is not msgpack"):
        t5x.read(tmp_path)


def test_an_index_of_something_else_is_explained(folder):
    head = np.ones((E, V), np.float32)
    note(folder, {"token_embedder/embedding": "elsewhere", "decoder/logits_dense/kernel": head})
    with pytest.raises(ValueError, match="embedding is a str, neither array nor zarr"):
        t5x.read(folder)
