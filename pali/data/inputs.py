# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The batches of one experiment: where a Config meets the pipeline.

The mixture comes from SeqIO's registry, or from tokenised records written beforehand, which need
neither SeqIO nor TensorFlow; from there on everything is the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import grain
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, UInt8

from pali import lora, prompts
from pali.checkpoints import merge
from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
from pali.config import JSONL, Config, DataConfig, ViTConfig
from pali.data import mixing, pipeline, visual_token_cache
from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
from pali.data.jsonl import read_jsonl
from pali.data.patch_words import ShowPatchWords
from pali.data.skipping import Skips, code
from pali.data.visual_token_store import Origin
from pali.models.vit import ViT
from pali.tokenizer import Tokenizer
from pali.types import Batch, Params

CUT_SAMPLE = 256
"""Examples that are looked at to say how many texts are too long."""

SHORT_CUT = 0.01
"""Share of a task's texts that may be cut for the sake of shorter batches."""

ENCODED = 2**15
"""Visual tokens that the ViT makes at a time to fill a cache: 168 pictures of ViT-B/16 at 224."""


class Inputs:
    """Training and evaluation batches; use it in a `with` statement, which ends its threads."""

    def __init__(
        self,
        config: Config,
        params: Params,
        shares: pipeline.Shares = pipeline.WHOLE,
    ):
        """Opens the mixture, and fills the cache of visual tokens when the config asks for one.

        Args:
          config: the experiment.
          params: parameters, of which the cache needs those of the ViT.
          shares: the rows of every batch that this process reads.

        Raises:
          ValueError: the mixture or one of the splits to evaluate does not exist, tokenizer,
            freezing and data do not fit the model, or the batch has no such shares.
        """
        self._config, self._shares = config, shares
        prompts.worded(config.data.prompts)  # Raises what is wrong with them, before all else.
        self._stack = contextlib.ExitStack()
        self.tokenizer = Path(config.tokenizer or EMBEDDED / TOKENIZER)
        if config.objective == "generate":
            Tokenizer(self.tokenizer).check_fits(config.model.mt5.vocab_size)
        self._mixture, tokens = self._read("train"), None
        self._evaluation = {
            split: self._batches(self._read(split), None, once=True)[-1]
            for split in config.eval_splits
        }
        mixture = self._mixture
        self.prompts = prompts_of(mixture)
        if config.data.visual_token_cache:
            mixture = with_cached_tokens(config, mixture, params)
            tokens = (config.model.vit.num_visual_tokens, config.model.vit.width)
        self._drawn, self._examples, self._train = self._batches(mixture, tokens)
        pictured = visual_token_cache.with_pictures(mixture)
        self._pictured = self._batches(pictured, None)[-1]
        self._skips = Skips(config.data.max_skipped)

    def cut_shares(self) -> dict[str, float]:
        """Which shares of the prompts and targets are longer than the config lets through.

        Counted on the first CUT_SAMPLE examples of training: {"inputs": 0.0, "targets": 0.2}.
        """
        data = self._config.data
        found = _sample(self._mixture, self._config.seed)
        limits = {"inputs": data.inputs_length, "targets": data.targets_length}
        return {
            name: sum(len(example[name]) > limit for example in found) / max(len(found), 1)
            for name, limit in limits.items()
        }

    def __enter__(self) -> Inputs:
        """Returns the inputs themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the threads that prepare batches."""
        self._stack.close()

    def train(self, start: int) -> Iterator[Sequence[Batch]]:
        """The batches of step `start`, `start + 1`, …, without end, each in parts.

        Raises:
          ValueError: too many of their records cannot be used (`data.max_skipped`).
        """
        threads = self._config.data.prefetch_threads
        batches = pipeline.iterate(self._train, start, threads=threads)
        self._stack.callback(batches.close)
        for step, parts in enumerate(batches, start):
            for part, examples in zip(parts, self._examples, strict=True):
                codes = part["skipped"]
                self._skips.add(codes, examples, step * len(codes))
            yield [_features(part) for part in parts]

    def pictured(self, step: int) -> Sequence[Batch]:
        """The batch of `train` that a step from 0 on reads, with pixels also of cached tokens."""
        return [_features(part) for part in self._pictured[step]]

    def skipped(self) -> dict[str, int]:
        """How many examples of training were skipped so far, by reason."""
        return dict(self._skips.counts)

    def describe(self, step: int) -> list[dict[str, str]]:
        """The examples of step `step`, from 1 on: what was drawn, its prompt and its target.

        Those of all processes.
        """
        found, tokenizer = [], Tokenizer(self.tokenizer)
        for examples, rows in self._drawn:
            for i in range((step - 1) * rows, step * rows):
                example: Any = examples[i]
                texts = {
                    name: tokenizer.decode(example[name].tolist())
                    for name in ("inputs", "targets")
                    if name in example
                }
                found.append({"drawn": example.get("draw", ""), **texts})
        return found

    def evaluate(self, split: str) -> Iterator[Sequence[Batch]]:
        """The first `eval_batches` batches of a split, the same each time; pictures as pixels.

        Of a single task each record is there once: the last batch is filled up with padding. A
        mixture has no end.
        """
        batches = self._evaluation[split]
        for i in range(min(self._config.eval_batches, len(batches))):
            yield [_features(part) for part in batches[i]]

    def _read(self, split: str) -> pipeline.Mixture:
        data = self._config.data
        if data.records:
            from pali.data.records import read_records

            mixture = read_records(data.records, split, str(self.tokenizer), data.mixture)
            _check_pictures(mixture, self._config.model.vit, f"{data.records}/{split}")
            return mixture
        vit, tokenizer = self._config.model.vit, str(self.tokenizer)
        if data.mixture.endswith(JSONL):
            mixture = read_jsonl(data.mixture, split, data.images, tokenizer, vit.image_size)
        else:
            from pali.data.seqio_bridge import read_mixture

            mixture = read_mixture(data.mixture, split, data.task_modules)
        if data.replay and split == "train":
            from pali.data.seqio_bridge import read_mixture

            again = read_mixture(data.replay, split, data.task_modules)
            mixture = mixing.together(mixture, again, data.replay_rate)
        return pipeline.fit_to_model(
            mixture,
            image_size=vit.image_size,
            pixels=vit.pixels,
            tokenizer=tokenizer,
            prompts=data.prompts,
        )

    def _batches(
        self, mixture: pipeline.Mixture, tokens: tuple[int, int] | None, *, once: bool = False
    ) -> tuple[list[tuple[grain.MapDataset, int]], list[grain.MapDataset], Any]:
        """Of each part (see `by_length`) all rows and their number in a batch, and this host's.

        And this host's batches of these parts, without end unless a single task is read `once`.
        """
        config, data = self._config, self._config.data
        size = config.model.vit.image_size
        if config.objective == "classify":
            parts = [(mixture, data.batch_size, ClassificationFeatures(size))]
        else:
            parts = [
                (part, rows, EncoderDecoderFeatures(*lengths, size, tokens))
                for lengths, part, rows in by_length(mixture, data, config.seed)
            ]
        examples = [pipeline.mixture_dataset(part, config.seed) for part, _, _ in parts]
        if once and len(mixture) == 1:
            records = len(mixture[0][0].source)
            examples = [pipeline.one_epoch(examples[0], records, data.batch_size)]
        if config.patch_weight:
            square = pipeline.side(size, "patch_weight")
            show = ShowPatchWords(square, config.model.vit.grid[0], str(self.tokenizer))
            examples = [part.map(show) for part in examples]
        for _, rows, _ in parts:
            if rows % self._shares[1]:
                raise ValueError(
                    f"a part of {rows} of the {data.batch_size} rows of a batch cannot be divided "
                    f"among {self._shares[1]} shares, which are data x fsdp of the mesh: set "
                    f"data.rows_multiple to {self._shares[1]}, and data.batch_size to a multiple"
                )
        datasets = [
            pipeline.batch_dataset(part, convert, rows, self._shares)
            for part, (_, rows, convert) in zip(examples, parts, strict=True)
        ]
        drawn = [(part, rows) for part, (_, rows, _) in zip(examples, parts, strict=True)]
        examples = [pipeline.own_rows(part, rows, self._shares) for part, rows in drawn]
        length = min(len(dataset) for dataset in datasets)  # Endless, but not equally.
        batches = grain.experimental.ZipMapDataset([d.slice(slice(length)) for d in datasets])
        return drawn, examples, batches


