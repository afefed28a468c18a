# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of file that Hugging Face keeps weights in gives the same arrays, or a plain error."""

import json
import pickle
import shutil
import tarfile
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch
from flax import serialization

from pali.checkpoints import containers, huggingface, merge
from pali.checkpoints.weights import Tensor
from pali.models.mt5 import MT5
from pali.models.vit import ViT
from tests.checkpoints import foreign
from tests.checkpoints.full_disk import files_end_at

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def model():
    return foreign.language("mt5", num_layers=1, num_decoder_layers=1)


def written(model, folder, kind):
    folder.mkdir()
    state = model.state_dict()
    if kind == "safetensors":
        model.save_pretrained(folder)
    elif kind == "shards":
        model.save_pretrained(folder, max_shard_size="12KB")
        assert len(list(folder.glob("*.safetensors"))) > 2
    elif kind == "torch":
        torch.save(state, folder / "pytorch_model.bin")
    else:
        names = sorted(state)
        halves = {"pytorch_model-00001-of-00002.bin": names[::2]}
        halves["pytorch_model-00002-of-00002.bin"] = names[1::2]
        for file, own in halves.items():
            torch.save({name: state[name].clone() for name in own}, folder / file)
        places = {name: file for file, own in halves.items() for name in own}
        index = folder / "pytorch_model.bin.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


@pytest.mark.parametrize("kind", ["safetensors", "shards", "torch", "torch shards"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_all_files_hold_the_same_arrays(kind, dtype, model, tmp_path):
    model = foreign.language("mt5", num_layers=1, num_decoder_layers=1).to(dtype)
    found, _ = containers.open_folder(written(model, tmp_path / "folder", kind))
    for name, tensor in model.state_dict().items():
        if name.endswith("embed_tokens.weight"):  # the shared one
            continue
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].read().dtype == found[name].dtype
        np.testing.assert_array_equal(
            found[name].read().astype(np.float32), tensor.float().numpy(), err_msg=name
        )


@pytest.mark.parametrize("name", ["flax_vit", "flax_clip"])
def test_a_vision_folder_of_flax_gives_the_outputs_that_lie_beside_it(name):
    golden = dict(np.load(GOLDEN / name / "inputs_and_outputs.npz"))
    component = huggingface.read(GOLDEN / name)
    vit = ViT(component.config)
    image = jnp.asarray(golden["pixel_values"].transpose(0, 2, 3, 1))
    shapes = jax.eval_shape(vit.init, jax.random.key(0), image)["params"]
    params = jax.tree.map(jnp.asarray, merge.fill(component.tensors, shapes, name))
    seen = jax.jit(vit.apply)({"params": params}, image)
    tolerance = dict(rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen.tokens, golden["last_hidden_state"][:, 1:], **tolerance)
    np.testing.assert_allclose(seen.pooled, golden["pooler_output"], **tolerance)


def test_a_language_folder_of_flax_gives_the_outputs_that_lie_beside_it():
    golden = dict(np.load(GOLDEN / "flax_mt5" / "inputs_and_outputs.npz"))
    component = huggingface.read(GOLDEN / "flax_mt5")
    mt5 = MT5(component.config)
    source = jnp.asarray(golden["input_ids"])
    targets = jnp.asarray(golden["decoder_input_ids"])
    shapes = jax.eval_shape(mt5.init, jax.random.key(0), source, targets)["params"]
    params = jax.tree.map(jnp.asarray, merge.fill(component.tensors, shapes, "flax_mt5"))
    logits = jax.jit(mt5.apply)({"params": params}, source, targets)
    np.testing.assert_allclose(logits, golden["logits"], rtol=1e-4, atol=1e-4)


def test_large_models_are_written_in_shards_that_transformers_reads(tmp_path, model):
    model.save_pretrained(tmp_path / "in")
    found, _ = containers.open_folder(tmp_path / "in")
    (tmp_path / "out").mkdir()
    containers.save(tmp_path / "out", found, {"format": "pt"}, limit=10_000)
    files = sorted(tmp_path.glob("out/*.safetensors"))
    assert len(files) > 2
    assert all(file.stat().st_size < 60_000 for file in files)
    shutil.copyfile(tmp_path / "in/config.json", tmp_path / "out/config.json")
    again = type(model).from_pretrained(tmp_path / "out")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    back, place = containers.open_folder(tmp_path / "out")
    assert place == "model.safetensors.index.json"
    for name, tensor in found.items():
        np.testing.assert_array_equal(back[name].read(), tensor.read())


def test_a_model_of_one_shard_has_no_index(tmp_path):
    containers.save(tmp_path, {"a": Tensor.of(np.ones((2, 3), ml_dtypes.bfloat16))}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


# Damage.


def test_a_truncated_safetensors_file_is_named(model, tmp_path):
    folder = written(model, tmp_path / "folder", "safetensors")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model.safetensors is damaged .*Copy or download it"):
        containers.open_folder(folder)


def test_a_shard_that_is_missing_is_named(model, tmp_path):
    folder = written(model, tmp_path / "folder", "shards")
    gone = sorted(folder.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"{gone.name} is not beside it"):
        containers.open_folder(folder)


@pytest.mark.parametrize("wrong", ["lacks", "has more"])
def test_an_index_of_another_download_is_refused(wrong, model, tmp_path):
    folder = written(model, tmp_path / "folder", "shards")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    places = index["weight_map"]
    files = list(places.values())
    name = next(name for name, file in places.items() if files.count(file) > 1)
    if wrong == "lacks":
        del places[name]
    else:
        places["another.weight"] = places[name]
        name = "another.weight"
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=f"{name}.*of different downloads"):
        containers.open_folder(folder)


class Evil:
    def __reduce__(self):
        return print, ("this must not be run",)


@pytest.mark.parametrize("content", ["pickle", "list", "truncated"])
def test_a_torch_file_is_never_unpickled_freely(content, model, tmp_path, capsys):
    path = tmp_path / "pytorch_model.bin"
    if content == "pickle":
        torch.save({"weight": torch.ones(2), "more": Evil()}, path)
    elif content == "list":
        torch.save([torch.ones(2)], path)
    else:
        torch.save(model.state_dict(), path)
        path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"pytorch_model.bin (cannot be read|holds no state_dict)"):
        containers.open_folder(tmp_path)
    assert "must not be run" not in capsys.readouterr().out


