# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Running text, as records with "text" and "lang": what span corruption reads.

A file of JSON lines with a "text", as mC4's, is a `JsonLines` (pali/data/sources.py); a plain text
file is a `Paragraphs`. The demo corpus has the documents of this project, in English.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from pali.data.demo_corpus import load_corpus
from pali.data.sources import JsonLines, checked, read_text


@dataclass(frozen=True)
class Paragraphs:
    """The paragraphs of a plain text file in UTF-8: what stands between empty lines."""

    path: str
    lang: str
    """The language of all of it."""

    def __len__(self) -> int:
        """Paragraphs."""
        return len(_paragraphs(self.path))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """text, its lines joined by spaces; lang."""
        text = _paragraphs(self.path)[checked(index, len(self))]
        return {"text": text, "lang": self.lang}

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records."""
        return {self.lang: len(self)}


@dataclass(frozen=True)
class DemoProse:
    """Paragraphs of this project's documents (docs/demo_corpus.md), in English."""

    split: str
    """ "train" or "validation"."""

    def __len__(self) -> int:
        """Paragraphs."""
        return len(self._lines)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """text, lang, source: the document."""
        return self._lines[index]

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records."""
        return self._lines.per_language

    @property
    def _lines(self) -> JsonLines:
        return JsonLines(str(load_corpus().folder / f"prose.{self.split}.jsonl"))


@functools.cache
def _paragraphs(path: str) -> list[str]:
    blocks = re.split(r"\n\s*\n", read_text(path))
    joined = (" ".join(line.strip() for line in block.strip().split("\n")) for block in blocks)
    return [text for text in joined if text]
