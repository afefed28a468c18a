# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The items of a public benchmark by number, with their pictures: what its task reads.

    DATA/benchmarks/NAME/…                          the raw files, as docs/benchmarks.md lists them
    DATA/benchmarks/NAME/val2014/COCO_val2014_….jpg pictures, as the benchmark names them

DATA is the environment variable PALI_DATA, or ~/pali_data. Items without a reference are left out:
there is nothing to compare an answer with, or to learn from.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pali.benchmarks import registry
from pali.benchmarks.benchmark import Item
from pali.data.pipeline import Example
from pali.data.prepared import data_folder


@dataclass(frozen=True)
class BenchmarkItems:
    """The items of one split of a benchmark.

    A record has "id", "image_key" (the path of its picture), "question", "lang", "references",
    and as "answer" the reference that most people gave.

    Raises:
      FileNotFoundError: on first use, if the raw files are not there.
      ValueError: they are not as they are published.
    """

    benchmark: str
    split: str
    folder: str | None = None
    """None is `data_folder()`, at the time of reading."""

    def __len__(self) -> int:
        """Items of the split that have references."""
        return len(self._items)

    def __getitem__(self, index: int) -> Example:
        """A record; its picture is read later, from the path."""
        item = self._items[index]
        return {
            "id": str(item.id),
            "image_key": str(self._root / item.picture),
            "question": item.question,
            "lang": item.lang,
            "references": list(item.references),
            "answer": Counter(item.references).most_common(1)[0][0],
        }

    @property
    def _root(self) -> Path:
        folder = Path(self.folder) if self.folder else data_folder()
        return folder / "benchmarks" / self.benchmark

    @property
    def _items(self) -> list[Item]:
        return _read(self._root, self.benchmark, self.split)


@functools.lru_cache(maxsize=8)
def _read(root: Path, name: str, split: str) -> list[Item]:
    benchmark = registry.get(name)
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is not there: it must hold the raw files of {name} and their pictures, from "
            f"{benchmark.documented}"
        )
    return [item for item in benchmark.items(root, split) if item.references]
