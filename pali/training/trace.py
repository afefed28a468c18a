# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A profile of a few steps, for TensorBoard's profiler or Perfetto."""

from __future__ import annotations

import tempfile
from pathlib import Path

import jax

from pali.training.console import say

FOLDER = "profile"
FIRST, STEPS = 4, 5
"""Steps that pass before, in which programs are compiled, and steps that are traced."""


class Trace:
    """Traces some steps of a start; use it in a `with` statement."""

    def __init__(self, workdir: Path, start: int, last: int, *, wanted: bool):
        """The steps after `start` up to `last` are to come; without `wanted` nothing happens."""
        self._folder, self._first, self._last = workdir / FOLDER, start + FIRST + 1, last
        self._wanted, self._running = wanted, False

    def __enter__(self) -> Trace:
        """Makes the folder.

        Raises:
          OSError: it cannot be made or written.
        """
        if not self._wanted:
            return self
        try:
            self._folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise OSError(
                f"the trace of --profile cannot be written to {self._folder}: {error.strerror}. "
                "Remove what is there, or leave --profile out"
            ) from None
        if self._first > self._last:
            say(
                f"--profile writes nothing: it leaves out the first {FIRST} steps of a start, and "
                f"this run ends after step {self._last:,}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Ends a trace that is not whole."""
        if self._running:
            self._stop()

    def before(self, step: int) -> None:
        """To be called before each step."""
        if self._wanted and step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        elif self._running and step == self._first + STEPS:
            self._stop()

    def _stop(self) -> None:
        jax.effects_barrier()
        self._running = False
        try:
            jax.profiler.stop_trace()
        except Exception as error:  # A full disk: no reason to lose the run that it tells of.
            say(f"the trace cannot be written: {error}")
            return
        say(
            f"a trace of steps is in {self._folder}; to see it: tensorboard --logdir {self._folder}"
        )
