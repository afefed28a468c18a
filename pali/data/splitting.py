# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One JSONL file -> one for each split, so that nothing of one picture is in two of them.

Records are grouped by what a field of theirs says, or by their picture: by its path and by its
bytes, so that a copy under another name is in the same group. The split of a group is a pure
function of the seed and the group: records that are added later move no other. Shares are therefore
met on average, not exactly.
"""

from __future__ import annotations

import json
import os
import pathlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pali.checkpoints.folders import made
from pali.data.duplicates import fingerprint, near
from pali.data.picture_facts import find_facts
from pali.data.skipping import RecordError
from pali.data.sources import locate, parse_line

Line = tuple[int, bytes]
"""Number, from 1, and content."""

IMAGE = "image"
"""The field whose files are read; of every other one the value counts."""


@dataclass(frozen=True)
class Split:
    """What was written."""

    records: dict[str, int]
    """Split -> records; likewise its groups."""
    groups: dict[str, int]
    left_out: Counter[str] = field(default_factory=Counter)
    """Records that name no group are in no split: what they are -> how many of them."""
    first: dict[str, str] = field(default_factory=dict)
    """What they are -> what is wrong with the first."""
    pictures: int = 0
    """Different names of pictures; likewise `unread`, those that cannot be read, and are told apart
    by name alone."""
    unread: int = 0


@dataclass
class _Found:
    """What is met on the way, beside the groups."""

    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    pictures: int = 0
    unread: int = 0

    def leave_out(self, kind: str, said: str) -> None:
        self.left_out[kind] += 1
        self.first.setdefault(kind, said)


def split_of(group: int, shares: Mapping[str, float], seed: int) -> str:
    """The split of a group: the same whatever else is split, and in whatever order.

    Args:
      group: 64 bits.
      shares: split -> any positive number; only their ratios count, and the order of the splits.
      seed: of the draw.
    """
    drawn = fingerprint(f"{seed}/{group}") / 2**64 * sum(shares.values())
    for name, share in shares.items():
        drawn -= share
        if drawn < 0:
            return name
    return list(shares)[-1]  # The sum was rounded.


def split_file(
    path: str,
    to: pathlib.Path,
    shares: Mapping[str, float],
    *,
    by: str = IMAGE,
    images: str = ".",
    seed: int = 0,
    look_alike: bool = False,
    watch: Callable[[Iterator[Line]], Iterator[Line]] = iter,
) -> Split:
    """Writes `to`/SPLIT.jsonl, whose lines are those of the file, in its order, byte for byte.

    Args:
      path: a JSONL file.
      to: a new folder; it appears whole or not at all.
      shares: see `split_of`.
      by: the field that says what belongs together.
      images: the folder below which "image" is a path; of `by="image"` alone.
      seed: of the draw.
      look_alike: put pictures that look alike (pali/data/duplicates.py) into one group. A picture
        that is added later may then join two groups, and move one of them.
      watch: passes lines on while they are grouped, as a progress bar.

    Raises:
      FileExistsError: `to` is there already.
      OSError: the file cannot be read, or the folder not be written.
      ValueError: the file has no record with such a field.
    """
    with made(to) as folder:
        found = _Found()
        groups = _groups(path, by, images, look_alike, found, watch)
        if not any(groups):
            reasons = "; ".join(found.first.values()) or "it is empty"
            raise ValueError(f"{path} has no record that can be put into a group: {reasons}")
        records, members = Counter(), {name: set() for name in shares}
        files = {name: (folder / f"{name}.jsonl").open("wb") for name in shares}
        try:
            for (_, line), group in zip(_lines(path), groups, strict=True):
                if group:
                    name = split_of(group, shares, seed)
                    records[name] += 1
                    members[name].add(group)
                    files[name].write(line if line.endswith((b"\n", b"\r")) else line + b"\n")
        finally:
            for file in files.values():
                file.close()
    return Split(
        {name: records[name] for name in shares},
        {name: len(groups) for name, groups in members.items()},
        **vars(found),
    )


def _groups(
    path: str,
    by: str,
    images: str,
    look_alike: bool,
    met: _Found,
    watch: Callable[[Iterator[Line]], Iterator[Line]],
) -> Sequence[int]:
    """The group of each line, 0 for one that names none."""
    found, looks = array("Q"), dict[int, int]()
    pictures: dict[int, int] = {}
    for number, line in watch(_lines(path)):
        where, kind = f"{path}, line {number}", "that cannot be read"
        try:
            record = parse_line(line, where)
            kind = f"without {by!r}"
            if by != IMAGE:
                found.append(_value(record, by, where))
                continue
            key = locate(record, images, where)["image_key"]
        except RecordError as error:
            found.append(0)
            met.leave_out(kind, str(error))
            continue
        # Without the folder, which may be called otherwise on the next machine.
        name = fingerprint(os.path.normpath(record[IMAGE]))
        if name not in pictures:
            facts = find_facts(key)
            met.pictures += 1
            met.unread += facts.error is not None
            # What cannot be read can at least be told by its name.
            pictures[name] = facts.digest or name
            looks[pictures[name]] = facts.look
        found.append(pictures[name])
    if not look_alike:
        return found
    return _joined(found, looks)


def _joined(groups: Sequence[int], looks: Mapping[int, int]) -> Sequence[int]:
    """Groups whose pictures look alike become the one with the lowest number."""
    numbers = np.array(list(looks), np.uint64)
    to: dict[int, int] = {}
    for together in near(np.array(list(looks.values()), np.uint64)):
        lowest = int(numbers[together].min())
        to.update((int(numbers[place]), lowest) for place in together)
    return array("Q", (to.get(group, group) for group in groups))


def _value(record: Mapping[str, object], by: str, where: str) -> int:
    if record.get(by) is None:
        raise RecordError("row", f"{where} has no {by!r}")
    return fingerprint(json.dumps(record[by], sort_keys=True))


def _lines(path: str) -> Iterator[Line]:
    """The lines that are not empty, as they are, but for a byte-order mark of the file."""
    # As text of one byte a character: lines end as training ends them, by a lone CR too, and every
    # byte stays what it is.
    with open(path, encoding="latin-1", newline="") as file:
        for number, text in enumerate(file, 1):
            line = text.encode("latin-1")
            line = line if number > 1 else line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield number, line
