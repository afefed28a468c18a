# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Registered tasks -> the examples that `pali evaluate` asks a model, with prompt and references.

Every split but "train", or the one behind a colon, vqav2:test, which may be a split of a public
benchmark whose answers are hidden: its examples have no references. The model brings its own
tokenizer and size of picture, so a task's are set aside. Pictures are made one at a time, when
their turn comes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, cast

import numpy as np

from pali.config import ImageSize, PixelConfig
from pali.data import pipeline
from pali.data.benchmark_items import BenchmarkItems
from pali.data.benchmarks import BENCHMARKS, Benchmark
from pali.data.preprocessors import (
    DecodePicture,
    DecodeRandomCrop,
    Tokenize,
    decode_picture,
)
from pali.data.skipping import RecordError
from pali.generation import MAX_LENGTH
from pali.image import Region, resize, seen_region
from pali.metrics.exact_match import as_references, normalise
from pali.tokenizer import Tokenizer

ALL = "all"
"""Stands for every registered task that answers in text and has a split to evaluate."""


@dataclass(frozen=True)
class Example:
    """What is asked of the model once."""

    id: str
    lang: str
    group: str
    image_key: str
    prompt: str
    references: tuple[str, ...]
    index: int
    """Of its record in the source, from which the picture is made when its turn comes."""
    record: dict[str, Any]
    """What the source has of it, without what is bytes."""


@dataclass(frozen=True)
class Split:
    """The examples of one split of one task, and how they are scored."""

    task: str
    name: str
    examples: Sequence[Example]
    choices: dict[str, list[Example]]
    """By language: the examples that choose, whose answers are the candidates for all of them."""
    records: pipeline.Drawn
    functions: tuple[pipeline.Function, ...]
    """From a record to its picture and texts."""
    skipped: dict[str, int]
    """Reason -> records that cannot be asked about (pali/data/skipping.py)."""
    image_size: ImageSize
    pixels: PixelConfig
    metric_fns: tuple[Callable[..., dict[str, float]], ...]
    """What the task file names."""
    benchmark: Benchmark
    max_length: int
    """Tokens at which an answer is cut: enough for what is twice as long as any reference of the
    split, whatever part of it is evaluated."""

    def picture(self, example: Example) -> np.ndarray:
        """u8[h w 3], as the model reads it."""
        record = self.records.record(example.index)
        image = pipeline.apply(self.functions, record)["image"]
        return resize(image, self.image_size, self.pixels)

    def picture_to_show(self, example: Example, side: int) -> tuple[np.ndarray, Region]:
        """The picture as people look at it: a file's is whole, and one that is drawn is finer.

        Args:
          example: of this split, which has pictures.
          side: pixels, height and width, of a picture that is drawn.

        Returns:
          u8[h w 3], and the part of it that the model sees.

        Raises:
          RecordError: the record has no picture.
          ImageError: its file cannot be read, or has gone.
        """
        functions = [_to_show(function, side) for function in self.functions]
        image = pipeline.apply(functions, self.records.record(example.index))["image"]
        return image, seen_region(image.shape, self.image_size, self.pixels)

    @property
    def hidden(self) -> bool:
        """Whether there is no reference to compare an answer with."""
        return not any(example.references for example in self.examples)

    @property
    def pictured(self) -> bool:
        """Whether there are pictures, and not text alone."""
        return any(map(_makes_image, self.functions))

    def choice(self, example: Example) -> tuple[list[Example], int] | None:
        """The examples whose answers are the candidates, and the place of this one's own."""
        choices = self.choices.get(example.lang, [])
        for place, other in enumerate(choices):
            if other.id == example.id:
                return choices, place
        return None


def read_splits(
    tasks: Iterable[str],
    image_size: ImageSize,
    tokenizer: Tokenizer,
    limit: int | None = None,
    task_modules: Iterable[str] = (),
    pixels: PixelConfig = PixelConfig(),
    prompts: Iterable[tuple[str, str]] = (),
) -> list[Split]:
    """The splits to evaluate, with the prompt and the references of every example.

    Args:
      tasks: names of tasks or mixtures; ALL is every task that answers in text, TASK:SPLIT one
        split alone.
      image_size, tokenizer, pixels, prompts: the model's.
      limit: at most so many examples of each split and language.
      task_modules: your own task files.

    Raises:
      ValueError: a task is unknown, has no such split or none but "train", or no text; or it draws
        squares, and the model reads none.
      ModuleNotFoundError: SeqIO is not installed.
    """
    from pali.data.seqio_bridge import answering_tasks

    modules = tuple(task_modules)
    names = [n for name in tasks for n in (answering_tasks(modules) if name == ALL else [name])]
    found = {}
    for name in names:
        for task in _tasks(name, modules):
            found |= {(task.name, split): (task, part) for split, part in task.splits.items()}
    if not found:
        raise ValueError("no task to evaluate; name at least one, as in --tasks demo_captions")
    splits = []
    for (_, name), (task, part) in found.items():
        ((fitted, _),) = pipeline.fit_to_model(
            [(part, 1.0)], image_size=image_size, pixels=pixels, prompts=prompts
        )
        splits.append(
            _read_split(name, fitted, task.metric_fns, image_size, pixels, tokenizer, limit)
        )
    return splits


