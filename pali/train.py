# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: a Config and a workdir -> a trained model, in one file, top to bottom.

    workdir/config.json         what was run
    workdir/metrics.jsonl       one line for each report: step, loss, accuracy, rate, speed
    workdir/tensorboard/        the same as summaries
    workdir/first_batch.html    what the model reads, to look at
    workdir/evaluation/<step>/  answers to `eval_tasks`, and their scores
    workdir/forgetting.md       scores of `forgetting_tasks` before the run and after it
    workdir/checkpoints/        parameters and optimizer state (Orbax); the newest is gone on from
    workdir/model/              the finished model, for `pali.load` and `pali caption --model`

Every stage runs through the same step; what it minimises is in pali/objectives.py. The batch of
step k and its dropout depend on the seed and on k alone, so a run that was interrupted and goes on
ends where an uninterrupted one would.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from pali import lora, memory, objectives, optim, processes, sharding
from pali.checkpoints import components, initial, merge, pretrained
from pali.checkpoints.store import CheckpointStore, DamagedCheckpoint
from pali.checkpoints.weights import Tensor
from pali.config import Config, to_json
from pali.data import inputs
from pali.gradients import gradients
from pali.languages import resolve_many
from pali.objectives import Objective, Sums
from pali.tokenizer import Tokenizer
from pali.training import first_batch, fitting, flops, interruption, logs
from pali.training import workdir as workdirs
from pali.training.console import say
from pali.training.evaluating import Evaluation
from pali.training.forgetting import Forgetting
from pali.training.interruption import Signals
from pali.training.trace import Trace
from pali.types import AUXILIARY, Batch, Params

State = dict[str, Any]
"""step, params (the trained ones), opt_state, and how many steps were `unusable`."""


