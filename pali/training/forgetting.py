# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a model forgets in fine-tuning: the scores of `forgetting_tasks` before and after it.

    workdir/forgetting/<step>/   answers and scores, of step 0 and of the last, as in evaluation/
    workdir/forgetting.md        a table: each task's main metric, for all and for each language

The main metric is the one that a task file names first. Replaying what the model was trained on
before (`data.replay`), adapters (`lora`), fewer steps or a lower rate make it forget less.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from pali import processes
from pali.config import Config
from pali.metrics.records import Record
from pali.summary import LOWER, LOWER_NOTE
from pali.tokenizer import Tokenizer
from pali.training.console import say
from pali.training.evaluating import Evaluation
from pali.types import Params

FOLDER, REPORT = "forgetting", "forgetting.md"

ALL = "all"
"""Stands for the mean over the languages."""

SHOWN = 5
"""Languages of each split that are printed: those that lost most."""

COLUMNS = ("task", "split", "metric", "language", "before", "after", "change")


class Row(NamedTuple):
    """One line of the table."""

    task: str
    split: str
    metric: str
    language: str
    before: float
    after: float

    @property
    def gain(self) -> float:
        """Above 0 where it became better, whichever way the metric runs."""
        return (self.before - self.after) if self.metric in LOWER else (self.after - self.before)

    @property
    def cells(self) -> tuple[str, ...]:
        """As text, in the order of COLUMNS."""
        metric = f"{self.metric} ↓" if self.metric in LOWER else self.metric
        change = f"{self.after - self.before:+.1f}"
        names = (self.task, self.split, metric, self.language)
        return (*names, f"{self.before:.1f}", f"{self.after:.1f}", change)


class Forgetting:
    """Asks the tasks of `config.forgetting_tasks` twice and tells the difference."""

    def __init__(self, config: Config, workdir: Path, tokenizer: Tokenizer):
        """Reads the examples; raises as `Evaluation` does."""
        tasks = config.forgetting_tasks
        self._evaluation = Evaluation(config, workdir, tokenizer, tasks, FOLDER)
        self._workdir = workdir

    def knows(self, step: int) -> bool:
        """Whether there are scores of that step, of what is asked now."""
        return self._read(step) is not None

    def before(self, params: Params, check: Callable[[], None]) -> None:
        """Scores of the parameters that the run starts from."""
        say("what the model can do before it is trained:")
        self._evaluation.run(0, params, check)
        processes.meet("scores before training")

    def after(self, step: int, params: Params, check: Callable[[], None]) -> list[Row]:
        """Scores of the trained parameters, and the table of both, written and shown."""
        if not self.knows(step):
            say("what it can do now:")
            self._evaluation.run(step, params, check)
            processes.meet("scores after training")
        found = rows(self._read(0) or [], self._read(step) or [])
        if jax.process_index() == 0:
            (self._workdir / REPORT).write_text(markdown(found), encoding="utf-8")
        for line in lines(found):
            say(line)
        say(f"every language is in {self._workdir / REPORT}")
        return found

    def _read(self, step: int) -> list[Record] | None:
        path = self._workdir / FOLDER / str(step) / "metrics.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # ValueError: a run was killed while writing it.
            return None
        # The config may have named other tasks, or another number of examples.
        return found["scores"] if found.get("asked") == self._evaluation.asked else None


def rows(before: Sequence[Record], after: Sequence[Record]) -> list[Row]:
    """The main metric of each task and split, for all languages and for each; `ALL` first.

    Args:
      before, after: score records (pali/metrics/records.py) of the same examples.
    """
    old, new = _main(before), _main(after)
    found = []
    for (task, split), record in old.items():
        now, metric = new[task, split], record["metric"]
        found.append(Row(task, split, metric, ALL, record["score"], now["score"]))
        languages, theirs = record["per_language"], now["per_language"]
        if len(languages) > 1:
            found += [
                Row(task, split, metric, code, languages[code], theirs[code])
                for code in sorted(languages)
            ]
    return found


def markdown(table: Sequence[Row]) -> str:
    """The table as a page."""
    text = [
        "# Before and after fine-tuning\n",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---|---|---|--:|--:|--:|",
        *(f"| {' | '.join(row.cells)} |" for row in table),
    ]
    if any(row.metric in LOWER for row in table):
        text.append(f"\n{LOWER_NOTE}")
    return "\n".join(text) + "\n"


def lines(table: Sequence[Row]) -> list[str]:
    """The table for a terminal: of each split all languages together, and those that lost most."""
    shown = []
    for whole in (row for row in table if row.language == ALL):
        own = [r for r in table if r[:2] == whole[:2] and r.language != ALL and r.gain < 0]
        shown += [whole, *sorted(own, key=lambda row: (row.gain, row.language))[:SHOWN]]
    cells = [COLUMNS, *(row.cells for row in shown)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    return [
        " ".join(
            cell.ljust(width) if i < 4 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _main(scores: Sequence[Record]) -> dict[tuple[str, str], Record]:
    """The first record of the model for each task and split."""
    found: dict[tuple[str, str], Record] = {}
    for record in scores:
        if record["system"] == "model":
            found.setdefault((record["benchmark"], record["split"]), record)
    return found
