# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Positions at another resolution against SciPy; and a model that takes over another's ViT."""

import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
import scipy.ndimage

from pali import train
from pali.checkpoints import initial, merge, pretrained
from pali.checkpoints.positions import resample
from pali.checkpoints.store import CheckpointStore
from pali.config import Config, DataConfig, InitConfig, MT5Config, PaLIConfig, ViTConfig, to_json
from pali.models.vit import ViT
from pali.tokenizer import Tokenizer


def initial_params(config):
    return train.start_from(config)[0]


VIT = ViTConfig(width=8, depth=1, mlp_dim=16, num_heads=2, patch_size=6, image_size=24)


def drawn(rows, columns, width=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(1, rows * columns, width)).astype(np.float32)


def zoomed(positions, before, after):
    """What big_vision does with the positions of a square grid, for any grid."""
    grid = positions[0].reshape(*before, -1)
    factors = (after[0] / before[0], after[1] / before[1], 1)
    # big_vision leaves `mode` alone; with its default some last rows come out as zero.
    resized = np.asarray(scipy.ndimage.zoom(grid, factors, order=1, mode="nearest"))
    assert resized.shape == (*after, positions.shape[-1])
    return resized.reshape(1, after[0] * after[1], -1)


def test_the_same_grid_is_left_as_it_is():
    np.testing.assert_array_equal(resample(drawn(4, 4), (4, 4)), drawn(4, 4))
    np.testing.assert_array_equal(resample(drawn(2, 8), (2, 8), (2, 8)), drawn(2, 8))


@pytest.mark.parametrize(("before", "after"), [(2, 3), (4, 6), (7, 16), (16, 32), (16, 7), (3, 1)])
def test_resampling_a_square_is_scipys(before, after):
    ours = resample(drawn(before, before), (after, after))
    assert ours.shape == (1, after**2, 3)
    assert ours.dtype == np.float32
    theirs = zoomed(drawn(before, before), (before, before), (after, after))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("before", "after"),
    [((4, 4), (3, 7)), ((2, 8), (4, 4)), ((5, 3), (8, 9)), ((1, 4), (2, 6)), ((6, 6), (4, 9))],
)
def test_resampling_any_grid_is_scipys(before, after):
    ours = resample(drawn(*before), after, before)
    np.testing.assert_allclose(ours, zoomed(drawn(*before), before, after), rtol=1e-6, atol=1e-7)


def test_the_last_row_is_never_lost():
    """Where SciPy's rounding puts it outside the grid."""
    plain = np.asarray(scipy.ndimage.zoom(np.arange(1.0, 9.0), 26 / 8, order=1))
    assert plain[-1] == 0
    ours = resample(np.repeat(np.arange(1.0, 9.0), 8)[None, :, None], (26, 8))
    np.testing.assert_allclose(ours.reshape(26, 8)[:-1, 0], plain[:-1], rtol=1e-6)
    np.testing.assert_array_equal(ours.reshape(26, 8)[-1], 8)


@pytest.mark.parametrize(("before", "after"), [((4, 4), (6, 9)), ((5, 3), (15, 2))])
def test_a_ramp_stays_a_ramp_from_corner_to_corner(before, after):
    def ramp(grid):
        places = (np.linspace(0, 1, size) for size in grid)
        return np.stack(np.meshgrid(*places, indexing="ij"), -1).reshape(1, -1, 2)

    np.testing.assert_allclose(resample(ramp(before), after, before), ramp(after), atol=1e-6)


def test_bfloat16_is_taken_and_float32_returned():
    positions = drawn(3, 3).astype(ml_dtypes.bfloat16)
    ours = resample(positions, (5, 5))
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, resample(positions.astype(np.float32), (5, 5)))


def test_positions_must_be_those_of_the_grid():
    with pytest.raises(ValueError, match="15 positions are no square grid: say how many rows"):
        resample(drawn(3, 5), (4, 4))
    with pytest.raises(ValueError, match="16 positions are not 3 rows of 5"):
        resample(drawn(4, 4), (4, 4), (3, 5))


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
    params = initial_params(
        Config(larger(config), DataConfig("m"), init=InitConfig(models=(str(folder),)))
    )
    before, after = merge.flatten(saved), merge.flatten(params)
    name = "vit/pos_embedding"
    assert before[name].shape == (1, 16, 8)
    np.testing.assert_array_equal(after[name], resample(before[name], (6, 6)))
    for other in before.keys() - {name}:
        np.testing.assert_array_equal(after[other], before[other], err_msg=other)
    said = capsys.readouterr().err
    assert f"parameters come from {folder}" in said
    assert f"of the ViT in {folder} are resampled: 4 x 4 patches there, 6 x 6 here" in said
    picture = np.zeros((1, 36, 36, 3), np.uint8)
    seen = jax.jit(ViT(larger(config).vit).apply)({"params": params["vit"]}, picture)
    assert seen.tokens.shape == (1, 36, 8)


def test_a_grid_of_as_many_patches_is_another_grid(small):
    folder, config, saved = small
    wide = dataclasses.replace(config, vit=dataclasses.replace(config.vit, image_size=(12, 48)))
    taken = initial.take_model(folder, wide)
    assert taken.resampled == ((4, 4), (2, 8))
    expected = resample(saved["vit"]["pos_embedding"], (2, 8))
    np.testing.assert_array_equal(taken.tensors["vit/pos_embedding"].read(), expected)


def test_a_workdir_tells_its_grid(tmp_path, small):
    _, config, saved = small
    wide = dataclasses.replace(config.vit, image_size=(12, 48))
    of_run = Config(dataclasses.replace(config, vit=wide), DataConfig("m"))
    with CheckpointStore(tmp_path) as store:
        store.save(3, {"params": saved}, {"config": json.loads(to_json(of_run))})
    taken = initial.take_model(tmp_path, config)
    assert taken.resampled == ((2, 8), (4, 4))
    expected = resample(saved["vit"]["pos_embedding"], (4, 4), (2, 8))
    np.testing.assert_array_equal(taken.tensors["vit/pos_embedding"].read(), expected)


def test_positions_of_the_same_grid_are_taken_over_in_silence(small, capsys):
    folder, config, saved = small
    params = initial_params(Config(config, DataConfig("m"), init=InitConfig(models=(str(folder),))))
    np.testing.assert_array_equal(params["vit"]["pos_embedding"], saved["vit"]["pos_embedding"])
    assert "resampled" not in capsys.readouterr().err


def test_a_vit_of_another_width_is_still_refused(small):
    folder, config, _ = small
    wider = larger(config, width=16)
    with pytest.raises(merge.MismatchError, match="vit/pos_embedding"):
        initial.take_model(folder, wider)
