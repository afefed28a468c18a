# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali evaluate`: a model and tasks -> predictions, official numbers, a report.

    workdir/run.json           which model this workdir belongs to
    workdir/predictions.jsonl  one line for each example (pali/metrics/records.py: Line), written as
                               they are made; the same command goes on where it was interrupted
    workdir/metrics.json       the score records (pali/metrics/records.py)
    workdir/report.md          the same as tables
    workdir/report.html        the same as bars, with the best and worst predictions and their
                               pictures (pali/report_page.py)
    workdir/submissions/       of public benchmarks: what their servers take (pali/official.py)
    workdir/items/             and what each of their items scores

Examples come from the registered tasks: every split but "train" or the one named, the metrics that
the task file names, and what pali/data/benchmarks.py adds. Scores are computed from
predictions.jsonl alone. Each picture is seen by the ViT once, however many prompts ask about it.

Of several processes (pali/processes.py) each predicts its part of the examples; with a mesh, which
divides the model among them, all predict all. The lines come together in the first process, which
alone reads and writes the workdir and scores them: texts are gathered, and no score is averaged.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8
from rich.console import Console
from rich.progress import Progress

import pali
from pali import official, processes, ranking, report, report_page, sharding
from pali.best_and_worst import best_and_worst
from pali.checkpoints import pretrained
from pali.checkpoints.hub import locate
from pali.config import PaLIConfig
from pali.data.benchmarks import Baseline
from pali.data.evaluation import Example, Split, read_splits
from pali.data.skipping import REASONS
from pali.finished import check_line
from pali.looking import no_pictures
from pali.mesh_config import MeshConfig
from pali.metrics import records
from pali.models.pali import PaLI
from pali.models.vit import Seen
from pali.predict import Model, VisualTokens, load_model

BLOCK = 512
"""Examples between two writes to predictions.jsonl."""


