# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Large JSON files, element by element: what lies in the arrays at the top of a file.

    {"images": [{…}, {…}], "annotations": [{…}, …]}     or     [{…}, {…}]

A file of gigabytes takes the memory of one element, and damage is found where it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

_CHUNK = 1 << 20
_LARGEST = 1 << 28
"""Characters of one element; a text that is never closed would else be read to the file's end."""
_CUT = 16
"""A value that was cut, and is not damaged, is wrong so near to the end of what was read; but for a
text, of which the beginning is named."""
_SPACE = re.compile(r"[ \t\n\r]*")
_MAY_GO_ON = ("", ".", "e", "E")  # after a number that was cut
_DECODER = json.JSONDecoder()


def elements(path: Path) -> Iterator[tuple[str, Any]]:
    """(key, element) of every array that is a value of the object in a file, in their order.

    The key is "" where the file is one array. What is no array at the top is left out.

    Raises:
      FileNotFoundError: no such file.
      ValueError: no JSON, cut short, or neither an object nor an array.
    """
    with open(path, encoding="utf-8-sig") as file:
        try:
            yield from _top(_Text(file))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged ({error}); fetch it again") from None


class _Text:
    """The text of a file from some place on; as much of it is read as is needed."""

    def __init__(self, file: TextIO):
        self._file, self._text, self._at = file, "", 0

    def next(self) -> str:
        """The next character that is no space, which stays; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def take(self, wanted: str) -> str:
        """The next character, which is one of those wanted."""
        found = self.next()
        if not found or found not in wanted:
            raise ValueError(f"found {found or 'the end'!r} in place of one of {wanted!r}")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value."""
        self.next()
        size = _CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                text = error.msg.startswith("Unterminated string")
                was_cut = text or error.pos >= len(self._text) - _CUT
                if was_cut and len(self._text) - self._at < _LARGEST and self._more(size):
                    size *= 2  # What is read again and again stays a share of what is read.
                    continue
                raise ValueError(error.msg) from None
            if self._text[end : end + 1] in _MAY_GO_ON and self._more():
                continue
            self._at = end
            return value

    def _more(self, size: int | None = None) -> bool:
        chunk = self._file.read(size or _CHUNK)
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)


def _top(text: _Text) -> Iterator[tuple[str, Any]]:
    if text.next() == "[":
        yield from (("", element) for element in _array(text))
    else:
        text.take("{")
        if text.next() == "}":
            return
        more = ","
        while more == ",":
            key = text.value()
            text.take(":")
            if text.next() == "[":
                yield from ((key, element) for element in _array(text))
            else:
                text.value()
            more = text.take(",}")
    if text.next():
        raise ValueError("there is more after its end")


def _array(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.next() == "]":
        text.take("]")
        return
    more = ","
    while more == ",":
        yield text.value()
        more = text.take(",]")
