# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Training checkpoints: what is saved comes back, whatever happened in between."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pali.checkpoints import merge
from pali.checkpoints.store import FORMAT_VERSION, CheckpointStore

OPTIMIZER = optax.adamw(1e-2)


def parameters(scale: float = 1.0) -> dict:
    """A stack of three layers, and arrays beside it."""
    return {
        "encoder": {
            "layers": {"kernel": scale * jnp.arange(24.0).reshape(3, 4, 2)},
            "relpos_bias": {"rel_embedding": scale * jnp.ones((2, 3))},
        },
        "projection": {"bias": scale * jnp.arange(5.0)},
    }


def training_state(params: dict, step: int = 0) -> dict:
    """A state whose optimizer slots are not all zero."""
    _, slots = OPTIMIZER.update(params, OPTIMIZER.init(params), params)
    return {"step": jnp.int32(step), "params": params, "opt_state": slots}


def assert_equal(got, wanted) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(wanted), strict=True
    ):
        assert a.dtype == b.dtype, path
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def test_what_is_saved_comes_back_with_its_note(tmp_path):
    state = training_state(parameters(), step=7)
    with CheckpointStore(tmp_path) as store:
        assert store.latest_step() is None
        store.save(7, state, {"config": {"seed": 3}})
    with CheckpointStore(tmp_path) as store:
        assert store.latest_step() == 7
        restored, note = store.restore(jax.eval_shape(lambda: state))
    assert_equal(restored, state)
    assert note == {"config": {"seed": 3}, "format_version": FORMAT_VERSION}


def test_only_the_newest_are_kept_and_any_of_them_can_be_read(tmp_path):
    with CheckpointStore(tmp_path, keep=2) as store:
        for step in (1, 2, 3):
            store.save(step, training_state(parameters(step), step), {})
        store.wait()
        assert store.steps() == [2, 3]
        restored, _ = store.restore(training_state(parameters()), step=2)
        assert_equal(restored, training_state(parameters(2), 2))
        with pytest.raises(FileNotFoundError, match=r"no step 1 .*\[2, 3\]"):
            store.restore(training_state(parameters()), step=1)


def test_training_may_donate_the_state_right_after_saving_it(tmp_path):
    state = {"params": {"big": jnp.arange(2_000_000.0)}}
    advance = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    wanted = {"params": {"big": np.arange(2_000_000, dtype=np.float32)}}
    with CheckpointStore(tmp_path) as store:
        store.save(1, state, {})
        for _ in range(20):
            state = advance(state)
        store.wait()
        restored, _ = store.restore(jax.eval_shape(lambda: wanted))
    assert_equal(restored, wanted)


