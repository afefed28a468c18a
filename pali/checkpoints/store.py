# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The training state of a run: a pytree of arrays and a small JSON note, kept by step (Orbax).

A workdir holds `checkpoints/<step>/state` (the arrays) and `checkpoints/<step>/metadata` (JSON:
`format_version` and whatever the caller notes: the config, the seed …). A checkpoint is written
under another name and renamed when it is whole, so that a run killed while saving still finds the
one before; what a killed save left behind is removed by the next run.

Arrays are known by their names (`params/mt5/encoder/layers_3/…`, `opt_state/…`), so a state written
with stacked layers can be restored into separate ones and the other way round (`merge.py`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding, PartitionSpec

from pali import processes
from pali.checkpoints import abandoned_reads, merge

FORMAT_VERSION = 1
"""Raised when older code could no longer read what is written; older versions stay readable."""

FOLDER = "checkpoints"
"""Name of the folder inside a workdir."""


ASIDE = "damaged_checkpoints"
"""Beside it: what could not be read."""


class DamagedCheckpoint(ValueError):
    """A checkpoint that is there but cannot be read: `args` are what is damaged, and what to do."""

    def __str__(self) -> str:
        return " ".join(self.args)


class CheckpointStore:
    """Saves, finds and restores the checkpoints of one workdir; use it in a `with` statement."""

    def __init__(
        self,
        workdir: str | os.PathLike,
        *,
        keep: int = 2,
        best: str | None = None,
        read_only: bool = False,
    ):
        """Opens a workdir, which need not exist yet unless it is only read; clears ruins away.

        Args:
          workdir: folder of the run; checkpoints go to `<workdir>/checkpoints/<step>`.
          keep: how many of the newest checkpoints stay.
          best: name of a score; the checkpoint that has the best one stays as well.
          read_only: never create, clean up or delete anything.

        Raises:
          FileNotFoundError: `read_only`, and there is no checkpoint folder.
        """
        self.folder = Path(os.path.abspath(workdir)) / FOLDER
        if read_only and not self.folder.is_dir():
            raise FileNotFoundError(
                f"{os.fspath(workdir)!r} holds no training checkpoints: there is no folder "
                f"{FOLDER!r} in it. Give the --workdir of a `pali train` run."
            )
        self._best = best
        self._manager = ocp.CheckpointManager(
            self.folder,
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(),
                "metadata": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_preserved(keep, best),
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
            ),
        )
        if not read_only:  # a folder copied in part would pass for the newest, and be kept for it
            for ruin in set(self._manager.all_steps()) - set(self.steps()):
                self._manager.delete(ruin)

    def __enter__(self) -> CheckpointStore:
        """Returns the store itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits for the last save, whose errors matter less than one that is there already."""
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.close()

    def close(self) -> None:
        """Waits for the last save and lets go of the folder."""
        with self._writing():
            self._manager.close()

    def wait(self) -> None:
        """Returns when everything handed to `save` is on disk."""
        with self._writing():
            self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, oldest first."""
        return [step for step in sorted(self._manager.all_steps()) if self._whole(step)]

    def latest_step(self) -> int | None:
        """Step of the newest whole checkpoint, or None."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """Step of the checkpoint with the best score, or the newest where none has that score."""
        scored, name = {}, self._best or ""
        for step in self.steps():
            scores = self.metadata(step).get("scores", {})
            if name in scores:
                scored[step] = _goodness(name)(scores)
        return max(scored, key=lambda step: (scored[step], step), default=self.latest_step())

    def set_aside(self, step: int) -> Path:
        """Moves a checkpoint out of the way, to be looked at; returns where it is."""
        folder = self.folder.parent / ASIDE / str(step)
        if jax.process_index() == 0:
            folder.parent.mkdir(exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)  # An earlier one of the same step.
            (self.folder / str(step)).rename(folder)
        processes.meet(f"checkpoint {step} is set aside")
        self._manager.reload()
        return folder

    def save(
        self,
        step: int,
        state: Any,
        metadata: Mapping[str, Any],
        scores: Mapping[str, float] | None = None,
        *,
        evaluated: bool = True,
    ) -> None:
        """Writes one checkpoint; the arrays are copied at once, the writing goes on behind.

        Args:
          step: optimizer steps done. A whole checkpoint of this very step is left as it is.
          state: pytree of arrays.
          metadata: whatever JSON can hold.
          scores: of an evaluation at this step, by name.
          evaluated: false where the evaluation is still to be done; noted under that name.

        Raises:
          ValueError: a later step is there already: another run uses this workdir.
          OSError: this one, or the one before, cannot be written.
        """
        latest = self.latest_step()
        if step == latest:
            return
        if latest is not None and step < latest:
            raise ValueError(
                f"{self.folder} already holds step {latest}, later than {step}. Give each run a "
                "workdir of its own, or delete the later checkpoints."
            )
        scores = dict(scores or {})
        note = {**metadata, "format_version": FORMAT_VERSION}
        if not evaluated:
            note["evaluated"] = False
        if scores:
            note["scores"] = scores
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state), metadata=ocp.args.JsonSave(note)
                ),
                metrics=scores or None,
                force=True,
            )

    def add_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Notes the scores of an evaluation that came after its checkpoint.

        Args:
          step: of a whole checkpoint.
          scores: as for `save`.

        Raises:
          OSError: the note cannot be written.
        """
        note = self.metadata(step)
        note.pop("evaluated", None)
        if scores:
            note["scores"] = dict(scores)
        if jax.process_index() == 0:
            with self._writing():
                folder = self.folder / str(step)
                # Where Orbax has what it ranks by, and then where it is read.
                written = {"metrics/metrics": dict(scores)} if scores else {}
                written |= {"metadata/metadata": note}
                for name, value in written.items():
                    path = folder / name
                    path.parent.mkdir(exist_ok=True)
                    new = path.with_name(f"{path.name}.new")
                    new.write_text(json.dumps(value), encoding="utf-8")
                    new.replace(path)
        processes.meet(f"scores of {step} are noted")
        self._manager.reload()

    def metadata(self, step: int | None = None) -> dict[str, Any]:
        """The note of one checkpoint (the newest unless `step` is given).

        Raises:
          FileNotFoundError: there is no such checkpoint.
          ValueError: it was written by a later version of pali, or the note is damaged.
        """
        step = self._existing(step)
        args = ocp.args.Composite(metadata=ocp.args.JsonRestore())
        with self._damage(step):
            note = dict(self._manager.restore(step, args=args)["metadata"])
        version = note.get("format_version")
        if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
            raise ValueError(
                f"Checkpoint {self.folder / str(step)} has format_version {version!r}; this pali "
                f"reads 1 to {FORMAT_VERSION}. Upgrade: pip install --upgrade open-pali"
            )
        return note

    def restore(
        self, abstract_state: Any, step: int | None = None, *, since: Sequence[str] = ()
    ) -> tuple[Any, dict[str, Any]]:
        """Reads one checkpoint (the newest unless `step` is given) into an expected structure.

        Args:
          abstract_state: pytree of arrays or `ShapeDtypeStruct`; a sharding given there is where
            the array goes. Its layers may be stacked where the saved ones are not, or not.
          step: which checkpoint.
          since: names of arrays that an earlier pali did not save; they are zeros.

        Returns:
          (state, metadata): a tree like `abstract_state`, and the note.

        Raises:
          FileNotFoundError: there is no such checkpoint.
          ValueError: it was written by a later version of pali, or a file of it is damaged.
          MismatchError: names or shapes differ; it lists every one.
        """
        step = self._existing(step)
        metadata = self.metadata(step)
        paths, structure = jax.tree_util.tree_flatten_with_path(abstract_state)
        targets = {_name(path): leaf for path, leaf in paths}
        with self._damage(step):
            saved = self._manager.item_metadata(step)["state"].tree
        there = {_name(path): leaf for path, leaf in _leaves(saved)}
        kept = {name: targets.pop(name) for name in since if name not in there}
        merge.check_shapes(there, targets)
        with self._damage(step):
            read = self._read(step, saved, targets)
        arrays = {_name(path): leaf for path, leaf in _leaves(read)}
        fitted = merge.fit_names(arrays, targets)
        put = {name: jax.device_put(fitted[name], _sharding(targets[name])) for name in targets}
        for name, leaf in kept.items():
            put[name] = jax.device_put(np.zeros(leaf.shape, leaf.dtype), _sharding(leaf))
        leaves = [put[_name(path)] for path, _ in paths]
        return jax.tree.unflatten(structure, leaves), metadata

    def restore_params(self, step: int | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads the parameters alone (`state["params"]`), to export them or to start from them.

        Args:
          step: which checkpoint; the newest unless given.

        Returns:
          (params, metadata): a nested dict of NumPy arrays, layers separate; and the note.

        Raises:
          FileNotFoundError: there is no such checkpoint.
          ValueError: it was written by a later version of pali, or a file of it is damaged.
        """
        step = self._existing(step)
        metadata = self.metadata(step)
        with self._damage(step):
            return self._read_params(step), metadata

    def _read_params(self, step: int) -> dict[str, Any]:
        saved = {"params": self._manager.item_metadata(step)["state"].tree["params"]}
        as_numpy = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), saved)
        args = ocp.args.PyTreeRestore(item=saved, restore_args=as_numpy, partial_restore=True)
        state = self._manager.restore(step, args=ocp.args.Composite(state=args))["state"]
        return merge.unstack_layers(state["params"])

    def _read(self, step: int, saved: Any, targets: Mapping[str, Any]) -> Any:
        """The saved arrays as they are, each already on the devices where it is wanted."""
        owners = {
            layer: target
            for name, target in targets.items()
            for layer in merge.separate(name, np.shape(target))
        }

        def place(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
            name = _name(path)
            target = targets.get(name)
            if target is None:  # stacked on one side alone: its first layer tells where it goes
                target = owners[next(iter(merge.separate(name, leaf.shape)))]
            sharding = _sharding(target)
            if len(leaf.shape) != np.ndim(target) and isinstance(sharding, NamedSharding):
                spec = tuple(sharding.spec)
                spec = (None, *spec) if len(leaf.shape) > np.ndim(target) else spec[1:]
                sharding = NamedSharding(sharding.mesh, PartitionSpec(*spec))
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        item = jax.tree_util.tree_map_with_path(place, saved)
        args = ocp.args.PyTreeRestore(
            item=item, restore_args=ocp.checkpoint_utils.construct_restore_args(item)
        )
        # Not by the manager: after it has read, it waits for the other processes, and those that
        # find a file damaged never come.
        own = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(), active_processes={jax.process_index()}
        )
        with ocp.Checkpointer(
            ocp.PyTreeCheckpointHandler(multiprocessing_options=own), multiprocessing_options=own
        ) as reader:
            return reader.restore(self.folder / str(step) / "state", args=args)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Orbax meets a full disk with any exception there is, and in a later call."""
        try:
            yield
        except Exception as error:
            raise OSError(
                f"a checkpoint cannot be saved in {self.folder}: {_said_by_system(error)}. "
                "Those before are whole: "
                "make room or mend the permissions, and the same command goes on from the newest"
            ) from error

    @contextlib.contextmanager
    def _damage(self, step: int) -> Iterator[None]:
        """Orbax meets a damaged file with any exception there is; this says which folder it was."""
        try:
            with abandoned_reads.unreported():
                yield
        except Exception as error:
            others = [other for other in self.steps() if other != step]
            rest = f"from step {others[-1]}" if others else "from the beginning"
            reason = error.__cause__ or error
            reason = " ".join(str(reason).split())[:200] or type(reason).__name__
            raise DamagedCheckpoint(
                f"checkpoint {self.folder / str(step)} is damaged ({reason}).",
                f"Delete that folder; the same command then goes on {rest}.",
            ) from error

    def _whole(self, step: int) -> bool:
        """Whether both halves are there: a folder copied in part is no checkpoint."""
        folder = self.folder / str(step)
        return (folder / "state" / "_METADATA").is_file() and (
            folder / "metadata/metadata"
        ).is_file()

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(f"There is no checkpoint in {self.folder}.")
        if step is None:
            return steps[-1]
        if step not in steps:
            raise FileNotFoundError(f"There is no step {step} in {self.folder}; it holds {steps}.")
        return step


def _said_by_system(error: Exception) -> str:
    """Why a file could not be written; TensorStore puts pages around the system's own words."""
    said = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if code := re.search(r"os_error_code=\W*(\d+)", said):
        return os.strerror(int(code[1]))
    return said[-200:]


def _preserved(keep: int, best: str | None) -> Any:
    newest = ocp.checkpoint_managers.LatestN(keep)
    if best is None:
        return newest
    ranked = ocp.checkpoint_managers.BestN(
        get_metric_fn=_goodness(best), n=1, keep_checkpoints_without_metrics=False
    )
    return ocp.checkpoint_managers.AnyPreservationPolicy([newest, ranked])


LOWER = ("loss", "contrast", "patches", "cer", "wer", "cer_no_spaces", "unparsed", "wrong_language")
"""Scores of which less is better."""


def _goodness(name: str) -> Callable[[Mapping[str, float]], float]:
    """From the scores of a checkpoint to a number of which more is better."""
    sign = -1 if name.rsplit("/", 1)[-1] in LOWER else 1
    return lambda scores: sign * scores.get(name, -sign * math.inf)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _sharding(leaf: Any) -> jax.sharding.Sharding:
    sharding = getattr(leaf, "sharding", None)
    return sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
