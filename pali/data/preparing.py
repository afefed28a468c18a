# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files of a public dataset -> records that are read by number (pali/data/prepared.py).

Every part of a dataset (pali/data/raw/dataset.py) becomes one file, called by what it was made of
(pali/data/raw_prints.py). Parts are written by several processes, each file whole or not at all,
and noted in a journal when it is; who is interrupted goes on with what is missing, also where parts
were added meanwhile. The manifest is written last: without it there is no dataset.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from pali.data.journal import (
    JOURNAL,
    Written,
    alone,
    check_files,
    naming,
    read_journal,
    replace,
    write_journal,
)
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
from pali.data.raw_prints import prints
from pali.data.records import pack
from pali.data.skipping import UNUSABLE, RecordError, skipped
from pali.image import upright_size

# One record to a group, as training reads them one by one, in any order; texts shrink by a half.
_OPTIONS = "group_size:1,zstd:1"


def prepare(
    dataset: Dataset,
    source: Path,
    target: Path,
    *,
    workers: int = 1,
    update: bool = False,
    progress: Callable[[int, int, Written | None], None] = lambda done, parts, written: None,
) -> dict[str, Any]:
    """Writes the records of a dataset into `target`/NAME; one that is there already stays.

    Args:
      dataset: one of pali/data/raw.
      source: folder of its raw files.
      target: where prepared datasets are kept; that of `dataset.pictures` must be there.
      workers: processes.
      update: where the dataset is there, and was written from other raw files: write what is new
        in them, and drop what is gone.
      progress: called with the parts that are done, all parts, and the file just written.

    Returns:
      The manifest: "dataset", "licence", "splits" {split: records}, "languages" {split: {language:
      records}}, "files", what was left out, "skipped" {split: {reason: rows}} and "errors" {reason:
      the first}, "same_id" {split: records whose id another one has}, and "listed" {split: {"rows",
      "malformed"}} of a dataset that has such a list.

    Raises:
      FileNotFoundError: a raw file is not there, or the dataset whose pictures are meant.
      FileExistsError: the folder was written from other raw files, and `update` is not asked for;
        or another process is writing it.
      ValueError: a raw file as a whole cannot be understood.
      OSError: a file cannot be written.
      BrokenProcessPool: one of the processes was ended from outside.
    """
    if dataset.pictures not in ("own", "none"):
        read_manifest(target / dataset.pictures)
    parts = dataset.parts(source)
    folder = target / dataset.name
    folder.mkdir(parents=True, exist_ok=True)
    head = {"format": FORMAT, "dataset": dataset.name}
    names = [
        f"{part.split}-{name}.array_record"
        for part, name in zip(parts, prints(source, parts), strict=True)
    ]
    if manifest := _finished(folder, names, update):
        return manifest
    with alone(folder):
        if manifest := _finished(folder, names, update):  # By another process, meanwhile.
            return manifest
        if (folder / MANIFEST).exists():
            before = read_manifest(folder)["files"]
            write_journal(folder, head, [Written(**file) for file in before])
            (folder / MANIFEST).unlink()
        for left in folder.glob("*.tmp"):
            left.unlink()
        found = read_journal(folder, head)
        written = {file.name: file for file in found if file.name in names}
        if found and not written and not update:
            raise FileExistsError(
                f"{folder} was begun from other raw files: give another --to, or delete it"
            )
        left = [i for i, name in enumerate(names) if name not in written]
        progress(len(written), len(parts), None)
        with open(folder / JOURNAL, "a", encoding="utf-8") as journal:
            jobs = [(dataset, source, folder / names[i], parts[i]) for i in left]
            for result in _run(jobs, workers):
                with naming(folder / JOURNAL):
                    journal.write(json.dumps(asdict(result)) + "\n")
                    journal.flush()
                written[result.name] = result
                progress(len(written), len(parts), result)
        manifest = _manifest(dataset, source, folder, head, [written[name] for name in names])
        replace(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        forget()
        for gone in {file.name for file in found} - set(names):
            (folder / gone).unlink(missing_ok=True)
            ids_file(folder / gone).unlink(missing_ok=True)
        (folder / JOURNAL).unlink()
    return manifest


def _finished(folder: Path, names: list[str], update: bool) -> dict[str, Any] | None:
    """The manifest of what is there already; None if nothing is, or it is to be updated."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_manifest(folder)
    before = [file["name"] for file in manifest["files"]]
    if before == names:
        check_files(folder, manifest)
        return manifest
    if not update:
        raise FileExistsError(
            f"{folder} was prepared from other raw files ({_difference(before, names)}): "
            "let --update write what is new, give another --to, or delete it"
        )
    return None


def count_warnings(dataset: Dataset, manifest: dict[str, Any]) -> list[str]:
    """What is said of splits that have another number of rows than is published."""
    found = []
    for split, published in dataset.sizes.items():
        if split not in manifest["splits"]:
            continue
        rows, where = manifest["splits"][split], ""
        rows += sum(manifest["skipped"].get(split, {}).values())
        if split in manifest["listed"]:
            rows, where = manifest["listed"][split]["rows"], " in its list"
        if rows != published:
            found.append(f"{split} has {rows:,} rows{where}; {published:,} are published")
    return found


def _run(jobs: list[tuple[Dataset, Path, Path, Part]], workers: int) -> Iterator[Written]:
    """The results of `_write` for all jobs, as they are done."""
    if workers == 1:
        yield from (_write(*job) for job in jobs)
        return
    # Not forked: a process that has started JAX's or TensorFlow's threads cannot be.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _in_worker) as pool:
        futures: list[Future[Written]] = [pool.submit(_write, *job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _in_worker() -> None:
    # Ctrl-C reaches all processes; those that write need not say so.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def end_with_it() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # It was killed; for what else it ends, it ends its workers first.

    threading.Thread(target=end_with_it, daemon=True).start()


def _write(dataset: Dataset, source: Path, path: Path, part: Part) -> Written:
    """Writes one file of records, and its ids beside it."""
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
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
        with naming(path):
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
    own = row.pop("image", None)
    try:
        place = read_places(target / dataset.pictures)[row["picture"]]
    except KeyError:
        if own is not None:
            upright_size(own, name)
            rest = {key: value for key, value in row.items() if key != "picture"}
            return rest | {"image_key": name, "image": own}
        message = f"{row['id']} is about the picture {name}, which is not there"
        raise RecordError("picture", message) from None
    return row | {"image_key": name, "picture": list(place)}


def _manifest(
    dataset: Dataset, source: Path, folder: Path, head: dict[str, Any], written: list[Written]
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
        "listed": {},
        "files": [asdict(file) for file in written],
    }
    if dataset.listed is not None:
        for split in splits:
            rows, malformed = dataset.listed(source, split)
            manifest["listed"][split] = {"rows": rows, "malformed": malformed}
    hashes = {split: split_ids(folder, manifest, split) for split in splits}
    same = {split: len(found) - len(np.unique(found)) for split, found in hashes.items()}
    return manifest | {"same_id": same}


def _difference(before: list[str], now: list[str]) -> str:
    new, gone = len(set(now) - set(before)), len(set(before) - set(now))
    told = {"new or changed": new, "gone or changed": gone}
    listed = ", ".join(f"{count:,} {what}" for what, count in told.items() if count)
    return f"of {len(now):,} parts {listed}" if listed else "in another order"