@interruption.at_once()
def main(
    config: Config,
    workdir: str | os.PathLike,
    *,
    allow_config_change: bool = False,
    profile: bool = False,
    ignore_memory_plan: bool = False,
) -> Path:
    """Trains, or goes on training, and exports the model.

    Args:
      config: the experiment.
      workdir: its folder; holding a checkpoint, the run goes on from there.
      allow_config_change: go on although the checkpoints were made with another config.
      profile: write a trace of some steps to `workdir/profile`, for TensorBoard or Perfetto.
      ignore_memory_plan: start on a CPU although it needs more memory than is free.

    Returns:
      The folder to load the model from: `workdir/model`, or for the ViT alone the workdir itself,
      to be named in the next stage's `init.models`.

    Raises:
      ValueError: the workdir belongs to another config, or the data or weights do not fit.
      OSError: the workdir cannot be written, or the disk is full.
      FloatingPointError: the loss is no longer a number; nothing was saved since it was.
      interruption.Interrupted: SIGINT or SIGTERM arrived; the state was saved first.
      fitting.DoesNotFit: it needs more memory than there is; the message says what would help.
    """
    workdir = Path(workdir)
    for change in workdirs.check(config, workdir, allow_config_change=allow_config_change):
        say(f"going on with another config: {change}")
    logs.check_score(config)
    _languages(config)  # An unknown one ends the run now, not when its model is written.

    mesh = sharding.make_mesh(config.mesh)
    shares, devices = sharding.process_shares(mesh), sharding.mesh_config(mesh)
    sharding.check_batch(devices, config.data.batch_size, "data.batch_size")
    plan = memory.training(config, devices)
    for line in fitting.table(config, devices, plan):
        say(line)
    if not ignore_memory_plan:
        fitting.check(config, devices, plan, fitting.free_memory())

    objective = objectives.of(config)
    params, sources = start_from(config)
    trained, frozen = lora.partition(config, params)
    update = optim.optimizer(config.optim, config.steps)
    rate = optim.schedule(config.optim, config.steps)
    say(f"{_count(trained):,} parameters are trained, {_count(frozen):,} are frozen")
    note = {
        "config": json.loads(to_json(config)),
        "frozen": merge.fingerprint(frozen),
        "versions": workdirs.versions(),
    }

    wanted = placed(mesh, update, trained)
    where = jax.tree.map(lambda leaf: leaf.sharding, wanted)
    train_fn = jitted(functools.partial(train_step, objective, update, config), where)
    eval_fn = jax.jit(
        lambda trained, frozen, batch: objective(optim.join(trained, frozen), batch, None)
    )

    with contextlib.ExitStack() as stack:
        stack.enter_context(fitting.explained(config, devices, plan))
        stack.enter_context(jax.set_mesh(mesh))
        frozen = sharding.distribute(frozen, sharding.shardings(mesh, frozen))
        stack.enter_context(workdirs.room(workdir))
        stack.enter_context(workdirs.alone(workdir))
        store = CheckpointStore(workdir, keep=config.keep_checkpoints, best=config.keep_best)
        stack.enter_context(store)
        data = inputs.Inputs(_with_tokenizer(config, workdir), params, shares)
        stack.enter_context(data)
        signals = stack.enter_context(Signals())
        state, evaluated = _newest(store, wanted, note, config)
        if state is None:
            state = first_state(update, sharding.distribute(trained, where["params"]), where)
        start = int(state["step"])
        tokenizer = Tokenizer(data.tokenizer)
        forgetting = Forgetting(config, workdir, tokenizer) if config.forgetting_tasks else None
        if forgetting is not None and (start == 0 or not forgetting.knows(0)):
            old = sharding.distribute(trained, where["params"]) if start else state["params"]
            with interruption.resumable("before the first step"):
                forgetting.before(optim.join(old, frozen), signals.check)
            del old
        del params, trained
        if config.objective == "generate":
            for name, share in data.cut_shares().items():
                if share:
                    say(f"{share:.0%} of the {name} are cut: they exceed data.{name}_length")
        evaluation = Evaluation(config, workdir, tokenizer) if config.eval_tasks else None
        workdirs.claim(config, workdir)
        part = shares[1] / len(shares[0])
        log = stack.enter_context(logs.Logs(workdir, config, start, part, evaluated=evaluated))
        first = jax.process_index() == 0
        trace = stack.enter_context(Trace(workdir, start, config.steps, wanted=profile and first))
        batches = zip(range(start + 1, config.steps + 1), data.train(start), strict=False)

        def evaluate(step: int, trained: Params) -> dict[str, float]:
            """Scores by name; raises Asked between two batches."""
            scores: dict[str, float] = {}
            for split in config.eval_splits:
                results: list[Sums] = []
                for own in data.evaluate(split):
                    jax.block_until_ready(results)  # Else all would be asked for at once.
                    signals.check()
                    results.append(eval_fn(trained, frozen, sharding.global_batch(own, mesh)))
                scores |= log.evaluation(step, split, results)
            if evaluation is not None:
                whole = lora.scaled(config.lora, optim.join(trained, frozen))
                scores |= log.answers(step, evaluation.run(step, whole, signals.check))
            return scores

        if not evaluated:
            with interruption.resumable(f"after step {start:,}"):
                store.add_scores(start, evaluate(start, state["params"]))
        try:
            for step, own in batches:
                batch = sharding.global_batch(own, mesh)
                if step == start + 1:
                    if first:
                        first_batch.write(workdir, data.pictured(start), tokenizer)
                    log.operations = flops.of_step(config, state["params"], frozen, batch)
                trace.before(step)
                state, sums = train_fn(state, frozen, batch)
                log.add(step, sums, own)
                last = step == config.steps
                scores: dict[str, float] = {}
                if step % config.log_every == 0 or last:
                    log.train(step, np.asarray(rate(step - 1)).item(), data.skipped())
                evaluated = True
                if step % config.eval_every == 0 or last:
                    try:
                        scores = evaluate(step, state["params"])
                    except interruption.Asked:
                        evaluated = False
                stopping = signals.stopping()
                no_best = bool(scores) and config.keep_best not in {None, *scores}
                if step % config.checkpoint_every == 0 or last or stopping or no_best:
                    log.check()
                    store.save(step, state, note, scores, evaluated=evaluated)
                if no_best:
                    logs.check_score(config, scores)
                if stopping and not (last and evaluated):
                    store.wait()
                    raise interruption.stopped(f"after step {step:,}")
        except logs.UnusableStep as error:
            raise FloatingPointError(_unusable(error.steps, data, workdir)) from None
        store.wait()
        if forgetting is not None:
            whole = lora.scaled(config.lora, optim.join(state["params"], frozen))
            with interruption.resumable(f"after step {config.steps:,}"):
                forgetting.after(config.steps, whole, signals.check)
        best = store.restore_params(store.best_step())[0] if config.keep_best else None

    if config.objective == "classify":
        return workdir
    finished = {"model": state["params"]} | ({"best_model": best} if best else {})
    for name, trained in finished.items():
        params = lora.merged(config.lora, sharding.collect(optim.join(trained, frozen)))
        if first:
            _export(config, workdir / name, params, data, sources)
    processes.meet("the model is written")
    return workdir / "model"


