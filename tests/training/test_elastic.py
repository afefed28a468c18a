# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A run that goes on with other devices than it began with."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np

from pali import train
from pali.config import OptimConfig, to_json
from pali.mesh_config import MeshConfig
from tests.training import survival

START = """
import sys
from pathlib import Path
from pali import train
from pali.config import Config, from_json

config = from_json(Config, Path(sys.argv[1]).read_text())
train.main(config, sys.argv[2], allow_config_change=True)
"""


def start(config, workdir, devices):
    """In a process of its own, on so many emulated devices."""
    path = workdir.with_suffix(f".{devices}.json")
    path.write_text(to_json(config))
    flag = f"--xla_force_host_platform_device_count={devices}"
    subprocess.run(
        [sys.executable, "-c", START, str(path), str(workdir)],
        env=os.environ | {"XLA_FLAGS": flag},
        check=True,
    )


def test_eight_devices_then_two_then_one(config, tmp_path):
    config = dataclasses.replace(
        config,
        # A schedule that does not depend on where the run ends.
        optim=OptimConfig("adafactor", 0.05, 2, "rsqrt", clip_norm=None, freeze=("vit/.*",)),
        accumulate=2,
    )
    train.main(config, tmp_path / "one")
    changing = tmp_path / "changing"
    eight = dataclasses.replace(config, steps=2, mesh=MeshConfig(data=2, fsdp=2, model=2))
    start(eight, changing, 8)
    start(dataclasses.replace(config, steps=3, mesh=MeshConfig(fsdp=2)), changing, 2)
    train.main(config, changing, allow_config_change=True)
    found, wanted = (survival.parameters(tmp_path / name) for name in ("changing", "one"))
    assert found.keys() == wanted.keys()
    for name, leaf in wanted.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
    losses = {}
    for name in ("changing", "one"):
        entries = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        losses[name] = [entry["loss"] for entry in entries if entry["split"] == "train"]
    np.testing.assert_allclose(losses["changing"], losses["one"], rtol=1e-5)
    assert len(losses["one"]) == config.steps
