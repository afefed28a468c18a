# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Fields of somebody else's JSON, read strictly: a number in quotes is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def whole(fields: Mapping[str, Any], name: str, where: str) -> int:
    """A whole number; ValueError says `where` it is something else."""
    value = fields[name]
    if type(value) is not int:
        raise ValueError(f"{where} has {name} {value!r}; it must be a whole number")
    return value


def number(fields: Mapping[str, Any], name: str, where: str) -> float:
    """A finite number; ValueError says `where` it is something else."""
    value = fields[name]
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{where} has {name} {value!r}; it must be a number")
    return float(value)


def truth(fields: Mapping[str, Any], name: str, where: str) -> bool:
    """true or false; ValueError says `where` it is something else."""
    value = fields[name]
    if type(value) is not bool:
        raise ValueError(f"{where} has {name} {value!r}; it must be true or false")
    return value
