# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Positions at another resolution against torch; and a model that takes over another's ViT."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

from pali import train
from pali.checkpoints import initial, merge, pretrained
from pali.checkpoints.positions import resample
from pali.config import Config, DataConfig, MT5Config, PaLIConfig, ViTConfig
from pali.models.vit import ViT
from pali.tokenizer import Tokenizer

VIT = ViTConfig(width=8, depth=1, mlp_dim=16, num_heads=2, patch_size=6, image_size=24)


def drawn(side, width=3):
    return np.random.default_rng(0).normal(size=(1, side * side, width)).astype(np.float32)


def test_the_same_grid_is_left_as_it_is():
    np.testing.assert_array_equal(resample(drawn(4), 16), drawn(4))


@pytest.mark.parametrize(("before", "after"), [(2, 3), (4, 6), (4, 8), (7, 16), (6, 4), (16, 7)])
def test_resampling_is_torchs(before, after):
    grid = torch.tensor(drawn(before).reshape(1, before, before, 3)).permute(0, 3, 1, 2)
    sizes = {"size": (after, after), "mode": "bilinear", "align_corners": False}
    # Towards fewer positions each is a mean over those that it covers, as for pictures.
    expected = torch.nn.functional.interpolate(grid, antialias=after < before, **sizes)
    ours = resample(drawn(before), after**2)
    assert ours.shape == (1, after**2, 3)
    assert ours.dtype == np.float32
    theirs = expected.permute(0, 2, 3, 1).reshape(1, after**2, 3).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(4, 6), (5, 15)])
def test_a_ramp_stays_a_ramp(before, after):
    """From the left to the right edge of the picture and from top to bottom."""

    def ramp(side):
        place = (np.arange(side, dtype=np.float32) + 0.5) / side  # centres of patches
        return np.stack(np.meshgrid(place, place, indexing="ij"), -1).reshape(1, -1, 2)

    def interior(positions):
        side = int(len(positions[0]) ** 0.5)
        centre = (np.arange(side) + 0.5) / side
        inside = (centre > 0.5 / before) & (centre < 1 - 0.5 / before)  # between the old centres
        return positions.reshape(side, side, 2)[np.ix_(inside, inside)]

    found, expected = interior(resample(ramp(before), after**2)), interior(ramp(after))
    assert expected.size
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(16, 15), (12, 16)])
def test_grids_are_square(before, after):
    with pytest.raises(ValueError, match=f"{before} positions cannot become {after}: both must be"):
        resample(np.zeros((1, before, 2), np.float32), after)


@pytest.fixture(scope="module")
def small(tmp_path_factory, tiny_tokenizer):
    """A model folder for pictures of 24 pixels, and its parameters."""
    config = PaLIConfig(VIT, MT5Config(Tokenizer(tiny_tokenizer).vocab_size, 8, 16, 2, 4, 1, 1))
    params = initial.random_params(config, seed=1)
    folder = tmp_path_factory.mktemp("models") / "small"
    metadata = pretrained.Metadata(languages=("en",))
    pretrained.save_model(folder, config, params, tiny_tokenizer, metadata)
    return folder, config, pretrained.load_model(folder).params


def larger(config, **changes):
    vit = dataclasses.replace(config.vit, image_size=36, **changes)
    return dataclasses.replace(config, vit=vit)


def test_a_larger_model_takes_over_a_smaller_ones_positions_and_says_so(small, capsys):
    folder, config, saved = small
    params = train.initial_params(Config(larger(config), DataConfig("m"), init_from=(str(folder),)))
    before, after = merge.flatten(saved), merge.flatten(params)
    name = "vit/pos_embedding"
    assert before[name].shape == (1, 16, 8)
    np.testing.assert_array_equal(after[name], resample(before[name], 36))
    for other in before.keys() - {name}:
        np.testing.assert_array_equal(after[other], before[other], err_msg=other)
    said = capsys.readouterr().err
    assert f"parameters come from {folder}" in said
    assert f"positions of the ViT in {folder} are resampled: 16 patches there, 36 here" in said
    picture = np.zeros((1, 36, 36, 3), np.uint8)
    seen = jax.jit(ViT(larger(config).vit).apply)({"params": params["vit"]}, picture)
    assert seen.tokens.shape == (1, 36, 8)


def test_positions_of_the_same_grid_are_taken_over_in_silence(small, capsys):
    folder, config, saved = small
    params = train.initial_params(Config(config, DataConfig("m"), init_from=(str(folder),)))
    np.testing.assert_array_equal(params["vit"]["pos_embedding"], saved["vit"]["pos_embedding"])
    assert "resampled" not in capsys.readouterr().err


def test_a_vit_of_another_width_is_still_refused(small):
    folder, config, _ = small
    wider = Config(larger(config, width=16), DataConfig("m"), init_from=(str(folder),))
    with pytest.raises(merge.MismatchError, match="vit/pos_embedding"):
        train.initial_params(wider)
