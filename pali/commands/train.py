# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali train`: a config file, changed field by field from the command line, to pali.train.main.

A config file is Python with `get_config() -> pali.config.Config`. It is given as a path, or as the
name of one that comes with pali. A file with VARIANTS, a tuple of names, has `get_config(variant)`
instead, whose default is one of them; another is named behind a colon: `configs/forkme.py:full`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pali
from pali.commands import CommandError, blame, import_seqio_bridge, missing_extra

if TYPE_CHECKING:
    from pali.config import Config

SUMMARY = """Trains from a config file; the same command goes on with a run that was interrupted.

Every field of the config can be changed: `pali train CONFIG --help` lists them."""

EXAMPLE = """examples:
  pali train configs/demo_captions_vit.py
  pali train configs/demo_captions.py --workdir runs/slow --optim.learning-rate 3e-4 --steps 2000
  pali train configs/forkme.py:lora --data.mixture birds/train.jsonl"""


PROCESSES = {
    "--coordinator-address": "JAX_COORDINATOR_ADDRESS",
    "--num-processes": "JAX_NUM_PROCESSES",
    "--process-id": "JAX_PROCESS_ID",
}
"""Flags in place of what the environment may say (pali/processes.py)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """CONFIG; what follows is read once the config is known."""
    parser.add_argument("config", metavar="CONFIG", help="a config file, or the name of pali's own")
    parser.add_argument(
        "overrides",
        nargs=argparse.REMAINDER,
        metavar="[--workdir DIR] [--profile] [--allow-config-change] [--ignore-memory-plan] "
        "[--coordinator-address HOST:PORT --num-processes N --process-id K] [--FIELD VALUE ...]",
        help="where the run is kept (default: runs/NAME); a trace of some steps; going on although "
        "the config has changed; starting although it may not fit into memory; which of several "
        "processes this is (docs/scaling.md); and fields to change",
    )


def parse(arguments: argparse.Namespace) -> tuple[Config, argparse.Namespace]:
    """The config with its changes, and what is said beside it."""
    import tyro

    path, variant = find_config(arguments.config)
    own = argparse.ArgumentParser(
        prog=f"pali train {arguments.config}", add_help=False, allow_abbrev=False
    )
    name = path.stem + (f"_{variant}" if variant else "")
    own.add_argument("--workdir", default=Path("runs") / name)
    own.add_argument("--profile", action="store_true")
    own.add_argument("--allow-config-change", action="store_true")
    own.add_argument("--ignore-memory-plan", action="store_true")
    for flag in PROCESSES:
        own.add_argument(flag)
    ours, fields = own.parse_known_args(arguments.overrides)
    default = load_config(path, variant)
    return tyro.cli(type(default), default=default, args=fields, prog=own.prog), ours


def run(arguments: argparse.Namespace) -> int:
    """Reads the config, applies the changes and trains."""
    config, ours = parse(arguments)
    if reads_registry(config):
        import_seqio_bridge()
    from pali import compilation_cache, processes, train
    from pali.training import console, fitting, interruption

    given = {name: getattr(ours, flag[2:].replace("-", "_")) for flag, name in PROCESSES.items()}
    said = {name: value for name, value in given.items() if value is not None}
    environ = {**os.environ, **said}
    if said and processes.ADDRESS not in environ:
        raise CommandError(
            f"{next(flag for flag in PROCESSES if PROCESSES[flag] in said)} says that this is one "
            "of several processes: say where the first one is, --coordinator-address HOST:PORT"
        )
    try:
        processes.join(environ)
        compilation_cache.enable()
        train.main(
            config,
            ours.workdir,
            allow_config_change=ours.allow_config_change,
            profile=ours.profile,
            ignore_memory_plan=ours.ignore_memory_plan,
        )
    except interruption.Interrupted as error:
        console.say(f"pali train: {error}")
        return interruption.RESUMABLE
    except fitting.DoesNotFit as error:
        raise CommandError(str(error)) from None
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    except (OSError, ValueError, FloatingPointError) as error:
        raise CommandError(str(error)) from error
    return 0


def reads_registry(config: Config) -> bool:
    """Whether a run reads tasks that SeqIO keeps."""
    from pali.config import JSONL

    data = config.data
    registered = data.records is None and not data.mixture.endswith(JSONL)
    return bool(registered or data.replay or config.eval_tasks or config.forgetting_tasks)


def find_config(name: str) -> tuple[Path, str]:
    """The file of a config given by path or by name, and the variant behind a colon, or "".

    Raises:
      CommandError: neither; the message names near ones.
    """
    if Path(name).is_file():
        return Path(name), ""
    if ":" in name:
        head, variant = name.rsplit(":", 1)
        if "/" not in variant and "\\" not in variant:  # else it is the C: of a path
            return find_config(head)[0], variant
    # The first is there in a wheel, the second in a checkout.
    package = Path(pali.__file__).parent
    folders = (package / "configs", package.parent / "configs")
    known = {file.stem: file for folder in folders for file in sorted(folder.glob("*.py"))}
    stem = Path(name).stem
    if stem in known and name in (stem, f"{stem}.py", f"configs/{stem}.py"):
        return known[stem], ""
    near = difflib.get_close_matches(stem, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"pali has {', '.join(known)}"
    raise CommandError(f"no config file {name!r}; {hint}")


def load_config(path: Path, variant: str = "") -> Config:
    """What `get_config()` of a config file returns, or `get_config(variant)`.

    Raises:
      CommandError: the file has no such function or variant, or it returns something else.
    """
    from pali.config import Config

    spec = importlib.util.spec_from_file_location(f"pali_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        known = getattr(module, "VARIANTS", ())
        chosen = (variant,) if variant else ()
        asked = hasattr(module, "get_config") and variant in ("", *known)
        config = module.get_config(*chosen) if asked else None
    except Exception as error:
        raise CommandError(f"{path} cannot be run: {blame(error, path)}") from error
    if variant and variant not in known:
        raise CommandError(
            f"{path} has no variant {variant!r}; it has {', '.join(known) or 'none'}"
        )
    if not isinstance(config, Config):
        raise CommandError(
            f"{path} needs a function get_config() that returns a pali.config.Config"
        )
    return config
