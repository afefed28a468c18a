# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali train` as real processes that start in a second instead of six.

They are forked from a server that has the modules imported already, but has not touched JAX's
devices: each process has as many as it asks for, and the signals and the end of any other.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

from pali.config import Config, to_json

EXPERIMENT = """
from pathlib import Path
from pali.config import Config, from_json

def get_config():
    return from_json(Config, Path({path!r}).read_text(encoding="utf-8"))
"""


def write(config: Config, path: Path, before: str = "") -> Path:
    """Writes a config file (`path` with the ending .py) that has this config; returns its path.

    Args:
      config: the experiment.
      path: beside it a JSON file is written.
      before: Python that the file runs first.
    """
    path.with_suffix(".json").write_text(to_json(config), encoding="utf-8")
    experiment = path.with_suffix(".py")
    text = before + EXPERIMENT.format(path=str(path.with_suffix(".json")))
    experiment.write_text(text, encoding="utf-8")
    return experiment


def start(words: Sequence[str], errors: Path, programs: str, devices: int = 1) -> BaseProcess:
    """`pali train` with these words; what it says on stderr is added to a file.

    Args:
      words: what follows `pali train`.
      errors: the file.
      programs: folder of compiled programs, so that not every start compiles.
      devices: how many devices of a CPU there are to be.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pali.train", "pali.commands.train", "orbax.checkpoint"])
    process = context.Process(target=_train, args=(tuple(words), str(errors), programs, devices))
    process.start()
    return process


def _train(words: Sequence[str], errors: str, programs: str, devices: int) -> None:
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    with open(errors, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    import jax

    from pali import cli

    jax.config.update("jax_compilation_cache_dir", programs)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    sys.exit(cli.main(["train", *words]))
