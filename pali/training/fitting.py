# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a run fits into memory, said before anything is compiled; and what would make it fit.

The plan (pali/memory.py) is printed. On a CPU, where a process that asks for too much is killed
without a word, a plan that exceeds what is free is refused. An accelerator says itself that it has
no more (RESOURCE_EXHAUSTED), and is answered with the plan. In both cases the three settings follow
that would save most.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax

from pali import memory
from pali.config import Config
from pali.memory import Plan
from pali.mesh_config import MeshConfig

OVERRIDE = "--ignore-memory-plan"

SETTINGS = 3
"""How many settings are named."""


class DoesNotFit(MemoryError):
    """A run needs more memory than there is."""


class Setting(NamedTuple):
    """Something that would need less."""

    words: str
    """As it is written behind `pali train`."""
    saves: int
    """Bytes on each device."""


def check(config: Config, mesh: MeshConfig, plan: Plan, free: int | None) -> None:
    """Raises before anything is compiled where the devices of a CPU need more than is free.

    Args:
      config, mesh, plan: the run.
      free: bytes for this process; None where nothing says.

    Raises:
      DoesNotFit: with the plan, and what would help.
    """
    devices = jax.local_device_count()
    if jax.default_backend() != "cpu" or free is None or devices * plan.total <= free:
        return
    whose = "the run" if devices == 1 else f"{devices} devices of a CPU, which share it,"
    raise DoesNotFit(
        f"{whose} would need {_size(devices * plan.total)} of memory, and {_size(free)} are free. "
        f"{_advice(config, mesh, plan)} Or start all the same: {OVERRIDE}"
    )


@contextlib.contextmanager
def explained(config: Config, mesh: MeshConfig, plan: Plan) -> Iterator[None]:
    """While it lasts, XLA's error that there is no more memory becomes one that says what to do.

    Raises:
      DoesNotFit: instead of `jax.errors.JaxRuntimeError` with RESOURCE_EXHAUSTED.
    """
    try:
        yield
    except Exception as error:
        if (said := _exhausted(error)) is None:
            raise
        text = f"a device has no more memory: {said} {_advice(config, mesh, plan)}"
        raise DoesNotFit(text) from None


def table(config: Config, mesh: MeshConfig, plan: Plan) -> list[str]:
    """The plan as lines: what is on each device."""
    data = config.data
    where = "the device" if mesh.devices == 1 else f"each of {mesh.devices:,} devices"
    batch = f"a batch of {data.batch_size:,}"
    if config.accumulate > 1:
        batch += f" in {config.accumulate} parts"
    texts = f", texts of {data.inputs_length} and {data.targets_length} tokens"
    rows = {name: size for name, size in plan.rows.items() if size}
    moment = max(plan.moments, key=lambda name: plan.moments[name])
    rows[f"at work ({moment})"] = plan.at_work
    width = max(map(len, rows))
    heading = f"memory on {where}, planned for {batch}"
    heading += texts if config.objective == "generate" else ""
    lines = [f"  {name:{width}}  {_size(size):>10}" for name, size in rows.items()]
    return [heading, *lines, f"  {'total':{width}}  {_size(plan.total):>10}"]


def settings(config: Config, mesh: MeshConfig, plan: Plan) -> list[Setting]:
    """The settings that would save most, the most first."""
    found = []
    for words, changed, over in _alternatives(config, mesh):
        with contextlib.suppress(ValueError):  # What another field forbids is no alternative.
            saves = plan.total - memory.training(changed(), over).total
            found.append(Setting(words, saves))
    found = [setting for setting in found if setting.saves > 0.01 * plan.total]
    return sorted(found, key=lambda setting: -setting.saves)[:SETTINGS]


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process can still take: of the machine, or of its control group if fewer."""
    found = [_of_machine(proc), *_of_groups(proc, groups)]
    return min((room for room in found if room is not None), default=None)


def _of_machine(proc: Path) -> int | None:
    with contextlib.suppress(OSError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ValueError, OSError):  # Not Linux: what there is at all.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_groups(proc: Path, groups: Path) -> Iterator[int]:
    """Room in the control groups that this process is in, of version 1 and 2."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            root = groups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if (room := _of_group(folder, *names)) is not None:
                yield room
            if folder == root:
                break


