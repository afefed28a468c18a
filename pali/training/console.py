# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Lines for whoever watches a run: on stderr, by one process of many."""

from __future__ import annotations

import sys

import jax


def say(line: str) -> None:
    """Writes a line to stderr at once; of several processes, only the first one speaks."""
    if jax.process_index() == 0:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
