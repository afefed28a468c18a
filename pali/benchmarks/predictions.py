# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Predictions of anyone: JSONL, or what a benchmark's server takes; and that file, written.

    {"id": 7, "prediction": "a dog"}                 lines of JSON, or one list of such objects
    [{"question_id": 7, "answer": "a dog"}, …]       a server's own names of the two fields
    {"7": "a dog", …}                                one object, of the servers that want that

Which of them a file is, its content says. Other fields are ignored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pali.benchmarks.benchmark import Benchmark, Item, Submission
from pali.benchmarks.rows import read_json
from pali.metrics.pairs import Rows, collect, read_json_lines, short, some

PLAIN = ("id", "prediction")


def read_predictions(path: Path, benchmark: Benchmark, items: Iterable[Item] = ()) -> Rows:
    """What is said of each id.

    Args:
      path: the file.
      benchmark: whose server's format it may have.
      items: of the split; where a server takes any number of rows for each, those without a row
        have an empty list.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is neither of the formats above, an id is there twice, or an answer is none.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(
            f"{path} is a pipe or a device; predictions are read more than once: give a file"
        )
    form = benchmark.submission
    if form is not None and form.many and (gathered := _gathered(path, benchmark)) is not None:
        rows, types = gathered
        asked = {str(item.id): type(item.id) for item in items}
        return Rows(str(path), {key: [] for key in asked} | rows, asked | types)
    return collect(str(path), _answers(path, benchmark))


def write_submission(
    path: Path, benchmark: Benchmark, items: Iterable[Item], answers: Mapping[str, Any]
) -> None:
    """Writes what the server takes, with the ids as the benchmark has them.

    Args:
      path: the file to write.
      benchmark: one with a `submission`.
      items: all of a split.
      answers: of each id, as a string, the answer.

    Raises:
      ValueError: an item has no answer, or the benchmark has no server.
    """
    items = list(items)
    if benchmark.submission is None:
        raise ValueError(f"{benchmark.name} has no server that takes predictions")
    missing = [item.id for item in items if str(item.id) not in answers]
    if missing:
        raise ValueError(
            f"a server wants all {len(items):,} of {benchmark.name}; {len(missing):,} are missing: "
            f"{some(missing)}"
        )
    form = benchmark.submission
    said = [(item.id, answers[str(item.id)]) for item in items]
    if form.many:
        rows: Any = _spread(said, form)
    elif form.mapping:
        rows = {str(key): answer for key, answer in said}
    else:
        rows = [{form.id: key, form.answer: answer} for key, answer in said]
    # ASCII alone: half a character, which a model may write, is no UTF-8.
    path.write_text(json.dumps(rows) + "\n", encoding="ascii")


def _spread(said: Iterable[tuple[Any, Any]], form: Submission) -> list[dict[str, Any]]:
    rows = []
    for key, answer in said:
        if isinstance(answer, str):
            raise ValueError(
                f"{key} has a text of boxes: a server wants rows of {', '.join(form.many)}"
            )
        rows += ({form.id: key} | {name: row[name] for name in form.many} for row in answer)
    return rows


def _gathered(
    path: Path, benchmark: Benchmark
) -> tuple[dict[str, list[Any]], dict[str, type]] | None:
    """Rows by their id, where an id may have many, and how the file writes each id.

    None if the file has one row for each.
    """
    form = benchmark.submission
    if form is None or not _start(path).startswith(b"["):
        return None
    found: dict[str, list[Any]] = {}
    types: dict[str, type] = {}
    for where, row in _rows(path, benchmark):
        if not isinstance(row, dict):
            raise ValueError(f"{where} of {path} is {short(row)}: expected an object in braces")
        if set(PLAIN) <= row.keys() and not found:
            return None
        lacking = [name for name in (form.id, *form.many) if name not in row]
        if lacking:
            raise ValueError(f"{where} of {path} has no {', '.join(lacking)}; it has {list(row)}")
        key = row[form.id]
        if type(key) not in (int, str):
            raise ValueError(
                f"{where} of {path} has {form.id} {short(key)}: an id is a string or an integer"
            )
        if types.setdefault(str(key), type(key)) is not type(key):
            raise ValueError(
                f"{where} of {path} has {form.id} {short(key)}, which is there as a number and as "
                "a string; write one of them"
            )
        try:
            benchmark.scorer.answer([row])
        except ValueError as error:
            raise ValueError(f"{where} of {path} is {short(row)}: {error}") from None
        found.setdefault(str(key), []).append(row)
    return found, types


def _answers(path: Path, benchmark: Benchmark) -> Iterator[tuple[str, Any, Any]]:
    fields = [PLAIN, *(benchmark.submission.fields if benchmark.submission else ())]
    for where, row in _rows(path, benchmark):
        if not isinstance(row, dict):
            raise ValueError(f"{where} of {path} is {short(row)}: expected an object in braces")
        pair = next((pair for pair in fields if pair[0] in row and pair[1] in row), None)
        if pair is None:
            wanted = " or ".join(f'"{key}" and "{value}"' for key, value in fields)
            there = ", ".join(map(repr, row)) or "nothing"
            raise ValueError(f"{where} of {path} has not {wanted}; it has {there}")
        key, value = pair
        try:
            yield where, row[key], benchmark.scorer.answer(row[value])
        except ValueError as error:
            raise ValueError(
                f"{where} of {path} has {value} {short(row[value])}: {error}"
            ) from None


def _rows(path: Path, benchmark: Benchmark) -> Iterator[tuple[str, Any]]:
    """Every row of a file, whichever of the formats it has, and where it is."""
    start = _start(path)
    if start.startswith(b"["):
        for i, row in enumerate(read_json(path), start=1):
            yield f"row {i}", row
    elif benchmark.submission and benchmark.submission.mapping and not _is_row(start):
        # Pairs, and no dict, so that an id that is there twice is seen.
        pairs = read_json(path, objects=list)
        if not isinstance(pairs, list):
            raise ValueError(f"{path} is {short(pairs)}: expected an object of ids and answers")
        for i, (key, answer) in enumerate(pairs, start=1):
            yield f"row {i}", {PLAIN[0]: key, PLAIN[1]: answer}
    else:
        for number, row in read_json_lines(os.fspath(path)):
            yield f"line {number}", row


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()


def _is_row(start: bytes) -> bool:
    """Whether the first line is an object with the fields of a row."""
    try:
        row = json.loads(start.split(b"\n")[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and set(PLAIN) <= row.keys()