def train_step(
    objective: Objective,
    update: optim.Update,
    config: Config,
    state: State,
    frozen: Params,
    parts: Sequence[Batch],
) -> tuple[State, Sums]:
    """One update of the trained parameters; gradients exist for those alone.

    A step whose loss or gradient is no number changes nothing, and is counted.
    """
    dropout = jax.random.fold_in(jax.random.key(config.seed), state["step"])
    grads, sums = gradients(objective, config, state["params"], frozen, parts, dropout)
    norm = optax.tree.norm(grads)
    usable = jnp.isfinite(norm) & jnp.isfinite(sums["loss"])

    params, opt_state = jax.lax.cond(
        usable,
        lambda *state: update.apply(grads, *state),
        lambda opt_state, params: (params, opt_state),
        *(state["opt_state"], state["params"]),
    )
    unusable = state["unusable"] + ~usable
    sums = {name: jnp.where(usable, value, 0) for name, value in sums.items()}
    sums |= {"grad_norm": norm, "usable": usable, "unusable": unusable}
    step = state["step"] + 1
    return {"step": step, "params": params, "opt_state": opt_state, "unusable": unusable}, sums


def jitted(step: Callable[..., tuple[State, Sums]], where: Any = None) -> Any:
    """(state, frozen, parts) -> (state, sums), compiled when it is called first; state is donated.

    Args:
      step: `train_step` of a run.
      where: a sharding for each array of the state, if not left to XLA.
    """
    options = {}
    if jax.default_backend() == "cpu":
        # Else what could run at once is, for which gradients of tables are kept as large as these:
        # 0.4 GB more for mT5-small in float32 and 0.7 in bfloat16, and no faster.
        options["xla_cpu_scheduler_type"] = "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"
    places = (where, None) if where else None
    return jax.jit(step, donate_argnums=0, out_shardings=places, compiler_options=options)


def placed(mesh: jax.sharding.Mesh, update: optim.Update, trained: Params) -> State:
    """The state of a run as shapes, and where on the mesh each array lies."""
    state = jax.eval_shape(functools.partial(first_state, update), trained)
    whole = NamedSharding(mesh, PartitionSpec())
    where = {
        "step": whole,
        "params": sharding.shardings(mesh, trained),
        "opt_state": sharding.optimizer_shardings(mesh, trained, state["opt_state"]),
        "unusable": whole,
    }
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        state,
        where,
    )


