# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop: a run finishes the step in hand, saves, and goes on another time.

An evaluation takes longer than a step, and is given up between two of its batches: the checkpoint
of its step notes that, and the run that goes on from there begins with it. Before the first step
and after the last there is nothing to save, and a run ends at once, resumable as well.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import TracebackType

import jax
from jax.experimental import multihost_utils

from pali.training.console import say

RESUMABLE = 75
"""Exit status of a run that was asked to stop and has saved: the same command goes on. (In
sysexits.h, EX_TEMPFAIL: try again later.)"""


class Interrupted(Exception):
    """Training was asked to stop, and has saved its state if there was any to save."""


def stopped(where: str) -> Interrupted:
    """What ends a run that stops `after step 7`."""
    return Interrupted(f"stopped {where}; the same command goes on there")


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """While it lasts, and outside of `Signals`, SIGINT and SIGTERM end the run where it is.

    Raises:
      Interrupted: instead of whatever the signal led to.
    """
    arrived = False

    def end(*_: object) -> None:
        nonlocal arrived
        arrived = True
        raise KeyboardInterrupt

    with _handled_by(end):
        try:
            yield
        except BaseException:
            if not arrived:
                raise
            raise Interrupted("stopped with nothing to save; the same command goes on") from None


@contextlib.contextmanager
def resumable(where: str) -> Iterator[None]:
    """Makes Asked the end of the run, where there is nothing to save."""
    try:
        yield
    except Asked:
        raise stopped(where) from None


class Asked(Exception):
    """The run was asked to stop, in the middle of what can be done again."""


class Signals:
    """While it lasts, SIGINT and SIGTERM are only noted, so that what is in hand ends well.

    Several processes must stop at the same place: all ask equally often, and JAX's coordinator
    agrees on one of the answers.
    """

    def __enter__(self) -> Signals:
        """Takes the signals over."""
        self._arrived = self._agreed = False
        self._times = 0
        self._alone = jax.process_count() == 1
        self._handled = contextlib.ExitStack()
        self._handled.enter_context(_handled_by(self._note))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives them back."""
        self._handled.close()

    def stopping(self) -> bool:
        """Whether the run stops here, the same in all processes."""
        if self._alone:
            return self._arrived
        if not self._agreed:  # It is true once, of the number that was agreed on.
            self._times += 1
            self._agreed = multihost_utils.reached_preemption_sync_point(self._times)
        return self._agreed

    def check(self) -> None:
        """Raises Asked if the run stops here."""
        if self.stopping():
            raise Asked

    def _note(self, *_: object) -> None:
        if self._arrived:  # asked twice: the person means it
            raise KeyboardInterrupt
        self._arrived = True
        if not self._alone:
            signal.raise_signal(signal.SIGTERM)
        say("stopping after this step, and saving; once more to stop at once")


@contextlib.contextmanager
def _handled_by(handler: Callable[..., None]) -> Iterator[None]:
    # Of several processes JAX itself takes SIGTERM.
    alone = jax.process_count() == 1
    wanted = (signal.SIGINT, signal.SIGTERM) if alone else (signal.SIGINT,)
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
