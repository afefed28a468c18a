# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Being asked to stop: a run finishes the step in hand, saves, and goes on another time."""

from __future__ import annotations

import signal
from types import TracebackType

import jax
from jax.experimental import multihost_utils

from pali.training.console import say

RESUMABLE = 75
"""Exit status of a run that was asked to stop and has saved: the same command goes on. (In
sysexits.h, EX_TEMPFAIL: try again later.)"""


class Interrupted(Exception):
    """Training was asked to stop, and has saved its state."""


class Signals:
    """While it lasts, SIGINT and SIGTERM only set `arrived`, so that the step in hand ends well."""

    def __enter__(self) -> Signals:
        """Takes the signals over."""
        self.arrived = False
        # Several processes must stop after the same step: JAX's coordinator agrees on one.
        alone = jax.process_count() == 1
        wanted = (signal.SIGINT, signal.SIGTERM) if alone else (signal.SIGINT,)
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

    def stop_after(self, step: int) -> bool:
        """Whether this step is the last one before the run stops, the same in all processes."""
        if jax.process_count() == 1:
            return self.arrived
        return multihost_utils.reached_preemption_sync_point(step)

    def _note(self, *_: object) -> None:
        if self.arrived:  # asked twice: the person means it
            raise KeyboardInterrupt
        self.arrived = True
        say("stopping after this step, and saving; once more to stop at once")