def test_a_pickle_by_another_name_is_never_unpickled(tmp_path, capsys):
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="cannot be read by torch's weights-only reader"):
        containers.open_folder(tmp_path)
    assert "must not be run" not in capsys.readouterr().out


def test_a_damaged_flax_file_is_named(tmp_path):
    content = (GOLDEN / "flax_vit" / "flax_model.msgpack").read_bytes()
    (tmp_path / "flax_model.msgpack").write_bytes(content[:500])
    with pytest.raises(ValueError, match="flax_model.msgpack is damaged"):
        containers.open_folder(tmp_path)


def test_a_folder_without_weights_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"holds no weights: .*It holds: notes.txt"):
        containers.open_folder(tmp_path)


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool),
        *(torch.uint16, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2),
    ],
)
@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_what_is_no_weight_is_harmless_until_it_is_read(kind, dtype, tmp_path):
    """Such as the numbers of positions in old files."""
    state = {"ids": torch.ones(2).to(dtype), "w": torch.ones(2)}
    if kind == "torch":
        torch.save(state, tmp_path / "pytorch_model.bin")
    else:
        safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    found, _ = containers.open_folder(tmp_path)
    np.testing.assert_array_equal(found["w"].read(), [1, 1])
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=f"ids in .*model.* is stored as {name}, and a weight is"):
        found["ids"].read()


# An index that is damaged, or made to deceive.


@pytest.mark.parametrize(
    "content",
    [
        *('{"weight_map": ["a"]}', '{"weight_map": null}', '{"weight_map": "a"}', "{}", "[]"),
        *('{"weight_map": 7}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": null}}'),
        *('{"weight_map": {"a": ["b"]}}', "", "7", "\udcff", "[" * 100_000),
    ],
)
def test_a_damaged_index_is_named(content, tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=r"index.json is damaged .*Copy or download it again"):
        containers.open_folder(tmp_path)


@pytest.mark.parametrize(
    "place",
    ["../evil.safetensors", "/evil.safetensors", "a/../../evil", "..", "", ".", "a\\b", "C:b"],
)
def test_no_file_elsewhere_is_opened(place, tmp_path):
    save = safetensors.torch.save_file
    save({"w": torch.ones(2)}, tmp_path / "evil.safetensors")
    place = place.replace("/evil", str(tmp_path / "evil")) if place.startswith("/") else place
    (tmp_path / "model").mkdir()
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": place}}))
    with pytest.raises(ValueError, match=r"names a shard '.*'. Shards lie beside their index"):
        containers.open_folder(tmp_path / "model")


