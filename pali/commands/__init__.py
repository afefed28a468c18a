# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One file for each `pali` command; pali/cli.py says what such a file holds."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from pali.config import ImageSize, Precision
    from pali.mesh_config import MeshConfig
    from pali.predict import Model


MAX_SIDE = 10_000
"""Pixels; a ViT that saw more would have half a million patches."""


class Once(argparse.Action):
    """An option that is refused when it is given twice, as the last would silently win."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Keeps the value."""
        if getattr(namespace, f"{self.dest}_given", False):
            parser.error(f"{option_string} is given twice; give it once")
        setattr(namespace, f"{self.dest}_given", True)
        setattr(namespace, self.dest, values)


class CommandError(Exception):
    """The request cannot be carried out; the message says why and what to do. Exit status 2."""


def load_model(
    path: str | None, mesh: MeshConfig | None = None, precision: Precision | None = None
) -> Model:
    """The model that `--model` names, by default the embedded one, on the devices of `--mesh`.

    Raises:
      CommandError: the folder is not a model, or the mesh cannot divide it in that precision.
    """
    import pali

    try:
        return pali.load(path, mesh=mesh, precision=precision)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(str(error)) from None


def read_names(spec: str) -> list[str]:
    """The names in `a,b,c`, or in the file of `@file`, as `read_lines` reads it.

    Raises:
      CommandError: the file cannot be read.
    """
    return read_lines(spec[1:]) if spec.startswith("@") else spec.split(",")


def read_lines(path: str) -> list[str]:
    """The lines of a text file without spaces at their ends; empty ones are skipped.

    Raises:
      CommandError: the file cannot be read, is no UTF-8, or has no line.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not a text file in UTF-8") from None
    if not any(lines):
        raise CommandError(f"{path} is empty; write one on each line")
    return [line for line in lines if line]


def read_image_size(text: str | None) -> ImageSize | None:
    """What --image-size says: one side in pixels, or height x width as in 448x336.

    Raises:
      CommandError: it is neither.
    """
    if text is None:
        return None
    sides = [
        int(part) if part.isdecimal() and len(part) < 10 else 0 for part in text.lower().split("x")
    ]
    if not (len(sides) <= 2 and all(1 <= side <= MAX_SIDE for side in sides)):
        raise CommandError(
            f"--image-size is {text[:40]}; give one side from 1 to {MAX_SIDE:,} pixels, or height "
            "x width as in 448x336"
        )
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def result_console(stream: Any) -> Console:
    """A rich console for results: no colours by guess, no broken lines outside a terminal."""
    from rich.console import Console

    return Console(file=stream, highlight=False, width=None if stream.isatty() else 100_000)


@contextlib.contextmanager
def interrupted_at_the_end() -> Iterator[None]:
    """Keeps Ctrl-C for the end of a block that would lose it.

    Raises:
      KeyboardInterrupt: at the end, if it was pressed meanwhile.
    """
    before = signal.getsignal(signal.SIGINT)
    alone = threading.current_thread() is threading.main_thread()
    if before is not signal.default_int_handler or not alone:
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def import_seqio_bridge() -> ModuleType:
    """pali.data.seqio_bridge, without what TensorFlow writes to stderr while it starts.

    It remarks on GPUs and rounding from C++, where no setting reaches it; if the import fails, what
    was held back is shown.

    Raises:
      CommandError: SeqIO or TensorFlow is not installed.
    """
    if importlib.util.find_spec("seqio") is None:  # Known at once, before anything is imported.
        raise missing_extra(ModuleNotFoundError(name="seqio"))
    # What collects garbage and imports modules meanwhile drops a KeyboardInterrupt, and goes on.
    with interrupted_at_the_end(), tempfile.TemporaryFile() as held_back:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            from pali.data import seqio_bridge
        except BaseException as error:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            if isinstance(error, ModuleNotFoundError):
                raise missing_extra(error) from error
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    return seqio_bridge


def missing_extra(error: ModuleNotFoundError, extra: str = "train") -> CommandError:
    """What to say when a module of an optional extra is missing; one of pali's own is a bug.

    Raises:
      ModuleNotFoundError: `error` itself, when pali lacks a part of its own.
    """
    name = (error.name or "").split(".")[0]
    if name in ("", "pali"):
        raise error
    if name == "datasets":  # What a task's source may need of another extra.
        extra = "hf"
    return CommandError(f"this needs {name}, which is not installed: {install_command(extra)}")


def install_command(extra: str) -> str:
    """What installs an extra into the Python that runs this, from the checkout where there is one.

    >>> install_command("train")
    "/home/me/pali/.venv/bin/python -m pip install -c constraints.txt -e '.[train]'"
    """
    import pali

    extras = f"[{extra}]" if extra else ""
    root = Path(pali.__file__).parents[1]
    if not (root / "pyproject.toml").is_file():
        return f"{sys.executable} -m pip install 'open-pali{extras}'"
    here = root == Path.cwd()
    constraints = "constraints.txt" if here else root / "constraints.txt"
    return f"{sys.executable} -m pip install -c {constraints} -e '{'.' if here else root}{extras}'"


def blame(error: BaseException, path: str | os.PathLike[str]) -> str:
    """An error in a user's own Python file, with the line of that file that it comes from."""
    file = os.path.abspath(path)
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if os.path.abspath(frame.filename) == file
    ]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {getattr(error, 'msg', None) or error}"
