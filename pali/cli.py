# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The `pali` command: finds the command asked for and imports it, and nothing else.

Each command is a module of pali/commands with `SUMMARY`, `EXAMPLE`, `add_arguments(parser)` and
`run(arguments) -> exit status`; it imports what is heavy (JAX, SeqIO) inside `run`, so that every
`--help` answers at once. Results go to stdout, everything else to stderr.

Exit status: 0 all went well; 1 a part failed (a picture could not be read); 2 the request could not
be understood or carried out; 130 interrupted; 141 the reader of a pipe went away. With
PALI_TRACEBACK=1 a refused request shows where in the code it was refused.
"""

from __future__ import annotations

import _thread
import argparse
import contextlib
import difflib
import errno
import importlib
import io
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence

import pali
from pali import asking
from pali.commands import CommandError

COMMANDS = {
    "demo": "caption the example pictures that come with pali",
    "caption": "caption your pictures in many languages",
    "answer": "answer questions about pictures",
    "ocr": "read the text in pictures",
    "classify": "choose among labels of your own",
    "detect": "find things of your own classes, and draw boxes around them",
    "train": "train or fine-tune from a config file",
    "evaluate": "score a model on tasks",
    "score": "score anyone's predictions by an official metric",
    "data": "check and split a data set of your own",
    "tasks": "look at the registered tasks and mixtures",
    "convert": "weights of others into a model, and a model into theirs",
    "show": "what is in a model, or what a preset needs: sizes, languages, memory",
    "doctor": "what is installed, what is missing, how to fix it",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"pali {pali.__version__}")
        return 0
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean `pali {near[0]}`?" if near else f"there are {', '.join(COMMANDS)}"
        if os.path.exists(words[0]):
            hint = f"to caption it: pali caption {words[0]}"
        _complain(f"pali: no command {words[0]!r}; {hint}")
        return 2
    return _run(words[0], words[1:])


def overview() -> str:
    """The text of `pali --help`."""
    lines = [f"  {name:<10}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pali COMMAND ...",
            "",
            "PaLI in JAX: pictures and text in, text out, in many languages.",
            "",
            *lines,
            "",
            "`pali COMMAND --help` explains one command. Begin with: pali demo",
        ]
    )


def _run(name: str, words: Sequence[str]) -> int:
    try:
        with _hearing_ctrl_c():
            return _command(name, words)
    except SystemExit as end:  # argparse has printed its help, or what it did not understand.
        return int(end.code or 0)
    except CommandError as error:
        if os.environ.get("PALI_TRACEBACK"):
            raise
        _complain(f"pali {name}: {error}")
        return 2
    except KeyboardInterrupt as error:
        _complain(f"pali {name}: {str(error) or 'interrupted'}")
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. What Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if _interrupted(error):
            _complain(f"pali {name}: interrupted")
            return 130
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _complain(f"pali {name}: the results cannot be written: {error.strerror}")
            return 2
        _complain(f"pali {name}: {_crash(error)}\n")
        raise


def _command(name: str, words: Sequence[str]) -> int:
    command = importlib.import_module(f"pali.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"pali {name}",
        description=command.SUMMARY,
        epilog=command.EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    _quieten()
    with asking.notices_to(lambda notice: _complain(f"pali {name}: {notice}")):
        status = command.run(_parse(parser, words))
    sys.stdout.flush()
    return status


@contextlib.contextmanager
def _hearing_ctrl_c() -> Iterator[None]:
    """A KeyboardInterrupt that Python drops is raised again: one within a callback.

    JAX has one for whenever garbage is collected, which is often while modules are imported.
    """
    before = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            later = threading.Timer(0.01, _thread.interrupt_main)  # At once, it would be lost here.
            later.daemon = True
            later.start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupted(error: BaseException | None) -> bool:
    """Whether a KeyboardInterrupt led to it, as numpy's import makes of one an ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _crash(error: Exception) -> str:
    """One paragraph before the traceback of what no command foresaw."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    said = f"{type(error).__name__}: {str(error).strip() or 'nothing more is said'}"
    return (
        f"stopped by an error that it does not know: {said.splitlines()[0]}\n"
        f"It arose in {own[-1].filename}, line {own[-1].lineno}. If that is a file of yours, look "
        "there; if not, this is a bug, and what follows is what to report."
    )


def _parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Options may stand anywhere, also between pictures, unless `--` ends them."""
    if "--" not in words:  # parse_intermixed_args would overlook it.
        try:
            return parser.parse_intermixed_args(words)
        except TypeError:  # Of `pali train`, whose overrides are all that follows the config.
            pass
    return parser.parse_args(words)


def _quieten() -> None:
    """Keeps JAX's remarks (no GPU here, a program compiled for a like machine) from users."""
    import logging

    # `>&-` closes a stream, and then Python has none.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    # PIL warns of large pictures; pali.image has a limit of its own.
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)
    # Of what Orbax says while a save fails, the error that it then raises is the gist.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    # Answers are in every script; a terminal or file set to another encoding must not stop them.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _complain(message: str) -> None:
    print(message, file=sys.stderr)
