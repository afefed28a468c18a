# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A run starts from public weights; only what they lack is random."""

import dataclasses

import numpy as np
import pytest

from pali import train
from pali.checkpoints import components, initial, merge, pretrained
from pali.config import Config, DataConfig, InitConfig, PaLIConfig
from tests.checkpoints import foreign


def initial_params(config):
    return train.start_from(config)[0]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    foreign.vision("siglip").save_pretrained(folder / "siglip")
    foreign.language("mt5").save_pretrained(folder / "mt5")
    foreign.tokenizer(folder / "mt5" / "spiece.model", pieces=300)
    return folder


@pytest.fixture
def config(sources):
    vit, mt5 = (components.open_source(sources / n).config for n in ("siglip", "mt5"))
    init = InitConfig(vision=str(sources / "siglip"), language=str(sources / "mt5"))
    return Config(PaLIConfig(vit, mt5), DataConfig("m"), init=init)


def test_all_but_the_projection_comes_from_the_sources(config, sources, capsys):
    found = merge.flatten(merge.unstack_layers(initial_params(config)))
    said = capsys.readouterr().err
    for part, name in (("vit", "siglip"), ("mt5", "mt5")):
        component = components.open_source(sources / name)
        for path, tensor in component.tensors.items():
            np.testing.assert_array_equal(found.pop(f"{part}/{path}"), tensor.read(), err_msg=path)
        count = sum(tensor.size for tensor in component.tensors.values())
        assert f"{count:,} parameters come from {sources / name}" in said
    assert found.keys() == {"projection/kernel", "projection/bias"}
    other = initial_params(dataclasses.replace(config, seed=1))
    assert (other["projection"]["kernel"] != found["projection/kernel"]).all()


def test_what_is_taken_over_is_never_drawn_at_random(config):
    names = set(merge.flatten(pretrained.expected_params(config.model)))
    kept = merge.flatten(
        initial.random_params(config.model, 0, leave=names - {"projection/kernel"})
    )
    whole = initial.random_params(config.model, 0)
    # In the host's memory: no device need hold all of a model.
    assert all(isinstance(leaf, np.ndarray) for leaf in merge.flatten(whole).values())
    assert kept.keys() == {"projection/kernel"}
    np.testing.assert_array_equal(kept["projection/kernel"], whole["projection"]["kernel"])


def test_layers_and_heads_that_a_source_lacks_are_random(config, sources):
    vit = dataclasses.replace(config.model.vit, pool="none")
    without = dataclasses.replace(config, model=dataclasses.replace(config.model, vit=vit))
    assert not any("MAPHead_0" in n for n in merge.flatten(initial_params(without)))
    vit = dataclasses.replace(config.model.vit, num_classes=7)
    more = dataclasses.replace(config, model=dataclasses.replace(config.model, vit=vit))
    assert initial_params(more)["vit"]["head"]["kernel"].shape == (24, 7)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("vit", {"gelu": "exact"}, "has gelu 'tanh', not 'exact' as model.vit says"),
        ("vit", {"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon 1e-06, not 1e-05"),
        ("mt5", {"relative_max_distance": 64}, "relative_max_distance 128, not 64"),
        ("mt5", {"mlp_dim": 41}, "has mlp_dim 40, not 41 as model.mt5 says"),
    ],
)
def test_weights_of_a_model_that_computes_otherwise_are_refused(part, changes, message, config):
    own = dataclasses.replace(getattr(config.model, part), **changes)
    other = dataclasses.replace(config.model, **{part: own})
    with pytest.raises(ValueError, match=message):
        initial_params(dataclasses.replace(config, model=other))


def test_halves_are_not_exchanged(config, sources):
    init = InitConfig(vision=str(sources / "mt5"))
    with pytest.raises(ValueError, match="init.vision is .*, which holds MT5ForConditionalGen"):
        initial_params(dataclasses.replace(config, init=init))


def test_a_run_from_an_mt5_reads_with_the_tokenizer_beside_it(config, sources, tmp_path):
    taken = train._with_tokenizer(config, tmp_path / "run")
    assert taken.tokenizer == str(tmp_path / "run" / "spiece.model")
    expected = (sources / "mt5" / "spiece.model").read_bytes()
    assert (tmp_path / "run" / "spiece.model").read_bytes() == expected


def test_what_a_run_began_with_is_told(config):
    _, sources = train.start_from(config)
    assert [(source.part, source.origin) for source in sources] == [
        ("vit", "SiglipModel in siglip/model.safetensors"),
        ("mt5", "MT5ForConditionalGeneration in mt5/model.safetensors"),
    ]
    card = pretrained.stub_card("Trained", sources)
    assert "Trained by pali from:" in card
    assert "**Vision**: SiglipModel in siglip/model.safetensors; licence: not stated" in card


def test_a_tokenizer_that_is_named_must_fit_as_well(config, tmp_path):
    other = foreign.tokenizer(tmp_path / "other.model", pieces=150)
    named = dataclasses.replace(config, tokenizer=str(other))
    with pytest.raises(ValueError, match="150 pieces, sentinels counted, and the embedding"):
        train._with_tokenizer(named, tmp_path)
