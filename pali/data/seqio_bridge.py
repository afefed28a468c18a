# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One definition, two engines: our sources and functions as SeqIO tasks, and SeqIO tasks read back.

The only file of pali that imports SeqIO or TensorFlow. A task file (tasks/README.md) registers

    seqio.TaskRegistry.add(
        "my_task",
        source=RecordSource({"train": source, …}),
        preprocessors=[per_example(function, …)],
        output_features=pali_features(tokenizer),
        …
    )

and `task.get_dataset()` works as T5X users know it, while `read_mixture` gives the same sources,
functions and rates to pali/data/pipeline.py, which needs neither library. Both engines then yield
equal examples.
"""

from __future__ import annotations

import atexit
import contextlib
import difflib
import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from tensorflow.python.data.ops.iterator_ops import OwnedIterator

import pali.tasks
from pali.data.benchmark_items import BenchmarkItems
from pali.data.pipeline import Drawn, Example, Function, Source, Task, apply
from pali.data.prepared import Prepared
from pali.data.skipping import UNUSABLE


class RecordSource(seqio.DataSource):
    """A SeqIO source over one of our sources for each split; they stay reachable as `records`.

    Read by number, never through a Python generator: TensorFlow hangs at exit on a generator that
    was not read to its end, and numbers can be shuffled and sharded before anything is read.
    """

    def __init__(self, records: Mapping[str, Source]):
        """`records`: split -> source; none of them is read before it is needed."""
        super().__init__(splits=records, performs_internal_shuffling=True)
        self.records = dict(records)

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Any number of shards: shard i of n has records i, i + n, …"""
        return True

    def list_shards(self, split: str) -> list[str]:
        """One shard, which can be cut at will."""
        return [split]

    def num_input_examples(self, split: str) -> int:
        """Records of a split."""
        return len(self.records[split])

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        *,
        sequence_length: Mapping[str, int] | None = None,
        use_cached: bool = False,
        num_epochs: int | None = 1,
    ) -> tf.data.Dataset:
        """The records as tensors, shuffled as a whole when asked.

        They are those of our own engine's first epoch, shuffled or not, for the same seed; every
        epoch repeats it. The last three arguments do nothing, as in every SeqIO source.

        Raises:
          RecordError, ImageError: a record cannot be used. Our own engine keeps an empty place for
            it; tensors of a given rank can hold no such thing, so here the data set ends.
        """
        del sequence_length, use_cached, num_epochs
        source = self.records[split]
        if not len(source):
            raise ValueError(f"split {split!r} of {source} has no record")
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31)) if shuffle else 0
        drawn = Drawn(Task(self._task_name, source), int(seed), shuffle)

        def read(index: np.integer) -> Example:
            return drawn.record(int(index))

        indices = tf.data.Dataset.range(len(source))
        if shard_info is not None and shard_info.num_shards > 1:
            indices = indices.shard(shard_info.num_shards, shard_info.index)
        return _map(indices, read, read(np.int64(0)))

    @property
    def _task_name(self) -> str:
        """Of the task that reads this; SeqIO does not tell its sources."""
        tasks = (seqio.TaskRegistry.get(name) for name in seqio.TaskRegistry.names())
        return next((task.name for task in tasks if task.source is self), "")

    def __repr__(self) -> str:
        return f"RecordSource({self.records})"


