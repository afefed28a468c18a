# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Records that cannot be used: they keep their place in the batch, weigh nothing, and are counted.

Leaving one out would move every example after it, and the batch of step k would depend on what was
read before. So a source or a function that meets such a record raises a `RecordError` with one of
`REASONS`; what stands in its place in the pipeline is `skipped(…)`, which the converter turns into
a row of padding. Everything else that goes wrong is a bug, or a mistake in a task file, and stops
the run.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from pali.image import ImageError

Example = dict[str, Any]

REASONS: dict[str, str] = {
    "picture": "the picture is missing, cannot be read, or is too large",
    "row": "the record is damaged, or lacks a field",
    "text": "there is no text, or none that can be learned from",
    "boxes": "no box lies in the picture",
}
"""Why a record is skipped; their order is that of the codes in a batch, from 1 on."""


JUDGED_FROM = 1000
"""A share is taken of at least so many examples: the first broken one does not stop a run."""


class RecordError(ValueError):
    """A record that cannot be used.

    Attributes:
      reason: one of `REASONS`.
    """

    def __init__(self, reason: str, message: str):
        """`message` names the record and what is wrong with it."""
        if reason not in REASONS:
            raise KeyError(f"{reason!r} is no reason to skip a record; known: {', '.join(REASONS)}")
        super().__init__(message)
        self.reason = reason


UNUSABLE = (RecordError, ImageError)
"""What a record may raise to be skipped."""


def named(example: Mapping[str, Any]) -> str:
    """What to call a record in an error."""
    return f"the record {example.get('image_key', 'with ' + ', '.join(example))}"


def text_of(example: Mapping[str, Any], key: str) -> str:
    """The text in a field, as where a table may have no value.

    Raises:
      RecordError: it is no text, or has half a character.
      KeyError: there is no such field: a mistake in the task.
    """
    text = example[key]
    if not isinstance(text, str):
        raise RecordError("text", f"{named(example)} has {key!r}: {str(text)[:40]!r}; not a text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        message = f"{named(example)} has half a character in {key!r}, {half!a}"
        raise RecordError("text", message) from None
    return text


def texts_of(example: Mapping[str, Any], key: str) -> list[str]:
    """The texts in a field that is a list of them; it raises what `text_of` does."""
    texts = example[key]
    if not isinstance(texts, list | tuple):
        message = f"{named(example)} has {key!r}: {str(texts)[:40]!r}; not a list of texts"
        raise RecordError("text", message)
    return [text_of({**example, key: text}, key) for text in texts]


def skipped(error: Exception) -> Example:
    """What stands in the place of a record that raised one of `UNUSABLE`."""
    reason = error.reason if isinstance(error, RecordError) else "picture"
    return {"skipped": reason, "error": str(error)}


def code(example: Mapping[str, Any]) -> int:
    """0 for an example that is used, else the number of its reason."""
    reason = example.get("skipped")
    return 0 if reason is None else 1 + list(REASONS).index(reason)


class Skips:
    """Counts what a run skips, says on stderr why the first of each reason was, stops at too many.

    Attributes:
      counts: reason -> examples.
    """

    def __init__(self, limit: float):
        """`limit` is the share that may be skipped, in 0..1."""
        self.counts: Counter[str] = Counter()
        self._seen, self._limit = 0, limit

    def add(self, codes: Int[np.ndarray, " b"], examples: Any, first: int) -> None:
        """Counts the rows of a batch.

        Args:
          codes: of its rows (see `code`).
          examples: what can be asked for an example by its place, to show why.
          first: the place of the batch's first row.

        Raises:
          ValueError: more were skipped than is allowed, of at least `JUDGED_FROM` examples.
        """
        self._seen += len(codes)
        for row in np.flatnonzero(codes):
            reason = list(REASONS)[int(codes[row]) - 1]
            if reason not in self.counts:
                error = examples[first + int(row)]["error"]
                sys.stderr.write(f"skipped, and counted as all like it will be: {error}\n")
            self.counts[reason] += 1
        total = self.counts.total()
        if total > self._limit * max(self._seen, JUDGED_FROM):
            listed = "; ".join(f"{REASONS[reason]}: {n:,}" for reason, n in self.counts.items())
            raise ValueError(
                f"{total:,} of {self._seen:,} examples could not be used ({listed}), and "
                f"data.max_skipped allows a share of {self._limit:g}: mend the data, or allow more"
            )
