# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a run tells: lines for people, metrics.jsonl for programs, summaries for TensorBoard.

    step 1,200/4,000  loss 2.31  accuracy 0.61  4,120 tokens/s  98 images/s  MFU 41%  12 min left

Sums stay on the device until a report is due, so that reporting does not hold up the steps. Every
line of metrics.jsonl is an object with `step`, `split` and numbers; a run that goes on from an
earlier step forgets the lines after it, so that each step stands there once.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pali.config import Config
from pali.objectives import Sums
from pali.training.console import say
from pali.training.summaries import Summaries
from pali.types import Batch

FILE = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class UnusableStep(Exception):
    """More steps had a loss or a gradient that is no number than the config lets pass.

    Attributes:
      steps: their numbers, since the last look.
    """

    def __init__(self, steps: list[int]):
        """`steps` were met since the last report or checkpoint."""
        super().__init__(steps)
        self.steps = steps


class Logs:
    """The reports of one part of a run, from a step on; use it in a `with` statement."""

    operations: float | None = None
    """Share of the devices' peak that one step per second would be, where it is known."""

    def __init__(
        self,
        workdir: Path,
        config: Config,
        start: int,
        part: float = 1.0,
        *,
        evaluated: bool = True,
    ):
        """Opens the files.

        Args:
          workdir: where they are.
          config: the experiment.
          start: steps done before.
          part: how many times the rows of this process go into a batch.
          evaluated: whether the evaluations of step `start`, if it has any, are done as well.
        """
        self._config, self._start, self._part = config, start, part
        self._path = workdir / FILE
        self._mine = jax.process_index() == 0
        self._board = None
        if self._mine:
            _forget_after(self._path, start, evaluated)
            self._board = Summaries(workdir / TENSORBOARD)
        self._sums: list[tuple[int, Sums]] = []
        self._tokens = self._images = 0
        self._began = self._last = time.monotonic()

    def __enter__(self) -> Logs:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the file of summaries."""
        if self._board is not None:
            self._board.close()

    def add(self, step: int, sums: Sums, parts: Sequence[Batch]) -> None:
        """Keeps what a step summed up; `parts` is its batch, or this host's rows of it."""
        self._sums.append((step, sums))
        for part in parts:
            if "encoder_input_tokens" in part:
                tokens = np.count_nonzero(part["encoder_input_tokens"])
                self._tokens += tokens + np.count_nonzero(part["decoder_loss_weights"])
                self._images += np.count_nonzero(part["image_mask"])
            else:
                self._images += len(part["image"])

    def check(self) -> None:
        """Raises UnusableStep if too many steps since the start of the run were unusable.

        The count is that of the newest step, and part of the state: it survives interruptions.
        """
        if self._sums and int(self._sums[-1][1]["unusable"]) > self._config.max_unusable_steps:
            raise UnusableStep([step for step, sums in self._sums if not sums["usable"]])

    def train(self, step: int, learning_rate: float, skipped: dict[str, int]) -> None:
        """Reports on all steps since the last report."""
        self.check()
        now = time.monotonic()
        seconds, steps = now - self._last, len(self._sums)
        newest = self._sums[-1][1]
        entry = means([sums for _, sums in self._sums])
        examples = entry.pop("examples")
        entry |= {"learning_rate": learning_rate, "grad_norm": float(newest["grad_norm"])}
        entry |= {f"skipped_{reason}": count for reason, count in skipped.items()}
        if count := int(newest["unusable"]):
            entry["unusable_steps"] = count
        speeds = {
            "examples": examples / seconds,
            "tokens": self._part * self._tokens / seconds,
            "images": self._part * self._images / seconds,
        }
        if self.operations is not None:
            entry["mfu"] = self.operations * steps / seconds
        left = (now - self._began) / (step - self._start) * (self._config.steps - step)
        line = [f"step {step:,}/{self._config.steps:,}"]
        line += [f"{name} {value:.4g}" for name, value in entry.items() if name != "mfu"]
        line += [f"{speed:,.4g} {what}/s" for what, speed in speeds.items() if speed]
        line += [f"MFU {entry['mfu']:.0%}"] if "mfu" in entry else []
        say("  ".join([*line, f"about {_duration(left)} left"]))
        entry |= {f"{what}_per_second": round(speed, 1) for what, speed in speeds.items() if speed}
        self._write(step, "train", entry | {"seconds": round(now - self._began, 1)})
        self._sums, self._last, self._tokens, self._images = [], now, 0, 0

    def evaluation(self, step: int, split: str, results: Sequence[Sums]) -> dict[str, float]:
        """Reports on the batches of a split that were evaluated; {"split/loss": 2.3, …}."""
        entry = means(results)
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in entry.items())
        say(f"step {step:,}  {split}: {numbers}")
        return self._scores(step, split, entry)

    def answers(self, step: int, scores: dict[str, dict[str, float]]) -> dict[str, float]:
        """Notes the scores of tasks, which are reported already; {"task/split/metric": 41.0, …}."""
        found: dict[str, float] = {}
        for name, entry in scores.items():
            found |= self._scores(step, name, entry)
        return found

    def _scores(self, step: int, split: str, entry: dict[str, float]) -> dict[str, float]:
        self._write(step, split, entry)
        self._last = time.monotonic()  # An evaluation is no slow step.
        return {f"{split}/{name}": value for name, value in entry.items()}

    def _write(self, step: int, split: str, entry: dict[str, Any]) -> None:
        if not self._mine:
            return
        # Neither JSON nor a curve has a place for NaN.
        entry = {n: v if math.isfinite(v) else None for n, v in entry.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "split": split, **entry}) + "\n")
        if self._board is not None:
            found = {f"{split}/{n}": float(v) for n, v in entry.items() if v is not None}
            self._board.add(step, found)