class PerExample:
    """A SeqIO preprocessor made of per-example functions, which stay reachable as `functions`."""

    def __init__(self, functions: tuple[Function, ...], binary: tuple[str, ...]):
        """See `per_example`."""
        self.functions = functions
        self.binary = binary

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Runs the functions one after the other on each example.

        The first example is run beforehand, to learn the names, types and ranks of the features.
        """

        def run(example: Example) -> Example:
            return apply(self.functions, _to_python(example, self.binary))

        first: Any
        for first in dataset.take(1).as_numpy_iterator():
            return _map(dataset, run, run(first))
        raise ValueError("the dataset has no example to run the functions on")


def per_example(*functions: Function, binary: tuple[str, ...] = ()) -> PerExample:
    """Lifts functions dict -> dict (pali/data/preprocessors.py) into one SeqIO preprocessor.

    Args:
      functions: first to last; each example must have the same keys, types and ranks after them.
      binary: keys whose strings are bytes: ("image",) where the source gives pictures as the bytes
        of their files (Parquet, WebDataset, …). TensorFlow does not tell them from text, and all
        others are decoded as UTF-8 before a function sees them.
    """
    return PerExample(functions, binary)


def pali_features(tokenizer: str) -> dict[str, Any]:
    """Output features of a task: inputs, targets, and if it has them image and label.

    Args:
      tokenizer: path of a SentencePiece model that has its sentinels inside, as mT5's.
    """
    vocabulary = seqio.SentencePieceVocabulary(tokenizer, extra_ids=0)
    pixels = seqio.PassThroughVocabulary(256)
    return {
        "image": seqio.Feature(pixels, add_eos=False, rank=3, dtype=tf.uint8, required=False),
        "inputs": seqio.Feature(vocabulary, add_eos=True),
        "targets": seqio.Feature(vocabulary, add_eos=True),
        "label": seqio.Feature(
            seqio.PassThroughVocabulary(2**31 - 1),
            add_eos=False,
            rank=0,
            dtype=tf.int64,
            required=False,
        ),
    }


def task_parts(
    sources: Mapping[str, Any], functions: Sequence[Function], tokenizer: str
) -> dict[str, Any]:
    """What `seqio.TaskRegistry.add` needs besides a name and metrics, of a task of one source.

    Args:
      sources: split -> records.
      functions: per example.
      tokenizer: see `pali_features`.
    """
    return {
        "source": RecordSource(sources),
        "preprocessors": [per_example(*functions)],
        "output_features": pali_features(tokenizer),
        "shuffle_buffer_size": None,  # The source is shuffled as a whole.
    }


def classification_features(num_classes: int) -> dict[str, Any]:
    """Output features of a task that trains the ViT alone: image, label."""
    pixels, classes = seqio.PassThroughVocabulary(256), seqio.PassThroughVocabulary(num_classes)
    return {
        "image": seqio.Feature(pixels, add_eos=False, rank=3, dtype=tf.uint8),
        "label": seqio.Feature(classes, add_eos=False, rank=0, dtype=tf.int64),
    }


def read_mixture(
    name: str, split: str = "train", task_modules: Iterable[str] = ()
) -> list[tuple[Task, float]]:
    """The tasks and rates of a registered SeqIO mixture, or of one task, for the Grain pipeline.

    Args:
      name: of the mixture or task.
      split: tasks without this split are left out, as SeqIO does.
      task_modules: your own task files, imported beside the built-in ones.

    Raises:
      ValueError: no such mixture or task, no task has the split, or a task has a source or a
        preprocessor that is not one of ours and so cannot be read without TensorFlow.
    """
    pali.tasks.load(task_modules)
    provider = _get_provider(name)
    tasks = [task for task in seqio.get_subtasks(provider) if split in task.splits]
    if not tasks:
        raise ValueError(
            f"{name!r} has no split {split!r}; it has {', '.join(sorted(provider.splits))}"
        )
    rate = provider.get_rate if isinstance(provider, seqio.Mixture) else lambda task: 1.0
    return [(_read_task(task, split), rate(task)) for task in tasks]


@dataclass(frozen=True)
class EvaluationTask:
    """What scoring a task needs."""

    name: str
    splits: dict[str, Task]
    """Every split but "train"."""
    metric_fns: tuple[Callable[..., Any], ...]
    """As the task file names them: (targets, predictions) -> scores."""


def read_evaluation(name: str, task_modules: Iterable[str] = ()) -> list[EvaluationTask]:
    """A registered task, or the tasks of a mixture, for pali/evaluate.py.

    Args:
      name: of the mixture or task.
      task_modules: your own task files, imported beside the built-in ones.

    Raises:
      ValueError: as `read_mixture`, or a task has only the split "train".
    """
    pali.tasks.load(task_modules)
    found = []
    for task in seqio.get_subtasks(_get_provider(name)):
        splits = {split: _read_task(task, split) for split in task.splits if split != "train"}
        if not splits:
            raise ValueError(f"task {task.name!r} has no split to evaluate, only 'train'")
        found.append(EvaluationTask(task.name, splits, tuple(task.metric_fns)))
    return found


def is_registered(name: str, task_modules: Iterable[str] = ()) -> bool:
    """Whether there is a task or mixture of that name."""
    pali.tasks.load(task_modules)
    return name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names()


def answering_tasks(task_modules: Iterable[str] = ()) -> list[str]:
    """Names of the registered tasks that can be evaluated all together: for `--tasks all`.

    These are the tasks with target texts, a metric and a split beside "train" whose data are here,
    in the order in which they were registered.

    Args:
      task_modules: your own task files, imported beside the built-in ones.
    """
    pali.tasks.load(task_modules)
    found = []
    for name in seqio.TaskRegistry.names():
        task = seqio.TaskRegistry.get(name)
        splits = [split for split in task.splits if split != "train"]
        here = all(_size(task.source, split) for split in splits)
        if "targets" in task.output_features and task.metric_fns and splits and here:
            found.append(name)
    return found


@dataclass(frozen=True)
class RegisteredTask:
    """What there is to say of a task without reading its records."""

    source: str
    """The kind of source: the name of its class, and of the dataset that `pali data prepare`
    makes for it."""
    splits: dict[str, int | None]
    """Split -> records; None where the source does not say, or its data are not here."""
    languages: tuple[str, ...]
    """Codes, of the records that are here; where none are or they do not say, of what is published.
    () where that does not say either."""
    missing: str
    """Why data are not here, and how to get them; "" where all are."""


@dataclass(frozen=True)
class Registered:
    """What SeqIO's registries hold, in plain values."""

    tasks: dict[str, RegisteredTask]
    mixtures: dict[str, dict[str, float | None]]
    """Mixture -> task -> rate; None where it follows from data that are not here."""


