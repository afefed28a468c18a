# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali evaluate`: a model and tasks to pali.evaluate.main; tables go to stderr."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pali.commands import CommandError, import_seqio_bridge, missing_extra
from pali.commands.mesh import MESH_HELP, read_mesh

SUMMARY = """Predictions and scores of a model on tasks.

The workdir then holds predictions.jsonl, metrics.json, report.md and report.html, a page with bars
and pictures. Of several tasks one table of their main metrics is shown, and the reports have the
rest. After an interruption the same command goes on.

With --compare nothing is predicted: two finished workdirs are read, and what the second scores more
than the first is shown, with 95 % intervals from paired bootstrap draws."""

EXAMPLE = """examples:
  pali evaluate --tasks all --limit 10 --workdir runs/all
  pali evaluate --tasks demo_captions --limit 20
  pali evaluate --model runs/mine/model --tasks demo_captions --workdir runs/mine/scores
  pali evaluate --tasks vqav2:test --workdir runs/handed_in
  pali evaluate --compare runs/all runs/mine/scores"""


WORKDIR = "runs/evaluate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali evaluate`."""
    parser.add_argument(
        "--model", metavar="FOLDER", help="a model folder (default: the embedded one)"
    )
    parser.add_argument("--mesh", metavar="AXIS=N,…", help=MESH_HELP)
    parser.add_argument(
        "--tasks",
        metavar="A,B",
        help="tasks or mixtures, `pali tasks` lists them; all: every task that answers in text and "
        "has a split beside train, those of --module included; vqav2:test: one split, also one "
        "whose answers a server has",
    )
    parser.add_argument("--workdir", help=f"default: {WORKDIR}")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="at most N examples of each split and language"
    )
    parser.add_argument("--overwrite", action="store_true", help="discard what the workdir holds")
    parser.add_argument(
        "--module", action="append", default=[], help="a task file of your own; may be repeated"
    )
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="two finished workdirs: B less A, no model"
    )
    parser.add_argument("--json", action="store_true", help="of --compare: one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Evaluates and names the files."""
    if arguments.compare:
        return _compare(arguments)
    if arguments.json:
        raise CommandError("--json is of --compare; an evaluation writes metrics.json")
    if arguments.tasks is None:
        raise CommandError("--tasks is missing; `pali tasks` lists them")
    if arguments.workdir == "":
        raise CommandError(f"--workdir is empty; name a folder, or leave it out for {WORKDIR}")
    workdir = arguments.workdir or WORKDIR
    tasks = [name.strip() for name in arguments.tasks.split(",") if name.strip()]
    if not tasks:
        raise CommandError("--tasks names no task; `pali tasks` lists them")
    mesh = None if arguments.mesh is None else read_mesh(arguments.mesh)
    import_seqio_bridge()
    import jax

    from pali import evaluate, processes

    try:
        processes.join()
        evaluate.main(
            arguments.model,
            tasks,
            workdir,
            limit=arguments.limit,
            overwrite=arguments.overwrite,
            task_modules=arguments.module,
            mesh=mesh,
        )
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    except OSError as error:
        raise _unreadable(error) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    # The first of several processes has the workdir.
    files = ("metrics.json", "report.md", "report.html", "predictions.jsonl")
    for name in files if jax.process_index() == 0 else ():
        print(Path(workdir) / name)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from pali import comparison

    for name in ("model", "mesh", "tasks", "workdir", "limit", "overwrite", "module"):
        if getattr(arguments, name) not in (None, False, []):
            raise CommandError(f"--{name} is of an evaluation; --compare reads two finished ones")
    first, second = map(Path, arguments.compare)
    try:
        found = comparison.compare(first, second)
    except OSError as error:
        raise _unreadable(error) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print("\n".join(comparison.lines(found)))
    return 0


def _unreadable(error: OSError) -> CommandError:
    """Of an error of the operating system, the file and its words."""
    if error.filename and error.strerror:
        return CommandError(f"{error.filename} cannot be read or written: {error.strerror}")
    return CommandError(str(error))