def by_length(
    mixture: pipeline.Mixture, data: DataConfig, seed: int
) -> list[tuple[tuple[int, int], pipeline.Mixture, int]]:
    """Parts of a batch: (prompt and target length, what is drawn for them, rows).

    A task belongs to the first of `data.short` that cuts no more of its texts than the longest
    lengths would, but for SHORT_CUT of a sample; so a caption is not padded to the length of a list
    of boxes. Rows are shared by the rates.

    Raises:
      ValueError: the rates leave a part without a single row.
    """
    parts: dict[tuple[int, int], list[tuple[pipeline.Task, float]]] = {}
    for task, rate in mixture:
        lengths = data.longest
        if data.short:
            found = _sample([(task, 1.0)], seed)
            fits = (s for s in data.short if _cut(found, s) - _cut(found, lengths) <= SHORT_CUT)
            lengths = next(fits, lengths)
        parts.setdefault(lengths, []).append((task, rate))
    weights = [sum(rate for _, rate in part) for part in parts.values()]
    step = data.rows_multiple
    rows = [count * step for count in _share(data.batch_size // step, weights)]
    if 0 in rows:
        lengths = list(parts)[rows.index(0)]
        raise ValueError(
            f"batch_size {data.batch_size} has no row for the tasks of lengths {lengths}, whose "
            "rates are too small: raise one of them, or take these lengths out of data.short"
        )
    return [(*part, count) for part, count in zip(parts.items(), rows, strict=True)]


def _share(rows: int, weights: Sequence[float]) -> list[int]:
    """Whole rows in proportion to the weights, by largest remainders; together they are `rows`."""
    exact = [rows * weight / sum(weights) for weight in weights]
    shares = [math.floor(share) for share in exact]
    for i in sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])[: rows - sum(shares)]:
        shares[i] += 1
    return shares