def first_state(update: optim.Update, trained: Params, where: Any = None) -> State:
    """The state before the first step; `where`: a sharding for each array of it."""

    def rest(trained: Params) -> State:
        slots, zero = update.init(trained), jnp.zeros((), jnp.int32)
        return {"step": zero, "opt_state": slots, "unusable": zero}

    places = where and {name: place for name, place in where.items() if name != "params"}
    return {"params": trained, **jax.jit(rest, out_shardings=places)(trained)}


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
        say(f"{taken.count:,} parameters come from {source}")
        if taken.resampled:
            there, here = (f"{rows} x {columns}" for rows, columns in taken.resampled)
            say(
                f"the positions of the ViT in {source} are resampled: {there} patches there, "
                f"{here} here"
            )
    params = initial.initial_params(model, config.seed, tensors)
    if config.objective == "classify":
        params = {"vit": params["vit"]}
    params = lora.added(config.lora, params, config.seed)
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
    # Every process writes it, wherever its workdir is: at once, so that none reads a part.
    new = path.with_name(f"{path.name}.{jax.process_index()}")
    new.write_bytes(content)
    new.replace(path)
    return dataclasses.replace(config, tokenizer=str(path))


def _newest(
    store: CheckpointStore, wanted: State, note: Mapping[str, Any], config: Config
) -> tuple[State | None, bool]:
    """The state to go on from: that of the newest checkpoint that is whole, if there is one.

    And whether the evaluation of its step was not given up.

    Raises:
      ValueError: it was trained beside other frozen parameters.
    """
    for step in reversed(store.steps()):
        found, before = None, {}
        reason = f"checkpoint {store.folder / str(step)} is damaged where another process reads it."
        try:
            found, before = store.restore(wanted, step, since=("unusable",))
        except DamagedCheckpoint as error:
            reason = error.args[0]
        whole = found is not None
        if not all(processes.gather(functools.partial(bool, whole))):
            say(f"{reason} It was moved to {store.set_aside(step)}.")
            continue
        if before.get("frozen", note["frozen"]) != note["frozen"]:
            raise ValueError(
                f"{store.folder.parent} was trained beside other frozen parameters than those in "
                f"{', '.join(config.init.sources) or 'init'} now. Put the old ones back, or give "
                "this run a --workdir of its own."
            )
        say(f"going on from step {step:,} of {config.steps:,} in {store.folder.parent}")
        return found, before.get("evaluated", True)
    return None, True


def _export(
    config: Config,
    folder: Path,
    params: Params,
    data: inputs.Inputs,
    sources: tuple[pretrained.Source, ...],
) -> None:
    """Writes a model folder: what the run has learned, and what its data was like."""
    params.pop(AUXILIARY, None)
    metadata = pretrained.Metadata(
        languages=_languages(config),
        notes=config.notes,
        prompts=data.prompts,
        templates=config.data.prompts,
        prompt_length=config.data.inputs_length,
        sources=sources,
    )
    card = pretrained.stub_card("Trained", sources) if sources else None
    pretrained.save_model(folder, config.model, params, data.tokenizer, metadata, card=card)
    what = folder.name.replace("_", " ")
    say(f"the {what} is in {folder}; try: pali caption PICTURE --model {folder}")


def _languages(config: Config) -> tuple[str, ...]:
    """Codes of the languages that a config names.

    Raises:
      ValueError: one is unknown.
    """
    return tuple(resolve_many(config.languages)) if config.languages else ()


def _unusable(steps: Sequence[int], data: inputs.Inputs, workdir: Path) -> str:
    """What to say of steps whose loss is no number; their examples are noted in a file."""
    path = workdir / "unusable_batches.jsonl"
    if jax.process_index() == 0:
        examples = ({"step": step, **found} for step in steps for found in data.describe(step))
        lines = (json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
        path.write_text("".join(lines), encoding="utf-8")
    processes.meet("the examples are written")
    return (
        f"the loss of step {steps[0]:,} or its gradient is no number; nothing was updated by it, "
        "and the newest checkpoint is from before. Go on from it with a lower "
        "optim.learning_rate and --allow-config-change, or look for bad values in the weights of "
        f"init and in the examples that are listed in {path}; max_unusable_steps lets some steps "
        "like this pass"
    )


def _count(params: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
