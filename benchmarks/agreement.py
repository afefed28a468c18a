# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How often a model writes in bfloat16 and int8 what it writes in float32.

    python benchmarks/agreement.py                    the embedded model, 1,008 captions
    python benchmarks/agreement.py --model FOLDER

The captions of float32, decoded greedily, are given to each precision again as the beginning of
its own answer (teacher forcing), and counted is how many of their tokens it would have written at
that place itself. The pictures, which each precision looks at through its own ViT, are views of the
demo corpus that no training saw; the languages are those of Crossmodal-3600. Differing tokens are
told apart by the margin of float32, the difference between its two largest logits: with one that is
small, nothing about the two tokens tells which is right.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pali
from pali import generation
from pali.data.demo_corpus import load_corpus
from pali.data.rendering import render
from pali.languages import XM3600
from pali.models.pali import PaLI

MARGINS = (0.1, 0.3, 1.0)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", metavar="FOLDER", help="default: the embedded one")
    parser.add_argument("--pictures", type=int, default=28)
    arguments = parser.parse_args()
    found = agreement(arguments.model, unseen_pictures(arguments.pictures), XM3600)
    margin, answers = found.pop("margin"), found.pop("answers")
    print(f"{answers:,} captions, {len(margin):,} tokens\n")
    print("| precision | tokens as in float32 | differing, by float32's margin |")
    print("|---|---|---|")
    for name, same in found.items():
        parts = [f"{(~same & (margin < limit)).sum()} below {limit}" for limit in MARGINS]
        print(f"| {name} | {same.mean():.2%} | {(~same).sum()}: {', '.join(parts)} |")


def unseen_pictures(count: int) -> list[np.ndarray]:
    """Views of the training's concepts that it did not see."""
    concepts = load_corpus().core_train[:: len(load_corpus().core_train) // count][:count]
    return [render("noto", concept.code, 1_000_000 + n, 72) for n, concept in enumerate(concepts)]


def agreement(
    folder: str | None, pictures: Sequence[np.ndarray], langs: Sequence[str]
) -> dict[str, Any]:
    """What each precision makes of the captions of float32.

    Returns:
      For "bfloat16" and "int8" which tokens are the same, bool [tokens]; "margin": by how much the
      token leads in float32, f32 [tokens]; "answers": how many captions these are.
    """
    model = pali.load(folder, precision="float32")
    captions = [text for found in model.caption(pictures, langs) for text in found.values()]
    targets = generation.padded([text.tokens for text in captions])
    asked = [text.prompt for text in captions]
    real = targets > 0
    logits = forced(model, pictures, asked, targets)
    first, second = np.sort(logits, axis=-1)[..., -1:-3:-1].transpose(2, 0, 1)
    found: dict[str, Any] = {"margin": (first - second)[real], "answers": len(captions)}
    for name in ("bfloat16", "int8"):
        other = forced(pali.load(folder, precision=name), pictures, asked, targets)
        found[name] = (other.argmax(-1) == targets)[real]
    return found


def forced(
    model: Any, pictures: Sequence[np.ndarray], asked: Sequence[str], targets: np.ndarray
) -> np.ndarray:
    """The logits f32[n t V] with which a model would go on, after every beginning of `targets`."""
    visual = model.look(list(pictures)).array
    of = np.arange(len(asked)) // (len(asked) // len(pictures))
    tokenizer = model.tokenizer
    prompt = generation.padded([[*tokenizer.encode(text), tokenizer.eos_id] for text in asked])
    made = []
    for start in range(0, len(asked), generation.MAX_BATCH):
        rows = slice(start, start + generation.MAX_BATCH)
        given = (visual[of[rows]], prompt[rows], targets[rows])
        made.append(np.asarray(_forced(model.config, model.params, *given)))
    return np.concatenate(made)


@functools.partial(jax.jit, static_argnums=0)
def _forced(config: Any, params: Any, visual: Any, prompt: Any, targets: Any) -> Any:
    def call(method: str, *args: Any) -> Any:
        return PaLI(config).apply({"params": params}, *args, method=method)

    encoded, mask = call("encode", visual, jnp.ones(len(prompt), bool), prompt)
    return call("decode", encoded, mask, jnp.pad(targets[:, :-1], ((0, 0), (1, 0))))


if __name__ == "__main__":
    main()
