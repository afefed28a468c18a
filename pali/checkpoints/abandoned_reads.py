# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What Orbax leaves behind when a restore fails, kept off the terminal.

Orbax reads all arrays of a checkpoint at once, in an event loop of its own. When one of them cannot
be read it closes the loop, and each of the others reports, at some later moment and from any
thread, that its loop is gone: thousands of lines around the one that says what is damaged.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

_SIGNS = ("Event loop is closed", "Encountered error while reading array index")


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """While arrays are read, and from then on if that fails, reads without a loop say nothing."""
    before, log = sys.unraisablehook, logging.getLogger("asyncio")

    def report(unraisable: sys.UnraisableHookArgs) -> None:
        if not _abandoned(unraisable.exc_value):
            before(unraisable)

    def told(record: logging.LogRecord) -> bool:
        return not (record.exc_info and _abandoned(record.exc_info[1]))

    sys.unraisablehook = report
    log.addFilter(told)
    yield
    # Not in a `finally`: the reads that a failure leaves behind report later.
    sys.unraisablehook = before
    log.removeFilter(told)


def _abandoned(error: BaseException | None) -> bool:
    """Whether this, or what led to it, is a read whose loop was closed."""
    while error is not None:
        if any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False
