# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The memory plan that `pali show` prints: GiB on each device for captioning and for training."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, Once, read_image_size
from pali.commands.mesh import read_mesh, table

if TYPE_CHECKING:
    from rich.console import Console

    from pali.config import PaLIConfig

_NUMBERS = {
    "batch": (64, "examples of one batch, over all devices"),
    "inputs_length": (64, "prompt tokens"),
    "targets_length": (64, "tokens of an answer"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the plan is for."""
    group = parser.add_argument_group(
        "memory plan", "of a preset, or where one of these is given; computes nothing"
    )
    for name, (default, text) in _NUMBERS.items():
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(
            flag, type=int, action=Once, metavar="N", help=f"{text} (default: {default})"
        )
    group.add_argument(
        "--mesh",
        action=Once,
        metavar="AXIS=N,…",
        help="devices that divide the batch (data), batch and matrices (fsdp), and heads, MLPs and "
        "vocabulary (model), as in fsdp=8,model=4 (default: one device)",
    )
    group.add_argument(
        "--image-size", action=Once, metavar="N|HxW", help="pixels (default: the model's)"
    )
    group.add_argument(
        "--memory", type=float, action=Once, metavar="GIB", help="of one device: what fits in it?"
    )


def asked_for(arguments: argparse.Namespace) -> bool:
    """Whether the command line says something about a plan."""
    names = (*_NUMBERS, "mesh", "image_size", "memory")
    return any(getattr(arguments, name) is not None for name in names)


def show(console: Console, config: PaLIConfig, arguments: argparse.Namespace) -> None:
    """Prints the plan.

    Raises:
      CommandError: the mesh cannot divide the model, or patches the picture.
    """
    from pali import memory

    numbers = {
        name: default if getattr(arguments, name) is None else getattr(arguments, name)
        for name, (default, _) in _NUMBERS.items()
    }
    mesh = read_mesh(arguments.mesh)
    work = memory.Work(*(numbers[name] for name in ("batch", "inputs_length", "targets_length")))
    if arguments.memory is not None and not arguments.memory > 0:
        raise CommandError(f"--memory is {arguments.memory:g}; give the GiB of one device")
    size = read_image_size(arguments.image_size)
    try:
        if size not in (None, config.vit.image_size):
            vit = dataclasses.replace(config.vit, image_size=size, cut_rest=False)
            config = dataclasses.replace(config, vit=vit)
        plans = {"inference": memory.inference(config, mesh, work)}
        plans |= {
            name: memory.training(memory.pretraining(config, work, remat), mesh)
            for name, remat in {"training": "none", "with remat": "full"}.items()
        }
        in_parts, at_once = memory.logits(memory.pretraining(config, work), mesh)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if arguments.mesh is not None:
        for line in table(config, mesh):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    height, width = config.vit.image_shape
    console.print(
        f"{_devices(mesh)}: a batch of {work.batch_size}, pictures of {height} x {width} pixels, "
        f"prompts of {work.inputs_length} and answers of {work.targets_length} tokens"
    )
    console.print(_table(plans))
    console.print(
        f"logits of training and their gradients: {_gib(in_parts)} GiB in parts, as here; "
        f"{_gib(at_once)} GiB if they were made at once"
    )
    if arguments.memory is not None:
        for line in verdicts(plans, arguments.memory):
            console.print(line)
    console.print(footnote(), style="dim")


def verdicts(plans: dict[str, Any], gib: float) -> list[str]:
    """What fits in a device of so many GiB."""
    lines = []
    for name, plan in plans.items():
        what = "training with remat" if name == "with remat" else name
        fits = "fits" if plan.total <= gib * 2**30 else "does not fit"
        lines.append(f"{what} {fits} in {gib:g} GiB")
    return lines


def footnote() -> str:
    """What the numbers stand on."""
    from pali.config import Config
    from pali.memory import BFLOAT16_ON_CPU, ERROR

    return (
        "Inference is greedy, its parameters in bfloat16. Training updates all but the ViT, in "
        "float32, by Adafactor without momentum or clipping, with the logits in up to "
        f"{Config.loss_chunks} parts; remat computes the layers again. `pali train` prints the "
        "plan of its own config. Activations "
        f"and cache are within {ERROR:.0%} of what XLA plans for small models in float32 on a "
        f"CPU, which needs up to {BFLOAT16_ON_CPU:g} times as much in bfloat16; GPUs and TPUs were "
        "not measured. On meshes of four and eight devices XLA planned between 0.85 and 0.97 "
        "of these sums for a small model. Not counted: batches that are being prepared, buffers of "
        "communication and of the compiler."
    )


def _devices(mesh: Any) -> str:
    if mesh.devices == 1:
        return "memory on one device"
    axes = ", ".join(f"{name} {size}" for name, size in vars(mesh).items() if size > 1)
    return f"memory on each of {mesh.devices:,} devices ({axes})"


def _table(plans: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("GiB")
    for name in plans:
        table.add_column(name, justify="right")
    rows = dict.fromkeys(row for plan in plans.values() for row in plan.rows)
    for row in rows:
        found = [plan.rows.get(row) for plan in plans.values()]
        if any(found):
            table.add_row(row, *(_gib(value) for value in found))
    work = "one layer, logits or update, at work"
    table.add_row(work, *(_gib(plan.at_work) for plan in plans.values()))
    table.add_row("total", *(_gib(plan.total) for plan in plans.values()), style="bold")
    return table


def _gib(value: int | None) -> str:
    return "" if value is None else f"{value / 2**30:,.2f}"
