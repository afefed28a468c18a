# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: a Config and a workdir -> a trained model, in one file, top to bottom.

    workdir/config.json       what was run
    workdir/log.jsonl         one line for each report: step, loss, accuracy, learning rate, speed
    workdir/checkpoints/      parameters and optimizer state (Orbax); the newest is gone on from
    workdir/model/            the finished model, for `pali.load` and `pali caption --model`

Every stage runs through the same step; what it minimises is in pali/objectives.py. The batch of
step k and its dropout depend on the seed and on k alone, so a run that was interrupted and goes on
ends where an uninterrupted one would.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pali import objectives, optim
from pali.checkpoints import components, initial, merge, pretrained
from pali.checkpoints.store import FOLDER, CheckpointStore
from pali.checkpoints.weights import Tensor
from pali.config import Config, from_json, to_json
from pali.data import inputs
from pali.gradients import gradients
from pali.languages import resolve_many
from pali.objectives import Objective, Sums
from pali.types import AUXILIARY, Batch, Params


def main(config: Config, workdir: str | os.PathLike) -> Path:
    """Trains, or goes on training, and exports the model.

    Args:
      config: the experiment.
      workdir: its folder; holding a checkpoint, the run goes on from there.

    Returns:
      The folder to load the model from: `workdir/model`, or for the ViT alone the workdir itself,
      to be named in the next stage's `init.models`.

    Raises:
      ValueError: the workdir belongs to another config, or the data or weights do not fit.
      FloatingPointError: the loss is no longer a number; nothing was saved since it was.
      Interrupted: SIGINT or SIGTERM arrived; the state was saved first.
    """
    workdir = Path(workdir)
    _check_workdir(config, workdir)
    languages = tuple(resolve_many(config.languages)) if config.languages else ()

    objectives_by_name = {"classify": objectives.classify, "generate": objectives.generate}
    objective = objectives_by_name[config.objective](config)
    params, sources = start_from(config)
    trained, frozen = optim.partition(params, config.optim.freeze)
    update = optim.optimizer(config.optim, config.steps)
    rate = optim.schedule(config.optim, config.steps)
    state = {"step": jnp.zeros((), jnp.int32), "params": trained, "opt_state": update.init(trained)}
    _report(f"{_count(trained):,} parameters are trained, {_count(frozen):,} are frozen")
    note = {"config": json.loads(to_json(config)), "frozen": merge.fingerprint(frozen)}

    train_fn = functools.partial(train_step, objective, update, config)
    train_fn = jax.jit(train_fn, donate_argnums=0)
    eval_fn = jax.jit(lambda trained, batch: objective(optim.join(trained, frozen), batch, None))

    with (
        CheckpointStore(workdir, keep=config.keep_checkpoints) as store,
        inputs.Inputs(_with_tokenizer(config, workdir), workdir, params) as data,
        _Signals() as signals,
    ):
        if (found := store.latest_step()) is not None:
            state, before = store.restore(state, found)
            if before.get("frozen", note["frozen"]) != note["frozen"]:
                raise ValueError(
                    f"{workdir} was trained beside other frozen parameters than those in "
                    f"{', '.join(config.init.sources) or 'init'} now. Put the old ones back, or "
                    "give this run a --workdir of its own."
                )
            _report(f"going on from step {found:,} of {config.steps:,} in {workdir}")
        if config.objective == "generate":
            for name, share in data.cut_shares().items():
                if share:
                    _report(f"{share:.0%} of the {name} are cut: they exceed data.{name}_length")
        (workdir / "config.json").write_text(to_json(config))
        start = int(state["step"])
        log = _Log(workdir / "log.jsonl", config, start)
        for step, batch in zip(range(start + 1, config.steps + 1), data.train(start), strict=False):
            state, sums = train_fn(state, frozen, batch)
            log.add(sums)
            last = step == config.steps
            if step % config.log_every == 0 or last:
                log.train(step, np.asarray(rate(step - 1)).item(), data.skipped())
            if step % config.checkpoint_every == 0 or last or signals.arrived:
                log.check()
                store.save(step, state, note)
            if step % config.eval_every == 0 or last:
                for split in config.eval_splits:
                    log.evaluation(
                        step, split, [eval_fn(state["params"], b) for b in data.evaluate(split)]
                    )
            if signals.arrived and not last:
                store.wait()
                raise Interrupted(f"stopped after step {step:,}; the same command goes on there")

    if config.objective == "classify":
        return workdir
    folder = workdir / "model"
    metadata = pretrained.Metadata(
        languages=languages,
        notes=config.notes,
        prompts=data.prompts,
        templates=config.data.prompts,
        prompt_length=config.data.inputs_length,
        sources=sources,
    )
    params = optim.join(state["params"], frozen)
    params.pop(AUXILIARY, None)
    card = pretrained.stub_card("Trained", sources) if sources else None
    pretrained.save_model(folder, config.model, params, data.tokenizer, metadata, card=card)
    _report(f"the model is in {folder}; try: pali caption PICTURE --model {folder}")
    return folder


