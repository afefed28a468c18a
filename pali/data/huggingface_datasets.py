# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of Hugging Face's `datasets` as a source: what `save_to_disk` writes.

    HuggingFaceFolder("birds", split="train")

Its Arrow files are mapped into memory and read at random, a row at a time. Features are not
decoded: a picture stays the bytes of its file, a class its number. What becomes of the columns:
pali/data/arrow.py. Needs `datasets`, which does not import TensorFlow or torch by itself.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from typing import Any

from pali.data.arrow import PICTURE, picture_column, to_record
from pali.data.rows import checked


@dataclass(frozen=True)
class HuggingFaceFolder:
    """Rows of a Dataset, or of one split of a DatasetDict.

    Raises on first use:
      FileNotFoundError: no such folder.
      ValueError: it is another kind of folder or is damaged, there is no such split or column.
      ModuleNotFoundError: `datasets` is not installed.
    """

    path: str
    split: str | None = None
    """Of a DatasetDict; a Dataset has none."""
    image: str | None = PICTURE
    """The column with the picture; None leaves pictures out."""
    image_folder: str | None = None
    """Where the paths begin, if the picture's column has paths."""

    def __len__(self) -> int:
        """Rows."""
        return len(_open(self.path, self.split, self.image)[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The row as a record; RecordError if its picture is null."""
        rows, picture, folder = _open(self.path, self.split, self.image)
        row = rows[checked(index, len(rows))]
        return to_record(row, picture, self.image_folder, folder, index)


@functools.cache
def _open(path: str, split: str | None, image: str | None) -> tuple[Any, str | None, str]:
    """The rows as Arrow tables, the column with the picture, and the folder they are in."""
    folder = _folder(os.path.expanduser(path), split)
    try:
        import datasets
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Reading folders of `datasets` needs that library: pip install 'open-pali[hf]'",
            name="datasets",
        ) from None
    try:
        rows: Any = datasets.load_from_disk(folder)
    except IndexError:  # Saved without rows, it has no file, and datasets finds none to read.
        raise ValueError(f"{folder} has no rows, or its state.json names no files") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder} cannot be read ({error}): save it again, by save_to_disk of datasets "
            f"{datasets.__version__} or older"
        ) from None
    schema = rows.features.arrow_schema
    picture = picture_column(schema, image, folder)
    if picture is None and PICTURE in schema.names:
        rows = rows.remove_columns(PICTURE)
    return rows.with_format("arrow"), picture, folder


def _folder(path: str, split: str | None) -> str:
    """The folder of the Dataset that is asked for."""
    if not os.path.isdir(path):
        raise FileNotFoundError(
            f"{path}: no such folder; give one that save_to_disk of Hugging Face's datasets wrote "
            f"(working directory: {os.getcwd()})"
        )
    splits = _splits(path)
    if splits is None:
        if not os.path.isfile(os.path.join(path, "state.json")):
            raise ValueError(
                f"{path} was not written by save_to_disk of datasets (it has no state.json): read "
                "a folder of Parquet files by pali.data.parquet.Parquet; for any other, "
                "datasets.load_dataset(…).save_to_disk(…) makes one"
            )
        if split is not None:
            raise ValueError(f"{path} is one Dataset and has no splits: leave split={split!r} out")
        return path
    if split not in splits:
        asked = "say which split is meant" if split is None else f"there is no split {split!r}"
        raise ValueError(f"{path}: {asked}; it has {', '.join(splits)}")
    return os.path.join(path, split)


def _splits(path: str) -> list[str] | None:
    """Names of the splits of a DatasetDict, None for a Dataset."""
    try:
        with open(os.path.join(path, "dataset_dict.json"), encoding="utf-8") as file:
            return list(json.load(file)["splits"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}/dataset_dict.json is damaged ({error})") from None
