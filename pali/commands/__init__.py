# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One file for each `pali` command; pali/cli.py says what such a file holds."""

from __future__ import annotations

import os
import sys
import tempfile
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from pali.predict import Model


class CommandError(Exception):
    """The request cannot be carried out; the message says why and what to do. Exit status 2."""


def load_model(path: str | None) -> Model:
    """The model that `--model` names, by default the embedded one.

    Raises:
      CommandError: the folder is not a model.
    """
    import pali

    try:
        return pali.load(path)
    except (OSError, ValueError) as error:
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


def result_console(stream: Any) -> Console:
    """A rich console for results: no colours by guess, no broken lines outside a terminal."""
    from rich.console import Console

    return Console(file=stream, highlight=False, width=None if stream.isatty() else 100_000)


def import_seqio_bridge() -> ModuleType:
    """pali.data.seqio_bridge, without what TensorFlow writes to stderr while it starts.

    It remarks on GPUs and rounding from C++, where no setting reaches it; if the import fails, what
    was held back is shown.

    Raises:
      CommandError: SeqIO or TensorFlow is not installed.
    """
    with tempfile.TemporaryFile() as held_back:
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
    return CommandError(
        f"this needs {name}, which is not installed: pip install 'open-pali[{extra}]'"
    )
