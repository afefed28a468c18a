# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A row of an Arrow table -> a record: what Parquet files and Hugging Face folders have in common.

| column                                         | in the record                                |
|------------------------------------------------|----------------------------------------------|
| the picture's, binary or a struct {bytes, path}| "image", the bytes of the file; "image_key"  |
| the picture's, text, or a struct without bytes | "image_key", a path below `image_folder`     |
| text, binary, number, true or false            | str, bytes, int or float, bool               |
| list of numbers                                | NumPy array                                  |
| everything else                                | as pyarrow's `as_py` gives it                |
| what Python cannot hold: text that is no UTF-8,| None                                         |
| a date after the year 9999                     |                                              |

A null is None, and NaN stays NaN: a row is not judged by a column that no function reads. What
needs a text and finds None raises RecordError by itself (pali/data/preprocessors.py). A row whose
picture is null raises it here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from pali.data.skipping import RecordError

Record = dict[str, Any]

PICTURE = "image"
"""The column that holds the picture, unless it is called otherwise."""


def picture_column(schema: Any, image: str | None, file: str) -> str | None:
    """The name of the column with the picture, or None where rows have none.

    Args:
      schema: of the table (pyarrow).
      image: what the column is said to be called; it need not be there if that is `PICTURE`.
      file: where the table is from, for errors.

    Raises:
      ValueError: there is no such column, or nothing in it can be a picture.
    """

    if image is None or (image == PICTURE and image not in schema.names):
        return None
    check_columns((image,), schema.names, file)
    kind = schema.field(image).type
    if not _is_picture(getattr(kind, "storage_type", kind)):
        raise ValueError(
            f"{file}: the column {image!r} is of type {kind}; a picture is binary (the bytes of a "
            "picture file), text (its path) or a struct {bytes, path}. Name the right column by "
            "image=…, or say image=None if rows have no picture"
        )
    return image


def check_columns(wanted: Sequence[str], there: Sequence[str], file: str) -> None:
    """ValueError for a column that a table does not have; it names those it has."""
    if twice := [name for name in wanted if list(there).count(name) > 1]:
        raise ValueError(f"{file} has several columns {twice[0]!r}; give each its own name")
    if missing := [name for name in wanted if name not in there]:
        raise ValueError(f"{file} has no column {', '.join(missing)}; it has {', '.join(there)}")


def to_record(
    row: Any, picture: str | None, image_folder: str | None, file: str, number: int
) -> Record:
    """The only row of a table, as a record.

    Args:
      row: a pyarrow table of one row.
      picture: see `picture_column`.
      image_folder: where paths in that column begin.
      file, number: where the row is from.

    Returns:
      A new dict; its "image_key" is "FILE#NUMBER" where pictures come as bytes, unless there is a
      column of that name.

    Raises:
      RecordError: the picture is null, or neither bytes nor a path.
    """
    record = {name: _value(row.column(name)) for name in row.column_names}
    if picture is None:
        return record
    value = record.pop(picture)
    fields = value if isinstance(value, dict) else {"bytes": value}
    data, path = fields.get("bytes"), fields.get("path")
    if isinstance(data, str):
        data, path = None, data
    kinds = ((data, bytes), (path, str))
    wrong = [part for part, kind in kinds if not (part is None or isinstance(part, kind))]
    if wrong:
        message = f"{file}, row {number}: {picture!r} has {wrong[0]!r}, neither bytes nor a path"
        raise RecordError("picture", message)
    if data is not None:
        record["image"] = data
        if not isinstance(record.get("image_key"), str):
            record["image_key"] = f"{file}#{number}"
    elif path is not None:
        record["image_key"] = os.path.join(image_folder or "", path)
    else:
        raise RecordError("picture", f"{file}, row {number} has no picture: {picture!r} is null")
    return record


def _value(column: Any) -> Any:
    """The one value of a column."""
    import pyarrow as pa

    try:
        value = column[0].as_py()
    except (ValueError, OverflowError):
        return None
    kind = column.type
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if isinstance(value, list) and any(check(kind) for check in is_list):
        item = kind.value_type
        if (pa.types.is_integer(item) or pa.types.is_floating(item)) and None not in value:
            return np.asarray(value, item.to_pandas_dtype())
    return value


def _is_picture(kind: Any) -> bool:
    """Whether values of a type can be pictures: their bytes, their path, or a struct of the two."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(kind.field(i).name in ("bytes", "path") for i in range(kind.num_fields))
    if types.is_dictionary(kind):
        kind = kind.value_type
    checks = (types.is_binary, types.is_large_binary, types.is_string, types.is_large_string)
    return any(check(kind) for check in checks)
