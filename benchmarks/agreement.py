# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How often a model writes in bfloat16 and int8 what it writes in float32.

    python benchmarks/agreement.py                    the embedded model, 1,008 captions
    python benchmarks/agreement.py --model FOLDER
    python benchmarks/agreement.py --random vit-b/16+mt5-small    of this size, with random weights

The answers of float32, decoded greedily, are given to each precision again as the beginning of its
own answer (teacher forcing), and counted is how many of their tokens it would have written at that
place itself. Each precision looks at the pictures through its own ViT. Those of a trained model are
views of the demo corpus that no training saw, asked for in the languages of Crossmodal-3600; random
weights are asked 36 random prompts about noise, and write 32 tokens each.

Tokens are told apart by the margin of float32, the difference between its two largest logits: with
one that is small, nothing about the two tokens tells which is right. Random weights make many such,
as no token of 250,112 is meant.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import engines
import jax
import jax.numpy as jnp
import numpy as np

import pali
from pali import generation, looking
from pali.data.demo_corpus import load_corpus
from pali.data.rendering import render
from pali.languages import XM3600
from pali.models.pali import PaLI

MARGINS = (0.0, 0.01, 0.1, 0.3, 1.0, np.inf)

Load = Callable[[str], tuple[Any, Any]]


class Agreement(NamedTuple):
    """What each precision makes of the answers of float32."""

    answers: int
    margin: np.ndarray
    """f32 [tokens]; by how much each token leads in float32."""
    same: dict[str, np.ndarray]
    """By precision, bool [tokens]; whether it would have written this one."""


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", metavar="FOLDER", help="default: the embedded one")
    parser.add_argument("--random", metavar="VIT+MT5", help="presets, instead of a trained model")
    parser.add_argument("--pictures", type=int, default=28)
    arguments = parser.parse_args()
    if arguments.random:
        found = of_random(arguments.random, arguments.pictures)
    else:
        found = of_trained(arguments.model, arguments.pictures)
    print(f"{found.answers:,} answers, {len(found.margin):,} tokens\n")
    spans = list(itertools.pairwise(MARGINS))
    names = [f"{low} to {high}" if high < np.inf else f"{low} and above" for low, high in spans]
    print(f"| precision | tokens as in float32 | margin {' | '.join(names)} |")
    print("|---" * (2 + len(names)) + "|")
    for name, same in found.same.items():
        inside = [same[(low <= found.margin) & (found.margin < high)] for low, high in spans]
        parts = [f"{part.sum():,} of {part.size:,}" for part in inside]
        print(f"| {name} | {same.mean():.2%} | {' | '.join(parts)} |")


def of_trained(folder: str | None, pictures: int) -> Agreement:
    """Captions of unseen views, at most 64 tokens long."""
    model = pali.load(folder)
    asked = [model.prompts["caption"].fill({"lang": lang}) for lang in XM3600]
    tokenizer = model.tokenizer
    prompts = generation.padded([[*tokenizer.encode(text), tokenizer.eos_id] for text in asked])

    def load(precision: Any) -> tuple[Any, Any]:
        model = pali.load(folder, precision=precision)
        return model.config, model.params

    return agreement(load, unseen_pictures(pictures), prompts, generation.MAX_LENGTH)


def of_random(preset: str, pictures: int) -> Agreement:
    """Answers of random weights, 32 tokens each, to 36 random prompts of 16."""
    config = engines.presets_of(*preset.split("+"))
    rng = np.random.default_rng(0)
    views = list(rng.integers(0, 256, (pictures, *config.vit.image_shape, 3), np.uint8))
    prompts = rng.integers(2, config.mt5.vocab_size, (36, 16), np.int32)
    with tempfile.TemporaryDirectory() as name:
        engines.quiet()
        engines.write(config, Path(name), endless=True)
        return agreement(
            functools.partial(engines.params_of, config, Path(name)), views, prompts, 32
        )


def unseen_pictures(count: int) -> list[np.ndarray]:
    """Views of the training's concepts that it did not see."""
    concepts = load_corpus().core_train[:: len(load_corpus().core_train) // count][:count]
    return [render("noto", concept.code, 1_000_000 + n, 72) for n, concept in enumerate(concepts)]


def agreement(
    load: Load, pictures: Sequence[np.ndarray], prompts: np.ndarray, length: int
) -> Agreement:
    """Every prompt asked about every picture.

    Args:
      load: gives the configuration and the parameters of a precision.
      pictures: u8 [h w 3] each.
      prompts: i32 [m s], 0 where there is none.
      length: the most tokens of an answer.
    """
    rows = np.arange(len(pictures)).repeat(len(prompts))
    asked = np.tile(prompts, (len(pictures), 1))
    config, params = load("float32")
    visual = looking.look(config, params, pictures).array
    targets = np.zeros((len(rows), length), np.int32)
    for batch in _batches(len(rows)):
        some = np.ones(len(rows[batch]), bool)
        numbers = np.zeros(len(some), np.uint32)
        given = (config, generation.Decoding(), length, params, visual[rows[batch]], some)
        made = generation.answer(*given, asked[batch], np.uint32(0), numbers, None, None, None)
        targets[batch] = made.tokens[:, 0]
    real = targets > 0
    margin, _ = forced(config, params, visual[rows], asked, targets)
    same = {}
    for name in ("bfloat16", "int8"):
        del config, params  # Two of a real size need not be in memory.
        config, params = load(name)
        visual = looking.look(config, params, pictures).array
        same[name] = (forced(config, params, visual[rows], asked, targets)[1] == targets)[real]
    return Agreement(len(rows), margin[real], same)


def forced(
    config: Any, params: Any, visual: np.ndarray, asked: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How a model would go on after every beginning of `targets`: margin and token, [n t]."""
    found = [
        _forced(config, params, visual[batch], asked[batch], targets[batch])
        for batch in _batches(len(asked))
    ]
    margins, tokens = zip(*found, strict=True)
    return np.concatenate(margins), np.concatenate(tokens)


def _batches(rows: int) -> Iterator[slice]:
    """Few at once: their logits are an array [16 t V]."""
    return (slice(start, start + 16) for start in range(0, rows, 16))


@functools.partial(jax.jit, static_argnums=0)
def _forced(config: Any, params: Any, visual: Any, prompt: Any, targets: Any) -> Any:
    def call(method: str, *args: Any) -> Any:
        return PaLI(config).apply({"params": params}, *args, method=method)

    encoded, mask = call("encode", visual, jnp.ones(len(prompt), bool), prompt)
    logits = call("decode", encoded, mask, jnp.pad(targets[:, :-1], ((0, 0), (1, 0))))
    (first, second), tokens = jnp.moveaxis(jax.lax.top_k(logits, 2)[0], -1, 0), logits.argmax(-1)
    return first - second, tokens


if __name__ == "__main__":
    main()
