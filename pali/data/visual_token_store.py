# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Visual tokens on disk, by key: rows of equal length that are checked whenever they are read.

    DIR/NAME/cache.json             what the tokens come from (`Origin`); NAME is its hash
    DIR/NAME/SHARD.tokens           a row for each picture, one after the other
    DIR/NAME/SHARD.index            an `ENTRY` of 36 bytes for each row: its key, its checksum
    DIR/NAME/SHARD.unusable.jsonl   keys of pictures of which there are no tokens, and why

A row is bfloat16[p d], or f32[p] and int8[p d]: a scale for each token, and the token in 255 steps
of it. Whoever fills a cache writes shards of his own, so several processes cannot disturb each
other; of two rows with one key either will do. A row is on the disk before its entry is, so what
has an entry is whole, whenever the writer is killed. The index is kept in memory when reading: 44
bytes a picture.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from jaxtyping import Float, UInt8

from pali.data.journal import naming, replace

FORMAT = 1
META = "cache.json"
SHARD_BYTES = 2**32
"""A shard that is longer is followed by another."""

ENTRY = np.dtype(
    [
        ("high", "<u8"),
        ("low", "<u8"),
        ("pixels", "<u8"),
        ("error", "<f4"),
        ("row", "<u4"),
        ("entry", "<u4"),
    ]
)
"""Both halves of a key, a hash of the pixels, how far off the row is, and checksums of the row and
of all before."""

_COVERED = ENTRY.itemsize - 4


@dataclass(frozen=True)
class Origin:
    """What visual tokens depend on beside the picture, and how they are kept."""

    params: str
    """Hash of the ViT's parameters."""
    config: str
    """Of the ViT, as JSON."""
    tokens: int
    width: int
    dtype: Literal["bfloat16", "int8"]

    @property
    def name(self) -> str:
        """Folder of these tokens."""
        text = json.dumps([FORMAT, asdict(self)], sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{self.dtype}"

    @property
    def row_bytes(self) -> int:
        """What one picture takes, its entry left out."""
        numbers = self.tokens * self.width
        return 2 * numbers if self.dtype == "bfloat16" else 4 * self.tokens + numbers


def encode_rows(
    tokens: Float[np.ndarray, "n p d"], dtype: str
) -> tuple[UInt8[np.ndarray, "n bytes"], Float[np.ndarray, " n"]]:
    """Rows as they are stored, and how far each is off: |stored - tokens| / |tokens|.

    Raises:
      ValueError: a token is not finite.
    """
    tokens = tokens.astype(np.float32)
    if not np.isfinite(tokens).all():
        raise ValueError(
            "the ViT makes visual tokens that are no numbers: its weights, or its dtype, are wrong"
        )
    if dtype == "bfloat16":
        rows = tokens.astype(ml_dtypes.bfloat16).view(np.uint8).reshape(len(tokens), -1)
    else:
        scales = np.abs(tokens).max(-1, keepdims=True) / 127
        steps = np.rint(tokens / np.where(scales > 0, scales, 1)).astype(np.int8)
        parts = (part.reshape(len(tokens), -1).view(np.uint8) for part in (scales, steps))
        rows = np.concatenate(list(parts), axis=1)
    errors = []
    for row, made in zip(rows, tokens, strict=True):
        kept = decode_row(row, dtype, len(made)).astype(np.float64)
        errors.append(np.linalg.norm(kept - made) / (np.linalg.norm(made.astype(np.float64)) or 1))
    return rows, np.array(errors, np.float32)


def decode_row(
    row: UInt8[np.ndarray, " bytes"], dtype: str, tokens: int
) -> Float[np.ndarray, "p d"]:
    """The visual tokens of a row, bfloat16."""
    if dtype == "bfloat16":
        return row.view(ml_dtypes.bfloat16).reshape(tokens, -1)
    scales = row[: 4 * tokens].view(np.float32)[:, None]
    steps = row[4 * tokens :].view(np.int8).reshape(tokens, -1)
    return (steps * scales).astype(ml_dtypes.bfloat16)


class Writer:
    """Adds rows to a cache, in shards that nobody else writes; use it in a `with` statement."""

    def __init__(self, folder: Path, origin: Origin):
        """Makes the folder when it is absent."""
        self._folder, self._origin = folder, origin
        self._name = secrets.token_hex(8)
        self._files: tuple[Any, Any] | None = None
        with naming(folder / META):
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / META).exists():
                text = json.dumps({"format": FORMAT, **asdict(origin)}, indent=2)
                # Two that begin at once write the same, each under a name of its own.
                new = folder / f"{self._name}.{META}"
                replace(new, text + "\n")
                new.replace(folder / META)

    def __enter__(self) -> Writer:
        """Returns the writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the shard in hand."""
        self._close()

    def add(
        self,
        keys: Sequence[bytes],
        pixels: Sequence[int],
        tokens: Float[np.ndarray, "n p d"],
    ) -> None:
        """Keeps the tokens of some pictures; when it returns they are on the disk.

        Args:
          keys: 16 bytes each.
          pixels: a hash of what the ViT read of each (`picture_content.pixels_hash`).
          tokens: what it made of it.

        Raises:
          OSError: the disk is full.
        """
        rows, errors = encode_rows(tokens, self._origin.dtype)
        entries = np.zeros(len(keys), ENTRY)
        halves = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)
        entries["high"], entries["low"] = halves.T
        entries["pixels"], entries["error"] = pixels, errors
        entries["row"] = [zlib.crc32(row) for row in rows]
        entries["entry"] = _checksums(entries)
        if self._files is None:
            shard = self._folder / secrets.token_hex(8)
            names = (shard.with_suffix(".tokens"), shard.with_suffix(".index"))
            self._files = tuple(name.open("wb", buffering=0) for name in names)  # type: ignore[assignment]
        assert self._files
        for file, content in zip(self._files, (rows, entries), strict=True):
            with naming(Path(file.name)):
                _write(file, content.tobytes())
        if self._files[0].tell() >= SHARD_BYTES:
            self._close()

    def add_unusable(self, key: bytes, reason: str, message: str) -> None:
        """Notes that a picture cannot be used (pali/data/skipping.py)."""
        line = json.dumps({"key": key.hex(), "reason": reason, "error": message})
        path = self._folder / f"{self._name}.unusable.jsonl"
        with naming(path), path.open("ab", buffering=0) as file:
            _write(file, f"{line}\n".encode())

    def _close(self) -> None:
        for file in self._files or ():
            file.close()
        self._files = None


