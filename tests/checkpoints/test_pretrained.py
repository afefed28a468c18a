# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Model folders: what is written is read back, and what is not a model folder is explained."""

import dataclasses
import functools
import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from pali import shortlist
from pali.checkpoints import containers, merge, pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.models import presets
from pali.models.pali import init_params


def configuration(scan: bool = True) -> PaLIConfig:
    """Every part there is: class token, pooling head, classifier."""
    return PaLIConfig(
        ViTConfig(16, 2, 32, 2, 8, 16, class_token=True, pool="map", num_classes=5, scan=scan),
        MT5Config(50, 16, 24, 2, 8, encoder_layers=2, decoder_layers=1, scan=scan),
    )


@functools.cache
def random_parameters(config: PaLIConfig) -> dict:
    """Numbers that bfloat16 holds exactly, so that writing and reading loses nothing."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(ml_dtypes.bfloat16).astype(np.float32),
        pretrained.expected_params(config),
    )


METADATA = pretrained.Metadata(languages=("sw", "hi"), notes="Picha na maneno, चित्र और शब्द.")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model folder, written by `save_model` once."""
    place = tmp_path_factory.mktemp("written")
    tokenizer = place / "some.model"
    tokenizer.write_bytes(b"pieces")
    params = random_parameters(configuration())
    return pretrained.save_model(place / "model", configuration(), params, tokenizer, METADATA)


@pytest.fixture
def folder(written, tmp_path):
    """A copy of the model folder, to be damaged."""
    return shutil.copytree(written, tmp_path / "model")


def assert_equal(got, wanted) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


def test_what_is_written_is_read_back(folder):
    loaded = pretrained.load_model(folder)
    assert loaded.config == configuration()
    assert loaded.metadata == METADATA
    assert loaded.tokenizer_path.read_bytes() == b"pieces"
    assert_equal(loaded.params, random_parameters(configuration()))
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.params)} == {np.dtype(np.float32)}


def test_the_file_holds_separate_layers_in_bfloat16(folder):
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    assert {leaf.dtype for leaf in arrays.values()} == {np.dtype(ml_dtypes.bfloat16)}
    assert arrays["mt5/encoder/layers_1/attention/query/kernel"].shape == (16, 16)
    assert "vit/Transformer/encoderblock_1/MlpBlock_0/Dense_0/kernel" in arrays
    separate = merge.unstack_layers(random_parameters(configuration()))
    assert arrays.keys() == merge.flatten(separate).keys()