def _tasks(name: str, modules: Sequence[str]) -> list[Any]:
    """A task or those of a mixture, with all their splits; of TASK:SPLIT with that one."""
    from pali.data.seqio_bridge import is_registered, read_evaluation

    base, _, only = name.rpartition(":")
    if not base or is_registered(name, modules):
        return read_evaluation(name, modules)
    return [
        replace(task, splits={only: _one_split(task.name, task.splits, only)})
        for task in read_evaluation(base, modules)
    ]


def _one_split(name: str, splits: dict[str, pipeline.Task], only: str) -> pipeline.Task:
    """A split of a task, or one that its benchmark has besides."""
    if only in splits:
        return splits[only]
    some = next(iter(splits.values()))
    others: dict[str, pipeline.Task] = {}
    if isinstance(source := some.source, BenchmarkItems):
        others = {
            other: replace(some, source=replace(source, split=other))
            for other, split in source.specification.splits.items()
            if split.hidden
        }
    if only not in others:
        listed = ", ".join([*splits, *others])
        raise ValueError(f"task {name!r} has no split {only!r} to evaluate; there are {listed}")
    return others[only]


def _read_split(
    name: str,
    task: pipeline.Task,
    metric_fns: tuple[Callable[..., dict[str, float]], ...],
    image_size: ImageSize,
    pixels: PixelConfig,
    tokenizer: Tokenizer,
    limit: int | None,
) -> Split:
    benchmark = BENCHMARKS.get(task.name, Benchmark())
    functions = tuple(f for f in task.functions if not isinstance(f, Tokenize))
    text_functions = [function for function in functions if not _makes_image(function)]
    if not len(task.source):
        raise ValueError(f"split {name!r} of task {task.name!r} has no record to evaluate")
    hidden = isinstance(task.source, BenchmarkItems) and task.source.hidden
    examples, skips = [], Counter()
    records = pipeline.Drawn(task, seed=0, shuffled=False)
    for index in range(len(records)):
        try:
            record = records.record(index)
            example = pipeline.apply(text_functions, record)
        except RecordError as error:
            skips[error.reason] += 1
            continue
        if not isinstance(example.get("inputs"), str):
            raise ValueError(
                f"task {task.name!r} has no prompt: an example has {', '.join(sorted(example))}, "
                'and evaluation needs "inputs" and "targets"'
            )
        made = _example(f"{task.name}/{name}/{index}", index, example, record, benchmark)
        if not (made.references or hidden):
            raise ValueError(f"example {made.id} has no reference to compare an answer with")
        examples.append(made)
    if not examples:
        raise ValueError(f"split {name!r} of task {task.name!r} has no record that can be used")
    by_language: dict[str, list[Example]] = {}
    # By hash, so that a part of the examples is a fair one, and the same one every time.
    for example in sorted(examples, key=lambda e: hashlib.sha256(e.id.encode()).digest()):
        by_language.setdefault(example.lang, []).append(example)
    choices = {
        lang: _choices(rows, benchmark.choices) for lang, rows in by_language.items() if not hidden
    }
    kept = [example for rows in by_language.values() for example in rows[:limit]]
    return Split(
        task.name,
        name,
        kept,
        choices,
        records,
        functions,
        dict(skips),
        image_size,
        pixels,
        tuple(metric_fns),
        benchmark,
        _max_length(examples, tokenizer),
    )


def _max_length(examples: Sequence[Example], tokenizer: Tokenizer) -> int:
    """A power of two, so that few programs are compiled."""
    references = {text for example in examples for text in example.references}
    lengths = [len(tokenizer.encode(text)) for text in references]
    longest = 1 + max(lengths, default=0)  # and the end of text
    return max(MAX_LENGTH, 1 << (2 * longest - 1).bit_length())


def _example(id: str, index: int, example: dict, record: dict, benchmark: Benchmark) -> Example:
    key = str(example.get("image_key", id))
    references = tuple(as_references(example.get("references", example["targets"])))
    return Example(
        id=id,
        lang=example.get("lang", ""),
        group=str(example.get(benchmark.group, key)),
        image_key=key,
        prompt=example["inputs"],
        references=references,
        index=index,
        record={key: value for key, value in record.items() if not isinstance(value, bytes)},
    )


def _choices(examples: Sequence[Example], count: int) -> list[Example]:
    """The first `count` examples that show different things and have different answers."""
    chosen: dict[str, Example] = {}
    groups = set()
    for example in examples:
        answer = normalise(example.references[0])
        if len(chosen) < count and answer not in chosen and example.group not in groups:
            chosen[answer] = example
            groups.add(example.group)
    return list(chosen.values()) if len(chosen) > 1 else []


def _makes_image(function: pipeline.Function) -> bool:
    return getattr(function, "makes_image", False)


def _to_show(function: pipeline.Function, side: int) -> pipeline.Function:
    if isinstance(function, DecodePicture | DecodeRandomCrop):
        return lambda example: example | {"image": decode_picture(example)}
    if _makes_image(function) and is_dataclass(function) and hasattr(function, "size"):
        return cast("Any", replace(cast("Any", function), size=side))
    return cast("pipeline.Function", function)
