# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""T5X checkpoints in every layout, written here without pali; what pali writes, read without it."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts

from pali.checkpoints import merge, pretrained, t5x, t5x_files
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.models.mt5 import MT5

# Every size is another number, and heads * head_dim is not the width.
E, H, K, M, V = 6, 2, 5, 7, 11
LAYERS = {"encoder": 2, "decoder": 3}
CONFIG = MT5Config(V, E, M, H, K, encoder_layers=2, decoder_layers=3)
ATTENTIONS = {
    "encoder": ["attention"],
    "decoder": ["self_attention", "encoder_decoder_attention"],
}
NORMS = {
    "encoder": ["pre_attention_layer_norm", "pre_mlp_layer_norm"],
    "decoder": [
        *("pre_self_attention_layer_norm", "pre_cross_attention_layer_norm"),
        "pre_mlp_layer_norm",
    ],
}


def drawer(dtype: Any = np.float32):
    rng = np.random.default_rng(0)
    return lambda *shape: rng.normal(size=shape).astype(dtype)


def layer(stack, draw, per_layer_bias):
    """The arrays of one layer, attention kernels by heads, as `scalable_t5` has them."""
    arrays = {f"{norm}/scale": draw(E) for norm in NORMS[stack]}
    for attention in ATTENTIONS[stack]:
        for name in ("query", "key", "value"):
            arrays[f"{attention}/{name}/kernel"] = draw(E, H, K)
        arrays[f"{attention}/out/kernel"] = draw(H, K, E)
    arrays |= {f"mlp/{name}/kernel": draw(E, M) for name in ("wi_0", "wi_1")}
    arrays["mlp/wo/kernel"] = draw(M, E)
    if per_layer_bias:
        arrays["relpos_bias/rel_embedding"] = draw(H, 32)
    return arrays


def model(per_layer_bias=False, dtype: Any = np.float32):
    """(arrays outside the layers, layers of each stack)."""
    draw = drawer(dtype)
    outside = {
        "token_embedder/embedding": draw(V, E),
        "encoder/encoder_norm/scale": draw(E),
        "decoder/decoder_norm/scale": draw(E),
        "decoder/logits_dense/kernel": draw(E, V),
    }
    if not per_layer_bias:
        outside |= {f"{stack}/relpos_bias/rel_embedding": draw(H, 32) for stack in LAYERS}
    layers = {s: [layer(s, draw, per_layer_bias) for _ in range(n)] for s, n in LAYERS.items()}
    return outside, layers


def matrix(name, array):
    """An attention kernel as `examples/t5`, and pali, have it."""
    if array.ndim < 3:
        return array
    return array.reshape(H * K, E) if name.endswith("out/kernel") else array.reshape(E, H * K)


def separate(outside, layers, change=matrix):
    """Unscanned; with `change=matrix` that is pali's layout, too."""
    named = dict(outside)
    for stack, arrays in layers.items():
        for number, of_layer in enumerate(arrays):
            for name, array in of_layer.items():
                named[f"{stack}/layers_{number}/{name}"] = change(name, array)
    return named


def scanned(outside, layers, axis=1, stacks=("encoder/encoder", "decoder/decoder")):
    named = dict(outside)
    for stack, where in zip(layers, stacks, strict=True):
        for name in layers[stack][0]:
            arrays = [of_layer[name] for of_layer in layers[stack]]
            named[f"{where}/{name}"] = np.stack(arrays, axis=axis)
    return named


def nested(named):
    tree = {}
    for name, leaf in named.items():
        *folders, last = name.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), folders, tree)[last] = leaf
    return tree