def _sample(mixture: pipeline.Mixture, seed: int) -> list[Any]:
    """Of the first CUT_SAMPLE examples those that can be used, without pictures."""
    without_pictures = pipeline.replace_image_function(mixture, lambda example: example)
    examples = pipeline.mixture_dataset(without_pictures, seed)
    found: list[Any] = [examples[i] for i in range(CUT_SAMPLE)]
    return [example for example in found if not code(example)]


def _features(part: Any) -> Batch:
    """What the model reads of a part."""
    return cast("Batch", {name: array for name, array in part.items() if name != "skipped"})


def _cut(examples: Sequence[Any], lengths: tuple[int, int]) -> float:
    """Which share of the examples has a prompt or a target that is too long."""
    inputs, targets = lengths
    cut = sum(len(e["inputs"]) > inputs or len(e["targets"]) > targets for e in examples)
    return cut / max(len(examples), 1)


def prompts_of(mixture: pipeline.Mixture) -> tuple[str, ...]:
    """Names of the prompts that a mixture asks; none for tokenised records, which do not say."""
    found = (getattr(f, "prompt", None) for task, _ in mixture for f in task.functions)
    return tuple(dict.fromkeys(name for name in found if name))


def _check_pictures(mixture: pipeline.Mixture, vit: ViTConfig, folder: str) -> None:
    """Records hold pictures as the ViT reads them, or say nothing of how they were made."""
    high, wide = vit.image_shape
    resample, fit = vit.pixels.resample, vit.pixels.fit
    for task, _ in mixture:
        image = task.source[0].get("image")
        if image is None:
            continue
        height, width = image.shape[:2]
        if (height, width) != (high, wide):
            option = f"{high}" if high == wide else f"{high}x{wide}"
            raise ValueError(
                f"the records in {folder} hold pictures of {height} x {width} pixels, the model "
                f"reads {high} x {wide}: write them with `pali tasks … --image-size {option}`"
            )
        for function in task.functions:
            pixels = getattr(function, "pixels", None)
            if pixels and (pixels.resample, pixels.fit) != (resample, fit):
                raise ValueError(
                    f"the records in {folder} hold pictures resized by {pixels.resample} "
                    f"{pixels.fit}, the model reads {resample} {fit}: write them with "
                    f"`pali tasks … --resample {resample} --fit {fit}`"
                )


