# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""References and predictions of two JSONL files, joined by their ids.

In:  {"id": ..., "references": ["...", ...]} and {"id": ..., "prediction": "..."}, one on each line.
     Other fields are ignored.
Out: `Pairs`: for each reference, in the order of its file, the texts of both sides.

A line ends at a line feed, nowhere else: U+2028 in a text is a part of it. An id is a string or an
integer. Where one file writes 7 and the other "7" they are the same item, unless a file has both,
and `notes` says so; "07" is another. An empty text is an answer, null is none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

SHOWN = 3
"""Examples that a message names."""


@dataclass(frozen=True)
class Pairs:
    """What is scored."""

    ids: list[str]
    references: list[list[str]]
    predictions: list[str]
    partial: bool
    """Whether references without a prediction, or predictions without a reference, are left out."""
    notes: list[str]
    """What was accepted though it is not as it should be."""


@dataclass(frozen=True)
class Rows:
    """One side: what each id of a file has."""

    path: str
    values: dict[str, Any]
    """By id, as a string."""
    types: dict[str, type]
    """How the file writes the id: str or int."""


@dataclass(frozen=True)
class Joined:
    """What two files have in common."""

    ids: list[str]
    """In the order of the references."""
    partial: bool
    notes: list[str]


def read_pairs(
    references: str | os.PathLike[str], predictions: str | os.PathLike[str], partial: bool = False
) -> Pairs:
    """Reads and joins both files.

    Args:
      references: a JSONL file.
      predictions: a JSONL file.
      partial: leaves out references without a prediction, and predictions without a reference.

    Raises:
      OSError: a file cannot be read.
      ValueError: a line is no such row, an id occurs twice, is missing or unknown, or nothing is
        left to score. The message names file and line, or how many there are and some of them.
    """
    known = _read(os.fspath(references), "references", _texts)
    said = _read(os.fspath(predictions), "prediction", _text)
    joined = join(known, said, partial)
    return Pairs(
        joined.ids,
        [known.values[key] for key in joined.ids],
        [said.values[key] for key in joined.ids],
        joined.partial,
        joined.notes,
    )


def join(
    known: Rows, said: Rows, partial: bool = False, unscored: Collection[str] = frozenset()
) -> Joined:
    """The ids that are scored.

    Args:
      known: the references.
      said: the predictions.
      partial: leaves out what only one of them has.
      unscored: ids of `known` that nothing is compared with; they may be predicted or not.

    Raises:
      ValueError: an id is missing or unknown and `partial` is false, or no id is in both.
    """
    scored = [key for key in known.values if key not in unscored]
    missing = [key for key in scored if key not in said.values]
    unknown = [key for key in said.values if key not in known.values]
    if len(missing) == len(scored):
        raise ValueError(
            f"no id of {said.path} is in {known.path}: of another split, or of other data? There "
            f"{_are(known)}, here {_are(said)}"
        )
    notes = []
    problems = []
    if missing:
        problems.append(
            f"{len(missing):,} of {len(scored):,} references without a prediction in "
            f"{said.path}: {some(missing)}"
        )
    if unknown:
        problems.append(
            f"{len(unknown):,} of {len(said.values):,} predictions whose id is not in "
            f"{known.path}: {some(unknown)}"
        )
    if problems and not partial:
        raise ValueError(
            "; ".join(problems) + ". --partial scores what both files have, and marks the result"
        )
    notes += [f"left out: {problem}" for problem in problems]
    ids = [key for key in scored if key in said.values]
    others = [key for key in ids if known.types[key] is not said.types[key]]
    if others:
        notes.append(
            f"{len(others):,} ids are {_NAMES[known.types[others[0]]]} in {known.path} and "
            f"{_NAMES[said.types[others[0]]]} in {said.path}, such as {others[0]}; they were taken "
            "for the same, as no two could be confused"
        )
    return Joined(ids, bool(problems), notes)


_NAMES = {str: "strings", int: "numbers"}


def collect(path: str, found: Iterable[tuple[str, Any, Any]]) -> Rows:
    """Rows by their ids.

    Args:
      path: of the file, for messages.
      found: (where in the file, id, value), such as ("line 3", 17, "a dog").

    Raises:
      ValueError: an id is no string or integer, occurs twice, or stands there as both; or there is
        no row.
    """
    rows = Rows(path, {}, {})
    first: dict[str, str] = {}
    twice: list[str] = []
    for where, key, value in found:
        if type(key) not in _NAMES:
            raise ValueError(f"{where} of {path} has id {key!r}: an id is a string or an integer")
        text = str(key)
        if text in rows.values and rows.types[text] is not type(key):
            raise ValueError(
                f'{_both(first[text], where)} of {path} have ids {text} and "{text}", a '
                "number and a string, which other files do not tell apart; rename one"
            )
        if text in rows.values:
            twice.append(f"{text} ({_both(first[text], where)})")
            continue
        rows.values[text], rows.types[text], first[text] = value, type(key), where
    if twice:
        raise ValueError(
            f"{len(twice):,} rows of {path} repeat an id: {some(twice)}; leave one of each"
        )
    if not rows.values:
        raise ValueError(f"{path} is empty: there is nothing to score")
    return rows


def _both(one: str, other: str) -> str:
    """ "lines 1 and 3" of "line 1" and "line 3"."""
    what, _, number = one.rpartition(" ")
    return f"{what}s {number} and {other.rpartition(' ')[2]}"


def _read(path: str, field: str, check: Callable[[Any], Any]) -> Rows:
    return collect(path, _checked(path, field, check))


def _checked(path: str, field: str, check: Callable[[Any], Any]) -> Iterator[tuple[str, Any, Any]]:
    for number, row in read_json_lines(path):
        where = f"line {number} of {path}"
        for name in ("id", field):
            if name not in row:
                there = ", ".join(map(repr, row)) or "nothing"
                raise ValueError(f'{where} has no "{name}"; it has {there}')
        value = check(row[field])
        if value is None:
            raise ValueError(f"{where} has {field} {short(row[field])}: {_WANTED[field]}")
        yield f"line {number}", row["id"], value


_WANTED = {
    "references": "it must be a list of strings, at least one",
    "prediction": 'it must be a string, "" for an empty answer',
}


def read_json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and object of each line that is not blank.

    Raises:
      OSError: the file cannot be read.
      ValueError: a line is no JSON object in UTF-8.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                what = otherwise(line) if number == 1 else ""
                raise ValueError(f"line {number} of {path} is not UTF-8{what}") from None
            except (ValueError, RecursionError) as error:
                cut = "" if line.endswith(b"\n") else ", and the file ends in it: was it cut short?"
                raise ValueError(f"line {number} of {path} is no JSON: {error}{cut}") from None
            if not isinstance(row, dict):
                raise ValueError(
                    f"line {number} of {path} is {short(row)}: a line is an object in braces"
                )
            yield number, row


_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz"}


def otherwise(start: bytes) -> str:
    """What a file that is not UTF-8 seems to be, as the end of a message; "" if that is unknown."""
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            return f"; it is packed by {name}: unpack it first"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "; it is UTF-16: save it as UTF-8"
    return ""


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    if not isinstance(value, list) or not value:
        return None
    return value if all(isinstance(text, str) for text in value) else None


def short(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:40] + "…"


def some(names: Iterable[Hashable]) -> str:
    """The first SHOWN of some names."""
    names = [str(name) for name in names]
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _are(rows: Rows) -> str:
    return f"are {len(rows.values):,}, such as {some(list(rows.values)[:1])}"
