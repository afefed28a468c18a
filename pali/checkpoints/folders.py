# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def made(dest: Path) -> Iterator[Path]:
    """A folder to write into, beside `dest`, which becomes `dest` at the end of the block.

    If the block fails or is interrupted, nothing is left of it.

    Raises:
      FileExistsError: `dest` is there already.
    """
    if dest.exists():
        raise FileExistsError(f"{dest} is there already; give another folder, or delete it")
    dest.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", dir=dest.parent))
    try:
        unfinished.chmod(dest.parent.stat().st_mode & 0o777)  # mkdtemp's is for its owner alone
        yield unfinished
        unfinished.rename(dest)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