def _of_group(folder: Path, limit: str, usage: str, cache: str) -> int | None:
    try:
        most = (folder / limit).read_text().strip()
        if not most.isdecimal():  # "max"
            return None
        used = int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return int(most) - used + int(stat.get(cache, 0))  # Cached files make room.


def _alternatives(config: Config, mesh: MeshConfig) -> Iterator[tuple]:
    """(words, what makes the config, mesh) of everything that may need less."""
    data, optim, model = config.data, config.optim, config.model
    parts = 2 * config.accumulate
    # Of a batch in parts of different lengths, the rows of each are divided.
    rows = data.rows_multiple if data.short else data.batch_size
    if rows % (parts * mesh.shares) == 0:
        yield f"--accumulate {parts}", lambda: replace(config, accumulate=parts), mesh
    if {model.vit.remat, model.mt5.remat} != {"full"}:
        vit, mt5 = (replace(half, remat="full") for half in (model.vit, model.mt5))
        whole = replace(model, vit=vit, mt5=mt5)
        words = "--model.vit.remat full --model.mt5.remat full"
        yield words, lambda: replace(config, model=whole), mesh
    frozen = replace(optim, freeze=(*optim.freeze, "vit/.*"))
    words = " ".join(f"'{pattern}'" for pattern in frozen.freeze)
    if config.objective == "generate" and "vit/.*" not in optim.freeze:
        yield f"--optim.freeze {words}", lambda: replace(config, optim=frozen), mesh
    elif config.objective == "generate" and not data.visual_token_cache:
        cached = replace(data, visual_token_cache="visual_tokens")
        words = "--data.visual-token-cache visual_tokens"
        yield words, lambda: replace(config, data=cached), mesh
    if config.objective == "generate" and not config.lora.rank:
        adapted = replace(config, lora=replace(config.lora, rank=16))
        yield "--lora.rank 16 (at a learning rate of its own)", lambda: adapted, mesh
    if optim.name != "adafactor":
        other = replace(optim, name="adafactor", weight_decay=0.0)
        words = "--optim.name adafactor (at a learning rate of its own)"
        yield words, lambda: replace(config, optim=other), mesh
    if config.objective == "generate":
        inputs, targets = -(-data.inputs_length // 2), -(-data.targets_length // 2)
        shorter = replace(data, inputs_length=inputs, targets_length=targets, short=())
        words = f"--data.inputs-length {inputs} --data.targets-length {targets}"
        yield words, lambda: replace(config, data=shorter), mesh
    if jax.default_backend() != "cpu":
        wider = replace(mesh, fsdp=2 * mesh.fsdp)
        words = f"--mesh.fsdp {wider.fsdp} on {wider.devices:,} devices"
        yield words, lambda: config, wider


def _advice(config: Config, mesh: MeshConfig, plan: Plan) -> str:
    lines = "\n".join(table(config, mesh, plan))
    found = settings(config, mesh, plan)
    helping = "\n".join(f"  {setting.words}: {_size(setting.saves)} less" for setting in found)
    changed = "(with --allow-config-change where the workdir has checkpoints)"
    most = f"What would save most, each by itself {changed}:\n{helping}\n" if found else ""
    return f"The plan:\n{lines}\n{most}"


def _exhausted(error: BaseException | None) -> str | None:
    """What XLA said when there was no more memory, if that is the error or behind it."""
    while error is not None:
        text = str(error)
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in text:
            return f"{text.splitlines()[0][:200].rstrip('.')}."
        error = error.__cause__ or error.__context__
    return None


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if abs(count) >= 2**29 else f"{count / 2**20:,.1f} MiB"
