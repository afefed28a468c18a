# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The batches of one experiment: where a Config meets the pipeline.

The mixture comes from SeqIO's registry, or from tokenised records written beforehand, which need
neither SeqIO nor TensorFlow; from there on everything is the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from pali import optim
from pali.checkpoints import merge
from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
from pali.config import Config, ViTConfig
from pali.data import pipeline, visual_tokens
from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
from pali.models.vit import ViT
from pali.tokenizer import Tokenizer
from pali.types import Batch, Params

CUT_SAMPLE = 256
"""Examples that are looked at to say how many texts are too long."""


class Inputs:
    """Training and evaluation batches; use it in a `with` statement, which ends its threads."""

    def __init__(self, config: Config, workdir: Path, params: Params):
        """Opens the mixture, and fills the cache of visual tokens when the config asks for one.

        Args:
          config: the experiment.
          workdir: where the cache of visual tokens goes when `data.visual_tokens` is relative.
          params: parameters, of which the cache needs those of the ViT.

        Raises:
          ValueError: the mixture or one of the splits to evaluate does not exist, or tokenizer,
            freezing and data do not fit the model.
        """
        self._config = config
        self._stack = contextlib.ExitStack()
        self.tokenizer = Path(config.tokenizer or EMBEDDED / TOKENIZER)
        if config.objective == "generate":
            Tokenizer(self.tokenizer).check_fits(config.model.mt5.vocab_size)
        self._mixture, tokens = self._read("train"), None
        self._evaluation = {split: self._read(split) for split in config.eval_splits}
        mixture = self._mixture
        self.prompts = prompts_of(mixture)
        if config.data.visual_tokens:
            _, frozen = optim.partition(params, config.optim.freeze)
            if merge.flatten(frozen.get("vit", {})).keys() != merge.flatten(params["vit"]).keys():
                raise ValueError(
                    "data.visual_tokens keeps what the ViT makes of a picture, which only a frozen "
                    "ViT makes again: add 'vit/.*' to optim.freeze, or set data.visual_tokens to "
                    "None"
                )
            folder = workdir / config.data.visual_tokens
            mixture = _from_cache(folder, mixture, config.model.vit, params["vit"])
            tokens = (config.model.vit.num_visual_tokens, config.model.vit.width)
        self._train = self._batches(mixture, tokens)

    def cut_shares(self) -> dict[str, float]:
        """Which shares of the prompts and targets are longer than the config lets through.

        Counted on the first CUT_SAMPLE examples of training: {"inputs": 0.0, "targets": 0.2}.
        """
        without_pictures = pipeline.replace_image_function(self._mixture, lambda example: example)
        examples = pipeline.mixture_dataset(without_pictures, self._config.seed)
        found: list[Any] = [examples[i] for i in range(CUT_SAMPLE)]
        limits = {"inputs": self._config.data.inputs_length}
        limits["targets"] = self._config.data.targets_length
        return {
            name: sum(len(example[name]) > limit for example in found) / CUT_SAMPLE
            for name, limit in limits.items()
        }

    def __enter__(self) -> Inputs:
        """Returns the inputs themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the threads that prepare batches."""
        self._stack.close()

    def train(self, start: int) -> Iterator[Batch]:
        """The batches of step `start`, `start + 1`, …, without end."""
        threads = self._config.data.prefetch_threads
        batches = pipeline.iterate(self._train, start, threads=threads)
        self._stack.callback(batches.close)
        return batches

    def evaluate(self, split: str) -> Iterator[Batch]:
        """The first `eval_batches` batches of a split, the same each time; pictures as pixels."""
        batches = self._batches(self._evaluation[split], None)
        return (batches[i] for i in range(self._config.eval_batches))

    def _read(self, split: str) -> pipeline.Mixture:
        data = self._config.data
        if data.records:
            from pali.data.records import read_records

            mixture = read_records(data.records, split, str(self.tokenizer), data.mixture)
            _check_size(mixture, self._config.model.vit.image_size, f"{data.records}/{split}")
            return mixture
        from pali.data.seqio_bridge import read_mixture

        mixture = read_mixture(data.mixture, split, data.task_modules)
        size = self._config.model.vit.image_size
        return pipeline.fit_to_model(mixture, image_size=size, tokenizer=str(self.tokenizer))

    def _batches(self, mixture: pipeline.Mixture, tokens: tuple[int, int] | None) -> Any:
        config, data = self._config, self._config.data
        size = config.model.vit.image_size
        if config.objective == "classify":
            convert = ClassificationFeatures(size)
        else:
            convert = EncoderDecoderFeatures(data.inputs_length, data.targets_length, size, tokens)
        examples = pipeline.mixture_dataset(mixture, config.seed)
        return pipeline.batch_dataset(examples, convert, data.batch_size)


def prompts_of(mixture: pipeline.Mixture) -> tuple[str, ...]:
    """Names of the prompts that a mixture asks; none for tokenised records, which do not say."""
    found = (getattr(f, "prompt", None) for task, _ in mixture for f in task.functions)
    return tuple(dict.fromkeys(name for name in found if name))


def _check_size(mixture: pipeline.Mixture, size: int, folder: str) -> None:
    for task, _ in mixture:
        image = task.source[0].get("image")
        if image is not None and image.shape[:2] != (size, size):
            height, width = image.shape[:2]
            raise ValueError(
                f"the records in {folder} hold pictures of {height} x {width} pixels, the model "
                f"reads {size} x {size}: write them with `pali tasks … --image-size {size}`"
            )


def _from_cache(folder: Path, mixture: pipeline.Mixture, config: ViTConfig, params: Params) -> Any:
    """The mixture with visual tokens instead of pictures, made by the ViT beforehand."""
    encode = jax.jit(lambda image: ViT(config).apply({"params": params}, image)[0])
    makers = {
        repr(f) for task, _ in mixture for f in task.functions if getattr(f, "makes_image", False)
    }
    fingerprint = visual_tokens.vit_fingerprint(params, config=config, image=sorted(makers))
    pictures = visual_tokens.pictures(mixture)
    look_up = visual_tokens.build(folder, fingerprint, pictures, encode)
    return pipeline.replace_image_function(mixture, look_up)