def main(
    model: str | os.PathLike[str] | None = None,
    tasks: Iterable[str] = ("demo_captions",),
    workdir: str | os.PathLike[str] = "runs/evaluate",
    *,
    limit: int | None = None,
    overwrite: bool = False,
    task_modules: Iterable[str] = (),
    mesh: MeshConfig | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluates a model and returns what metrics.json holds.

    Args:
      model: a model folder; None is the embedded model.
      tasks: names of registered tasks or mixtures; of a mixture each task is scored. "all" is every
        registered task that answers in text and has a split beside "train", those of your own task
        files included.
      workdir: where predictions and scores go; they may be there already, from the same model.
      limit: at most so many examples of each split and language, chosen by hash: a smaller limit
        is a part of a larger one, and going on with a larger one keeps what was made.
      overwrite: discards what the workdir holds.
      task_modules: your own task files.
      mesh: the devices that a model too large for one is divided among, those of all processes.
      console: where progress and tables are shown; by default stderr.

    Raises:
      FileNotFoundError: the model folder is not one.
      ValueError: a task is unknown or cannot be evaluated, or the workdir holds other results.
      ModuleNotFoundError: SeqIO, which keeps the registry of tasks, is not installed.
      KeyboardInterrupt: interrupted; the predictions made so far are kept.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or left out for everything")
    folder = pretrained.EMBEDDED if model is None else locate(model)
    loaded = load_model(folder, mesh)
    vit = loaded.config.vit
    splits = read_splits(
        tasks,
        vit.image_size,
        loaded.tokenizer,
        limit,
        task_modules,
        pixels=vit.pixels,
        prompts=loaded.metadata.templates,
    )
    workdir = Path(workdir)
    processes.once(lambda: claim(workdir, folder, overwrite))
    first = jax.process_index() == 0
    console = console or Console(stderr=True, quiet=not first)
    skipped = {f"{s.task}/{s.name}": s.skipped for s in splits if s.skipped}
    for name, counts in skipped.items():
        listed = "; ".join(f"{REASONS[reason]}: {count:,}" for reason, count in counts.items())
        console.print(f"{name}: left out, {listed}", markup=False, soft_wrap=True)
    path = workdir / "predictions.jsonl" if first else Path(os.devnull)
    try:
        with Progress(console=console, transient=True) as progress:
            found = [
                predict(loaded, split, path, progress, divided=mesh is None) for split in splits
            ]
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; the same command goes on from {path}") from None
    results: dict[str, Any] = {
        "model": {"folder": str(folder), "fingerprint": fingerprint(folder)},
        "pali": pali.__version__,
        "limit": limit,
        "skipped": skipped,
    }
    return processes.once(lambda: _score(results, splits, found, workdir, console))


def _score(
    results: dict[str, Any],
    splits: Sequence[Split],
    found: Sequence[list[records.Line]],
    workdir: Path,
    console: Console,
) -> dict[str, Any]:
    """Scores the lines of all splits, writes everything but these, and shows the scores."""
    scores, handed_in, examples = [], [], []
    for split, lines in zip(splits, found, strict=True):
        if (made := official.score(split, lines, workdir)) is not None:
            handed_in.append(made.record)
        if split.hidden:  # A server has the references.
            continue
        own = records.score(lines, split.metric_fns, split.benchmark.english)
        scores += own
        examples.append(best_and_worst(split, lines, own, made))
    results = results | {"scores": scores, "official": handed_in}
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (workdir / "metrics.json").write_text(text + "\n", encoding="utf-8")
    lines = [line for part in found for line in part]
    markdown = report.markdown(results, lines)
    markdown += official.markdown(handed_in)
    (workdir / "report.md").write_text(markdown, encoding="utf-8")
    page = report_page.page(results, examples)
    (workdir / "report.html").write_text(page, encoding="utf-8")
    report.show(results, console)
    for said in official.lines_of(handed_in):
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    return results


def predict(
    model: Model,
    split: Split,
    path: Path,
    progress: Progress,
    *,
    divided: bool = False,
    size: int = BLOCK,
    before: Callable[[], None] = lambda: None,
) -> list[records.Line]:
    """Completes the lines of one split in predictions.jsonl and returns them, in every process.

    Args:
      model: the whole of it in each process, or a part of it in each.
      split: the same in all processes.
      path: the file; only that of the first process is read.
      progress: gets a bar.
      divided: each process predicts examples of its own; else all predict all.
      size: examples of each process between two writes.
      before: called before each of these blocks, in every process; it may raise, to end it there.

    Raises:
      ValueError: the file holds lines of this split that were made of other examples.
    """
    wanted = {example.id: example for example in split.examples}
    here = processes.once(lambda: [line for line in read_lines(path) if line["id"] in wanted])
    made: dict[str, records.Line] = {line["id"]: line for line in here}
    for id, line in made.items():
        _check_same(line, _question(split, wanted[id]), path)
    # Examples of one picture side by side, so that it is looked at once.
    todo = sorted(
        (e for e in split.examples if e.id not in made), key=lambda e: (e.image_key, e.id)
    )
    bar = progress.add_task(f"{split.task} {split.name}", total=len(wanted), completed=len(made))
    share, shares = (jax.process_index(), jax.process_count()) if divided else (0, 1)
    size *= shares
    with path.open("a", encoding="utf-8") as file:
        for start in range(0, len(todo), size):
            before()
            block = todo[start : start + size]
            # Neighbours, which have the picture in common. No example is asked twice to fill up.
            own = block[share * len(block) // shares : (share + 1) * len(block) // shares]
            lines = _of_all(model, split, own) if divided else predict_block(model, split, own)
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            file.write(text)
            file.flush()
            made |= {line["id"]: line for line in lines}
            progress.advance(bar, len(lines))
    return list(made.values())


def _of_all(model: Model, split: Split, own: Sequence[Example]) -> list[records.Line]:
    """The lines of the examples of every process."""
    parts = processes.gather(lambda: predict_block(model, split, own) if own else [])
    return [line for part in parts for line in part]


def predict_block(model: Model, split: Split, block: Sequence[Example]) -> list[records.Line]:
    """The lines of some examples."""
    pictures = {example.image_key: example for example in block} if split.pictured else {}
    row_of = {key: row for row, key in enumerate(pictures)}
    visual = classes = None
    if pictures:
        visual, classes = see(model, np.stack([split.picture(e) for e in pictures.values()]))
    # By language: answers that run together are then about equally long.
    block = sorted(block, key=lambda e: (e.lang, e.id))

    def tokens(examples: Sequence[Example]) -> VisualTokens:
        if visual is None:
            return no_pictures(model.config, len(examples))
        return VisualTokens(visual[[row_of[e.image_key] for e in examples]])

    prompts = [example.prompt for example in block]
    texts = model.generate(tokens(block), prompts, max_length=split.max_length)
    lines: list[records.Line] = []
    for example, text in zip(block, texts, strict=True):
        line = _question(split, example)
        line |= {"prediction": str(text), "log_prob": text.log_prob, "num_tokens": text.num_tokens}
        lines.append(line)  # type: ignore[arg-type]
    if names := official.class_names(split):
        found = model.rank(tokens(block), prompts, list(names.values()))
        for line, values in zip(lines, found, strict=True):
            line["chosen"] = list(names)[int(values.argmax())]
    asked = [i for i, line in enumerate(lines) if "candidates" in line]
    likelihoods = model.rank(
        tokens([block[i] for i in asked]),
        [block[i].prompt for i in asked],
        [lines[i].get("candidates", []) for i in asked],
    )
    for i, values in zip(asked, likelihoods, strict=True):
        lines[i]["log_likelihoods"] = [round(float(value), 4) for value in values]
    baseline = split.benchmark.baseline
    if classes is not None and baseline is not None and baseline.fits(classes.shape[1]):
        for example, line in zip(block, lines, strict=True):
            line |= _baseline(split, baseline, example, classes[row_of[example.image_key]])
    return lines


def _question(split: Split, example: Example) -> dict[str, Any]:
    """The part of a line that is known before the model answers."""
    line: dict[str, Any] = {
        "id": example.id,
        "task": split.task,
        "split": split.name,
        "version": split.benchmark.version,
        "lang": example.lang,
        "group": example.group,
        "image_key": example.image_key,
        "prompt": example.prompt,
        "references": list(example.references),
    }
    if (item := official.item_of(split, example)) is not None:
        line["item"] = item.id
    if choice := split.choice(example):
        line["candidates"] = [other.references[0] for other in choice[0]]
        line["right_candidate"] = choice[1]
    return line


def _baseline(
    split: Split, baseline: Baseline, example: Example, scores: np.ndarray
) -> dict[str, Any]:
    own = baseline.class_of(example.record)
    line: dict[str, Any] = {
        "baseline": baseline.answer(example.record, scores),
        "baseline_class_right": None if own is None else own == int(scores.argmax()),
    }
    if choice := split.choice(example):
        classes = [baseline.class_of(other.record) for other in choice[0]]
        line["baseline_scores"] = [
            None if index is None else round(float(scores[index]), 4) for index in classes
        ]
    return line


def see(
    model: Model, pixels: UInt8[np.ndarray, "n h w 3"]
) -> tuple[Float[np.ndarray, "n p d"], Float[np.ndarray, "n classes"] | None]:
    """Visual tokens and, where the ViT has a classifier, its class scores, in one pass."""
    tokens, classes = [], []
    for rows, count in ranking.filled_batches(len(pixels)):
        seen = sharding.collect(_see(model.config, model.params, pixels[rows]))
        tokens.append(np.asarray(seen.tokens[:count], np.float32))
        if seen.classes is not None:
            classes.append(np.asarray(seen.classes[:count], np.float32))
    return np.concatenate(tokens), np.concatenate(classes) if classes else None


@functools.partial(jax.jit, static_argnums=0)
def _see(config: PaLIConfig, params: Any, image: UInt8[Array, "b h w 3"]) -> Seen:
    seen: Any = PaLI(config).apply({"params": params}, image, method=lambda model, x: model.vit(x))
    return seen


def read_lines(path: Path) -> list[records.Line]:
    """The lines of predictions.jsonl; one that was cut short at the end is removed.

    Raises:
      ValueError: another line is damaged.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    lines = []
    for number, line in enumerate(content[:end].splitlines(), start=1):
        try:
            found = json.loads(line)
            check_line(found, f"line {number}")
        except (ValueError, RecursionError):
            raise ValueError(
                f"line {number} of {path} is damaged; remove it, or use --overwrite"
            ) from None
        lines.append(found)
    return lines


def _check_same(line: records.Line, question: dict[str, Any], path: Path) -> None:
    for key, value in question.items():
        if line.get(key) != value:
            raise ValueError(
                f"{path} was made of other data: {line['id']} has {key} {line.get(key)!r} there, "
                f"and now it is {value!r}. Use another --workdir, or --overwrite to begin anew."
            )


def claim(workdir: Path, folder: Path, overwrite: bool = False) -> None:
    """Makes the workdir this model's, or finds that it is.

    Raises:
      OSError: there can be no such folder.
      ValueError: it holds results of another model.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{workdir} cannot be a workdir: {error.strerror}; name another") from error
    run = workdir / "run.json"
    if overwrite:
        for name in ("run.json", "predictions.jsonl", "metrics.json", "report.md", "report.html"):
            (workdir / name).unlink(missing_ok=True)
        official.clear(workdir)
    mine = {"model": str(folder), "fingerprint": fingerprint(folder)}
    if run.is_file():
        try:
            theirs = json.loads(run.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            theirs = None
        if not isinstance(theirs, dict):
            raise ValueError(f"{run} is damaged; use --overwrite to begin anew")
        if theirs.get("fingerprint") != mine["fingerprint"]:
            raise ValueError(
                f"{workdir} holds results of another model ({theirs.get('model')}, fingerprint "
                f"{theirs.get('fingerprint')}; this one is {mine['model']}, "
                f"{mine['fingerprint']}). Use another --workdir, or --overwrite to discard them."
            )
    elif (workdir / "predictions.jsonl").exists():
        raise ValueError(
            f"{workdir} holds predictions.jsonl but no run.json that says whose they are. "
            "Use another --workdir, or --overwrite to discard them."
        )
    run.write_text(json.dumps(mine, ensure_ascii=False) + "\n", encoding="utf-8")


def fingerprint(folder: Path) -> str:
    """What makes a model this model: a hash of its configuration, weights and tokenizer."""
    digest = hashlib.sha256()
    weights = sorted(folder.glob("model*.safetensors"))  # One file, or all shards.
    for path in (folder / pretrained.CONFIG, *weights, folder / pretrained.TOKENIZER):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