def test_the_file_does_not_depend_on_scan(folder, tmp_path):
    config = configuration(scan=False)
    params = merge.unstack_layers(random_parameters(configuration()))
    apart = tmp_path / "apart"
    pretrained.save_model(apart, config, params, folder / "spiece.model", METADATA)
    assert (apart / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert_equal(pretrained.load_model(apart).params, params)


def test_whoever_may_read_the_configuration_may_read_the_weights(written):
    modes = {name: (written / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert modes["config.json"] == modes["model.safetensors"]


def test_float32_is_kept_on_request(tmp_path, folder):
    config = configuration()
    params = jax.tree.map(lambda leaf: leaf + np.float32(1e-6), random_parameters(config))
    tokenizer = folder / "spiece.model"
    exact = pretrained.save_model(
        tmp_path / "exact", config, params, tokenizer, METADATA, dtype="float32"
    )
    assert_equal(pretrained.load_model(exact).params, params)


def test_saving_again_replaces_weights_and_keeps_the_card(folder):
    config = configuration()
    tokenizer = folder / "spiece.model"
    params = random_parameters(config)
    pretrained.save_model(folder, config, params, tokenizer, METADATA, card="# A card")
    doubled = jax.tree.map(lambda leaf: 2 * leaf, params)
    pretrained.save_model(folder, config, doubled, tokenizer, METADATA)
    assert_equal(pretrained.load_model(folder).params, doubled)
    assert (folder / "README.md").read_text() == "# A card"
    assert {path.name for path in folder.iterdir()} == {
        *(pretrained.CONFIG, pretrained.WEIGHTS, pretrained.TOKENIZER, pretrained.CARD)
    }


def test_shortlists_go_with_their_tokenizer(folder, tmp_path):
    config, params = configuration(), random_parameters(configuration())

    def save(folder, tokenizer):
        pretrained.save_model(folder, config, params, tokenizer, METADATA)

    (folder / shortlist.FILE).write_bytes(b"its own")
    save(folder, folder / pretrained.TOKENIZER)
    save(tmp_path / "copy", folder / pretrained.TOKENIZER)
    for here in (folder, tmp_path / "copy"):
        assert (here / shortlist.FILE).read_bytes() == b"its own"
    bare = tmp_path / "bare.model"
    bare.write_bytes((folder / pretrained.TOKENIZER).read_bytes())
    save(tmp_path / "copy", bare)
    assert not (tmp_path / "copy" / shortlist.FILE).exists()


def test_parameters_of_another_configuration_are_not_written(tmp_path):
    other = dataclasses.replace(
        configuration(), mt5=dataclasses.replace(configuration().mt5, width=8)
    )
    with pytest.raises(merge.MismatchError, match="projection/kernel"):
        pretrained.save_model(
            tmp_path / "m", configuration(), random_parameters(other), tmp_path / "t", METADATA
        )
    assert not (tmp_path / "m").exists()


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder.*nowhere.*config.json"):
        pretrained.load_model(tmp_path / "nowhere")


def test_a_file_is_not_a_folder(folder):
    with pytest.raises(FileNotFoundError, match="is a file.*give the folder"):
        pretrained.load_model(folder / "model.safetensors")


def test_another_folder_is_listed_and_the_missing_files_named(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    (tmp_path / "more").mkdir()
    with pytest.raises(FileNotFoundError) as error:
        pretrained.load_model(tmp_path)
    assert "lacks config.json, model.safetensors, spiece.model" in str(error.value)
    assert "holiday.jpg, more/" in str(error.value)


def test_the_folder_around_a_model_leads_to_it(folder):
    with pytest.raises(FileNotFoundError) as error:
        pretrained.load_model(folder.parent)
    assert f"Did you mean {str(folder)!r}?" in str(error.value)


@pytest.mark.parametrize("inside", ["", "checkpoints/3"])
def test_a_training_workdir_leads_to_its_export(tmp_path, inside):
    (tmp_path / "checkpoints" / "3" / "state").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="training checkpoints.*(?s:.*)<workdir>/model"):
        pretrained.load_model(tmp_path / inside)


@pytest.mark.parametrize("damage", [b"", b"<html>not found</html>", None])
def test_damaged_weights_are_named(folder, damage):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7] if damage is None else damage)
    with pytest.raises(ValueError, match=r"model.safetensors is damaged.*\d+ bytes"):
        pretrained.load_model(folder)


def test_weights_that_do_not_fit_the_configuration_are_listed(folder):
    path = folder / "config.json"
    description = json.loads(path.read_text())
    description["model"]["mt5"]["encoder_layers"] = 3
    path.write_text(json.dumps(description))
    with pytest.raises(merge.MismatchError, match="mt5/encoder/layers: 2 layers in the weights, 3"):
        pretrained.load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format_version 99.*reads 1 to 1.*pip install --upgrade"),
        ({"format_version": "new"}, "format_version 'new'"),
        ({"format_version": None}, "lacks format_version"),
        ({"model": {"vti": {}, "mt5": {}}}, "does not describe a model.*did you mean 'vit'"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_explained(folder, change, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        pretrained.load_model(folder)


@pytest.mark.parametrize("content", ["{", "[1, 2]", "{}"])
def test_a_configuration_that_is_none_is_explained(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        pretrained.load_model(folder)


def test_a_folder_of_another_library_is_not_taken_for_ours(folder):
    (folder / "config.json").write_text('{"model_type": "mt5", "d_model": 512}')
    shutil.copy(folder / "spiece.model", folder / "tokenizer.json")
    with pytest.raises(ValueError, match="not the configuration of a pali model"):
        pretrained.load_model(folder)


def test_reading_maps_the_file_instead_of_copying_it_whole(folder):
    tensors, _ = containers.open_folder(folder)
    assert not any(tensor.read().flags.owndata for tensor in tensors.values())


@pytest.mark.parametrize("name", ["vit-b/16+mt5-small", "vit-b/16+umt5-small"])
@pytest.mark.parametrize("apart", ["", "vit", "mt5", "vit mt5"])
def test_expected_parameters_are_those_of_the_initialiser(name, apart):
    config = presets.pali(name)
    halves = {
        half: dataclasses.replace(getattr(config, half), scan=half not in apart.split())
        for half in ("vit", "mt5")
    }
    config = dataclasses.replace(config, **halves)
    initialised = jax.eval_shape(functools.partial(init_params, config), jax.random.key(0))
    assert pretrained.expected_params(config) == initialised
