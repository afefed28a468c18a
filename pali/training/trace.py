# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A profile of a few steps, for TensorBoard's profiler or Perfetto."""

from __future__ import annotations

from pathlib import Path

import jax

from pali.training.console import say

FOLDER = "profile"
FIRST, STEPS = 4, 5
"""Steps that pass before, in which programs are compiled, and steps that are traced."""


class Trace:
    """Traces some steps of a start; use it in a `with` statement."""

    def __init__(self, workdir: Path, start: int, *, wanted: bool):
        """`start`: steps done before; without `wanted` nothing ever happens."""
        self._folder, self._first = workdir / FOLDER, start + FIRST + 1
        self._wanted, self._running = wanted, False

    def __enter__(self) -> Trace:
        """Returns itself."""
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
        jax.profiler.stop_trace()
        self._running = False
        say(
            f"a trace of steps is in {self._folder}; to see it: tensorboard --logdir {self._folder}"
        )
