# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A run that goes on with other devices than it began with."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import time

import numpy as np
import pytest

from pali import train
from pali.config import LoRAConfig, OptimConfig
from pali.mesh_config import MeshConfig
from pali.training import interruption
from tests.training import forked, survival

TASKS = """
import numpy as np

from pali.data.benchmarks import Benchmark
from pali.data.evaluation import Example, Split
from pali.data.pipeline import Task
from pali.metrics.exact_match import exact_match
from pali.training import evaluating


class Pictures:
    task = Task("named", ())

    def record(self, index):
        return {"image": np.full((24, 24, 3), 60 * index, np.uint8)}


def read_splits(tasks, image_size, *others, pixels, **more):
    # As if read from SeqIO's registry, which takes a minute.
    pairs = [(lang, name) for lang in ("en", "sw") for name in ("paka", "mti")]
    examples = [
        Example(f"{lang}/{name}", lang, name, name, f"Caption it in {lang}", (name,), index, {})
        for index, (lang, name) in enumerate(pairs)
    ]
    choices = {"en": examples[:2]}
    records, metrics, benchmark = Pictures(), (exact_match,), Benchmark()
    given = (records, (), {}, image_size, pixels, metrics, benchmark, 8)
    return [Split("named", "validation", examples, choices, *given)]


evaluating.read_splits = read_splits
"""


@pytest.fixture(scope="module")
def start(programs_compiled_once):
    """`pali train` with so many emulated devices; of two processes each has half of them."""

    def start(config, workdir, devices, rank=0, port=None):
        path = workdir.with_name(f"{workdir.name}_{devices}_{rank}")
        words = ["--workdir", str(workdir), "--allow-config-change"]
        if port is not None:
            devices //= 2
            words += ["--coordinator-address", f"127.0.0.1:{port}"]
            words += ["--num-processes", "2", "--process-id", str(rank)]
        errors = path.with_suffix(".stderr")
        errors.unlink(missing_ok=True)
        words = [str(forked.write(config, path, TASKS)), *words]
        return forked.start(words, errors, programs_compiled_once, devices), errors

    return start


def finish(*started, status=0):
    """What they said."""
    try:
        for process, _ in started:
            process.join(600)
    finally:
        for process, _ in started:
            process.kill()
    said = [errors.read_text() for _, errors in started]
    assert [process.exitcode for process, _ in started] == [status] * len(said), said
    return said


