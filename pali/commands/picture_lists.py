# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Files that name pictures: .jsonl and .csv with a field "picture" or "image".

A path counts from the folder of the file. Other fields are left alone: rows can be joined with
them by the path. Such a file is read line by line; what `pali` writes is one, too.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from typing import IO, Any

from pali.commands import CommandError

SUFFIXES = (".jsonl", ".csv")
FIELDS = ("picture", "image")
"""Where the path stands; the first that there is."""


def read(path: str, name: str) -> Iterator[tuple[str, str]]:
    """(path of a picture, "") for each record, or (the record's place, what is wrong with it).

    Args:
      path: the file.
      name: what to call it.

    Raises:
      CommandError: it cannot be read, is no UTF-8, or its first record names no picture.
    """
    folder = os.path.dirname(path)
    try:
        # Rows of CSV may hold line ends of their own, which the reader of CSV tells apart.
        with open(path, encoding="utf-8-sig", newline="") as file:
            records = _csv(file) if path.lower().endswith(".csv") else _json_lines(file)
            for number, (line, record) in enumerate(records):
                place = f"{name}, line {line}"
                fields = record if isinstance(record, dict) else {}
                found = next((fields[field] for field in FIELDS if field in fields), None)
                if isinstance(found, str) and found.strip():
                    yield os.path.join(folder, found), ""
                elif number or any(field in fields for field in FIELDS):
                    yield place, f"{place} names no picture"
                else:
                    raise CommandError(f"{place} {_without(record)}")
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{name} is not a text file in UTF-8") from None
    except csv.Error as error:
        raise CommandError(f"{name} cannot be read as CSV: {error}") from None


def _without(record: Any) -> str:
    """What is said of a first record that names no picture."""
    fields = [str(field) for field in record] if isinstance(record, dict) else []
    there = f"; it has {', '.join(fields[:8])}" if fields else ""
    return f'has no field "picture" or "image" with the path of a picture{there}'


def _json_lines(file: IO[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError:
            yield number, None


def _csv(file: IO[str]) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(file)
    for record in reader:
        yield reader.line_num, record