class Store:
    """The visual tokens that a folder holds.

    Attributes:
      errors: of its pictures, how far the stored tokens are off (`encode_rows`).
      lost: entries that are damaged, or whose rows are gone; they count as not there.
      unusable: key -> (reason, message) of pictures that have none.
    """

    def __init__(self, folder: Path, origin: Origin):
        """Reads the index.

        Raises:
          ValueError: the folder holds tokens of something else, or does not say of what.
        """
        self._origin, self.folder = origin, folder
        self._check()
        self._shards = sorted(folder.glob("*.index"))
        found = [_entries(path, origin.row_bytes) for path in self._shards]
        self.lost = sum(lost for _, _, lost in found)
        entries = np.concatenate([np.zeros(0, ENTRY), *(kept for kept, _, _ in found)])
        rows = np.concatenate([np.zeros(0, np.int64), *(rows for _, rows, _ in found)])
        shards = np.repeat(
            np.arange(len(found), dtype=np.int32), [len(kept) for kept, _, _ in found]
        )
        order = np.lexsort((entries["low"], entries["high"]))
        # Columns that lie together: a search in one that does not copies all of it.
        high, low, self._pixels, self.errors, self._checks = (
            np.ascontiguousarray(entries[name][order])
            for name in ("high", "low", "pixels", "error", "row")
        )
        self._high, self._low = high, low
        self._rows, self._in = rows[order], shards[order]
        self.unusable = _unusable(folder)
        again = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        self.count = len(high) - int(again.sum()) + len(self.unusable)

    def find(self, key: bytes) -> int | None:
        """The place of a picture's entry; None: it is not there."""
        high, low = np.frombuffer(key, "<u8")
        place = int(np.searchsorted(self._high, high))
        while place < len(self._high) and self._high[place] == high:
            if self._low[place] == low:
                return place
            place += 1
        return None

    def __contains__(self, key: bytes) -> bool:
        """Whether it is known what the ViT makes of a picture, or that it cannot be read."""
        return key in self.unusable or self.find(key) is not None

    def pixels(self, place: int) -> int:
        """The hash of what the ViT read."""
        return int(self._pixels[place])

    def tokens(self, place: int) -> Float[np.ndarray, "p d"]:
        """The visual tokens, bfloat16.

        Raises:
          ValueError: they are damaged.
        """
        size, number = self._origin.row_bytes, int(self._rows[place])
        path = self._shards[self._in[place]].with_suffix(".tokens")
        try:
            # Not mapped: a mapped file that is cut short ends the process without a word.
            row = np.fromfile(path, np.uint8, size, offset=number * size)
        except OSError:
            row = np.zeros(0, np.uint8)
        if len(row) != size or zlib.crc32(row.data) != self._checks[place]:
            raise ValueError(
                f"{path} is damaged: row {number} is not what was written. Delete this file; the "
                "next run computes what was in it again"
            )
        return decode_row(row, self._origin.dtype, self._origin.tokens)

    def _check(self) -> None:
        path = self.folder / META
        expected = {"format": FORMAT, **asdict(self._origin)}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            differing = [name for name in expected if found[name] != expected[name]]
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.folder} holds no visual tokens: no {META}") from None
        except (ValueError, KeyError, TypeError):
            differing = ["nothing that can be read"]
        if differing:
            raise ValueError(
                f"{path} is damaged, or of other visual tokens than this folder is named after "
                f"({', '.join(differing)}); delete the folder"
            )


def _checksums(entries: np.ndarray) -> list[int]:
    content = entries.tobytes()
    starts = range(0, len(content), ENTRY.itemsize)
    return [zlib.crc32(content[start : start + _COVERED]) for start in starts]


def _entries(path: Path, row_bytes: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Entries of a shard whose rows are there, the numbers of these, and how many are not.

    An entry that was cut short is one that its writer was killed over: it was not written.
    """
    content = path.read_bytes()
    entries = np.frombuffer(content, ENTRY, len(content) // ENTRY.itemsize)
    tokens = path.with_suffix(".tokens")
    there = (tokens.stat().st_size if tokens.exists() else 0) // row_bytes
    good = np.array(_checksums(entries), np.uint32) == entries["entry"]
    good &= np.arange(len(entries)) < there
    return entries[good], np.flatnonzero(good), int((~good).sum())


def _unusable(folder: Path) -> dict[bytes, tuple[str, str]]:
    found = {}
    for path in folder.glob("*.unusable.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            with contextlib.suppress(ValueError, KeyError):  # Cut short, or damaged: not noted.
                said = json.loads(line)
                found[bytes.fromhex(said["key"])] = (said["reason"], said["error"])
    return found


def _write(file: Any, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
    os.fsync(file.fileno())
