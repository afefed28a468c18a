# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of files that others publish: a field is what it must be, or an error says where it is not.

    for row in document(path).rows("annotations"):
        row.identifier("image_id"), row.text("caption")

A message names the file, the place in it ("annotations[3]"), the field, and what is there instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pali.metrics.pairs import otherwise, short


class Row:
    """An object in braces, and where it stands."""

    __slots__ = ("_key", "_parent", "fields")

    def __init__(self, value: Any, parent: Row | str, key: str | int | None = None):
        self._parent, self._key = parent, key
        if not isinstance(value, dict):
            raise ValueError(f"{self.where} is {short(value)}: expected an object in braces")
        self.fields: dict[str, Any] = value

    @property
    def where(self) -> str:
        """'val.json: annotations[3]'; made when somebody asks, for there are many rows."""
        if self._key is None:
            return str(self._parent)
        parent = self._parent.where if isinstance(self._parent, Row) else self._parent
        path, colon, inside = parent.rpartition(": ")
        path, inside = (path, inside) if colon else (parent, "")
        dot = "." if inside and isinstance(self._key, str) else ""
        key = self._key if isinstance(self._key, str) else f"[{self._key}]"
        return f"{path}: {inside}{dot}{key}"

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    def text(self, key: str) -> str:
        """A text, which may be empty."""
        value = self._value(key)
        return value if isinstance(value, str) else self.refuse(key, "a text")

    def identifier(self, key: str) -> int | str:
        """A text or an integer."""
        value = self._value(key)
        return value if type(value) in (int, str) else self.refuse(key, "a text or an integer")

    def integer(self, key: str) -> int:
        """An integer."""
        value = self._value(key)
        return value if type(value) is int else self.refuse(key, "an integer")

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._value(key)
        return float(value) if is_finite(value) else self.refuse(key, "a finite number")

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._value(key)
        return value if type(value) is bool else self.refuse(key, "true or false")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value(key)
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return tuple(value)
        return self.refuse(key, "a list of texts")

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """So many finite numbers."""
        value = self._value(key)
        if isinstance(value, (list, tuple)) and len(value) == count and all(map(is_finite, value)):
            return tuple(map(float, value))
        return self.refuse(key, f"{count} finite numbers")

    def row(self, key: str) -> Row:
        """An object in braces."""
        return Row(self._value(key), self, key)

    def rows(self, key: str) -> Iterator[Row]:
        """A list of objects."""
        value = self._value(key)
        if not isinstance(value, list):
            self.refuse(key, "a list")
        return (Row(each, _At(self, key), i) for i, each in enumerate(value))

    def refuse(self, key: str, wanted: str) -> Any:
        """Raises ValueError: the field is not what it must be."""
        raise ValueError(f'{self.where} has "{key}": {short(self.fields[key])}, not {wanted}')

    def _value(self, key: str) -> Any:
        if key not in self.fields:
            there = ", ".join(map(repr, list(self.fields)[:8])) or "nothing"
            raise ValueError(f'{self.where} has no "{key}"; it has {there}')
        return self.fields[key]


class _At(Row):
    """A list inside a row, which has a place but no fields of its own."""

    __slots__ = ()

    def __init__(self, parent: Row, key: str):
        self._parent, self._key, self.fields = parent, key, {}


def is_finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold; JSON also has NaN and 1 with 400 zeros."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def document(path: Path) -> Row:
    """A file that is one JSON object; ValueError if it is none."""
    return Row(read_json(path), str(path))


def listed(path: Path) -> Iterator[Row]:
    """The rows of a file that is one JSON list of objects; ValueError if it is none."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise ValueError(f"{path} is {short(rows)}: expected a list in brackets")
    return (Row(value, str(path), i) for i, value in enumerate(rows))


def read_json(path: Path, objects: Callable[[list[tuple[str, Any]]], Any] = dict) -> Any:
    """What a file of JSON holds.

    Args:
      path: of the file.
      objects: makes an object of its keys and values; of a key that is there twice, a dict has the
        last value.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no JSON in UTF-8.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=objects)
    except json.JSONDecodeError as error:
        # Of a text without its end the place is where it begins.
        open_end = error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated")
        cut = ": was it cut short?" if open_end else ""
        raise ValueError(f"{path} is no JSON: {error}{cut}") from None
    except ValueError as error:  # A number with thousands of digits.
        raise ValueError(f"{path} is no JSON of this kind: {error}") from None
    except RecursionError:
        raise ValueError(f"{path} is no JSON of this kind: it is nested too deeply") from None


def read_text(path: Path) -> str:
    """What a file of text in UTF-8 holds, with its line ends; ValueError if it is none."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8{otherwise(content)}") from None


def same_split(whole: Row, key: str, names: tuple[str, ...]) -> None:
    """Raises ValueError if a file says that it is of another split; it may say nothing."""
    if key in whole and whole.text(key) not in names:
        raise ValueError(
            f'{whole.where} has "{key}": {whole.text(key)!r}: it is of another split than '
            f"{' or '.join(names)}"
        )
