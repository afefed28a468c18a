# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A data set that TensorFlow Datasets prepared, as a source, read without TensorFlow.

    Tfds("~/tensorflow_datasets/birds/1.0.0", split="train[:90%]")

tensorflow_datasets, which SeqIO brings, reads the formats array_record and parquet at random by
itself; TFRecord, what it writes by default, is read by pali/data/tfrecord.py and decoded by its
features. None of this imports TensorFlow. Other formats (riegeli, …) are refused, with the command
that converts them.

Features are as TFDS gives them, but for these: a picture stays the bytes of its file, and what it
calls a string is str, unless `binary` names it. Names of nested features are joined by "/". Lists
of numbers are NumPy arrays.
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pali.data.rows import FileRows, checked
from pali.data.skipping import RecordError
from pali.data.tfrecord import as_text, find_records, read_record


@dataclass(frozen=True)
class Tfds:
    """Examples of one split, in the order in which TFDS stored them.

    Raises on first use:
      FileNotFoundError: no such folder, or it is the data set's and not that of a version.
      ValueError: an unknown split or feature, a format that cannot be read at random, or files
        that are damaged or missing.
    """

    folder: str
    """That of a version, with dataset_info.json."""
    split: str
    """As TFDS writes it: "train", "train[:90%]", "train+test"."""
    image: str | None = "image"
    """The feature with the picture; None leaves pictures out."""
    binary: Sequence[str] = ()
    """Features of type string that are bytes and not text."""

    def __len__(self) -> int:
        """Examples."""
        return len(_open(self.folder, self.split).examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The example as a record; RecordError names it, if it cannot be used."""
        split = _open(self.folder, self.split)
        number = checked(index, len(split.examples))
        where = f"{split.folder}, {self.split}, example {number}"
        example = split.read(number, where)
        picture = None if self.image is None else self._picture(example)
        as_bytes = {self.image, *self.binary, *split.pictures}
        record = {
            name: _plain(value, f"{where}: the feature {name!r}", name in as_bytes)
            for name, value in example.items()
            if picture or name not in split.pictures
        }
        if picture is None:
            return record
        image = record.pop(picture)
        if not isinstance(image, bytes):
            raise ValueError(
                f"{split.folder}: the feature {picture!r} is no picture; name another by image=…"
            )
        return {"image_key": f"{split.folder}/{self.split}#{number}"} | record | {"image": image}

    def _picture(self, example: Mapping[str, Any]) -> str | None:
        """The name of the feature with the picture; None where there is none to be expected."""
        if self.image in example:
            return self.image
        if self.image == "image":
            return None
        raise ValueError(
            f"{self.folder} has no feature {self.image!r}; it has {', '.join(example)}"
        )


@dataclass(frozen=True)
class _Split:
    """What reads one split."""

    folder: str
    examples: Any
    """By number, serialised."""
    features: Any
    pictures: tuple[str, ...]
    """Names of the features that are pictures."""

    def read(self, number: int, where: str) -> dict[str, Any]:
        """An example with flat names, pictures not decoded."""
        from google.protobuf.message import DecodeError

        decoders = _decoders(self.pictures)
        try:
            data = self.examples[number]
            example = self.features.deserialize_example_np(data, decoders=decoders)
        except RecordError:
            raise
        # array_record raises a RuntimeError for all that is wrong with a file.
        except (RuntimeError, DecodeError, ValueError, KeyError, AttributeError) as error:
            raise RecordError("row", f"{where} is damaged: {error}") from None
        return dict(_flat(example))


@dataclass(frozen=True)
class _TFRecords:
    """The serialised examples of a split in TFRecord files."""

    rows: FileRows
    begins: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> bytes:
        place, number = self.rows.find(index)
        file = self.rows.files[place]
        begin = int(self.begins[place][number])
        return read_record(file, begin, f"{file}, the record at byte {begin}")


@functools.cache
def _open(folder: str, split: str) -> _Split:
    path = _version_folder(folder)
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Reading data sets of TFDS needs tensorflow_datasets: pip install 'open-pali[train]'",
            name=error.name,
        ) from None
    tfds: Any = tensorflow_datasets  # Its modules are loaded lazily, and so have no types.
    builder = tfds.builder_from_directory(path)
    try:
        count = builder.info.splits[split].num_examples
    except (KeyError, ValueError, AssertionError):
        known = ", ".join(builder.info.splits)
        raise ValueError(
            f"{path} has no split {split!r}; it has {known}, and parts of these"
        ) from None
    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    examples: Any
    try:
        if not count:
            examples = ()
        elif formats & {"array_record", "parquet"}:
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            examples = builder.as_data_source(split, deserialize_method=raw)
            # Of array_record, TFDS opens files as late as their records are read.
            for part in builder.info.splits[split].file_instructions:
                os.stat(part.filename)
        elif "tfrecord" in formats:
            examples = _read_tfrecords(builder.info.splits[split].file_instructions)
        else:
            raise ValueError(
                f"the format {', '.join(formats)} cannot be read at random: tfds convert_format "
                f"--dataset_version_dir={path} --out_file_format=array_record"
            )
    except FileNotFoundError as error:
        missing = error.filename or error
        raise FileNotFoundError(f"{missing} is missing: prepare the data set again") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if len(examples) != count:  # TFDS reads a split of Parquet files as a whole.
        raise ValueError(
            f"{path}: the files of split {split!r} have {len(examples)} examples, and it should "
            f"have {count}. Parquet files give no part of a split; otherwise prepare the data set "
            "again"
        )
    pictures = tuple(_pictures(builder.info.features, tfds.features))
    return _Split(path, examples, builder.info.features, pictures)


def _read_tfrecords(instructions: Sequence[Any]) -> _TFRecords:
    """`instructions`: which examples of which file are in the split (TFDS's FileInstruction)."""
    files, begins = [], []
    for part in instructions:
        file = os.fspath(part.filename)
        found = find_records(file)
        if len(found) != part.examples_in_shard:
            raise ValueError(
                f"{file} has {len(found)} examples, and dataset_info.json says "
                f"{part.examples_in_shard}: prepare the data set again"
            )
        stop = None if part.take == -1 else part.skip + part.take
        files.append(file)
        begins.append(found[part.skip : stop])
    return _TFRecords(FileRows.of(files, [len(found) for found in begins]), tuple(begins))


def _version_folder(folder: str) -> str:
    path = pathlib.Path(folder).expanduser()
    if (path / "dataset_info.json").is_file():
        return str(path)
    below = sorted(str(info.parent) for info in path.glob("**/dataset_info.json"))
    if below:
        raise FileNotFoundError(
            f"{path} has no dataset_info.json; give the folder of a version: {', '.join(below[:5])}"
        )
    raise FileNotFoundError(
        f"{path} is not a data set that TFDS prepared (it has no dataset_info.json). For the "
        "TFRecord files of others: pali.data.tfrecord.TFRecord"
    )


def _pictures(features: Any, kinds: Any, above: str = "") -> Iterator[str]:
    """Flat names of the features that are pictures; `kinds` is tfds.features."""
    for name, feature in features.items():
        if isinstance(feature, kinds.Image):
            yield above + name
        elif isinstance(feature, kinds.FeaturesDict):
            yield from _pictures(feature, kinds, f"{above}{name}/")


def _decoders(pictures: Sequence[str]) -> dict[str, Any]:
    """What tells TFDS to leave pictures as bytes: nested as the features are."""
    from tensorflow_datasets import decode

    decoders: dict[str, Any] = {}
    for name in pictures:
        *above, last = name.split("/")
        inner = decoders
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = decode.SkipDecoding()
    return decoders


def _flat(example: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in example.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}/")
        else:
            yield above + name, value


def _plain(value: Any, what: str, as_bytes: bool) -> Any:
    """What TFDS gives -> text, bytes, numbers, lists of these, arrays of numbers."""
    if isinstance(value, bytes):
        return value if as_bytes else as_text(value, what)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, list):
        if value and all(isinstance(item, np.generic) for item in value):
            return np.array(value)
        return [_plain(item, what, as_bytes) for item in value]
    return value
