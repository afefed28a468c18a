# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Whose a workdir is, and what may change between the parts of one run.

A workdir belongs to the config whose checkpoints it holds. Going on with another config would mix
two experiments, so it is refused with the fields that differ; fields that nothing computed depends
on may change at any time.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import jax

from pali.checkpoints.store import FOLDER
from pali.config import Config, from_json, to_json

FILE = "config.json"

FREE = (
    "mesh",
    "log_every",
    "eval_every",
    "eval_splits",
    "eval_batches",
    "eval_tasks",
    "eval_limit",
    "forgetting_tasks",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_best",
    "max_unusable_steps",
    "notes",
)
"""Fields that may change while a run lasts: no parameter depends on them."""

_OWN = "Give this run a --workdir of its own, or delete that folder to start over."
_ALLOW = "To go on all the same: --allow-config-change"

LOCK = ".lock"


def check(config: Config, workdir: Path, *, allow_config_change: bool = False) -> list[str]:
    """What differs from the config whose run the workdir holds, a line for each field.

    Args:
      config: the config to go on with.
      workdir: need not be there.
      allow_config_change: return the differences instead of refusing them.

    Raises:
      NotADirectoryError: the workdir is, or lies below, a file.
      ValueError: the folder holds checkpoints of another config, or of an unknown one.
    """
    for path in (workdir, *workdir.parents):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(
                f"{workdir} cannot be a workdir: {path} is a file. Name another folder: --workdir"
            )
    saved = workdir / FOLDER
    if not saved.is_dir() or not any(saved.iterdir()):
        return []  # Nothing was trained here, or a start failed: whatever it wanted, it may change.
    path = workdir / FILE
    try:  # What an earlier pali did not write has its default.
        before = from_json(Config, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        unknown = f"{workdir} holds checkpoints, but {path.name} does not say of which run: {error}"
        if allow_config_change:
            return [unknown]
        raise ValueError(f"{unknown}. {_OWN} {_ALLOW}") from None
    changes = list(differences(before, config))
    if changes and not allow_config_change:
        raise ValueError(
            f"{workdir} holds a run of another config, which had\n  "
            + "\n  ".join(changes)
            + f"\n{_OWN} {_ALLOW}"
        )
    return changes


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """While it lasts, no other run may use the workdir; makes the folder where there is none.

    The lock is the system's, and ends with the process, however that ends. Of several processes of
    one run the first holds it.

    Raises:
      OSError: the workdir cannot be made or written.
      ValueError: another run uses it.
    """
    if jax.process_index() > 0:
        yield
        return
    path = workdir / LOCK
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise OSError(
            f"{workdir} cannot be a workdir: {error.strerror}. Name a folder that can be written: "
            "--workdir"
        ) from None
    with file:
        if not _locked(file):
            file.seek(0)
            raise ValueError(
                f"another run uses {workdir}: process {file.read()}. Wait until it has ended, or "
                "give this run a --workdir of its own"
            )
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        yield


@contextlib.contextmanager
def room(workdir: Path) -> Iterator[None]:
    """Says what to do where the system itself has said only that there is no more room.

    Raises:
      OSError: a file of the run could not be written for want of room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        raise OSError(
            f"a file of {workdir} cannot be written: {error.strerror}. Make room, and the same "
            "command goes on from the newest checkpoint"
        ) from error


def claim(config: Config, workdir: Path) -> None:
    """Notes in the workdir whose it is."""
    if jax.process_index() == 0:
        new = workdir / f"{FILE}.new"
        new.write_text(to_json(config), encoding="utf-8")
        new.replace(workdir / FILE)


def differences(before: Config, now: Config) -> Iterator[str]:
    """`optim.learning_rate 0.001, now 0.0003` for each field that differs and may not."""
    old, new = (_flat(json.loads(to_json(config))) for config in (before, now))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name) and name.split(".")[0] not in FREE:
            yield f"{name} {json.dumps(old.get(name))}, now {json.dumps(new.get(name))}"


def versions() -> dict[str, str]:
    """What a run was computed with: Python and the packages that its numbers depend on."""
    packages = ("open-pali", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # a checkout on PYTHONPATH
            continue
    return found


def _locked(file: IO[str]) -> bool:
    """Whether this process has the lock now; so it has where there are none."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows.
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # A file system without locks.
        return True
    return True


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Fields by their whole names; lists are values."""
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{path}.{name}" if path else name)
    return flat
