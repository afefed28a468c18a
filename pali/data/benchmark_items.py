# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The items of a public benchmark by number, with their pictures: what its task reads.

    DATA/benchmarks/NAME/…                          the raw files, as docs/benchmarks.md lists them
    DATA/benchmarks/NAME/val2014/COCO_val2014_….jpg pictures, as the benchmark names them

DATA is the environment variable PALI_DATA, or ~/pali_data. Items without a reference are left out:
there is nothing to compare an answer with, or to learn from. But of a split whose answers are
hidden all are there: a server compares them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pali.benchmarks import registry
from pali.benchmarks.benchmark import Benchmark, Item
from pali.boxes import Box, format_boxes
from pali.config import ImageSize, PixelConfig
from pali.data.ask_objects import box_in_region
from pali.data.pipeline import Example
from pali.data.prepared import data_folder
from pali.data.skipping import RecordError
from pali.image import seen_region
from pali.languages import resolve

HIDDEN = "hidden"
"""Stands for the answer where a server alone knows it; its "references" are []."""
_NO_WORDS = "object"
"""What is meant by an expression of RefCOCO that is a number and nothing else."""


@dataclass(frozen=True)
class BenchmarkItems:
    """The items of one split of a benchmark.

    A record has "id", the fields of the benchmark's prompt, "lang", and "image_key" (the path of
    its picture) where it has one. Besides:

      answers that are texts   "references", and as "answer" the one that most people gave
      classes                  the same, of the names of the right classes
      boxes                    "shape" i64[2], "boxes" f32[n 4], ymin xmin ymax xmax in shares of
                               the picture, and "labels"; BoxesAsText makes texts of them

    Raises:
      FileNotFoundError: on first use, if the raw files are not there.
      ValueError: they are not as they are published.
    """

    benchmark: str
    split: str
    folder: str | None = None
    """None is `data_folder()`, at the time of reading."""

    def __len__(self) -> int:
        """Items of the split that have references; all where these are hidden."""
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        """A record; its picture is read later, from the path."""
        item = self.items[index]
        record = {"id": str(item.id), **self.specification.fields(item)}
        if self.specification.pictures:
            record["image_key"] = str(self.root / item.picture)
        if "size" in item.facts:
            return record | _boxes(item)
        texts = list(item.references)
        if self.hidden:
            return record | {"references": [], "answer": HIDDEN}
        if self.specification.names:
            names = self.names
            texts = [names[text] for text in texts if text in names]
            if not texts:
                message = f"{item.id} is of class {item.references[0]}, which has no name"
                raise RecordError("row", message)
        # An empty answer can be right, but nobody learns from it.
        said = [text for text in texts if text.strip()] or texts
        return record | {"references": texts, "answer": Counter(said).most_common(1)[0][0]}

    @property
    def specification(self) -> Benchmark:
        """Of the benchmark."""
        return registry.get(self.benchmark)

    @property
    def hidden(self) -> bool:
        """Whether a server alone knows the answers."""
        return self.specification.split(self.split)[1].hidden

    @property
    def items(self) -> list[Item]:
        """Those of the records, in their order."""
        return _read(self.root, self.benchmark, self.split)

    @property
    def names(self) -> dict[str, str]:
        """Names of the classes, by their numbers."""
        return _names(self.root, self.benchmark, self.split)

    @property
    def per_language(self) -> dict[str, int]:
        """Language of the answer -> records."""
        return dict(sorted(Counter(item.lang for item in self.items).items()))

    @property
    def published_languages(self) -> tuple[str, ...]:
        """Of the benchmark's questions and answers, whatever is here."""
        return tuple(self.specification.languages)

    @property
    def languages_here(self) -> set[str]:
        """Of the questions and answers of its items; `per_language` counts answers alone."""
        groups = {group for item in self.items for group in item.groups}
        asked = (group.partition("/") for group in groups)
        return {*self.per_language, *(resolve(code) for kind, _, code in asked if kind == "lang")}

    @property
    def root(self) -> Path:
        """The folder of the raw files."""
        folder = Path(self.folder) if self.folder else data_folder()
        return folder / "benchmarks" / self.benchmark


@dataclass(frozen=True)
class BoxesAsText:
    """shape, boxes, labels -> "answer" and "references", the text of all boxes (pali/boxes.py).

    Boxes are told in what the ViT sees of the picture; one that lies outside it is left out.
    """

    size: ImageSize
    """As that of DecodePicture; a model's own takes its place."""
    pixels: PixelConfig = field(default_factory=PixelConfig)

    def __call__(self, example: Example) -> Example:
        """Adds both."""
        region = seen_region(tuple(example["shape"].tolist()), self.size, self.pixels)
        whole = [
            Box(*row.tolist(), label=label)
            for row, label in zip(example["boxes"], example["labels"], strict=True)
        ]
        text = format_boxes(box for box in (box_in_region(box, region) for box in whole) if box)
        return example | {"answer": text, "references": [text]}


def _boxes(item: Item) -> dict[str, Any]:
    """The boxes of an item, of which those without an area are left out."""
    height, width = item.facts["size"]
    names = {number: name for name, number in item.facts.get("classes", {}).items()}
    if names:
        rows: Sequence[Any] = item.facts["annotations"]
        labelled = [(row["bbox"], names[row["category_id"]]) for row in rows]
    else:
        words = [word for word in item.question.split() if not word.isdecimal()]
        labelled = [(item.facts["bbox"], " ".join(words) or _NO_WORDS)]
    boxes, labels = [], []
    for (x, y, wide, high), label in labelled:
        corners = np.array([y / height, x / width, (y + high) / height, (x + wide) / width])
        ymin, xmin, ymax, xmax = np.clip(corners, 0, 1).tolist()
        if ymin < ymax and xmin < xmax:
            boxes.append((ymin, xmin, ymax, xmax))
            labels.append(label)
    return {
        "shape": np.array([height, width], np.int64),
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": labels,
    }


@functools.lru_cache(maxsize=32)
def _read(root: Path, name: str, split: str) -> list[Item]:
    benchmark = registry.get(name)
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is not there: it must hold the raw files of {name}"
            f"{' and their pictures' if benchmark.pictures else ''}, from {benchmark.documented}"
        )
    hidden = benchmark.split(split)[1].hidden
    return [item for item in benchmark.items(root, split) if item.references or hidden]


@functools.lru_cache(maxsize=8)
def _names(root: Path, name: str, split: str) -> dict[str, str]:
    return registry.get(name).class_names(root, split)
