# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali data prepare`: the files of a public dataset -> records for its tasks."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, result_console

if TYPE_CHECKING:
    from pali.data.preparing import Written
    from pali.data.raw.dataset import Dataset

SUMMARY = """Reads a public dataset as it is published, and writes records that its tasks read.

Without NAME it lists the datasets. Nothing is downloaded. Run again, it goes on where it was
interrupted."""

EXAMPLE = """examples:
  pali data prepare
  pali data prepare cc3m
  pali data prepare cc3m --from raw/cc3m --to ~/pali_data --workers 16"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali data prepare`."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="of the dataset; alone, says what it needs"
    )
    parser.add_argument("--from", dest="source", metavar="DIR", help="the files as published")
    parser.add_argument(
        "--to",
        metavar="DIR",
        help="where prepared datasets are kept (default: $PALI_DATA, or ~/pali_data)",
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="the raw files have changed since: write what is new in them, drop what is gone",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Lists the datasets, describes one, or prepares it."""
    from pali.data.prepared import MANIFEST, data_folder, read_manifest
    from pali.data.preparing import count_warnings, prepare
    from pali.data.raw import DATASETS, find

    if arguments.workers < 1:
        raise CommandError(f"--workers is {arguments.workers}; give at least 1")
    if arguments.name is None:
        if arguments.source or arguments.to or arguments.update:
            raise CommandError("which dataset? `pali data prepare` alone lists their names")
        states = {name: _state(known, data_folder()) for name, known in DATASETS.items()}
        wide = max(map(len, states.values())) + 2
        for name, state in states.items():
            print(f"{name:<15}{state:<{wide}}{DATASETS[name].about}")
        return 0
    try:
        dataset = find(arguments.name)
        if arguments.source is None:
            if arguments.to or arguments.update:
                given = "--to" if arguments.to else "--update"
                raise CommandError(f"{given} needs --from, the folder of the files as published")
            _describe(dataset, data_folder())
            return 0
        source = Path(arguments.source).expanduser()
        target = Path(arguments.to).expanduser() if arguments.to else data_folder()
        if not source.is_dir():
            raise CommandError(f"{source} is no folder; give the folder of the files as published")
        folder = target / dataset.name
        before = (folder / MANIFEST).exists() and read_manifest(folder)
        with _progress(dataset.name) as progress:
            manifest = prepare(
                dataset,
                source,
                target,
                workers=arguments.workers,
                update=arguments.update,
                progress=progress,
            )
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    except BrokenProcessPool:
        raise CommandError(
            "a process was ended from outside, perhaps for lack of memory: the same command goes "
            "on with what is missing; give fewer --workers"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on there") from None
    _report(manifest, folder, "is there already, in" if manifest == before else "prepared in")
    empty = [f"{split} has no record" for split, count in manifest["splits"].items() if not count]
    for warning in [*empty, *count_warnings(dataset, manifest)]:
        print(f"pali data prepare: {dataset.name}: {warning}", file=sys.stderr)
    return 0


def _state(dataset: Dataset, target: Path) -> str:
    """What is there of a dataset, in a few words."""
    from pali.data.journal import JOURNAL
    from pali.data.prepared import MANIFEST, read_manifest

    folder = target / dataset.name
    if (folder / JOURNAL).exists():
        return "begun"
    if not (folder / MANIFEST).exists():
        return "-"
    try:
        splits = read_manifest(folder)["splits"]
    except ValueError:
        return "damaged"
    return ", ".join(f"{split} {records:,}" for split, records in splits.items())


def _describe(dataset: Dataset, target: Path) -> None:
    print(f"{dataset.name}: {dataset.about}\n")
    print(f"{dataset.files.strip()}\n")
    print(f"described at  {dataset.documented}\nlicence       {dataset.licence}")
    if dataset.pictures not in ("own", "none"):
        print(f"pictures      of {dataset.pictures}, which must be prepared before")
    state = _state(dataset, target)
    print(f"in {target}: {'not prepared' if state == '-' else state}")
    print(f"\npali data prepare {dataset.name} --from DIR")


def _progress(name: str) -> Any:
    """A bar of the parts that are written; nothing outside a terminal."""
    import contextlib

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    @contextlib.contextmanager
    def shown() -> Any:
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console, quiet = Console(stderr=True), not sys.stderr.isatty()
        with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
            task = bar.add_task(name, total=None)
            records = 0

            def advance(done: int, parts: int, written: Written | None) -> None:
                nonlocal records
                records += written.records if written else 0
                told = f"{name}: {records:,} records, parts"
                bar.update(task, completed=done, total=parts, description=told)

            yield advance

    return shown()


def _report(manifest: dict[str, Any], folder: Path, said: str) -> None:
    from pali.commands.rows import printable
    from pali.data.skipping import REASONS

    console = result_console(sys.stdout)
    for split, records in manifest["splits"].items():
        console.print(f"{split:<14}{records:>14,} records", markup=False)
        for reason, rows in manifest["skipped"].get(split, {}).items():
            console.print(f"{'':<14}{rows:>14,} rows left out: {REASONS[reason]}", markup=False)
        again = manifest["same_id"][split]
        if again:
            console.print(f"{'':<14}{again:>14,} records with an id seen before", markup=False)
        if listed := manifest["listed"].get(split):
            without = listed["rows"] - records + again
            told = (listed["rows"], "rows in the list"), (without, "of them without a record")
            malformed = (listed["malformed"], "of them malformed: no caption and address")
            for count, what in (*told, *([malformed] if malformed[0] else [])):
                console.print(f"{'':<14}{count:>14,} {what}", markup=False)
    for error in manifest["errors"].values():
        shown = printable(error)
        console.print(f"left out, for example: {shown}", markup=False, soft_wrap=True)
    console.print(f"{said} {folder}", markup=False, soft_wrap=True)
