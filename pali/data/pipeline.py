# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Weighted mixture of tasks -> shuffled, repeated, batched model features, by random access.

Everything is a `grain.MapDataset`, a function of the index:

    records --shuffle(seed, task, epoch)--functions--> task features --mix(rates)-->
    mixture --convert--> model features --rows of this host, batch--> batches[step]

`batches[k]` is therefore a pure function of (seed, k): it does not depend on how many hosts,
threads or worker processes there are, nor on where a run was interrupted, and reading it costs the
same for every k. A global batch of B rows has n equal shares, rows `i*B/n … (i+1)*B/n`; a host
reads those that its devices compute with (`pali.sharding.process_shares`), and the n shares one
after the other are the batch that a single host would have read.

A task is shuffled by a seed drawn from its own name, so adding a task to a mixture does not change
the order of the others. What else is drawn at random is drawn from `example["draw"]`, a text that
names seed, task, record and epoch. Every index has exactly one example: a record that cannot be
used keeps its place (pali/data/skipping.py).
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import grain

from pali.config import ImageSize, PixelConfig, image_shape
from pali.data.drawing import number_of
from pali.data.mixing import Interleaved
from pali.data.skipping import UNUSABLE, RecordError, skipped

Example = dict[str, Any]
"""One example: field name -> str, int, bytes, list of str, or NumPy array."""

Function = Callable[[Example], Example]
"""A per-example function. What it draws at random, it draws by example["draw"], so that the same
record is the same example wherever and whenever it is read."""

Shares = tuple[tuple[int, ...], int]
"""Which of how many equal parts of every batch a host reads, in ascending order."""

WHOLE: Shares = ((0,), 1)
"""All of it: there is one host."""

MAX_RECORDS = 2**32 - 1
"""What Grain's shuffle, a permutation of 32-bit numbers, can address."""


@runtime_checkable
class Source(Protocol):
    """Records by number. Picklable, and cheap to construct: tables are loaded on first use."""

    def __len__(self) -> int:
        """Number of records."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Record `index`, the same every time, as a new dict."""
        ...


@dataclass(frozen=True)
class Task:
    """A source and the functions that turn its records into task features."""

    name: str
    source: Source
    functions: tuple[Function, ...] = ()


Mixture = Sequence[tuple[Task, float]]
"""Tasks and their rates: any positive numbers, only their ratios count."""


def apply(functions: Sequence[Function], record: Example) -> Example:
    """The record after all the functions, first to last."""
    for function in functions:
        record = function(record)
    return record


def replace_image_function(mixture: Mixture, function: Function) -> list[tuple[Task, float]]:
    """The mixture with every function that makes an image replaced by `function`.

    Such functions carry `makes_image = True` (pali/data/preprocessors.py). This is how training on
    cached visual tokens drops rendering and decoding, and nothing else.
    """
    return _replace(mixture, lambda f: function if getattr(f, "makes_image", False) else f)


def fit_to_model(
    mixture: Mixture,
    *,
    image_size: ImageSize | None = None,
    pixels: PixelConfig | None = None,
    tokenizer: str | None = None,
    prompts: Iterable[tuple[str, str]] = (),
) -> list[tuple[Task, float]]:
    """The mixture with pictures as the model reads them, in its words, cut by its tokenizer.

    A task file gives defaults for all; the model decides. What is None stays as it is.

    Args:
      mixture: tasks and rates.
      image_size: for functions that make an image and have a field `size`. One that has no field
        `pixels` as well draws squares.
      pixels: for functions with the fields `size` and `pixels`, which get the size too: those that
        make an image of a picture file, or must know which part of it the model sees.
      tokenizer: path of a SentencePiece model, for functions with a field `tokenizer`.
      prompts: (name, template), for functions with the fields `prompt` and `template`.

    Raises:
      ValueError: a function draws squares, and `image_size` is none.
    """

    templates = dict(prompts)

    def fitted(function: Any) -> Function:
        changes: dict[str, Any] = {}
        if hasattr(function, "template") and function.prompt in templates:
            changes["template"] = templates[function.prompt]
        if tokenizer and hasattr(function, "tokenizer"):
            changes["tokenizer"] = tokenizer
        any_shape = hasattr(function, "pixels")
        makes_image = getattr(function, "makes_image", False)
        if hasattr(function, "size") and (makes_image or any_shape):
            if image_size:
                changes["size"] = image_size if any_shape else side(image_size, repr(function))
            if pixels and any_shape:
                changes["pixels"] = pixels
        if changes and is_dataclass(function):
            return replace(cast("Any", function), **changes)
        return function

    return _replace(mixture, fitted)


