# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a run survives: being killed, damaged checkpoints, full disks, numbers that are none."""

import concurrent.futures
import dataclasses
import gc
import json
import os
import signal
import time

import jax
import numpy as np
import pytest

from pali import train
from pali.checkpoints import merge, pretrained
from pali.checkpoints.store import CheckpointStore
from pali.config import OptimConfig
from pali.training import interruption
from tests.checkpoints.full_disk import files_end_at
from tests.training import forked, survival

KILLS, RUNS = 20, 2
BEST = "validation/loss"


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_killed_at_any_moment_it_ends_bit_for_bit_the_same(
    config, tmp_path, programs_compiled_once
):
    """Two runs at a time, since most of it is starting, which keeps one core busy."""
    config = dataclasses.replace(config, steps=200, eval_every=200, log_every=20)
    train.main(dataclasses.replace(config, checkpoint_every=200), tmp_path / "whole")
    often = dataclasses.replace(config, checkpoint_every=4)

    def killed(seed):
        workdir = tmp_path / f"killed_{seed}"
        return list(survival.survive(often, workdir, programs_compiled_once, KILLS // RUNS, seed))

    with concurrent.futures.ThreadPoolExecutor() as threads:
        logs = list(threads.map(killed, range(RUNS)))
    assert [len(log) for log in logs] == [KILLS // RUNS] * RUNS
    assert sum(bool(entry["while_writing"]) for log in logs for entry in log) >= 5, logs
    for seed, log in enumerate(logs):
        assert len({max(entry["steps"], default=0) for entry in log}) > 3, "it got nowhere"
        same_parameters(tmp_path / f"killed_{seed}", tmp_path / "whole")
        steps = read_lines(tmp_path / f"killed_{seed}" / "metrics.jsonl")
        assert [e["step"] for e in steps if e["split"] == "train"] == list(range(20, 201, 20))


def same_parameters(left, right):
    """Of the last checkpoints of two workdirs, bit for bit."""
    ours, theirs = (survival.parameters(workdir) for workdir in (left, right))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_asked_to_stop_while_it_evaluates_it_stops_soon_and_evaluates_anew(
    config, records, tmp_path, programs_compiled_once
):
    config = dataclasses.replace(
        config,
        # Of two tasks, since an evaluation of one ends with its records.
        data=dataclasses.replace(config.data, records=str(records / "two")),
        eval_every=2,
        checkpoint_every=4,
        keep_checkpoints=1,
        keep_best=BEST,
    )
    whole, workdir = tmp_path / "whole", tmp_path / "asked"
    train.main(config, whole)
    errors = workdir.with_suffix(".stderr")

    def start(batches):
        changed = dataclasses.replace(config, eval_batches=batches)
        words = [str(forked.write(changed, workdir)), "--workdir", str(workdir)]
        return forked.start(words, errors, programs_compiled_once)

    # The evaluation after step 2 would take hours. The second signal comes while it is made anew.
    moments = ((signal.SIGTERM, "step 2/4"), (signal.SIGINT, "going on from step 2 of 4"))
    for number, moment in moments:
        process = start(batches=10**6)
        while not (errors.exists() and moment in errors.read_text()):
            assert process.is_alive(), errors.read_text()
            time.sleep(0.01)
        os.kill(process.pid, number)
        process.join(60)
        process.kill()  # if it still evaluates
        assert process.exitcode == interruption.RESUMABLE, errors.read_text()
        said = errors.read_text().splitlines()[-1]
        assert said == "pali train: stopped after step 2; the same command goes on there"
    last = start(batches=config.eval_batches)
    last.join()
    assert last.exitcode == 0, errors.read_text()
    same_parameters(workdir, whole)
    ours, theirs = (
        [(entry["step"], entry["split"], entry["loss"]) for entry in read_lines(path)]
        for path in (workdir / "metrics.jsonl", whole / "metrics.jsonl")
    )
    assert ours == theirs


def cut_in_half(checkpoint):
    """The largest file that holds its arrays."""
    files = [p for p in (checkpoint / "state").rglob("*") if p.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: len(content) // 2])


def cut_note(checkpoint):
    """What is noted beside them."""
    (checkpoint / "metadata" / "metadata").write_text('{"config": {"mo')


def empty_note(checkpoint):
    """As a machine leaves it that lost its power."""
    (checkpoint / "metadata" / "metadata").write_text("")


@pytest.mark.parametrize("damage", [cut_in_half, cut_note, empty_note])
def test_a_damaged_checkpoint_is_passed_over_and_put_aside(config, tmp_path, capsys, damage):
    def params():
        with CheckpointStore(tmp_path, read_only=True) as store:
            return merge.flatten(store.restore_params(4)[0])

    train.main(config, tmp_path)
    before = params()
    damage(tmp_path / "checkpoints" / "4")
    capsys.readouterr()
    train.main(config, tmp_path)
    gc.collect()  # what Orbax left behind would report now
    said = capsys.readouterr().err
    assert "checkpoints/4 is damaged" in said
    assert "Traceback" not in said
    assert "going on from step 2 of 4" in said
    assert (tmp_path / "damaged_checkpoints" / "4").is_dir()
    after = params()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_step_without_a_number_may_pass(config, tmp_path, capsys):
    """The third batch has an infinite gradient: weights of 1e38 in its loss."""
    config = dataclasses.replace(config, max_unusable_steps=1)
    with poisoned(step=3):
        train.main(config, tmp_path)
    entries = read_lines(tmp_path / "metrics.jsonl")
    counts = [e.get("unusable_steps", 0) for e in entries if e["split"] == "train"]
    assert counts == [0, 0, 1, 1]
    model = pretrained.load_model(tmp_path / "model")
    assert all(np.isfinite(leaf).all() for leaf in merge.flatten(model.params).values())
    assert "unusable_steps 1" in capsys.readouterr().err


def test_one_more_ends_the_run_and_says_which_examples_they_were(config, tmp_path):
    with poisoned(step=3), pytest.raises(FloatingPointError, match="the loss of step 3 or its"):
        train.main(config, tmp_path)
    found = read_lines(tmp_path / "unusable_batches.jsonl")
    assert len(found) == config.data.batch_size
    assert all(entry["step"] == 3 and entry["drawn"].startswith("0/captions/") for entry in found)
    assert all(entry["inputs"].startswith("Generate the alt_text in") for entry in found)
    with CheckpointStore(tmp_path, read_only=True) as store:
        assert store.latest_step() == 2
    # Without what spoiled it, the same command goes on.
    assert train.main(config, tmp_path).is_dir()


class poisoned:
    """While it lasts, the batch of one step weighs more than float32 can hold."""

    def __init__(self, step):
        self._step, self._patch = step, pytest.MonkeyPatch()

    def __enter__(self):
        from pali.data.inputs import Inputs

        real = Inputs.train

        def train_and_spoil(data, start):
            for step, parts in enumerate(real(data, start), start + 1):
                for part in parts:
                    if step == self._step:
                        real_ones = part["decoder_loss_weights"] > 0
                        part["decoder_loss_weights"] = np.where(real_ones, np.float32("inf"), 0)
                yield parts

        self._patch.setattr(Inputs, "train", train_and_spoil)

    def __exit__(self, *_):
        self._patch.undo()


@pytest.fixture
def no_programs_written():
    """A disk that is full has no room for them either, and half of one would spoil other tests."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 1e9)
    yield
    jax.config.update(name, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("no_programs_written")
def test_a_full_disk_is_said_and_the_checkpoint_before_stays(config, tmp_path):
    train.main(dataclasses.replace(config, steps=4), tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}
    longer = dataclasses.replace(config, steps=6)
    with (
        files_end_at(100_000),
        pytest.raises(OSError, match=r"checkpoints: File too large\. Those before are whole"),
    ):
        train.main(longer, tmp_path, allow_config_change=True)
    assert all(path.read_bytes() == content for path, content in before.items())
    with CheckpointStore(tmp_path) as store:
        assert store.latest_step() == 4
    assert train.main(longer, tmp_path, allow_config_change=True).is_dir()


@pytest.mark.usefixtures("no_programs_written")
def test_a_disk_too_full_for_the_smallest_file_says_where_and_what_to_do(config, tmp_path):
    wanted = rf"a file of {tmp_path} cannot be written: File too large\. Make room"
    with files_end_at(2000), pytest.raises(OSError, match=wanted):
        train.main(config, tmp_path)


def test_the_best_checkpoint_is_kept_and_exported(config, tmp_path):
    config = dataclasses.replace(
        config,
        steps=8,
        keep_checkpoints=1,
        keep_best="validation/loss",
        # It learns for two steps, and then only gets worse.
        optim=OptimConfig(learning_rate=0.3, warmup_steps=6, freeze=("vit/.*",)),
    )
    train.main(config, tmp_path)
    lines = read_lines(tmp_path / "metrics.jsonl")
    losses = {e["step"]: e["loss"] for e in lines if e["split"] == "validation"}
    best = min(losses, key=lambda step: losses[step])
    assert best != 8, "choose settings under which the last step is not the best"
    with CheckpointStore(tmp_path, best=config.keep_best, read_only=True) as store:
        assert store.steps() == [best, 8]
        assert store.best_step() == best
        wanted = merge.flatten(store.restore_params(best)[0])
    exported = merge.flatten(
        merge.unstack_layers(pretrained.load_model(tmp_path / "best_model").params)
    )
    name = "mt5/decoder/layers_0/mlp/wo/kernel"
    np.testing.assert_allclose(exported[name], wanted[name], rtol=2**-8)
