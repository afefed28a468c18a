# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Parquet files as a source: one, a list, or a folder of shards, as `datasets` and pandas write.

    Parquet("birds/train-*.parquet", image="photo")

The rows of a file come in row groups, and a row cannot be read without its group. The groups read
last are kept, up to `CACHE_BYTES` in each process; where a set of data is much larger, shuffled
reading decodes a group for almost every row. Then write it with small groups
(`to_parquet(…, batch_size=100)` of datasets, `row_group_size=100` of pyarrow and pandas), or write
records once (`pali tasks NAME --write FOLDER`).

What becomes of the columns: pali/data/arrow.py. Needs pyarrow, which SeqIO brings.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pali.data.arrow import PICTURE, check_columns, picture_column, to_record
from pali.data.rows import FileRows, as_tuple, files_of
from pali.data.skipping import RecordError

CACHE_BYTES = 256 * 2**20
"""Memory of a process for row groups; a single larger one is kept all the same."""


@dataclass(frozen=True)
class Parquet:
    """Rows of Parquet files, in the order of the files and of the rows in them.

    Raises on first use:
      FileNotFoundError: no such file.
      ValueError: a file is no Parquet file or is damaged, a column is not there, or the files have
        different columns.
    """

    paths: str | Sequence[str]
    """Files, folders with *.parquet, or patterns (`pali.data.rows.files_of`)."""
    image: str | None = PICTURE
    """The column with the picture; None leaves pictures out."""
    image_folder: str | None = None
    """Where the paths begin, if the picture's column has paths."""
    columns: Sequence[str] | None = None
    """What to read beside the picture; None is every column."""

    def __len__(self) -> int:
        """Rows of all files."""
        return len(self._table.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The row as a record; RecordError if its group is damaged or its picture is null."""
        table = self._table
        place, number = table.rows.find(index)
        file = table.rows.files[place]
        group, offset = table.groups[place].find(number)
        try:
            rows = _GROUPS.get((file, group, table.columns), lambda: table.read(place, group))
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these.
            message = f"{file}, row {number}: its row group {group} cannot be read: {error}"
            raise RecordError("row", message) from None
        row = rows.slice(offset, 1)
        return to_record(row, table.picture, self.image_folder, file, number)

    @property
    def _table(self) -> _Table:
        columns = None if self.columns is None else as_tuple(self.columns)
        return _open(as_tuple(self.paths), self.image, columns)


@dataclass(frozen=True)
class _Table:
    """What is known of the files without reading their rows."""

    rows: FileRows
    groups: tuple[FileRows, ...]
    """Of each file: where its row groups end."""
    metadata: tuple[Any, ...]
    columns: tuple[str, ...]
    picture: str | None

    def read(self, place: int, group: int) -> Any:
        """A row group, as a pyarrow table."""
        import pyarrow.parquet as pq

        # Opened anew each time: threads cannot share a file's position.
        with pq.ParquetFile(
            self.rows.files[place],
            metadata=self.metadata[place],
            page_checksum_verification=True,
        ) as file:
            read = file.read_row_group(group, columns=list(self.columns), use_threads=False)
        return read.select(self.columns)


class _RowGroups:
    """The row groups that were read last, as many as `CACHE_BYTES` holds."""

    def __init__(self) -> None:
        self._tables: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, read: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        table = read()  # Not under the lock: other threads may find theirs meanwhile.
        with self._lock:
            self._tables[key] = table
            while len(self._tables) > 1 and self.nbytes > CACHE_BYTES:
                self._tables.popitem(last=False)
        return table

    @property
    def nbytes(self) -> int:
        return sum(table.nbytes for table in self._tables.values())


_GROUPS = _RowGroups()


@functools.cache
def _open(paths: tuple[str, ...], image: str | None, columns: tuple[str, ...] | None) -> _Table:
    files = files_of(paths, ("*.parquet",))
    metadata = [_metadata(file) for file in files]
    schemas = [found.schema.to_arrow_schema() for found in metadata]
    picture = picture_column(schemas[0], image, files[0])
    there = schemas[0].names
    if columns is None:
        wanted = [name for name in there if name != PICTURE or picture == PICTURE]
    else:
        wanted = [*columns, *([picture] if picture and picture not in columns else [])]
    for file, schema in zip(files, schemas, strict=True):
        if columns is None and set(schema.names) != set(there):
            raise ValueError(
                f"{file} has the columns {', '.join(schema.names)}, and {files[0]} has "
                f"{', '.join(there)}: name by columns=… what to read of both, or read them apart"
            )
        check_columns(wanted, schema.names, file)
        picture_column(schema, picture, file)
    groups = [_groups_of(file, found) for file, found in zip(files, metadata, strict=True)]
    rows = FileRows.of(files, [found.num_rows for found in metadata])
    return _Table(rows, tuple(groups), tuple(metadata), tuple(wanted), picture)


def _groups_of(file: str, metadata: Any) -> FileRows:
    counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    return FileRows.of((file,) * len(counts), counts)


def _metadata(file: str) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Reading Parquet files needs pyarrow: pip install 'open-pali[train]'", name="pyarrow"
        ) from None
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(
            f"{file} is not a Parquet file, or is damaged ({error}): download or write it again"
        ) from None
