# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of file that Hugging Face keeps weights in gives the same arrays, or a plain error."""

import json
import pickle
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch

from pali.checkpoints import containers, huggingface, merge
from pali.checkpoints.weights import Tensor
from pali.models.mt5 import MT5
from pali.models.vit import ViT
from tests.checkpoints import foreign

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


def test_a_type_that_is_not_known_is_named(tmp_path):
    tensor = torch.ones(2).to(torch.float8_e4m3fn)
    safetensors.torch.save_file({"w": tensor}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="w in .* is of type F8_E4M3, which is not known here"):
        containers.open_folder(tmp_path)