def with_cached_tokens(
    config: Config, mixture: pipeline.Mixture, params: Params
) -> pipeline.Mixture:
    """The mixture with visual tokens instead of pictures, made by the ViT beforehand.

    Raises:
      ValueError: a part of the ViT is trained, or it has dropout.
    """
    data, vit = config.data, config.model.vit
    _, frozen = lora.partition(config, params)
    if merge.flatten(frozen.get("vit", {})).keys() != merge.flatten(params["vit"]).keys():
        raise ValueError(
            "data.visual_token_cache keeps what the ViT makes of a picture, which only a frozen "
            "ViT makes again: add 'vit/.*' to optim.freeze, or set data.visual_token_cache to None"
        )
    if vit.dropout:
        raise ValueError(
            f"model.vit.dropout is {vit.dropout}, and cached visual tokens have none: set it to 0, "
            "or data.visual_token_cache to None"
        )
    told = dataclasses.asdict(vit)
    for name in ("dropout", "scan", "remat"):  # They change neither parameters nor tokens.
        del told[name]
    origin = Origin(
        params=merge.fingerprint(params["vit"]),
        config=json.dumps(told),
        tokens=vit.num_visual_tokens,
        width=vit.width,
        dtype=data.visual_token_dtype,
    )
    # The run's mesh spans processes, of which each computes the tokens of other pictures.
    devices = jax.local_devices()
    mesh = jax.make_mesh((len(devices),), ("data",), (AxisType.Auto,), devices=devices)
    rows = max(1, ENCODED // vit.num_visual_tokens // len(devices)) * len(devices)
    place = NamedSharding(mesh, PartitionSpec("data"))

    @functools.cache
    def encoder() -> Callable[[Any], Array]:
        held = jax.device_put(params["vit"], NamedSharding(mesh, PartitionSpec()))
        look = jax.jit(lambda held, image: ViT(vit).apply({"params": held}, image))
        return lambda image: cast("Any", look(held, image)).tokens

    def encode(images: UInt8[np.ndarray, "b h w 3"]) -> Array:
        if images.shape[1:3] != vit.image_shape:
            raise ValueError(
                f"pictures are of {images.shape[1:3]} pixels, and the ViT reads {vit.image_shape}: "
                "the size in the task and the size in the config must agree"
            )
        rest = -len(images) % len(devices)
        images = np.concatenate([images, np.repeat(images[-1:], rest, 0)])
        with jax.set_mesh(mesh):
            return encoder()(jax.device_put(images, place))

    return visual_token_cache.use_cache(
        mixture,
        cast("str", data.visual_token_cache),
        origin,
        encode,
        views=data.visual_token_views,
        batch_size=rows,
        share=(jax.process_index(), jax.process_count()),
        wait=lambda: multihost_utils.sync_global_devices("visual tokens"),
    )
