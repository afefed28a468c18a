# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Whose a workdir is."""

import dataclasses
import os

import pytest

from pali.config import Config, DataConfig, MT5Config, OptimConfig, PaLIConfig, ViTConfig
from pali.training import workdir as workdirs

CONFIG = Config(
    model=PaLIConfig(ViTConfig(8, 1, 8, 1, 4, 8), MT5Config(64, 8, 8, 1, 8, 1, 1)),
    data=DataConfig("any"),
)
OTHER = dataclasses.replace(
    CONFIG,
    optim=OptimConfig(learning_rate=3e-4, freeze=("vit/.*",)),
    data=DataConfig("any", batch_size=64),
    log_every=7,
)


def claimed(folder):
    (folder / "checkpoints" / "5").mkdir(parents=True)
    workdirs.claim(CONFIG, folder)
    return folder


def test_another_config_is_refused_with_what_differs(tmp_path):
    with pytest.raises(ValueError, match="of another config, which had") as error:
        workdirs.check(OTHER, claimed(tmp_path))
    assert str(error.value).splitlines()[1:4] == [
        "  data.batch_size 128, now 64",
        '  optim.freeze [], now ["vit/.*"]',
        "  optim.learning_rate 0.001, now 0.0003",
    ]
    assert "--allow-config-change" in str(error.value)


def test_it_can_be_allowed_and_is_said(tmp_path):
    changes = workdirs.check(OTHER, claimed(tmp_path), allow_config_change=True)
    assert changes[0] == "data.batch_size 128, now 64"
    assert len(changes) == 3  # How often it reports is nobody's business.


@pytest.mark.parametrize("below", ["file", "file/run", "file/deep/run"])
def test_a_workdir_that_is_or_lies_below_a_file(tmp_path, below):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(NotADirectoryError, match=r"/file is a file\. Name another folder"):
        workdirs.check(CONFIG, tmp_path / below)


def test_a_config_that_cannot_be_read_may_be_passed_over(tmp_path):
    (claimed(tmp_path) / workdirs.FILE).write_text("")
    with pytest.raises(ValueError, match=r"does not say of which run.*--allow-config-change"):
        workdirs.check(CONFIG, tmp_path)
    (said,) = workdirs.check(CONFIG, tmp_path, allow_config_change=True)
    assert "config.json does not say of which run" in said


def test_a_second_run_is_told_who_has_the_workdir(tmp_path):
    with workdirs.alone(tmp_path / "run"):
        held = rf"another run uses .*run: process {os.getpid()} on .*--workdir of its own"
        with pytest.raises(ValueError, match=held), workdirs.alone(tmp_path / "run"):
            pass
    with workdirs.alone(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_made(tmp_path):
    name = tmp_path / ("x" * 300)
    said = r"cannot be a workdir: File name too long\. Name a folder"
    with pytest.raises(OSError, match=said), workdirs.alone(name):
        pass


def test_versions_name_what_numbers_depend_on():
    found = workdirs.versions()
    assert {"python", "jax", "flax", "optax", "orbax-checkpoint"} <= found.keys()
