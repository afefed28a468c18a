# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`--mesh fsdp=8,model=4`, and the table of what lies where that `pali show` prints of it."""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError

if TYPE_CHECKING:
    from pali.config import PaLIConfig
    from pali.mesh_config import MeshConfig

AXES = ("data", "fsdp", "model")

MESH_HELP = "divide a model that one device cannot hold among all of them, as in fsdp=8"

_MERGED = 30
"""Characters that `{query,key,value}/kernel` may have, so that a row fits in 80 columns."""


def read_mesh(text: str | None) -> MeshConfig:
    """A mesh from the command line; axes that are not named have one device.

    >>> read_mesh("fsdp=8,model=4")
    MeshConfig(data=1, fsdp=8, model=4)

    Raises:
      CommandError: the text names no axis, or one twice, or gives it no number.
    """
    from pali.mesh_config import MeshConfig

    sizes: dict[str, int] = {}
    for part in text.split(",") if text is not None else ():
        match = re.fullmatch(r"\s*(\w+)\s*=\s*(-?\d+)\s*", part)
        if match is None or match[1] not in AXES or match[1] in sizes:
            raise CommandError(
                f"--mesh has {part!r}; it is a list of axis=devices, each axis once, as in "
                "data=2,fsdp=8,model=4"
            )
        sizes[match[1]] = int(match[2])
    if sizes.get("data", 1) < 1:
        raise CommandError(f"axis data is {sizes['data']}; a plan needs the number of devices")
    try:
        return MeshConfig(**{"data": 1, **sizes})
    except ValueError as error:
        raise CommandError(str(error)) from None


def table(config: PaLIConfig, mesh: MeshConfig) -> list[str]:
    """Lines: every parameter's shape, how the axes divide it, what one device holds of it.

    Layers of one stack are one row, and so are parameters of one layer that differ in name alone.
    A line has at most 80 characters.

    Raises:
      ValueError: an axis does not divide a dimension.
    """
    from pali import sharding
    from pali.checkpoints.pretrained import expected_arrays, expected_params

    sharding.check(mesh, expected_params(config))
    flat = expected_arrays(config)
    shards = sharding.shard_shapes(mesh, flat)
    rows = [("parameter", "shape", "axes", "per device")]
    for section, kinds in itertools.groupby(_kinds(flat).items(), lambda item: _section(item[0])):
        rows.append((section, "", "", ""))
        merged: dict[Any, list[str]] = {}
        for kind, name in kinds:
            head, _, last = kind[len(section) + 1 :].rpartition("/")
            axes = ",".join(axis or "-" for axis in sharding.axes_of(name)) or "whole"
            row = (last, _sides(flat[name].shape), axes, _sides(shards[name]))
            same = merged.setdefault(row, [])
            if sum(map(len, [*same, head, last])) + len(same) > _MERGED:
                same = merged.setdefault((*row, name), [])
            same.append(head)
        for (last, *columns), heads in merged.items():
            own = f"{{{','.join(heads)}}}" if len(heads) > 1 else heads[0]
            rows.append((f"  {own}/{last}" if own else f"  {last}", *columns[:3]))
    widths = [max(len(row[i]) for row in rows if any(row[1:])) for i in range(3)]
    lines = [
        " ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
    total = sum(leaf.size for leaf in flat.values())
    held = sum(map(math.prod, shards.values()))
    lines.append(f"{total:,} parameters, {held:,} of them on each of {mesh.devices:,} devices")
    return [line.rstrip() for line in lines]


def _kinds(names: Any) -> dict[str, str]:
    """{path with all layers of a stack in one: path of the first layer}."""
    stacks: dict[str, list[int]] = {}
    for name in names:
        if match := re.search(r"\b(?:encoderblock|layers)_(\d+)/", name):
            stacks.setdefault(name[: match.start(1)], []).append(int(match[1]))
    kinds: dict[str, str] = {}
    for name in names:
        kind = name
        if match := re.search(r"\b(?:encoderblock|layers)_(\d+)/", name):
            layers = f"{{0..{max(stacks[name[: match.start(1)]])}}}"
            kind = f"{name[: match.start(1)]}{layers}{name[match.end(1) :]}"
        kinds.setdefault(kind, name)
    return dict(sorted(kinds.items(), key=lambda item: (_section(item[0]), item[0])))


def _section(kind: str) -> str:
    words = kind.split("/")
    return "/".join(words[: max(len(words) - 2, 1)])


def _sides(shape: Any) -> str:
    return "x".join(map(str, shape))
