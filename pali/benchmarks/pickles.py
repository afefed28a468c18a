# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pickled files of plain containers, read without running what a pickle may ask for.

A pickle can name any function and have it called. Here only what needs no name is built: dicts,
lists, tuples, sets, texts, numbers. A file that asks for anything else is refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"it asks for {module}.{name}, and only plain containers are read")

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it refers to objects that are not in it")


def read_pickle(path: Path) -> Any:
    """What a pickled file holds; texts of Python 2 are read as UTF-8.

    Raises:
      OSError: it cannot be read.
      ValueError: it is no pickle, is cut short, or asks for more than plain containers.
    """
    with path.open("rb") as file:
        try:
            return _Plain(file, encoding="utf-8", errors="replace").load()
        except OSError:
            raise
        except Exception as error:  # A damaged pickle fails in any way.
            raise ValueError(f"{path} is no pickle of plain containers: {error}") from None
