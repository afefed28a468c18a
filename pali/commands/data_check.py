# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali data check`: what training on a data set would meet, before it does."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pali.commands import (
    CommandError,
    import_seqio_bridge,
    install_command,
    missing_extra,
    result_console,
)
from pali.commands.rows import check_output, printable
from pali.config import DataConfig

if TYPE_CHECKING:
    from pali.data.checked_rows import Row, Rows
    from pali.data.checking import Check

SUMMARY = """Reads every record as training would, and says what is wrong, doubtful or unusual:
pictures that cannot be used, texts in another language than they say, duplicates, lengths, and how
the tokenizer spells each language."""

EXAMPLE = """examples:
  pali data check birds/train.jsonl --images birds/pictures
  pali data check birds/train.jsonl --html check.html --json check.json --targets 64
  pali data check my_task --module my_task.py --split validation

Exit status: 0 nothing to object to; 1 training would skip a record, or something is doubtful; 2 the
check cannot be made; 130 interrupted, after a report on what was read."""


SHOWN = 3
"""Records that the terminal shows of each thing found; the page and the JSON have --examples."""

_OTHER_FILES = (".parquet", ".arrow", ".tar", ".tfrecord", ".array_record", ".csv", ".tsv", ".gz")
_TASKS_ONLY = (
    "{data} is {what}: pali data check reads a JSONL file, or a task over records of any kind; "
    "docs/add_a_task.md says how to register one, and --module names its file"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali data check`."""
    parser.add_argument(
        "data", metavar="FILE_OR_TASK", help="a JSONL file, or a registered task or mixture"
    )
    parser.add_argument(
        "--images", metavar="FOLDER", help='where "image" is found (default: the file\'s folder)'
    )
    parser.add_argument(
        "--text-field", metavar="NAME", help="default: caption, text or answer, as the file has"
    )
    parser.add_argument(
        "--lang-field", metavar="NAME", help="default: lang or language, if the file has one"
    )
    parser.add_argument(
        "--module", action="append", default=[], help="a task file of your own; may be repeated"
    )
    parser.add_argument("--split", help="of a task (default: train)")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="read N records alone, evenly spread"
    )
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="a SentencePiece model (default: the task's; for a file the embedded model's)",
    )
    for name, does in (("inputs", "reads"), ("targets", "writes")):
        parser.add_argument(
            f"--{name}",
            type=int,
            metavar="N",
            default=getattr(DataConfig, f"{name}_length"),
            help=f"pieces that the model {does}: data.{name}_length of its config (default: "
            "%(default)s, of a config that does not say)",
        )
    parser.add_argument("--html", metavar="FILE", help="write the report as a web page")
    parser.add_argument("--json", metavar="FILE", help="write the report for programs")
    parser.add_argument("--overwrite", action="store_true", help="replace reports that exist")
    parser.add_argument(
        "--examples", type=int, default=5, metavar="N", help="shown of each (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Checks, prints the report, and writes it as asked."""
    for name in ("limit", "inputs", "targets", "examples"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise CommandError(f"--{name} is {value}; give at least 1")
    for name in ("html", "json"):
        check_output(
            getattr(arguments, name), arguments.overwrite, [arguments.data], option=f"--{name}"
        )
    same = arguments.html and arguments.json
    if same and os.path.realpath(arguments.html) == os.path.realpath(arguments.json):
        raise CommandError(f"{arguments.html} is --json too; give another --html")
    try:
        rows, tokenizer = _open(arguments)
        return _check(arguments, rows, arguments.tokenizer or tokenizer)
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error


def _check(arguments: argparse.Namespace, rows: Rows, tokenizer: str) -> int:
    from pali.data import check_report, checking
    from pali.metrics.text_language import load_detector
    from pali.tokenizer import Tokenizer

    every = len(rows)
    total = min(every, arguments.limit or every)
    if not total:
        raise CommandError(f"{rows.name} has no record")
    check = checking.Check(
        Tokenizer(tokenizer),
        load_detector(),
        checking.Limits(arguments.inputs, arguments.targets),
        arguments.examples,
    )
    complete = True
    try:
        some = rows if total == every else rows.at(spread(total, every))
        for _ in _progress(checking.run(some, check), total):
            pass
    except KeyboardInterrupt:
        complete = False
    report = check.report(rows, complete=complete) | {"tokenizer": tokenizer}
    _print(report, check)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump(report, file, ensure_ascii=False, indent=1)
            file.write("\n")
    if arguments.html:
        with open(arguments.html, "w", encoding="utf-8") as file:
            file.write(check_report.page(report, check.examples))
    if not complete:
        raise KeyboardInterrupt(f"interrupted after {report['rows']:,} of {total:,} records")
    return 1 if report["skipped"] or report["doubtful"] else 0


def spread(count: int, every: int) -> Iterator[int]:
    """`count` of `every` numbers in ascending order, one of each stretch of equal length.

    Drawn by hash: at equal steps a source that goes round its pictures would show but a few.
    """
    from pali.data.duplicates import fingerprint

    for i in range(count):
        first, after = i * every // count, (i + 1) * every // count
        yield first + fingerprint(f"{i}") % (after - first)


def _open(arguments: argparse.Namespace) -> tuple[Rows, str]:
    """The records, and the tokenizer to spell them with by default."""
    from pali.data import checked_rows
    from pali.tasks import DEMO_TOKENIZER

    data = arguments.data
    if os.path.isfile(data):
        if data.endswith(_OTHER_FILES):
            raise CommandError(_TASKS_ONLY.format(data=data, what="no JSONL file"))
        refused = {"--split": arguments.split, "--module": arguments.module}
        if given := [name for name, value in refused.items() if value]:
            raise CommandError(f"{data} is a file; {given[0]} is of tasks")
        folder = arguments.images or os.path.dirname(data) or "."
        if not os.path.isdir(folder):
            raise CommandError(f"--images: there is no folder {folder}")
        fields = {"text": arguments.text_field, "lang": arguments.lang_field}
        return checked_rows.json_rows(data, folder, **fields), DEMO_TOKENIZER
    if os.path.isdir(data):
        raise CommandError(_TASKS_ONLY.format(data=data, what="a folder"))
    if os.path.sep in data or data.endswith((".jsonl", ".json")):
        raise CommandError(f"{data}: no such file")
    for name in ("images", "text_field", "lang_field"):
        if getattr(arguments, name):
            raise CommandError(f"--{name.replace('_', '-')} is of files, and there is none {data}")
    seqio_bridge = import_seqio_bridge()
    split = arguments.split or "train"
    try:
        mixture = seqio_bridge.read_mixture(data, split, arguments.module)
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    tasks = [task for task, _ in mixture]
    tokenizers = [f.tokenizer for task in tasks for f in task.functions if hasattr(f, "tokenizer")]
    return checked_rows.TaskRows(f"{data}, split {split}", tasks), [*tokenizers, DEMO_TOKENIZER][0]


def _print(report: Mapping[str, Any], check: Check) -> None:
    from rich.table import Table
    from rich.text import Text

    from pali.data import check_report

    console = result_console(sys.stdout)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    cut = "" if report["complete"] else " until it was interrupted"
    say(
        f"{printable(report['source'])}{cut}: {report['rows']:,} records, "
        f"{report['usable']:,} that training can use; {report['pictures']['names']:,} pictures"
    )
    for level, heading, meanings in check_report.LEVELS:
        if report[level]:
            say(f"\n{heading}:")
        for name, count in report[level].items():
            say(f"  {count:>9,}  {name}: {meanings[name]}")
            found = check.examples[name]
            if whole := check_report.of_whole(check.examples, name):
                found = [([], whole)]
            for rows, said in found[: SHOWN if level != "noted" else 0]:
                where = ", ".join(row.where for row in rows)
                say(f"             {printable(': '.join(filter(None, (where, said))))[:300]}")
        if level == "skipped" and report[level]:
            share = 1 - report["usable"] / report["rows"]
            say(
                f"  {share:.2%} of the records; a run stops at more than data.max_skipped, which "
                f"is {DataConfig.max_skipped:.0%} if its config does not say"
            )
    if report["languages"]:
        say(f"\n{check_report.about_lengths(report)}")
        say(check_report.about_languages(report))
        if not report["detector"]:
            say(f"To tell them apart: {install_command('check')}")
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in check_report.LANGUAGE_COLUMNS:
            table.add_column(column, justify="left" if "language" in column else "right")
        for row in check_report.language_rows(report):
            table.add_row(*(Text(printable(cell)) for cell in row))
        console.print(table)


def _progress(rows: Iterator[Row], total: int) -> Iterator[Row]:
    """Passes rows on; on a terminal a bar on stderr counts them."""
    if not sys.stderr.isatty():
        yield from rows
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("records", total=total)
        for row in rows:
            bar.advance(task)
            yield row
