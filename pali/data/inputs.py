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

from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
from pali.config import Config, ViTConfig
from pali.data import pipeline, visual_tokens
from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
from pali.models.vit import ViT
from pali.types import Batch, Params


class Inputs:
    """Training and evaluation batches; use it in a `with` statement, which ends its threads."""

    def __init__(self, config: Config, workdir: Path, params: Params):
        """Opens the mixture, and fills the cache of visual tokens when the config asks for one.

        Args:
          config: the experiment.
          workdir: where the cache of visual tokens goes when `data.visual_tokens` is relative.
          params: parameters, of which the cache needs those of the ViT.
        """
        self._config = config
        self._stack = contextlib.ExitStack()
        self.tokenizer = Path(config.tokenizer or EMBEDDED / TOKENIZER)
        mixture, tokens = self._mixture("train"), None
        self.prompts = prompts_of(mixture)
        if config.data.visual_tokens:
            folder = workdir / config.data.visual_tokens
            mixture = _from_cache(folder, mixture, config.model.vit, params["vit"])
            tokens = (config.model.vit.num_visual_tokens, config.model.vit.width)
        self._train = self._batches(mixture, tokens)

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
        batches = self._batches(self._mixture(split), None)
        return (batches[i] for i in range(self._config.eval_batches))

    def _mixture(self, split: str) -> pipeline.Mixture:
        data = self._config.data
        if data.records:
            from pali.data.records import read_records

            return read_records(data.records, split, tokenizer=str(self.tokenizer))
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
