# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a public dataset is before it is prepared: its files, and how their rows become records.

A file of this folder knows one dataset, or one format that several share, as its publisher hands
it out. It describes it by a `Dataset`, whose two functions

    parts(folder)       say which pieces can be read apart from each other, and read little
    read(folder, part)  yields what the rows of a piece say

need nothing but the folder. `pali data prepare` runs them in many processes at once, and goes on
where it was interrupted: pali/data/preparing.py. What a row cannot say is yielded, not raised, as a
`RecordError`, and is counted by its reason.

A record has an "id", a text that is its own in the dataset, and one of
  image     bytes of a picture file, of a dataset that has its own pictures
  picture   the id of a record whose picture is meant, of a dataset about another's pictures; with
            "image" beside it, that is kept where the other has no such record
or neither where it is text alone; and what a task asks for: "caption", "lang", "question", …
Boxes are f32[n 4], (ymin xmin ymax xmax) in shares of the picture, with as many "labels".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pali.data.pipeline import Example
from pali.data.skipping import RecordError


@dataclass(frozen=True)
class Part:
    """A piece of a dataset: one process reads it to its end, into one file of records."""

    split: str
    file: str
    """Below the raw folder."""
    start: int = 0
    stop: int | None = None
    """Rows from `start` to before `stop`; what a row is, `read` knows."""


@dataclass(frozen=True)
class Dataset:
    """A public dataset in the form in which it is published."""

    name: str
    about: str
    """One line."""
    documented: str
    """Where the format of its files is described."""
    licence: str
    """Of the annotations, and of the pictures if another."""
    files: str
    """What the raw folder must hold, to be shown to people."""
    parts: Callable[[Path], list[Part]]
    """Raises FileNotFoundError or ValueError, which name what is missing or wrong."""
    read: Callable[[Path, Part], Iterator[Example | RecordError]]
    pictures: str = "own"
    """"own", "none", or the name of the dataset whose pictures these records are about."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Split -> rows that are published, where they are known; more or fewer are warned of."""
    languages: Sequence[str] = ()
    """Those of the published texts, as pali spells them; none where the raw files alone tell."""
    listed: Callable[[Path, str], tuple[int, int]] | None = None
    """(raw folder, split) -> rows of the published list, and how many of them cannot be understood;
    of a dataset whose pictures are fetched by a list, so that rows without a picture are many."""
