# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A finished workdir of `pali evaluate`, read again: metrics.json, predictions.jsonl, items/.

Every field that is used is of its kind, or an error names the file, the place in it, and the field:
files are copied, cut short, and written by hand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pali.benchmarks.rows import Row, is_finite, read_json
from pali.metrics.pairs import read_json_lines
from pali.metrics.records import Line
from pali.metrics.signature import parse

Split = tuple[str, str]
"""A task and one of its splits."""


def read_metrics(folder: Path) -> dict[str, Any]:
    """What metrics.json holds: its "scores" and its "official", which may be missing.

    Raises:
      OSError: it cannot be read.
      ValueError: it is missing or damaged.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing: {folder} is no finished evaluation")
    try:
        found = Row(read_json(path), str(path))
        for row in found.rows("scores"):
            _check(row, _RECORD)
        for row in found.rows("official") if "official" in found else ():
            _check(row, _ABOUT if "error" in row else _OFFICIAL)
            if "error" not in row:
                for name in row.fields["scores"]:
                    parse(row.row("signatures").text(name))
    except ValueError as error:
        said = str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
        raise ValueError(f"{path} is damaged: {said}; `pali evaluate` writes it again") from None
    return found.fields


def read_predictions(folder: Path) -> dict[Split, dict[str, Line]]:
    """Lines by task and split, and there by id.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is missing or damaged, or has an id twice.
    """
    path = folder / "predictions.jsonl"
    if not path.is_file():
        raise ValueError(f"{path} is missing: differences are paired by its lines")
    found: dict[Split, dict[str, Line]] = {}
    seen: Counter[str] = Counter()
    for number, text in enumerate(path.read_bytes().rstrip(b"\n").split(b"\n"), start=1):
        where = f"line {number} of {path}"
        try:
            line: Any = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f"{where} is damaged, or was cut short") from None
        check_line(line, where)
        found.setdefault((line["task"], line["split"]), {})[line["id"]] = line
        seen[line["id"]] += 1
    if twice := [id for id, count in seen.items() if count > 1]:
        raise ValueError(f"{path} has {len(twice):,} ids more than once, such as {twice[0]}")
    return found


def check_line(line: Any, where: str) -> None:
    """Raises ValueError if a line of predictions.jsonl lacks a field, or one is of another kind."""
    row = Row(line, where)
    _check(row, _LINE)
    if "candidates" in row or "log_likelihoods" in row:
        _check(row, _CHOICE)
        count = len(line["candidates"])
        if len(line["log_likelihoods"]) != count or not 0 <= line["right_candidate"] < count:
            raise ValueError(f"{where} is damaged: it has {count} candidates")


def read_items(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of a file of pali/official.py, by id.

    Raises:
      OSError: it cannot be read.
      ValueError: it is missing or damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: official scores are paired by it")
    found = {}
    for number, row in read_json_lines(str(path)):
        place = Row(row, f"line {number} of {path}")
        _check(place, _ITEM)
        found[str(place.identifier("id"))] = row
    return found


_Kind = tuple[Callable[[Any], bool], str]


def _is_number(value: Any) -> bool:
    # A metric of somebody's may be NaN.
    return isinstance(value, float) or is_finite(value)


def _is_signature(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(parse(value))
    except ValueError:
        return False


def _all(kind: _Kind, holder: type) -> _Kind:
    right, wanted = kind

    def all_right(value: Any) -> bool:
        if not isinstance(value, holder):
            return False
        return all(map(right, value.values() if isinstance(value, dict) else value))

    return all_right, f"{'by name' if holder is dict else 'a list, each'} {wanted}"


_TEXT: _Kind = (lambda value: isinstance(value, str), "a text")
_NUMBER: _Kind = (_is_number, "a number")
_COUNT: _Kind = (lambda value: type(value) is int, "an integer")
_SIGNATURE: _Kind = (_is_signature, "a signature")
_FILE: _Kind = (lambda value: value is None or isinstance(value, str), "a text or null")
_ID: _Kind = (lambda value: type(value) in (int, str), "a text or an integer")

_ABOUT: dict[str, _Kind] = dict.fromkeys(("benchmark", "split", "task"), _TEXT)
_RECORD = {
    **dict.fromkeys(("benchmark", "split", "metric", "variant", "system"), _TEXT),
    **{"signature": _SIGNATURE, "score": _NUMBER, "n": _COUNT},
    "per_language": _all(_NUMBER, dict),
}
_OFFICIAL = {
    **_ABOUT,
    **{"metric": _TEXT, "score": _NUMBER, "items": _FILE},
    **{"scores": _all(_NUMBER, dict), "signatures": _all(_SIGNATURE, dict)},
}
_LINE = {
    **dict.fromkeys(("id", "task", "split", "lang", "group", "image_key", "prediction"), _TEXT),
    "references": _all(_TEXT, list),
}
_CHOICE = {
    **{"candidates": _all(_TEXT, list), "right_candidate": _COUNT},
    "log_likelihoods": _all(_NUMBER, list),
}
_ITEM = {"id": _ID, "part": _TEXT, "group": _TEXT, "score": _NUMBER}


def _check(row: Row, kinds: Mapping[str, _Kind]) -> None:
    for name, (right, wanted) in kinds.items():
        if name not in row:
            raise ValueError(f'{row.where} is damaged: it has no "{name}"')
        if not right(row.fields[name]):
            row.refuse(name, wanted)
