# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""By what the raw files of a part are known again: their sizes, and hashes of some of their bytes.

A part (pali/data/raw/dataset.py) is another one when its range, its file, or a file that stands
beside those of the parts has changed: a list of captions, a file of labels. Of a large file pieces
are read, spread evenly over it, so that an edit which leaves its size may go unseen there; a file
up to `WHOLE` bytes is read to its end. Of a part that is a folder, names and sizes count. Pictures
in folders that no part names are not looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pali.data.raw.dataset import Part

_PIECE, _PIECES = 2**16, 16
WHOLE = _PIECE * _PIECES
"""Bytes up to which a file is read to its end."""


def prints(source: Path, parts: Sequence[Part]) -> list[str]:
    """For each part a text of 16 characters, which others have only by the rarest chance."""
    files = {part.file: _seen(source / part.file) for part in parts}
    beside = [
        (path.name, _seen(path))
        for path in sorted(source.iterdir())
        if path.is_file() and path.name not in files and not path.name.startswith(".")
    ]
    told = [(asdict(part), files[part.file], beside) for part in parts]
    return [hashlib.sha256(json.dumps(one).encode()).hexdigest()[:16] for one in told]


def _seen(path: Path) -> Any:
    if path.is_dir():
        with os.scandir(path) as found:
            return sorted((file.name, file.stat().st_size) for file in found if file.is_file())
    size, digest = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        if size <= WHOLE:
            digest.update(file.read())
        for i in range(_PIECES if size > WHOLE else 0):
            file.seek((size - _PIECE) * i // (_PIECES - 1))
            digest.update(file.read(_PIECE))
    return size, digest.hexdigest()