class Interrupted(Exception):
    """Training was asked to stop, and has saved its state."""


def train_step(
    objective: Objective,
    update: optim.Update,
    config: Config,
    state: dict[str, Any],
    frozen: Params,
    parts: Sequence[Batch],
) -> tuple[dict[str, Any], Sums]:
    """One update of the trained parameters; gradients exist for those alone."""
    dropout = jax.random.fold_in(jax.random.key(config.seed), state["step"])
    grads, sums = gradients(objective, config, state["params"], frozen, parts, dropout)
    params, opt_state = update.apply(grads, state["opt_state"], state["params"])
    return {"step": state["step"] + 1, "params": params, "opt_state": opt_state}, sums


def start_from(config: Config) -> tuple[Params, tuple[pretrained.Source, ...]]:
    """Random parameters by the seed, but for those that `config.init` has; and what that is."""
    model, init = config.model, config.init
    sources: dict[pretrained.Source, None] = {}
    tensors: dict[str, Tensor] = {}
    halves = {"vit": init.vision, "mt5": init.language}
    takes = [
        (source, functools.partial(initial.take_half, source, part, model))
        for part, source in halves.items()
        if source is not None
    ]
    takes += [(s, functools.partial(initial.take_model, s, model)) for s in init.models]
    for source, take in takes:
        taken = take()
        tensors |= taken.tensors
        sources |= dict.fromkeys(taken.sources)
        _report(f"{taken.count:,} parameters come from {source}")
        if taken.resampled:
            there, here = (f"{rows} x {columns}" for rows, columns in taken.resampled)
            _report(
                f"the positions of the ViT in {source} are resampled: {there} patches there, "
                f"{here} here"
            )
    params = initial.initial_params(model, config.seed, tensors)
    if config.objective == "classify":
        params = {"vit": params["vit"]}
    return params | objectives.auxiliary_params(config), tuple(sources)


def _with_tokenizer(config: Config, workdir: Path) -> Config:
    """The config with the tokenizer of `init.language`: the one named, or that lies beside it.

    It is checked against the embedding, and put into the workdir, its sentinels inside, where data
    workers find it.
    """
    if config.init.language is None:
        return config
    component = components.open_source(config.init.language)
    content = components.vocabulary(component, config.tokenizer, config.model.mt5.vocab_size)
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / pretrained.TOKENIZER
    path.write_bytes(content)
    return dataclasses.replace(config, tokenizer=str(path))


_FREE = ("log_every", "eval_every", "eval_splits", "eval_batches", "checkpoint_every", "notes")
"""Fields that may change while a run lasts: nothing that it computes depends on them."""


