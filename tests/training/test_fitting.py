# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A run that does not fit into memory: refused before, or explained when it happens."""

import dataclasses
import re

import jax
import pytest

from pali import memory, train
from pali.config import OptimConfig
from pali.mesh_config import MeshConfig
from pali.training import fitting

ONE = MeshConfig(1)


def test_a_plan_larger_than_what_is_free_is_refused_unless_it_is_ignored(
    config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(fitting, "free_memory", lambda: 2**20)
    monkeypatch.setattr(train, "start_from", None)  # Nothing is made before.
    with pytest.raises(fitting.DoesNotFit) as refused:
        train.main(config, tmp_path / "run")
    said, text = capsys.readouterr().err, str(refused.value)
    assert re.match(r"the run would need [\d.]+ MiB of memory, and 1\.0 MiB are free\. The p", text)
    assert text.endswith("Or start all the same: --ignore-memory-plan")
    for line in ("memory on the device, planned for a batch of 8, texts of", "AdamW's slots", "to"):
        assert line in said
        assert line in text
    assert text.count(" less\n") == 3
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        train.main(config, tmp_path / "run", ignore_memory_plan=True)


def test_what_helps_is_said_by_how_much_and_the_most_first(config):
    config = dataclasses.replace(config, optim=OptimConfig())
    plan = memory.training(config, ONE)
    found = fitting.settings(config, ONE, plan)
    assert len(found) == fitting.SETTINGS
    assert [s.saves for s in found] == sorted((s.saves for s in found), reverse=True)
    every = {words for words, _, _ in fitting._alternatives(config, ONE)}
    assert {"--accumulate 2", "--optim.freeze 'vit/.*'"} <= every
    # Parts of different lengths have rows of their own, which two may not divide.
    parts = dataclasses.replace(config.data, short=((8, 8),), rows_multiple=1)
    uneven = dataclasses.replace(config, data=parts)
    every = {words for words, *_ in fitting._alternatives(uneven, ONE)}
    assert "--accumulate 2" not in every
    frozen = dataclasses.replace(config, optim=OptimConfig("adafactor", freeze=("vit/.*",)))
    every = {words for words, _, _ in fitting._alternatives(frozen, ONE)}
    assert "--data.visual-token-cache visual_tokens" in every
    assert not any(word in words for words in every for word in ("freeze", "adafactor"))


@pytest.mark.parametrize("behind", [False, True])
def test_no_more_memory_is_answered_with_the_plan(config, behind):
    """The error of XLA itself, from the step or behind one of a save."""

    def exhausted(*_):
        error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
        if behind:
            raise OSError("a checkpoint cannot be saved") from error
        raise error

    plan = memory.training(config, ONE)
    with pytest.raises(fitting.DoesNotFit) as said, fitting.explained(config, ONE, plan):
        exhausted()
    text = str(said.value)
    assert text.startswith("a device has no more memory: RESOURCE_EXHAUSTED: Out of memory all")
    assert text.count(" less\n") == 3
    assert said.value.__suppress_context__
    with pytest.raises(OSError, match="no space"), fitting.explained(config, ONE, plan):
        raise OSError("no space")


def test_a_step_without_memory_ends_the_run_with_one_paragraph(config, tmp_path, monkeypatch):
    def exhausted(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.")

    monkeypatch.setattr(train, "train_step", exhausted)
    with pytest.raises(fitting.DoesNotFit, match="The plan:\nmemory on the device"):
        train.main(config, tmp_path)


def test_what_is_free_is_that_of_the_narrowest_group(tmp_path):
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    own = groups / "jobs" / "mine"
    own.mkdir(parents=True)
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable:    4000 kB\n")
    assert fitting.free_memory(proc, groups) == 4000 * 1024
    (proc / "self/cgroup").write_text("5:cpu:/\n0::/jobs/mine\n")
    for folder, most in ((own, "max"), (own.parent, "1000000")):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text("600000\n")
        (folder / "memory.stat").write_text("anon 3\ninactive_file 100000\n")
    assert fitting.free_memory(proc, groups) == 500_000
    older = groups / "memory" / "jobs"
    older.mkdir(parents=True)
    (proc / "self/cgroup").write_text("9:memory:/jobs\n")
    (older / "memory.limit_in_bytes").write_text("9000\n")
    (older / "memory.usage_in_bytes").write_text("5000\n")
    (older / "memory.stat").write_text("total_inactive_file 1000\n")
    assert fitting.free_memory(proc, groups) == 5000
    assert fitting.free_memory(tmp_path / "nowhere", groups) > 2**28
