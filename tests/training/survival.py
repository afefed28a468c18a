# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Kills a training run again and again, and compares what it ends with.

    python -m tests.training.survival config.json --workdir /tmp/survival --kills 200

Trains once without interruption, and once in processes that are killed (SIGKILL) at moments drawn
from a seed: some after so many seconds, some as soon as a checkpoint is being written. Each start
is the same call. At the end the parameters of both runs must be equal, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pali.config import Config, from_json
from tests.training import forked

LONGEST = 1.2
"""How long a process may live before it is killed, at most, in times of what the last one needed
for a checkpoint and the beginning of the next: a machine that is busy starts slowly."""


def survive(
    config: Config, workdir: Path, programs: str, kills: int, seed: int = 0
) -> Iterator[dict]:
    """Kills a run so often, then lets it end; yields what happened, kill by kill.

    Args:
      config: of a run that is long enough.
      workdir: of the run that is killed.
      programs: folder of compiled programs.
      kills: how often; every third of them while a checkpoint is being written.
      seed: of the moments.

    Raises:
      RuntimeError: the run ended, or failed, before it could be killed.
    """
    draw, needed = random.Random(seed), 0.0
    errors = workdir.with_suffix(".stderr")
    words = [str(forked.write(config, workdir)), "--workdir", str(workdir)]
    for number in range(kills):
        process, began = forked.start(words, errors, programs), time.monotonic()
        if number % 3 == 0:
            before = max(steps(workdir), default=0)
            while process.is_alive() and not (
                writing(workdir) and max(steps(workdir), default=0) > before
            ):
                time.sleep(0.001)
            needed = time.monotonic() - began
            time.sleep(draw.uniform(0, 0.02))
        else:
            process.join(draw.uniform(0.1, LONGEST * needed))
        if not process.is_alive():
            raise RuntimeError(
                f"the run ended by itself, with status {process.exitcode}, before kill {number + 1}"
                f" of {kills}: give it more steps, or see {errors}"
            )
        found = writing(workdir)
        process.kill()
        process.join()
        yield {
            "kill": number + 1,
            "after_seconds": round(time.monotonic() - began, 3),
            "while_writing": found,
            "steps": sorted(steps(workdir)),
        }
    process = forked.start(words, errors, programs)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the last start failed with status {process.exitcode}; see {errors}")


def writing(workdir: Path) -> list[str]:
    """Names of checkpoints that are being written: folders under another name than a number."""
    folder = workdir / "checkpoints"
    return [p.name for p in folder.iterdir() if "tmp" in p.name] if folder.is_dir() else []


def steps(workdir: Path) -> list[int]:
    """Steps of the checkpoints that have their own name."""
    folder = workdir / "checkpoints"
    return [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []


def parameters(workdir: Path) -> dict[str, np.ndarray]:
    """All that the last checkpoint trained."""
    from pali.checkpoints import merge
    from pali.checkpoints.store import CheckpointStore

    with CheckpointStore(workdir, read_only=True) as store:
        return merge.flatten(store.restore_params()[0])


def main() -> None:
    """Both runs, and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    config = from_json(Config, arguments.config.read_text(encoding="utf-8"))
    killed, whole = arguments.workdir / "killed", arguments.workdir / "whole"
    programs = str(arguments.workdir / "programs")
    for count, folder in ((arguments.kills, killed), (0, whole)):
        for entry in survive(config, folder, programs, count, arguments.seed):
            sys.stdout.write(json.dumps(entry) + "\n")
            sys.stdout.flush()
    ours, theirs = parameters(killed), parameters(whole)
    differing = [name for name in theirs if not np.array_equal(ours[name], theirs[name])]
    if differing:
        raise SystemExit(f"{len(differing)} arrays differ: {', '.join(differing[:5])}")
    sys.stdout.write(
        f"{len(theirs)} arrays are equal, bit for bit, after {arguments.kills} kills\n"
    )


if __name__ == "__main__":
    main()
