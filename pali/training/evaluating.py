# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation tasks inside training: the model as it is now writes answers, which are scored.

The loss of a validation split says how likely the right answers are; this says what the model
answers. Predictions and scores of each time stay in `evaluation/<step>/` of the workdir, as
`pali evaluate` would leave them there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import Progress

from pali import evaluate, summary
from pali.checkpoints.pretrained import Metadata
from pali.config import Config
from pali.data.evaluation import read_splits
from pali.generation import MAX_BATCH
from pali.metrics import records
from pali.predict import Model
from pali.tokenizer import Tokenizer
from pali.training.console import say
from pali.types import Params

FOLDER = "evaluation"
EXAMPLES = 3
"""Answers of each split that are shown."""


class Evaluation:
    """The splits of some tasks, read once."""

    def __init__(
        self,
        config: Config,
        workdir: Path,
        tokenizer: Tokenizer,
        tasks: Sequence[str] = (),
        folder: str = FOLDER,
    ):
        """Reads the examples of `tasks`, by default `config.eval_tasks`; answers go to `folder`.

        Raises:
          ValueError: a task is unknown or cannot be evaluated.
          ModuleNotFoundError: SeqIO, which keeps the registry of tasks, is not installed.
        """
        self._config, self._folder, self._tokenizer = config, workdir / folder, tokenizer
        vit, data = config.model.vit, config.data
        self._splits = read_splits(
            tasks or config.eval_tasks,
            vit.image_size,
            tokenizer,
            config.eval_limit,
            data.task_modules,
            pixels=vit.pixels,
            prompts=data.prompts,
        )

    @property
    def asked(self) -> list[list[str | int]]:
        """What it asks: of each split the task, its name and how many examples."""
        return [[split.task, split.name, len(split.examples)] for split in self._splits]

    def run(
        self, step: int, params: Params, check: Callable[[], None]
    ) -> dict[str, dict[str, float]]:
        """Answers and scores, the first few shown; {"task/split": {metric: score}}.

        Args:
          step: steps done.
          params: of the whole model, frozen ones included.
          check: called before each batch; what it raises ends the evaluation.
        """
        metadata = Metadata(templates=self._config.data.prompts)
        model = Model(self._config.model, params, self._tokenizer, metadata)
        folder = self._folder / str(step)
        # Of several processes all compute, since each holds a part of the model, and one writes.
        writes, path = jax.process_index() == 0, Path(os.devnull)
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "predictions.jsonl"
            path.unlink(missing_ok=True)  # of a run killed here, maybe with other parameters
        found: dict[str, dict[str, float]] = {}
        scores: list[records.Record] = []
        shown = writes and Console(stderr=True).is_terminal
        console = Console(stderr=True, quiet=not shown)
        with Progress(console=console, transient=True) as progress:
            for split in self._splits:
                lines = evaluate.predict(model, split, path, progress, size=MAX_BATCH, before=check)
                own = records.score(lines, split.metric_fns, split.benchmark.english)
                scores += own
                found[f"{split.task}/{split.name}"] = {
                    record["metric"]: record["score"]
                    for record in own
                    if record["system"] == "model"
                }
                for line in sorted(lines, key=lambda line: line["id"])[:EXAMPLES]:
                    say(f"  {line['prompt']} -> {line['prediction']!r}, {line['references'][0]!r}")
        if writes:
            found_now = {"step": step, "asked": self.asked, "scores": scores}
            text = json.dumps(found_now, indent=1, ensure_ascii=False)
            (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
        for line in summary.lines(scores):
            say(line)
        return found