def test_a_step_that_is_there_is_left_alone_and_an_earlier_one_refused(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.save(5, training_state(parameters()), {"who": "first"})
        store.wait()
        store.save(5, training_state(parameters(2)), {"who": "second"})
        assert store.metadata()["who"] == "first"
        with pytest.raises(ValueError, match="already holds step 5, later than 4"):
            store.save(4, training_state(parameters()), {})


@pytest.mark.parametrize("saved_stacked", [True, False])
def test_the_scan_switch_may_change_between_runs(tmp_path, saved_stacked):
    stacked = parameters()
    separate = merge.unstack_layers(stacked)
    saved, wanted = (stacked, separate) if saved_stacked else (separate, stacked)
    with CheckpointStore(tmp_path) as store:
        store.save(1, training_state(saved), {})
        store.wait()
        restored, _ = store.restore(jax.eval_shape(lambda: training_state(wanted)))
    assert_equal(restored, training_state(wanted))


def test_a_state_that_does_not_fit_is_reported_path_by_path(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.save(1, {"params": parameters()}, {})
        store.wait()
        expected = parameters()
        expected["projection"]["bias"] = jnp.zeros(6)
        expected["encoder"]["layers"]["kernel"] = jnp.zeros((4, 4, 2))
        with pytest.raises(merge.MismatchError) as error:
            store.restore({"params": expected})
    assert error.value.missing == {"params/encoder/layers_3/kernel": (4, 2)}
    assert error.value.wrong_shape == {"params/projection/bias": ((5,), (6,))}


def test_parameters_alone_come_back_as_numpy_with_separate_layers(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.save(1, training_state(parameters()), {"config": "c"})
        store.wait()
        params, note = store.restore_params()
    assert {type(leaf) for leaf in jax.tree.leaves(params)} == {np.ndarray}
    assert_equal(params, jax.tree.map(np.asarray, merge.unstack_layers(parameters())))
    assert note["config"] == "c"


def test_a_later_format_is_refused(tmp_path):
    with CheckpointStore(tmp_path) as store:
        store.save(1, training_state(parameters()), {})
    note = store.folder / "1" / "metadata" / "metadata"
    note.write_text(json.dumps({"format_version": FORMAT_VERSION + 1}))
    with CheckpointStore(tmp_path) as store:
        with pytest.raises(ValueError, match=f"format_version {FORMAT_VERSION + 1}.*[Uu]pgrade"):
            store.restore(training_state(parameters()))
        with pytest.raises(ValueError, match="format_version"):
            store.restore_params()


@pytest.mark.parametrize("lost", ["state/_METADATA", "metadata/metadata", "state"])
def test_a_checkpoint_copied_in_part_is_passed_over_and_cleared_away(tmp_path, lost):
    state = training_state(parameters())
    with CheckpointStore(tmp_path) as store:
        store.save(1, state, {})
        store.save(9, state, {})
    ruin = store.folder / "9" / lost
    shutil.rmtree(ruin) if ruin.is_dir() else ruin.unlink()
    with CheckpointStore(tmp_path, read_only=True) as store:
        assert store.latest_step() == 1
        assert_equal(store.restore(state)[0], state)
    assert (store.folder / "9").is_dir(), "a reader changes nothing"
    with CheckpointStore(tmp_path, keep=1) as store:
        assert_equal(store.restore(state)[0], state)
        store.save(2, training_state(parameters(2)), {})
        store.wait()
        assert store.steps() == [2]
        assert_equal(store.restore(state)[0], training_state(parameters(2)))
    assert sorted(path.name for path in store.folder.iterdir()) == ["2"]


def test_a_run_killed_while_saving_finds_the_checkpoint_before(tmp_path):
    # The write of step 2 is held up just before it would be made final, then the process dies.
    program = f"""
        import os, signal, threading
        import jax.numpy as jnp
        import orbax.checkpoint as ocp
        from pali.checkpoints.store import CheckpointStore

        class Slow(ocp.JsonCheckpointHandler):
            def finalize(self, directory):
                if not list(directory.parent.parent.glob("1")):
                    return
                print("half", flush=True)
                threading.Event().wait()

        store = CheckpointStore({str(tmp_path)!r})
        store.save(1, {{"params": {{"w": jnp.arange(4.0)}}}}, {{}})
        store.wait()
        ocp.JsonCheckpointHandler.finalize = Slow.finalize
        store.save(2, {{"params": {{"w": jnp.arange(4.0) + 1}}}}, {{}})
        store.wait()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "half\n"
        run.send_signal(signal.SIGKILL)
    leftovers = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert len(leftovers) == 2, leftovers
    assert leftovers[0] == "1"
    with CheckpointStore(tmp_path) as store:
        assert store.steps() == [1]
        restored, _ = store.restore({"params": {"w": jnp.zeros(4)}})
        np.testing.assert_array_equal(restored["params"]["w"], np.arange(4.0))
        store.save(2, {"params": {"w": jnp.ones(4)}}, {})
    assert sorted(path.name for path in store.folder.iterdir()) == ["1", "2"]


def test_reading_needs_a_workdir_with_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match="no training checkpoints"):
        CheckpointStore(tmp_path, read_only=True)
    assert not list(tmp_path.iterdir())


def test_a_sharded_state_returns_to_its_devices(tmp_path):
    program = f"""
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec as P
        from pali.checkpoints import merge
        from pali.checkpoints.store import CheckpointStore

        mesh = jax.make_mesh((4,), ("fsdp",))
        whole = {{"encoder": {{"layers": {{"kernel": jnp.arange(96.0).reshape(3, 8, 4)}}}}}}
        spread = NamedSharding(mesh, P(None, "fsdp"))
        state = jax.device_put(whole, spread)
        layer = jax.ShapeDtypeStruct((8, 4), jnp.float32, sharding=NamedSharding(mesh, P("fsdp")))
        with CheckpointStore({str(tmp_path)!r}) as store:
            store.save(1, state, {{}})
            store.wait()
            same, _ = store.restore(state)
            layers = {{f"layers_{{i}}": {{"kernel": layer}} for i in range(3)}}
            apart, _ = store.restore({{"encoder": layers}})
        assert same["encoder"]["layers"]["kernel"].sharding == spread
        for i in range(3):
            kernel = apart["encoder"][f"layers_{{i}}"]["kernel"]
            assert kernel.sharding == layer.sharding, kernel.sharding
            np.testing.assert_array_equal(kernel, whole["encoder"]["layers"]["kernel"][i])
    """
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_a_score_that_comes_after_its_checkpoint_counts_as_any_other(tmp_path):
    state = training_state(parameters())
    with CheckpointStore(tmp_path, keep=1, best="validation/loss") as store:
        store.save(1, state, {}, {"validation/loss": 3.0})
        store.save(2, state, {}, evaluated=False)
    with CheckpointStore(tmp_path, keep=1, best="validation/loss") as store:
        assert store.metadata(2)["evaluated"] is False
        store.add_scores(2, {"validation/loss": 1.0})
        assert "evaluated" not in store.metadata(2)
        store.save(3, state, {}, {"validation/loss": 2.0})
        store.wait()
        assert store.steps() == [2, 3]
        assert store.best_step() == 2