def check_score(config: Config, found: Collection[str] = ()) -> None:
    """ValueError if `keep_best` names what no evaluation of the run can score.

    Args:
      config: the experiment.
      found: names of the scores of an evaluation, once there was one: before, nobody knows which
        metrics a task has.
    """
    if config.keep_best is None or config.keep_best in found:
        return
    known = sorted(found) or [
        *(f"{split}/{name}" for split in config.eval_splits for name in _names(config)),
        *(f"{task}/SPLIT/METRIC" for task in config.eval_tasks),
    ]
    task = config.keep_best.split("/")[0]
    if config.keep_best in known or (task in config.eval_tasks and not found):
        return
    hint = f"it has {', '.join(known)}" if known else "set eval_splits or eval_tasks"
    raise ValueError(f"keep_best is {config.keep_best!r}, which is no score of this run: {hint}")


def _names(config: Config) -> list[str]:
    """What `means` has of the objective."""
    names = ["loss", "accuracy"] + ["exact"] * (config.objective == "generate")
    weights = {"class_accuracy": config.class_weight, "contrast": config.contrast_weight}
    weights |= {"patches": config.patch_weight}
    return names + [name for name, weight in weights.items() if weight]


def means(batches: Sequence[Sums]) -> dict[str, float]:
    """Means over everything that the sums of some batches count; `examples` is a sum."""
    totals = {
        name: math.fsum(float(np.asarray(sums[name])) for sums in batches) for name in batches[0]
    }
    count = max(totals["count"], 1)  # A batch of pictures may be of no class at all.
    result = {"loss": totals["loss"] / count, "accuracy": totals["correct"] / count}
    if "exact" in totals:
        result["exact"] = totals["exact"] / max(totals["examples"], 1)
    if totals.get("class_count"):
        result["class_accuracy"] = totals["class_correct"] / totals["class_count"]
    if totals.get("contrast_count"):
        result["contrast"] = totals["contrast_loss"] / totals["contrast_count"]
    if totals.get("patch_count"):
        result["patches"] = totals["patch_loss"] / totals["patch_count"]
    return result | {"examples": totals["examples"]}


def _duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _forget_after(path: Path, start: int, evaluated: bool) -> None:
    """Leaves out the lines of what is done again, one that was cut short, and what is none.

    A run does not end because a file that only tells of it is damaged.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line)
            # What is said of training has a learning rate, also where "train" is a split as well.
            done = evaluated or entry["step"] < start or "learning_rate" in entry
            if entry["step"] <= start and done:
                kept.append(line + b"\n")
        except (ValueError, TypeError, LookupError, RecursionError):
            continue
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(b"".join(kept))
    new.replace(path)
