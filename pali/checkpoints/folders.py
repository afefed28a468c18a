# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What ends a program from outside, as schedulers and closed terminals do; Windows has but one."""


@contextlib.contextmanager
def made(dest: Path) -> Iterator[Path]:
    """A folder to write into, beside `dest`, which becomes `dest` at the end of the block.

    If the block fails or is interrupted, nothing is left of it, nor of the folders above it that
    were made for it. In the main thread SIGTERM and SIGHUP raise SystemExit meanwhile, with the
    status a shell gives for them, unless they were ignored before, as by nohup.

    Raises:
      FileExistsError: `dest` is there already.
      OSError: there can be no such folder, or it cannot be written; the message names it.
    """
    check(dest)
    above = [folder for folder in dest.parents if not os.path.lexists(folder)]
    unfinished = None
    with _endings_raised():
        try:
            unfinished = _begin(dest)
            unfinished.chmod(dest.parent.stat().st_mode & 0o777)  # it was for its owner alone
            yield unfinished
            _finish(unfinished, dest)
        except BaseException as error:
            if unfinished is not None:
                shutil.rmtree(unfinished, ignore_errors=True)
            for folder in above:
                with contextlib.suppress(OSError):  # Somebody else's files are in it by now.
                    folder.rmdir()
            if isinstance(error, OSError) and error.errno is not None and not error.filename:
                raise OSError(f"{dest} cannot be written: {cause(error)}") from error
            raise


def cause(error: Exception) -> str:
    """Why a file could not be written, in the operating system's words where it has some."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    # The first is how Rust says it, the second how TensorStore does.
    found = re.search(r"\(os error (\d+)\)|os_error_code='(\d+)'", str(error))
    return os.strerror(int(found[1] or found[2])) if found else " ".join(str(error).split())


def check(dest: Path) -> None:
    """Raises if there can be no new folder of that name; makes nothing.

    Raises:
      FileExistsError: `dest` is there already.
      OSError: there can be no such folder; the message says what is in the way.
    """
    if os.path.lexists(dest):
        what = "is there already" if dest.exists() else "is a link to something that is not there"
        raise FileExistsError(f"{dest} {what}; give another folder, or delete it")
    if dest.name == "..":
        raise OSError(f"{dest} is no name for a new folder: it ends in '..'; give its own name")
    nearest = next((folder for folder in dest.parents if os.path.lexists(folder)), None)
    if nearest is not None and not nearest.is_dir():
        what = "a file" if nearest.exists() else "a link to something that is not there"
        raise NotADirectoryError(f"{dest} cannot be made: {nearest} is {what}; give another folder")
    new = [folder.name for folder in (dest, *dest.parents) if not os.path.lexists(folder)]
    try:
        for place in (dest, *((nearest or Path()) / name for name in new)):
            with contextlib.suppress(FileNotFoundError):
                place.lstat()  # Raises where a name is too long, or all of them together.
    except (OSError, ValueError) as error:
        raise OSError(f"{dest} cannot be made: {cause(error)}; give another folder") from error
    if nearest is not None and not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(
            f"{dest} cannot be made: nothing may be written into {nearest}; give another folder"
        )


def _begin(dest: Path) -> Path:
    """The folder to write into; whatever will not do about `dest` shows now."""
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{dest.name[:20]}.", dir=dest.parent))
    except (OSError, ValueError) as error:
        raise OSError(f"{dest} cannot be made: {cause(error)}; give another folder") from error


def _finish(unfinished: Path, dest: Path) -> None:
    try:
        unfinished.rename(dest)
    except OSError as error:
        raise OSError(f"{dest} cannot be made: {cause(error)}; was it made meanwhile?") from error


@contextlib.contextmanager
def _endings_raised() -> Iterator[None]:
    """While this is active, SIGTERM and SIGHUP raise SystemExit, as Ctrl-C KeyboardInterrupt."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _ENDINGS}
    left_alone = (signal.SIG_IGN, None, _end)  # None: not Python's. _end: a folder in a folder.
    before = {number: was for number, was in before.items() if was not in left_alone}
    try:
        for number in before:
            signal.signal(number, _end)
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def _end(number: int, frame: FrameType | None) -> None:
    for ending in _ENDINGS:  # A second one must not cut the cleaning short.
        if signal.getsignal(ending) is _end:
            signal.signal(ending, signal.SIG_IGN)
    raise SystemExit(128 + number)