def registered(task_modules: Iterable[str] = ()) -> Registered:
    """Every registered task and mixture, to be looked at.

    Args:
      task_modules: your own task files, imported beside the built-in ones.

    Raises:
      ValueError: a module cannot be found.
    """
    pali.tasks.load(task_modules)
    tasks = {name: seqio.TaskRegistry.get(name) for name in sorted(seqio.TaskRegistry.names())}
    mixtures = {
        name: seqio.MixtureRegistry.get(name) for name in sorted(seqio.MixtureRegistry.names())
    }
    return Registered(
        {name: _describe(task) for name, task in tasks.items()},
        {
            name: {task.name: _rate(mixture, task) for task in seqio.get_subtasks(mixture)}
            for name, mixture in mixtures.items()
        },
    )


def _describe(task: seqio.Task) -> RegisteredTask:
    source: Any = task.source
    ours = isinstance(source, RecordSource)
    records: dict[str, Any] = source.records if ours else dict.fromkeys(task.splits, source)
    sizes: dict[str, int | None] = {}
    languages: set[str] = set()
    missing = ""
    for split, part in records.items():
        try:
            size = source.num_input_examples(split)
            languages |= _languages_here(part)
            if not sizes:  # Some know their size without having read anything.
                with contextlib.suppress(*UNUSABLE, IndexError, TypeError):
                    part[0]
            sizes[split] = size
        except FileNotFoundError as error:
            sizes[split] = None
            missing = missing or str(error)
    if not languages:
        published = (getattr(part, "published_languages", ()) for part in records.values())
        languages = {code for codes in published for code in codes}
    kinds = dict.fromkeys(_kind(part) for part in records.values())
    return RegisteredTask(", ".join(kinds), sizes, tuple(sorted(languages)), missing)


def _kind(source: Any) -> str:
    """What a source is called in a list: its class, and the public dataset that it reads."""
    dataset = source.dataset if isinstance(source, Prepared) else ""
    return f"{type(source).__name__} {dataset}".rstrip()


def _languages_here(source: Any) -> set[str]:
    """Of the records of a source; those of benchmarks are also asked in languages."""
    if isinstance(source, BenchmarkItems):
        return source.languages_here
    return set(getattr(source, "per_language", ()))


def _rate(mixture: seqio.Mixture, task: seqio.Task) -> float | None:
    try:
        return mixture.get_rate(task)
    except FileNotFoundError:
        return None


