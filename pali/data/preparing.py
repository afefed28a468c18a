# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files of a public dataset -> records that are read by number (pali/data/prepared.py).

Every part of a dataset (pali/data/raw/dataset.py) becomes one file. Parts are written by several
processes, each file whole or not at all, and noted in a journal when it is; who is interrupted goes
on with what is missing. The manifest is written last: without it there is no dataset.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from pali.data.pipeline import Example
from pali.data.prepared import (
    FORMAT,
    MANIFEST,
    forget,
    id_hash,
    ids_file,
    read_manifest,
    read_places,
    split_ids,
)
from pali.data.raw.dataset import Dataset, Part
from pali.data.records import pack
from pali.data.skipping import UNUSABLE, RecordError, skipped
from pali.image import upright_size

_JOURNAL = "journal.jsonl"
_SEEN = 2**16
"""Bytes of a file's beginning and end by which it is known again."""
# One record to a group, as training reads them one by one, in any order; texts shrink by a half.
_OPTIONS = "group_size:1,zstd:1"


@dataclass
class Written:
    """One file of records, and what its part had beside them."""

    name: str
    split: str
    records: int
    bytes: int
    sha256: str
    skipped: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that say nothing usable."""
    errors: dict[str, str] = field(default_factory=dict)
    """Reason -> what was wrong with the first of them."""
    languages: dict[str, int] = field(default_factory=dict)
    """Language -> records, of those that say theirs."""


def prepare(
    dataset: Dataset,
    source: Path,
    target: Path,
    *,
    workers: int = 1,
    progress: Callable[[int, int, Written | None], None] = lambda done, parts, written: None,
) -> dict[str, Any]:
    """Writes the records of a dataset into `target`/NAME; one that is there already stays.

    Args:
      dataset: one of pali/data/raw.
      source: folder of its raw files.
      target: where prepared datasets are kept; that of `dataset.pictures` must be there.
      workers: processes.
      progress: called with the parts that are done, all parts, and the file just written.

    Returns:
      The manifest: "dataset", "licence", "splits" {split: records}, "languages" {split: {language:
      records}}, "files", what was left out,
      "skipped" {split: {reason: rows}} and "errors" {reason: the first}, and "same_id"
      {split: records whose id another one has}.

    Raises:
      FileNotFoundError: a raw file is not there, or the dataset whose pictures are meant.
      FileExistsError: the folder was written from other raw files.
      ValueError: a raw file as a whole cannot be understood.
      OSError: a file cannot be written.
      BrokenProcessPool: one of the processes was ended from outside.
    """
    if dataset.pictures not in ("own", "none"):
        read_manifest(target / dataset.pictures)
    parts = dataset.parts(source)
    folder = target / dataset.name
    folder.mkdir(parents=True, exist_ok=True)
    head = {"format": FORMAT, "dataset": dataset.name, "parts": _fingerprint(source, parts)}
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        _check_same(folder, manifest, head)
        for file in manifest["files"]:
            path = folder / file["name"]
            if not (path.exists() and path.stat().st_size == file["bytes"]):
                raise ValueError(f"{path} is gone or was changed: delete {folder}, and begin again")
        return manifest
    names = _file_names(parts)
    written = _read_journal(folder, head)
    left = [i for i, name in enumerate(names) if name not in written]
    progress(len(written), len(parts), None)
    with open(folder / _JOURNAL, "a", encoding="utf-8") as journal:
        jobs = [(dataset, source, folder / names[i], parts[i]) for i in left]
        for result in _run(jobs, workers):
            journal.write(json.dumps(asdict(result)) + "\n")
            journal.flush()
            written[result.name] = result
            progress(len(written), len(parts), result)
    manifest = _manifest(dataset, folder, head, [written[name] for name in names])
    unfinished = folder / f"{MANIFEST}.tmp"
    unfinished.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(folder / MANIFEST)
    forget()
    (folder / _JOURNAL).unlink()
    return manifest


def count_warnings(dataset: Dataset, manifest: dict[str, Any]) -> list[str]:
    """What is said of splits that have another number of rows than is published."""
    found = []
    for split, published in dataset.sizes.items():
        if split not in manifest["splits"]:
            continue
        rows = manifest["splits"][split] + sum(manifest["skipped"].get(split, {}).values())
        if rows != published:
            found.append(f"{split} has {rows:,} rows; {published:,} are published")
    return found


def _run(jobs: list[tuple[Dataset, Path, Path, Part]], workers: int) -> Iterator[Written]:
    """The results of `_write` for all jobs, as they are done."""
    if workers == 1:
        yield from (_write(*job) for job in jobs)
        return
    # Not forked: a process that has started JAX's or TensorFlow's threads cannot be.
    context = multiprocessing.get_context("spawn")
    # Ctrl-C reaches all processes; those that write need not say so.
    quiet = (signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(workers, context, signal.signal, quiet) as pool:
        futures: list[Future[Written]] = [pool.submit(_write, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _write(dataset: Dataset, source: Path, path: Path, part: Part) -> Written:
    """Writes one file of records, and its ids beside it."""
    unfinished = path.with_suffix(".tmp")
    result = Written(path.name, part.split, 0, 0, "")
    hashes: list[np.uint64] = []
    languages: Counter[str] = Counter()
    try:
        writer = ArrayRecordWriter(str(unfinished), _OPTIONS)
        for row in dataset.read(source, part):
            try:
                if isinstance(row, RecordError):
                    raise row
                writer.write(pack(_placed(dataset, row, path.parents[1])))
                hashes.append(id_hash(row["id"]))
                languages.update([row["lang"]] if "lang" in row else ())
            except (*UNUSABLE, UnicodeEncodeError) as error:
                if isinstance(error, UnicodeEncodeError):
                    where = f"{part.file}, record {len(hashes) + sum(result.skipped.values()) + 1}"
                    error = RecordError("text", f"{where}, has half a character in a text")
                reason = skipped(error)["skipped"]
                result.skipped[reason] = result.skipped.get(reason, 0) + 1
                result.errors.setdefault(reason, str(error))
        writer.close()
        np.save(ids_file(path), np.array(hashes, np.uint64))
        with open(unfinished, "rb") as file:
            result.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        result.records, result.bytes = len(hashes), unfinished.stat().st_size
        result.languages = dict(languages)
        unfinished.rename(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        if isinstance(error, RuntimeError) and "write" in str(error):  # As ArrayRecord says it.
            raise OSError(f"{path} cannot be written: {error}") from error
        raise
    return result


def _placed(dataset: Dataset, row: Example, target: Path) -> Example:
    """The row with the name of its picture, and where that is if it is another dataset's.

    Raises:
      ImageError: the picture is none, or too large.
      RecordError: there is no such picture.
    """
    if dataset.pictures == "none":
        return row
    if dataset.pictures == "own":
        name = f"{dataset.name}/{row['id']}"
        upright_size(row["image"], name)
        return row | {"image_key": name}
    name = f"{dataset.pictures}/{row['picture']}"
    try:
        place = read_places(target / dataset.pictures)[row["picture"]]
    except KeyError:
        message = f"{row['id']} is about the picture {name}, which is not there"
        raise RecordError("picture", message) from None
    return row | {"image_key": name, "picture": list(place)}


def _manifest(
    dataset: Dataset, folder: Path, head: dict[str, Any], written: list[Written]
) -> dict[str, Any]:
    splits: Counter[str] = Counter()
    skips: dict[str, Counter[str]] = {}
    languages: dict[str, Counter[str]] = {}
    errors: dict[str, str] = {}
    for file in written:
        splits[file.split] += file.records
        skips.setdefault(file.split, Counter()).update(file.skipped)
        languages.setdefault(file.split, Counter()).update(file.languages)
        errors = file.errors | errors
    manifest = head | {
        "licence": dataset.licence,
        "splits": dict(splits),
        "languages": {split: dict(sorted(counts.items())) for split, counts in languages.items()},
        "skipped": {split: dict(counts) for split, counts in skips.items()},
        "errors": errors,
        "files": [
            {key: getattr(file, key) for key in ("name", "split", "records", "bytes", "sha256")}
            for file in written
            if file.records
        ],
    }
    hashes = {split: split_ids(folder, manifest, split) for split in splits}
    same = {split: len(found) - len(np.unique(found)) for split, found in hashes.items()}
    return manifest | {"same_id": same}


def _file_names(parts: list[Part]) -> list[str]:
    counts = Counter(part.split for part in parts)
    seen: Counter[str] = Counter()
    names = []
    for part in parts:
        names.append(f"{part.split}-{seen[part.split]:05}-of-{counts[part.split]:05}.array_record")
        seen[part.split] += 1
    return names


def _fingerprint(source: Path, parts: list[Part]) -> str:
    """Of what would be read: the parts, the sizes of their files, and what stands beside them."""
    told: list[Any] = [(asdict(part), os.path.getsize(source / part.file)) for part in parts]
    for path in sorted(path for path in source.iterdir() if path.is_file()):
        with open(path, "rb") as file:
            size, head = os.path.getsize(path), file.read(_SEEN)
            file.seek(max(0, size - _SEEN))
            told.append((path.name, size, hashlib.sha256(head + file.read(_SEEN)).hexdigest()))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _read_journal(folder: Path, head: dict[str, Any]) -> dict[str, Written]:
    """The files that were written before; begins the journal if there is none."""
    path = folder / _JOURNAL
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    # A line that was cut short stands for a part that is written again.
    first, *lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")] or [""]
    found: list[Written] = []
    if first:
        try:
            before = dict(json.loads(first))
            found = [Written(**json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            message = f"{path} is damaged ({error}): delete {folder}, and begin again"
            raise ValueError(message) from None
        _check_same(folder, before, head)
    found = [file for file in found if _is_whole(folder, file)]
    kept = [json.dumps(head), *(json.dumps(asdict(file)) for file in found)]
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    unfinished.rename(path)
    return {file.name: file for file in found}


def _is_whole(folder: Path, file: Written) -> bool:
    path = folder / file.name
    return path.exists() and path.stat().st_size == file.bytes and ids_file(path).exists()


def _check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if any(before.get(key) != value for key, value in now.items()):
        raise FileExistsError(
            f"{folder} was prepared from other raw files: give another --to, or delete it"
        )
