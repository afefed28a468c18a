# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory is a process's own, now and at most (Linux)."""

from __future__ import annotations

import threading
from pathlib import Path


def own_memory(field: str = "RssAnon", process: int | str = "self") -> int:
    """Bytes of a process: those that no file backs now, or "VmHWM", the most of all so far."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"there is no {field} in /proc/{process}/status: this needs Linux")


class Peak:
    """While it is open, a thread watches: `most` is the highest own memory seen, in bytes."""

    def __init__(self) -> None:
        self.before = self.most = own_memory()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.002):
            self.most = max(self.most, own_memory())