def store_zarr(folder, name, array):
    """Writes one array as T5X does and returns the spec that it notes."""
    path = f"{name.replace('/', '.')}/"
    rows = max(1, array.shape[0] // 2)  # several chunks, the last one not full
    metadata = {
        "shape": list(array.shape),
        "chunks": [rows, *array.shape[1:]],
        "compressor": {"id": "gzip", "level": 1},
    }
    spec = {"driver": "zarr", "dtype": array.dtype.name, "metadata": metadata}
    place = {"driver": "file", "path": f"{folder}/{path}", "file_io_sync": False}
    ts.open({**spec, "kvstore": place}, create=True).result().write(array).result()
    return {**spec, "kvstore": {"driver": "file", "path": path}}


def note(folder, specs, slots=None):
    """The msgpack file of a legacy checkpoint."""
    state = {"step": np.int32(7)} | ({"param_states": slots} if slots else {})
    tree = {"version": 3, "optimizer": {"state": state, "target": nested(specs)}}
    (folder / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(tree))


def legacy(folder, named):
    folder.mkdir(parents=True)
    note(folder, {name: store_zarr(folder, f"target/{name}", a) for name, a in named.items()})
    return folder


def assert_holds(component, expected, config: Any = CONFIG):
    assert component.config == config
    assert component.tensors.keys() == expected.keys()
    for name, tensor in component.tensors.items():
        wanted = expected[name]
        assert tensor.shape == wanted.shape, name
        assert tensor.dtype == wanted.dtype, name
        for _ in range(2):  # it can be read again
            got = tensor.read()
            assert got.dtype == wanted.dtype, name
            assert got.shape == wanted.shape, name
            assert got.tobytes() == wanted.tobytes(), name


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
    assert_holds(component, separate(*model()))
    assert component.unused == ()
    assert component.tokenizer is None
    assert component.origin == f"T5X checkpoint {folder}"


def test_names_and_shapes_are_those_of_the_model(folder):
    for config, component in ((CONFIG, t5x.read(folder)), (UMT5, None)):
        if component is None:
            component = t5x.read(legacy(folder.parent / "checkpoint_8", scanned(*model(True))))
        tokens = jnp.ones((1, 1), jnp.int32)
        expected = jax.eval_shape(MT5(config).init, jax.random.key(0), tokens, tokens)["params"]
        merge.check_shapes(
            {name: tensor.shape for name, tensor in component.tensors.items()},
            {name: leaf.shape for name, leaf in merge.flatten(expected).items()},
        )


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
    assert_holds(t5x.read(folder), separate(*model()))


def test_bfloat16_stays_bfloat16(tmp_path):
    named = separate(*model(dtype=ml_dtypes.bfloat16))
    assert_holds(t5x.read(legacy(tmp_path / "new", named)), named)
    as_integers = {name: array.view(np.uint16) for name, array in named.items()}
    assert_holds(t5x.read(legacy(tmp_path / "old", as_integers)), named)


def test_small_arrays_may_lie_in_the_index_and_slots_are_passed_over(folder):
    named = separate(*model())
    specs = {}
    for name, array in named.items():
        small = name.endswith("scale")
        specs[name] = array if small else store_zarr(folder, f"target/x/{name}", array)
    slots = {"token_embedder": {"embedding": {"v_row": np.ones(3, np.float32), "m": None}}}
    note(folder, specs | {"ema/my_token_embedder/embedding": np.ones(3, np.float32)}, slots)
    component = t5x.read(folder)
    assert_holds(component, named)
    assert component.unused == ("ema/my_token_embedder/embedding",)


def test_what_is_not_the_language_half_is_named(folder):
    named = separate(*model())
    note(
        folder,
        {name: store_zarr(folder, f"target/y/{name}", array) for name, array in named.items()}
        | {"vit/cls": np.ones((1, 1, 3), np.float32), "projection/bias": np.ones(3, np.float32)},
    )
    component = t5x.read(folder)
    assert_holds(component, named)
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
    assert_holds(t5x.read(folder), expected, UMT5 if per_layer_bias else CONFIG)


def test_as_many_layers_as_the_width_are_axis_1(tmp_path):
    """What T5X does unless it is told otherwise."""
    draw = drawer()
    outside, layers = model(per_layer_bias=True)
    layers = {s: [layer(s, draw, True) for _ in range(E)] for s in layers}
    component = t5x.read(legacy(tmp_path / "checkpoint_1", scanned(outside, layers)))
    config = MT5Config(V, E, M, H, K, E, E, relative_bias="layer")
    assert_holds(component, separate(outside, layers), config)


def test_the_scalable_layout_without_scan_is_read(tmp_path):
    outside, layers = model(per_layer_bias=True)
    named = separate(outside, layers, change=lambda name, array: array)
    assert_holds(
        t5x.read(legacy(tmp_path / "checkpoint_1", named)), separate(outside, layers), UMT5
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
    assert_holds(component, named)


def test_an_orbax_tree_of_params_is_read(tmp_path):
    outside, layers = model(per_layer_bias=True)
    params = nested({n: a.astype(ml_dtypes.bfloat16) for n, a in scanned(outside, layers).items()})
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", {"params": params, "step": 3})
    expected = {n: a.astype(ml_dtypes.bfloat16) for n, a in separate(outside, layers).items()}
    assert_holds(t5x.read(tmp_path / "state"), expected, UMT5)


def chunks(folder, name):
    array = folder / f"target.{name.replace('/', '.')}"
    return sorted(path for path in array.iterdir() if path.name != ".zarray")


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


# What pali writes.


def params_of(named):
    return nested({name: np.array(array) for name, array in named.items()})


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
    folder = t5x.write(tmp_path / "run", CONFIG, params_of(named), step=1234)
    assert folder == tmp_path / "run" / "checkpoint_1234"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    step, found = reader(folder)
    assert (step, step.dtype) == (1234, np.int32)
    assert_same(found, named)
    assert_holds(t5x.read(folder), named)


def test_a_umt5_is_written_in_the_scalable_layout(tmp_path):
    outside, layers = model(per_layer_bias=True)
    named = separate(outside, layers)
    folder = t5x.write(tmp_path, UMT5, params_of(named))
    assert_same(reader(folder)[1], separate(outside, layers, change=lambda name, array: array))
    assert_holds(t5x.read(folder), named, UMT5)


def test_stacked_layers_are_written_separately(tmp_path):
    named = separate(*model())
    params = merge.stack_layers(params_of(named))
    assert "layers" in params["encoder"]
    _, found = reader(t5x.write(tmp_path, CONFIG, jax.tree.map(jnp.asarray, params)))
    assert_same(found, named)


def test_import_export_import_changes_nothing(folder, tmp_path):
    first = {name: tensor.read() for name, tensor in t5x.read(folder).tensors.items()}
    exported = t5x.write(tmp_path / "exported", CONFIG, nested(first))
    assert_holds(t5x.read(exported), first)


PALI = PaLIConfig(
    ViTConfig(4, 2, 8, 2, 4, (8, 12), class_token=True, gelu="quick", pool="map", num_classes=3),
    CONFIG,
)


@pytest.fixture
def whole():
    """Parameters of a whole PaLI, by name."""
    draw = drawer()
    expected = merge.flatten(merge.unstack_layers(pretrained.expected_params(PALI)))
    return {name: draw(*leaf.shape) for name, leaf in expected.items()}


def test_a_whole_pali_is_written_with_the_language_half_in_its_place(tmp_path, whole):
    folder = t5x.write(tmp_path, PALI, nested(whole), step=5)
    _, found = reader(folder)
    assert_same(found, {name.removeprefix("mt5/"): array for name, array in whole.items()})
    assert "vit/Transformer/encoderblock_1/MlpBlock_0/Dense_0/kernel" in found
    assert_holds(t5x.read(folder), whole, PALI)


def test_without_its_configuration_a_pali_is_an_mt5(tmp_path, whole):
    """As T5X leaves it when it saves what it has loaded."""
    folder = t5x.write(tmp_path, PALI, nested(whole))
    (folder / "pali_config.json").unlink()
    component = t5x.read(folder)
    language = {n.removeprefix("mt5/"): a for n, a in whole.items() if n.startswith("mt5/")}
    assert_holds(component, language)
    assert set(component.unused) == {n for n in whole if not n.startswith("mt5/")}


def test_large_arrays_have_several_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(t5x_files, "_CHUNK_BYTES", 60)
    named = separate(*model())
    folder = t5x.write(tmp_path, CONFIG, params_of(named))
    assert len(chunks(folder, "token_embedder/embedding")) == 6  # of 11 rows two fit in 60 bytes
    assert_same(reader(folder)[1], named)


def test_parameters_of_another_model_are_not_written(tmp_path):
    named = separate(*model())
    del named["decoder/logits_dense/kernel"]
    with pytest.raises(merge.MismatchError, match="decoder/logits_dense/kernel"):
        t5x.write(tmp_path / "run", CONFIG, params_of(named))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_is_not_overwritten(tmp_path):
    (tmp_path / "checkpoint_3").mkdir()
    with pytest.raises(FileExistsError, match="checkpoint_3 is there already"):
        t5x.write(tmp_path, CONFIG, params_of(separate(*model())), step=3)
    assert list((tmp_path / "checkpoint_3").iterdir()) == []


def test_half_a_checkpoint_is_never_there(tmp_path, monkeypatch):
    params = params_of(separate(*model()))
    stored = []

    def fail(folder: Path, name, array):
        stored.append(name)
        if len(stored) == 9:
            raise OSError("No space left on device")
        return store(folder, name, array)

    store = t5x_files.store
    monkeypatch.setattr(t5x_files, "store", fail)
    with pytest.raises(OSError, match="No space left"):
        t5x.write(tmp_path, CONFIG, params)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    ruin = tmp_path / "checkpoint_0.tmp"  # of a process that was killed
    ruin.mkdir()
    (ruin / "rest").touch()
    folder = t5x.write(tmp_path, CONFIG, params)
    assert list(tmp_path.iterdir()) == [folder]
    assert not (folder / "rest").exists()


def test_the_index_is_json_but_for_its_arrays(tmp_path):
    """Lists stay lists: T5X refuses {"0": 16}."""
    folder = t5x.write(tmp_path, CONFIG, params_of(separate(*model())))
    tree = flax.serialization.msgpack_restore((folder / "checkpoint").read_bytes())
    spec = tree["optimizer"]["target"]["decoder"]["logits_dense"]["kernel"]
    assert json.loads(json.dumps(spec)) == spec
    assert spec["metadata"]["shape"] == [E, V]
    assert spec["dtype"] == "float32"
