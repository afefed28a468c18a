# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Fields of a row that is a JSON object: what they must be, and what is said where they are not."""

from __future__ import annotations

import json
from typing import Any

from pali.data.skipping import RecordError
from pali.languages import resolve


def json_object(content: bytes | str, where: str) -> dict[str, Any]:
    """The object that a line or a file is; RecordError if it is none."""
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecordError("row", f"{where} is missing or no JSON: {error}") from None
    if not isinstance(row, dict):
        raise RecordError("row", f"{where} is no JSON object")
    return row


def text(row: dict[str, Any], key: str, where: str) -> str:
    """A text, without space around it; RecordError if it is none, or empty."""
    value = row.get(key)
    if not isinstance(value, str):
        raise RecordError("row", f'{where} has "{key}": {value!r}; expected a text')
    if not value.strip():
        raise RecordError("text", f'{where} has an empty "{key}"')
    return value.strip()


def language(row: dict[str, Any], key: str, where: str) -> str:
    """The code of a language as pali writes it; RecordError if there is none, or an unknown one."""
    value = row.get(key)
    try:
        if not isinstance(value, str):
            raise ValueError("expected the code of a language")
        return resolve(value)
    except ValueError as error:
        raise RecordError("row", f'{where} has "{key}": {value!r}; {error}') from None
