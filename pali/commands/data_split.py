# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali data split`: train, validation and test without a picture in two of them."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pali.commands import CommandError
from pali.commands.rows import printable

if TYPE_CHECKING:
    from pali.data.splitting import Split

_T = TypeVar("_T")

SUMMARY = """Cuts a JSONL file into splits. All records of one picture come into the same split,
also when copies of it have other names; records that are added later move no other."""

EXAMPLE = """examples:
  pali data split birds/all.jsonl --by image --to birds/splits
  pali data split all.jsonl --by video --shares train=8,test=2 --to splits

Lines are copied byte for byte, in their order. Exit status: 0 done; 1 done, and some lines are in
no split, because they have no such field; 2 it cannot be done, and nothing is written."""

MOST = 10**9
"""The largest share that may be given; the sum of larger ones could be infinite."""

SHARES = "train=0.9,validation=0.05,test=0.05"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali data split`."""
    parser.add_argument("file", metavar="FILE", help="a JSONL file")
    parser.add_argument(
        "--by",
        default="image",
        metavar="FIELD",
        help="what must not be in two splits (default: %(default)s, its path and its content)",
    )
    parser.add_argument(
        "--images", metavar="FOLDER", help='where "image" is found (default: the file\'s folder)'
    )
    parser.add_argument(
        "--near", action="store_true", help="keep pictures that look alike together, too"
    )
    parser.add_argument(
        "--shares",
        default=SHARES,
        metavar="NAME=SHARE,…",
        help="only their ratios count (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--to", required=True, metavar="FOLDER", help="a new folder")


def run(arguments: argparse.Namespace) -> int:
    """Splits, and prints what is where."""
    from pali.data.splitting import IMAGE, split_file

    path = arguments.file
    if not os.path.isfile(path):
        raise CommandError(f"{path}: no such file")
    shares = read_shares(arguments.shares)
    if arguments.by != IMAGE and (arguments.near or arguments.images):
        raise CommandError(f"--near and --images look at pictures; --by is {arguments.by}")
    folder = arguments.images or os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CommandError(f"--images: there is no folder {folder}")
    try:
        done = split_file(
            path,
            Path(arguments.to),
            shares,
            by=arguments.by,
            images=folder,
            seed=arguments.seed,
            look_alike=arguments.near,
            watch=_progress,
        )
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    total = sum(done.records.values())
    groups = "pictures" if arguments.by == IMAGE else f"values of {arguments.by}"
    for name, count in done.records.items():
        print(
            f"{Path(arguments.to) / name}.jsonl  {count:,} records ({count / total:.1%}), "
            f"{done.groups[name]:,} {groups}"
        )
    for said in _warnings(done, shares, groups, folder):
        print(f"pali data split: {printable(said)}", file=sys.stderr)
    return 1 if done.left_out else 0


def _warnings(done: Split, shares: Mapping[str, float], groups: str, folder: str) -> Iterator[str]:
    for name in [name for name, count in done.records.items() if not count]:
        share = shares[name] / sum(shares.values())
        yield (
            f"{name} is empty: of {sum(done.groups.values()):,} {groups} none was drawn for its "
            f"share of {share:.1%}; try another --seed, or a larger share in --shares"
        )
    if done.unread:
        hint = "; is --images the right folder?" if done.unread == done.pictures else ""
        yield (
            f"{done.unread:,} of {done.pictures:,} pictures below {folder} cannot be read, and are "
            f"told apart by name alone{hint}"
        )
    for kind, count in done.left_out.items():
        lines = "1 line" if count == 1 else f"{count:,} lines"
        yield f"in no split: {lines} {kind}; the first: {done.first[kind]}"


def read_shares(text: str) -> dict[str, float]:
    """`train=0.9,test=0.1` as a dict.

    Raises:
      CommandError: it is something else; a name is given twice or is none for a file.
    """
    shares: dict[str, float] = {}
    for item in text.split(","):
        name, equals, value = item.strip().partition("=")
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not (equals and re.fullmatch(r"\w[\w.-]*", name) and 0 < share <= MOST):
            raise CommandError(
                f"--shares has {item!r}; give it as in {SHARES}, a share at most {MOST:,}"
            )
        if name in shares:
            raise CommandError(f"--shares has {name} twice")
        shares[name] = share
    return shares


def _progress(lines: Iterator[_T]) -> Iterator[_T]:
    """Passes lines on; on a terminal they are counted on stderr."""
    if not sys.stderr.isatty():
        yield from lines
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(lines, "records", console=Console(stderr=True), transient=True)