def test_one_array_in_two_shards_is_refused(tmp_path):
    for name, value in (("one", 1.0), ("two", 2.0)):
        both = {"w": torch.full((2,), value), name: torch.ones(2)}
        safetensors.torch.save_file(both, tmp_path / f"{name}.safetensors")
    places = {"w": "one.safetensors", "one": "one.safetensors", "two": "two.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ValueError, match=r"index.json puts together holds two arrays .* both w,"):
        containers.open_folder(tmp_path)


# Other tensors of torch, and its older formats.

COMPLEX = torch.tensor([1 + 2j, 3 - 4j])


STRANGE = {
    "sparse_coo": lambda: torch.eye(3).to_sparse(),
    "qint8": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "meta, without numbers": lambda: torch.ones(3, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "complex32": lambda: torch.ones(2, dtype=torch.complex32),
}


@pytest.mark.filterwarnings("ignore")  # torch finds some of them strange, too
@pytest.mark.parametrize("kind", STRANGE)
def test_tensors_that_are_no_plain_arrays_are_refused(kind, tmp_path):
    torch.save({"w": STRANGE[kind]()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=f"w in .*_model.bin is a tensor of type {kind}, which"):
        containers.open_folder(tmp_path)


def test_a_view_of_torch_is_read_as_what_it_shows(tmp_path):
    negative = COMPLEX.conj().imag
    assert negative.is_neg()
    torch.save({"w": negative, "t": torch.ones(2, 3).T}, tmp_path / "pytorch_model.bin")
    found, _ = containers.open_folder(tmp_path)
    np.testing.assert_array_equal(found["w"].read(), [-2, 4])
    assert found["t"].read().shape == (3, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_files_of_torch_before_zip_archives_are_read(dtype, tmp_path):
    values = torch.arange(6, dtype=dtype).reshape(2, 3)
    old = {"_use_new_zipfile_serialization": False}
    torch.save({"w": values}, tmp_path / "pytorch_model.bin", **old)
    found, _ = containers.open_folder(tmp_path)
    np.testing.assert_array_equal(found["w"].read().astype(np.float32), values.float().numpy())


def test_a_pickle_in_an_old_file_of_torch_is_not_run(tmp_path, capsys):
    old = {"_use_new_zipfile_serialization": False}
    torch.save({"w": torch.ones(2), "x": Evil()}, tmp_path / "pytorch_model.bin", **old)
    with pytest.raises(ValueError, match="cannot be read by torch's weights-only reader") as error:
        containers.open_folder(tmp_path)
    for advice in ("weights_only", "add_safe_globals"):  # torch's own is to run it
        assert advice not in str(error.value)
    assert "must not be run" not in capsys.readouterr().out


@pytest.mark.parametrize("keys", [{1: torch.ones(2)}, {"w": 1}, {None: None}, torch.ones(2), "w"])
def test_what_is_no_state_dict_is_refused(keys, tmp_path):
    torch.save(keys, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="holds no state_dict, a dict of name and tensor"):
        containers.open_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty, it has 0 bytes"),
        (bytes(5000), "begins with nothing but zeros"),
        ("tar", "is a tar archive, as torch wrote before"),
        (b"<html>not found</html>", "cannot be read by torch's weights-only reader"),
    ],
)
def test_what_torch_never_wrote_is_said(content, message, tmp_path):
    path = tmp_path / "pytorch_model.bin"
    if content == "tar":
        with tarfile.open(path, "w") as tar:
            tar.add(__file__, "storages")
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"pytorch_model.bin {message}"):
        containers.open_folder(tmp_path)


# Flax.


@pytest.mark.parametrize(
    "tree",
    [
        {"a": {"__msgpack_chunked_array__": True}},
        {"a": {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "chunks": {}}},
        *({"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"a": np.float32(1)}, 7, []),
    ],
)
def test_what_is_no_tree_of_arrays_is_damaged(tree, tmp_path):
    content = serialization.msgpack_serialize(tree)
    (tmp_path / "flax_model.msgpack").write_bytes(content)
    with pytest.raises(ValueError, match=r"flax_model.msgpack is damaged .*Copy or download it"):
        containers.open_folder(tmp_path)


def test_two_arrays_of_one_name_are_refused(tmp_path):
    tree = {"norm": {"scale": np.ones(2, np.float32), "weight": np.ones(2, np.float32)}}
    content = serialization.msgpack_serialize(tree)
    (tmp_path / "flax_model.msgpack").write_bytes(content)
    with pytest.raises(ValueError, match=r"holds two arrays that are both norm\.weight"):
        containers.open_folder(tmp_path)


# A disk that is full.


@pytest.mark.parametrize(
    ("size", "limit", "file"),
    [
        (2000, 10_000, "model.safetensors"),
        (20, 100, "model.safetensors.index.json"),
    ],
)
def test_a_full_disk_is_said_and_what_was_there_stays(size, limit, file, tmp_path):
    (tmp_path / file).write_text("before")
    array = Tensor.of(np.ones(size, np.float32))
    tensors = {f"an_array_with_a_name_{i:050}": array for i in range(30 if size == 20 else 1)}
    message = rf"{file} cannot be written: File too large$"
    with files_end_at(3000), pytest.raises(OSError, match=message):
        containers.save(tmp_path, tensors, {}, limit)
    assert (tmp_path / file).read_text() == "before"
    assert not list(tmp_path.glob("*.part"))
