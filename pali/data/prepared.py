# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Datasets that `pali data prepare` has written, by number: what the tasks on public data read.

    DATA/NAME/manifest.json                              what was written from what, with checksums
    DATA/NAME/SPLIT-9f86d081884c7d65.array_record        records (pali/data/records.py: `pack`) of a
                                                         part of the raw files, which names it
    DATA/NAME/SPLIT-9f86d081884c7d65.ids.npy             u64: the hash of each record's id

The manifest says which file comes after which.

DATA is the environment variable PALI_DATA, or ~/pali_data. A picture is stored once, with the
dataset it belongs to; records of another that is about the same pictures say where it is.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
from jaxtyping import UInt64

from pali.data.drawing import number_of
from pali.data.pipeline import Example
from pali.data.raw import DATASETS
from pali.data.records import unpack

FORMAT = 2
MANIFEST = "manifest.json"


def data_folder() -> Path:
    """Where prepared datasets are looked for: $PALI_DATA, or ~/pali_data."""
    return Path(os.environ.get("PALI_DATA") or "~/pali_data").expanduser()


@dataclass(frozen=True)
class Prepared:
    """The records of one split of a prepared dataset.

    A record has what the dataset's file in pali/data/raw says, with the picture as bytes in "image"
    and its name in "image_key"; two records about the same picture have the same.

    Raises:
      FileNotFoundError: on first use, if the dataset is not prepared, and it says what would do it;
        or it was prepared without this split.
      ValueError: it was prepared by another pali.
    """

    dataset: str
    split: str
    folder: str | None = None
    """None is `data_folder()`, at the time of reading."""

    def __len__(self) -> int:
        """Records of the split."""
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        """A record with its picture."""
        record = unpack(self._records[index])
        where = record.pop("picture", None)
        if where is not None:
            dataset, split, number = where
            other = unpack(_records(str(self._root), dataset, split)[number])
            if other["image_key"] != record["image_key"]:
                raise ValueError(
                    f"{self._root / dataset} was prepared again since {self.dataset} was, which is "
                    f"about its pictures: delete {self._root / self.dataset}, and prepare it again"
                )
            record["image"] = other["image"]
        return record

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records, of those that say theirs."""
        return read_manifest(self._root / self.dataset)["languages"].get(self.split, {})

    @property
    def published_languages(self) -> tuple[str, ...]:
        """Of the dataset as it is published, whatever is here; () where only its data tell."""
        return tuple(DATASETS[self.dataset].languages) if self.dataset in DATASETS else ()

    @property
    def _root(self) -> Path:
        return Path(self.folder) if self.folder else data_folder()

    @property
    def _records(self) -> Any:
        return _records(str(self._root), self.dataset, self.split)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What was prepared into a dataset's folder.

    Raises:
      FileNotFoundError: nothing, or not to its end.
      ValueError: by a pali of another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        to = "" if folder.parent == data_folder() else f" --to {folder.parent}"
        raise FileNotFoundError(
            f"{folder} has no prepared dataset: pali data prepare {folder.name} --from RAW{to}"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        written = manifest["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged ({error!r}): delete {folder}, and prepare it again"
        ) from None
    if written != FORMAT:
        raise ValueError(
            f"{path} is of format {written}, and this pali reads {FORMAT}: delete "
            f"{folder}, and prepare it again"
        )
    return manifest


@dataclass(frozen=True)
class Places:
    """Where the records of a prepared dataset are, by their ids."""

    dataset: str
    splits: tuple[str, ...]
    hashes: UInt64[np.ndarray, " n"]
    """Sorted."""
    numbers: np.ndarray
    """i64[n 2]: split, record."""

    def __getitem__(self, identifier: str) -> tuple[str, str, int]:
        """(dataset, split, record) of an id, the first where several have it; KeyError: none."""
        wanted = id_hash(identifier)
        found = int(np.searchsorted(self.hashes, wanted))
        if found == len(self.hashes) or self.hashes[found] != wanted:
            raise KeyError(identifier)
        split, number = self.numbers[found].tolist()
        return self.dataset, self.splits[split], number


@functools.cache
def read_places(folder: Path) -> Places:
    """Where each record of a prepared dataset is: 24 bytes for each, kept in memory.

    Raises:
      FileNotFoundError, ValueError: as `read_manifest`.
    """
    manifest = read_manifest(folder)
    splits = tuple(manifest["splits"])
    hashes, numbers = [np.zeros(0, np.uint64)], [np.zeros((0, 2), np.int64)]
    for i, split in enumerate(splits):
        found = split_ids(folder, manifest, split)
        hashes.append(found)
        numbers.append(np.stack([np.full(len(found), i), np.arange(len(found))], axis=1))
    together = np.concatenate(hashes)
    order = np.argsort(together, kind="stable")  # Stable: of equal ids the first comes first.
    return Places(folder.name, splits, together[order], np.concatenate(numbers)[order])


def split_ids(folder: Path, manifest: dict[str, Any], split: str) -> UInt64[np.ndarray, " n"]:
    """The hashes of a split's ids, in the order of its records."""
    files = files_of(manifest, split)
    return np.concatenate(
        [np.zeros(0, np.uint64), *(np.load(ids_file(folder / file)) for file in files)]
    )


def files_of(manifest: dict[str, Any], split: str) -> Iterable[str]:
    """The files that hold the records of a split, in order; those without a record are left out."""
    files = manifest["files"]
    return [file["name"] for file in files if file["split"] == split and file["records"]]


def ids_file(records: Path) -> Path:
    """Beside a file of records, the one with the hashes of their ids."""
    return records.with_suffix(".ids.npy")


def id_hash(identifier: str) -> np.uint64:
    """By which an id is looked for."""
    return np.uint64(number_of(identifier))


def forget() -> None:
    """Has this process open every dataset anew: for who has just prepared one."""
    read_places.cache_clear()
    _records.cache_clear()


@functools.cache
def _records(root: str, dataset: str, split: str) -> Any:
    folder = Path(root) / dataset
    manifest = read_manifest(folder)
    if split not in manifest["splits"]:
        raise FileNotFoundError(
            f"{folder} has no split {split!r}, only {', '.join(manifest['splits'])}: its raw files "
            "were not there when it was prepared"
        )
    files = [str(folder / name) for name in files_of(manifest, split)]
    return grain.sources.ArrayRecordDataSource(files) if files else ()
