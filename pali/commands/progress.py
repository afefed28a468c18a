# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How far a command of pictures has come, on stderr: a bar on a terminal, else a line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FEW = 8
"""So many pictures need no bar."""

_EVERY = 60.0
"""Seconds between two lines in a file."""


@contextmanager
def shown(prog: str, done: int, total: int, bar: bool) -> Iterator[Callable[[int], None]]:
    """Gives the function that is told how many pictures are done.

    Args:
      prog: how a line begins.
      done: pictures that were done before this start, which say nothing about the rate.
      total: pictures in all.
      bar: whether a bar would be in nobody's way.
    """
    if not sys.stderr.isatty():
        yield _lines(prog, done, total)
    elif not bar or total <= _FEW:
        yield lambda _: None
    else:
        yield from _bar(done, total)


def _bar(done: int, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pictures", total=total, completed=done, rate="")

        def show(now: int) -> None:
            rate = (now - done) / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=now, rate=f"{rate:.1f}/s")

        yield show


def _lines(prog: str, done: int, total: int) -> Callable[[int], None]:
    began = last = time.monotonic()

    def show(now: int) -> None:
        nonlocal last
        time_now = time.monotonic()
        if time_now - last < _EVERY or now == total:
            return
        last = time_now
        print(line(prog, now, total, (now - done) / (time_now - began)), file=sys.stderr)

    return show


def line(prog: str, done: int, total: int, rate: float) -> str:
    """How far it has come, in words.

    >>> line("pali caption", 1200, 100_000, 12.5)
    'pali caption: 1,200 of 100,000 pictures, 12.5 a second, 2:11:44 left'
    """
    seconds = round((total - done) / rate) if rate else 0
    left = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{prog}: {done:,} of {total:,} pictures, {rate:.1f} a second, {left} left"