def side(size: ImageSize, what: str) -> int:
    """The side of a square; for another shape a ValueError that says that `what` needs a square."""
    height, width = image_shape(size)
    if height != width:
        raise ValueError(
            f"{what} knows square pictures alone, and the model reads {height} x {width} pixels: "
            "do without it, or set vit.image_size to one number"
        )
    return height


@dataclass(frozen=True)
class Drawn:
    """The examples of a task: in every epoch each record once, in an order of its own."""

    task: Task
    seed: int
    shuffled: bool = True
    """False: one epoch, in the order of the source."""

    def __len__(self) -> int:
        """Endless, or the records of one epoch."""
        return sys.maxsize if self.shuffled else len(self.task.source)

    def __getitem__(self, index: int) -> Example:
        """The example, or what stands in the place of one that cannot be used."""
        try:
            record = self.record(index)
            return record if "skipped" in record else apply(self.task.functions, record)
        except UNUSABLE as error:
            return skipped(error)

    def record(self, index: int) -> Example:
        """The record behind an example, with its "draw".

        Raises:
          RecordError: it cannot be used.
        """
        length = len(self.task.source)
        epoch, record = divmod(index, length)
        name = f"{self.seed}/{self.task.name}"
        if self.shuffled:
            record = grain.experimental.index_shuffle(
                record, max_index=length - 1, seed=number_of(f"{name}/{epoch}") % 2**32, rounds=4
            )
        return self.task.source[record] | {"draw": f"{name}/{record}/{epoch}"}


def task_dataset(task: Task) -> grain.MapDataset:
    """The task's features in the order of its source, once."""
    return grain.MapDataset.source(Drawn(task, seed=0, shuffled=False))


def mixture_dataset(mixture: Mixture, seed: int) -> grain.MapDataset:
    """Endless stream of task features: each task shuffled anew each epoch, mixed by the rates.

    Raises:
      ValueError: no task, a rate that is not positive, or a source that is empty or larger than
        `MAX_RECORDS`.
    """
    if not mixture:
        raise ValueError("the mixture has no task")
    parts = []
    for task, rate in mixture:
        if not rate > 0:
            raise ValueError(f"task {task.name!r} has rate {rate}; it must be positive")
        if not 0 < len(task.source) <= MAX_RECORDS:
            raise ValueError(
                f"task {task.name!r} has {len(task.source)} records; it must have 1 to "
                f"{MAX_RECORDS} of them, else they cannot be shuffled"
            )
        parts.append(grain.MapDataset.source(Drawn(task, seed)))
    rates = tuple(float(rate) for _, rate in mixture)
    return grain.MapDataset.select_from_datasets(parts, Interleaved(rates))


