# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop: a run finishes the step in hand, saves, and goes on another time.

An evaluation takes longer than a step, and is given up between two of its batches: the checkpoint
of its step notes that, and the run that goes on from there begins with it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import TracebackType

import jax
from jax.experimental import multihost_utils

from pali.training.console import say

RESUMABLE = 75
"""Exit status of a run that was asked to stop and has saved: the same command goes on. (In
sysexits.h, EX_TEMPFAIL: try again later.)"""


class Interrupted(Exception):
    """Training was asked to stop, and has saved its state."""


def stopped(where: str) -> Interrupted:
    """What ends a run that stops `after step 7`."""
    return Interrupted(f"stopped {where}; the same command goes on there")


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
        # Of several processes JAX itself takes SIGTERM.
        self._alone = jax.process_count() == 1
        wanted = (signal.SIGINT, signal.SIGTERM) if self._alone else (signal.SIGINT,)
        self._before = {number: signal.signal(number, self._note) for number in wanted}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

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
