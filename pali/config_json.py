# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses of plain data as JSON: `from_json(cls, to_json(config)) == config`.

What is read is checked against the types of the fields; nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from typing import Any, Literal, TypeVar

T = TypeVar("T")


def to_json(config: Any) -> str:
    """The config as indented JSON; read back by `from_json`."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(cls: type[T], text: str) -> T:
    """Rebuilds a config of type `cls` from what `to_json` wrote.

    Raises:
      ValueError: an unknown or a missing field, or a value of another type; the message names the
        field by its whole path.
    """
    return _build(cls, json.loads(text), cls.__name__)


def _build(kind: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is Literal:
        if value not in typing.get_args(kind):
            raise ValueError(f"{path} is {value!r}; it must be one of {typing.get_args(kind)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path} is {value!r}; it must be a list")
        kinds = typing.get_args(kind)
        if kinds[-1] is not Ellipsis and len(value) != len(kinds):
            raise ValueError(f"{path} is {value!r}; it must have {len(kinds)} elements")
        return tuple(_build(kinds[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if origin in (typing.Union, types.UnionType):
        kinds = [k for k in typing.get_args(kind) if k is not type(None)]
        if value is None and len(kinds) < len(typing.get_args(kind)):
            return None
        lists = [k for k in kinds if typing.get_origin(k) is tuple]
        return _build(
            (lists if lists and isinstance(value, list | tuple) else kinds)[0], value, path
        )
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{path} is {value!r}; it must be of type {kind.__name__}")
    return value


def _build_dataclass(cls: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(
            f"{path} is {value!r}; it must be an object with the fields of {cls.__name__}"
        )
    if isinstance(value.get("remat"), bool):  # as it was before policies had names
        value = value | {"remat": "full" if value["remat"] else "none"}
    kinds = typing.get_type_hints(cls)
    for name in value:
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(kinds)}"
            raise ValueError(f"{path} has no field {name!r}{hint}")
    required = {
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(value)):
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    values = {name: _build(kinds[name], v, f"{path}.{name}") for name, v in value.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