def _size(source: Any, split: str) -> int | None:
    try:
        return source.num_input_examples(split)
    except FileNotFoundError:  # Its data are not here; others' may be.
        return None


def _get_provider(name: str) -> Any:
    names = [*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"nearest: {', '.join(near)}" if near else "`pali tasks` lists them"
        raise ValueError(
            f"no task or mixture is named {name!r}; {hint}. Those of your own files appear when "
            "--module, or data.task_modules of a config, names the files."
        )
    return seqio.get_mixture_or_task(name)


def _read_task(task: seqio.Task, split: str) -> Task:
    if not isinstance(task.source, RecordSource):
        raise ValueError(
            f"task {task.name!r} reads from {type(task.source).__name__}; training reads tasks "
            "whose source is a pali.data.seqio_bridge.RecordSource"
        )
    functions: list[Function] = []
    for preprocessor in task.preprocessors:
        if not isinstance(preprocessor, PerExample):
            raise ValueError(
                f"task {task.name!r} has the preprocessor {preprocessor}, which works on a whole "
                "tf.data set: training needs exactly one example of every record. Write it as a "
                "function dict -> dict, lifted by per_example(…); what makes several examples of a "
                "record, or none, belongs before the records are written (pali data prepare)"
            )
        functions += preprocessor.functions
    return Task(task.name, task.source.records[split], tuple(functions))


def _map(
    dataset: tf.data.Dataset, function: Callable[[Any], Example], like: Example
) -> tf.data.Dataset:
    """`dataset.map(function)` for a Python function whose results look like `like`."""
    keys = sorted(like)
    specs = [_spec(key, like[key]) for key in keys]
    types = {key: spec.dtype.as_numpy_dtype for key, spec in zip(keys, specs, strict=True)}
    # What goes in may be a dict (features) or a single number (an index).
    structure = dataset.element_spec

    def run(*tensors: Any) -> list[Any]:
        result = function(tf.nest.pack_sequence_as(structure, tensors))
        if sorted(result) != keys:
            raise ValueError(f"an example has the keys {sorted(result)}, the first one {keys}")
        return [np.asarray(result[key], types[key]) for key in keys]

    @tf.autograph.experimental.do_not_convert  # It is Python, and stays Python.
    def lifted(element: Any) -> dict[str, tf.Tensor]:
        flat = tf.nest.flatten(element)
        values = tf.numpy_function(run, flat, [spec.dtype for spec in specs], stateful=False)
        for value, spec in zip(values, specs, strict=True):
            value.set_shape(spec.shape)
        return dict(zip(keys, values, strict=True))

    return dataset.map(lifted, num_parallel_calls=tf.data.AUTOTUNE)


def _spec(key: str, value: Any) -> tf.TensorSpec:
    """Type and rank of a field; sizes may differ between examples."""
    if isinstance(value, str | bytes):
        return tf.TensorSpec([], tf.string)
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tf.TensorSpec([None], tf.string)
    if isinstance(value, bool | int | float | np.ndarray | np.generic):
        array = np.asarray(value)
        return tf.TensorSpec([None] * array.ndim, tf.as_dtype(array.dtype))
    raise ValueError(
        f"field {key!r} is a {type(value).__name__}; SeqIO can carry text, bytes, numbers, arrays "
        "and lists of text"
    )


def _to_python(example: Mapping[str, Any], binary: tuple[str, ...]) -> Example:
    """What TensorFlow made of an example -> what it was: text, numbers, lists of text, arrays."""

    def text(key: str, value: bytes) -> str | bytes:
        if key in binary:
            return value
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"field {key!r} is not text; say so: per_example(…, binary=({key!r},))"
            ) from None

    def restore(key: str, value: Any) -> Any:
        if isinstance(value, bytes):
            return text(key, value)
        if value.dtype == object:
            return [text(key, item) for item in value]
        return value.item() if value.ndim == 0 else value

    return {key: restore(key, value) for key, value in example.items()}


@atexit.register
def _end_iterators() -> None:
    """Ends iterators that were not read to their end, while their threads can still call Python.

    Once the interpreter is being torn down such a call never returns, and TensorFlow would wait for
    it for ever.
    """
    for thing in gc.get_objects():
        if issubclass(type(thing), OwnedIterator):
            thing._iterator_resource = None