def _check_workdir(config: Config, workdir: Path) -> None:
    """Refuses a folder where the checkpoints of another experiment would be gone on from."""
    saved = workdir / FOLDER
    if not saved.is_dir() or not any(saved.iterdir()):
        return  # Nothing was trained here, or a start failed: whatever it wanted, it may change.
    path = workdir / "config.json"
    own = "Give this run a --workdir of its own, or delete that folder to start over."
    try:  # What an earlier pali did not write has its default.
        before = json.loads(to_json(from_json(Config, path.read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{workdir} holds checkpoints, but {path.name} does not say of which run: {error}. "
            + own
        ) from None
    now = json.loads(to_json(config))
    changed = sorted(k for k in {*now, *before} - {*_FREE} if before.get(k) != now.get(k))
    if changed:
        raise ValueError(
            f"{workdir} holds a run of another config: it differs in {', '.join(changed)}. {own}"
        )


class _Log:
    """Reports on stderr for people, log.jsonl for programs; sums stay on the device until then."""

    def __init__(self, path: Path, config: Config, start: int):
        self._path, self._config = path, config
        self._sums: list[Sums] = []
        self._began = self._last = time.monotonic()
        self._start = start

    def add(self, sums: Sums) -> None:
        self._sums.append(sums)

    def check(self) -> None:
        """Raises FloatingPointError if a loss that was added since the last report is no number."""
        for sums in self._sums:
            if not math.isfinite(sums["loss"]):
                raise FloatingPointError(
                    f"the loss became {float(sums['loss'])}. The newest checkpoint is from before: "
                    "go on from it with a lower optim.learning_rate, or look for bad values in "
                    "the data and in the weights of init"
                )

    def train(self, step: int, learning_rate: float, skipped: dict[str, int]) -> None:
        self.check()
        entry = _means(self._sums)
        now = time.monotonic()
        speed = entry.pop("examples") / (now - self._last)
        left = (now - self._began) / (step - self._start) * (self._config.steps - step)
        entry |= {"learning_rate": learning_rate, "examples_per_second": round(speed, 1)}
        entry |= {f"skipped_{reason}": count for reason, count in skipped.items()}
        self._write(
            {"step": step, "split": "train", **entry, "seconds": round(now - self._began, 1)}
        )
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in entry.items())
        _report(f"step {step:,}/{self._config.steps:,}  {numbers}  about {left / 60:.0f} min left")
        self._sums, self._last = [], now

    def evaluation(self, step: int, split: str, results: list[Sums]) -> None:
        entry = _means(results)
        self._write({"step": step, "split": split, **entry})
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in entry.items())
        _report(f"step {step:,}  {split}: {numbers}")
        self._last = time.monotonic()

    def _write(self, entry: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _means(batches: list[Sums]) -> dict[str, float]:
    """Means over everything the sums of some batches count."""
    totals = {
        name: float(sum(np.asarray(sums[name], np.float64) for sums in batches))
        for name in batches[0]
    }
    count = max(totals["count"], 1)  # A batch of pictures may be of no class at all.
    means = {"loss": totals["loss"] / count, "accuracy": totals["correct"] / count}
    if "exact" in totals:
        means["exact"] = totals["exact"] / totals["examples"]
    if totals.get("class_count"):
        means["class_accuracy"] = totals["class_correct"] / totals["class_count"]
    if totals.get("contrast_count"):
        means["contrast"] = totals["contrast_loss"] / totals["contrast_count"]
    if totals.get("patch_count"):
        means["patches"] = totals["patch_loss"] / totals["patch_count"]
    return means | {"examples": totals["examples"]}


class _Signals:
    """While it lasts, SIGINT and SIGTERM only set `arrived`, so that the step in hand ends well."""

    def __enter__(self) -> _Signals:
        self.arrived = False
        wanted = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in wanted}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        if self.arrived:  # asked twice: the person means it
            raise KeyboardInterrupt
        self.arrived = True
        _report("stopping after this step, and saving; once more to stop at once")


def _count(params: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _report(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