@pytest.fixture(scope="module")
def both(start):
    """What two processes of one run said, each with one device.

    With `stop`, a part of what the first says, the second is asked to stop as soon as that is said.
    """

    def both(config, workdir, stop=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = [start(config, workdir, 2, rank, port) for rank in range(2)]
        if stop is None:
            return finish(*started)
        (first, errors), (second, _) = started
        while first.is_alive() and not (errors.exists() and stop in errors.read_text()):
            time.sleep(0.05)
        os.kill(second.pid, signal.SIGTERM)
        return finish(*started, status=interruption.RESUMABLE)

    return both


@pytest.fixture(scope="module")
def elastic(config):
    return dataclasses.replace(
        config,
        # A schedule that does not depend on where the run ends.
        optim=OptimConfig("adafactor", 0.05, 2, "rsqrt", clip_norm=None, freeze=("vit/.*",)),
        accumulate=2,
    )


@pytest.fixture(scope="module")
def from_eight(elastic, start, tmp_path_factory):
    """The workdir of a run that took its first two steps on eight devices; beside it that of one
    that takes all four on one device, in this process, while the other compiles."""
    workdir = tmp_path_factory.mktemp("from_eight") / "run"
    mesh = MeshConfig(data=2, fsdp=2, model=2)
    eight = start(dataclasses.replace(elastic, steps=2, mesh=mesh), workdir, 8)
    train.main(elastic, workdir.with_name("one"))
    finish(eight)
    return workdir


@pytest.fixture(scope="module")
def then_two(elastic, start, from_eight):
    """What the third step is, on two devices; and the workdir of one process that has taken it."""
    config = dataclasses.replace(
        elastic, steps=3, mesh=MeshConfig(fsdp=2), eval_every=3, eval_tasks=("named",)
    )
    workdir = from_eight.with_name("one_process")
    shutil.copytree(from_eight, workdir)
    finish(start(config, workdir, 2))
    return config, workdir


def losses(workdir, split="train"):
    entries = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [entry["loss"] for entry in entries if entry["split"] == split]


def test_eight_devices_then_two_then_four_or_at_once_one(
    elastic, from_eight, then_two, start, tmp_path
):
    one, fewer = from_eight.with_name("one"), shutil.copytree(from_eight, tmp_path / "fewer")
    more = shutil.copytree(then_two[1], tmp_path / "more")
    four = start(dataclasses.replace(elastic, mesh=MeshConfig(fsdp=2, model=2)), more, 4)
    train.main(elastic, fewer, allow_config_change=True)
    finish(four)
    wanted = survival.parameters(one)
    for workdir in (more, fewer):
        found = survival.parameters(workdir)
        assert found.keys() == wanted.keys()
        for name, leaf in wanted.items():
            np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(losses(workdir), losses(one), rtol=1e-5)
        assert len(losses(workdir)) == elastic.steps


def test_adapters_that_eight_devices_train_are_those_of_one(config, start, tmp_path):
    adapters = dataclasses.replace(
        config,
        lora=LoRAConfig(rank=4),
        # Adafactor's updates are as large as parameters: adapters that begin at 0 move at once.
        optim=OptimConfig("adafactor", 0.05, 1, freeze=("vit/.*", "projection/.*")),
        steps=3,
        eval_every=3,
    )
    mesh = MeshConfig(data=2, fsdp=2, model=2)
    eight = start(dataclasses.replace(adapters, mesh=mesh), tmp_path / "eight", 8)
    train.main(adapters, tmp_path / "one")
    finish(eight)
    found, wanted = (survival.parameters(tmp_path / name) for name in ("eight", "one"))
    assert found.keys() == wanted.keys()
    moved = [name for name in wanted if name.endswith("lora_b") and np.any(wanted[name])]
    assert len(moved) == sum(name.endswith("lora_b") for name in wanted) > 0
    for name, leaf in wanted.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(losses(tmp_path / "eight"), losses(tmp_path / "one"), rtol=1e-5)


def test_two_processes_do_what_one_does_bit_for_bit(then_two, from_eight, both):
    config, alone = then_two
    workdir = from_eight.with_name("two_processes")
    shutil.copytree(from_eight, workdir)
    first, second = both(config, workdir)
    assert "step 3/3" in first
    assert "planned for a batch of 8 in 2 parts" in first
    assert "step" not in second  # Nor anything else that the first has said.
    ours, theirs = (survival.parameters(folder) for folder in (workdir, alone))
    assert ours.keys() == theirs.keys()
    for name, leaf in theirs.items():
        np.testing.assert_array_equal(ours[name], leaf, err_msg=name)
    assert losses(workdir) == losses(alone)
    assert losses(workdir, "validation") == losses(alone, "validation")
    files = {
        str(path.relative_to(folder))
        for folder in (workdir, alone)
        for path in folder.rglob("*")
        if path.suffix in (".safetensors", ".html", ".jsonl") or path.name == "metrics.json"
    }
    assert {"model/model.safetensors", "evaluation/3/predictions.jsonl"} <= files
    for name in files - {"metrics.jsonl"}:  # It has speeds in it.
        if name != "first_batch.html":  # Of the rows of one process.
            assert (workdir / name).read_bytes() == (alone / name).read_bytes(), name


def test_two_processes_of_which_one_is_asked_to_stop_and_then_finds_damage(elastic, both, tmp_path):
    config = dataclasses.replace(
        elastic, steps=10**5, checkpoint_every=1, eval_splits=(), mesh=MeshConfig(fsdp=2)
    )
    workdir = tmp_path / "run"
    # Both stop after the same step, which is saved.
    first, _ = both(config, workdir, stop="step 2/")
    last = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert f"stopped after step {last:,}; the same command goes on there" in first
    assert len(losses(workdir)) == last
    # What the second process wrote is what it alone reads on the same mesh.
    pieces = sorted((workdir / f"checkpoints/{last}/state/ocdbt.process_1/d").iterdir())
    assert pieces
    for piece in pieces:
        os.truncate(piece, piece.stat().st_size // 2)
    first, _ = both(dataclasses.replace(config, steps=last), workdir)
    assert f"checkpoints/{last} is damaged where another process reads it" in first
    assert f"going on from step {last - 1} of {last}" in first
    assert (workdir / f"damaged_checkpoints/{last}").is_dir()
    assert (workdir / "model").is_dir()