def one_epoch(examples: grain.MapDataset, records: int, batch_size: int) -> grain.MapDataset:
    """The first `records` examples, and padding up to a whole number of batches."""
    return grain.MapDataset.source(
        Filled(examples, records, -(-records // batch_size) * batch_size)
    )


def batch_dataset(
    examples: grain.MapDataset, convert: Function, batch_size: int, shares: Shares = WHOLE
) -> grain.MapDataset:
    """This host's rows of the global batches: `dataset[k]` is the batch of step k.

    Args:
      examples: task features, endless (`mixture_dataset`).
      convert: task features -> arrays of fixed shapes (pali/data/converter.py).
      batch_size: rows of the global batch.
      shares: which of them this host reads.

    Returns:
      Dicts of arrays `[rows of this host, …]`, its shares one after the other.

    Raises:
      ValueError: the shares do not divide `batch_size`, or there are no such shares.
    """
    mine, count = shares
    rows = own_rows(examples, batch_size, shares)
    return rows.map(convert).batch(batch_size // count * len(mine), drop_remainder=True)


def own_rows(examples: grain.MapDataset, batch_size: int, shares: Shares) -> grain.MapDataset:
    """Of a global stream of examples those that this host reads, batch by batch.

    Raises:
      ValueError: as for `batch_dataset`.
    """
    mine, count = shares
    if batch_size % count:
        more = -(-batch_size // count) * count
        raise ValueError(
            f"a batch of {batch_size} cannot be divided into {count} equal shares; the next larger "
            f"that can has {more} rows"
        )
    if not mine or list(mine) != sorted({*mine} & {*range(count)}):
        raise ValueError(f"{mine} are no shares of {count}: give numbers from 0 to {count - 1}")
    rows = HostRows(len(examples), batch_size, mine, count)
    return grain.MapDataset.select_from_datasets([examples], rows)


def iterate(
    batches: grain.MapDataset, start: int = 0, *, threads: int = 1, workers: int = 0
) -> grain.DatasetIterator:
    """Batches from step `start` on, prepared in the background, in order.

    Args:
      batches: what `batch_dataset` returns.
      start: first step; starting late costs nothing.
      threads: threads (of each process) that prepare batches ahead; 0 prepares them on demand.
      workers: processes that prepare batches; 0 stays in this one. Worth it from about four cores
        on: what releases the GIL (rendering, decoding) already runs beside the step in threads.

    Returns:
      An iterator with `.close()`, which ends its threads and processes.
    """
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    dataset = batches.slice(slice(start, None)).to_iter_dataset(ahead)
    if workers:
        _mark_flags_as_parsed()
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers), worker_init_fn=_in_worker
        )
    return dataset.__iter__()


@dataclass(frozen=True)
class Filled:
    """The first examples, and then what stands in the place of one that cannot be used."""

    examples: grain.MapDataset
    used: int
    length: int

    def __len__(self) -> int:
        """Padding included."""
        return self.length

    def __getitem__(self, index: int) -> Example:
        """An example, or padding."""
        if index < self.used:
            return cast("Example", self.examples[index])
        return skipped(RecordError("row", "the last batch has no further record"))


@dataclass(frozen=True)
class HostRows(grain.transforms.DatasetSelectionMap):
    """Where the i-th example of one host lies in the global stream of examples."""

    length: int
    batch_size: int
    shares: tuple[int, ...]
    """Those of this host, of …"""
    count: int
    """… so many."""

    def __len__(self) -> int:
        """Examples of this host, in whole batches."""
        return self.length // self.batch_size * (self.batch_size // self.count) * len(self.shares)

    def __getitem__(self, index: int) -> tuple[int, int]:
        """(dataset 0, index in the global stream)."""
        rows = self.batch_size // self.count
        step, row = divmod(index, rows * len(self.shares))
        share, row = divmod(row, rows)
        return 0, step * self.batch_size + self.shares[share] * rows + row


def _replace(mixture: Mixture, change: Callable[[Function], Function]) -> list[tuple[Task, float]]:
    return [
        (replace(task, functions=tuple(change(f) for f in task.functions)), rate)
        for task, rate in mixture
    ]


def _mark_flags_as_parsed() -> None:
    # Grain's worker processes read absl flags, which nothing but absl.app parses.
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS(sys.argv[:1])


def _in_worker(index: int, count: int) -> None:
    # Grain's iterators die in reference cycles; collected during the interpreter's own teardown
    # they print an AttributeError for each worker.
    del index, count
    atexit.register(gc.collect)
