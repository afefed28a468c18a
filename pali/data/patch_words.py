# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Which words the patches of a composed picture show: what stage 1 teaches a ViT beside the texts.

Whoever composes a picture knows what is where. A patch over written text shows its letters, each
as the piece that is this one character: the pieces that the text is cut into are too many to be
learned one by one. A patch over an object of a scene shows the tokens of its English name, a patch
over neither nothing:

    patch_words i32[p WORDS]    token ids, NOTHING first where a patch shows nothing, then UNKNOWN

Pictures of which that is not known (a single concept, a flag, a photograph) have UNKNOWN alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pali.data.demo_corpus import load_corpus
from pali.data.scenes import describe
from pali.data.typesetting import character_boxes
from pali.tokenizer import Tokenizer, load_tokenizer
from pali.types import NOTHING, UNKNOWN

Example = dict[str, Any]

WORDS = 4
"""Words that a patch may show at the same time."""

COVERED = 0.1
"""Share of a patch that a word must cover to be shown by it. Below that it may or may not be."""


@dataclass(frozen=True)
class ShowPatchWords:
    """record of a text or a scene -> patch_words i32[grid² WORDS]; of any other, UNKNOWN."""

    image_size: int
    grid: int
    """Patches along a side."""
    tokenizer: str

    def __call__(self, example: Example) -> Example:
        """Adds "patch_words"."""
        return example | {"patch_words": self._words(example)}

    def _words(self, example: Example) -> Int[np.ndarray, "p w"]:
        tokenizer = load_tokenizer(self.tokenizer)
        if {"text", "lang", "view"} <= example.keys():
            found = _written(tokenizer, example, self.image_size)
        elif {"split", "scene"} <= example.keys():
            found = _pictured(tokenizer, example)
        else:
            return np.full((self.grid**2, WORDS), UNKNOWN, np.int32)
        return assign(found, self.grid)


def assign(found: list[tuple[int, Float[np.ndarray, " 4"]]], grid: int) -> Int[np.ndarray, "p w"]:
    """Words for patches, row by row: those that cover most of a patch, the foremost first.

    Args:
      found: token ids with what they cover, (xmin, ymin, xmax, ymax) in shares of the picture.
      grid: patches along a side.
    """
    words = np.full((grid**2, WORDS), UNKNOWN, np.int32)
    boxes = np.array([box for _, box in found]).reshape(-1, 4) * grid
    edges = np.arange(grid)
    wide = np.minimum(boxes[:, 2, None], edges + 1) - np.maximum(boxes[:, 0, None], edges)
    high = np.minimum(boxes[:, 3, None], edges + 1) - np.maximum(boxes[:, 1, None], edges)
    cover = (high.clip(0)[:, :, None] * wide.clip(0)[:, None, :]).reshape(len(found), grid**2)
    ids = np.array([token for token, _ in found], np.int32)
    best = np.argsort(-cover, axis=0, kind="stable")[:WORDS]
    shown = np.where(np.take_along_axis(cover, best, 0) >= COVERED, ids[best], UNKNOWN)
    words[:, : len(best)] = shown.T
    words[~cover.any(0), 0] = NOTHING
    return words


def _written(
    tokenizer: Tokenizer, example: Example, size: int
) -> list[tuple[int, Float[np.ndarray, " 4"]]]:
    boxes = character_boxes(example["text"], example["lang"], example["view"], size) / size
    return [
        (tokenizer.letter(character), box)
        for character, box in zip(example["text"], boxes, strict=True)
        if not np.isnan(box[0]) and not character.isspace()
    ]


def _pictured(tokenizer: Tokenizer, example: Example) -> list[tuple[int, Float[np.ndarray, " 4"]]]:
    scene = describe(example["split"], example["scene"])
    names = load_corpus().names("en")
    found = []
    for thing in scene.objects:
        ymin, xmin, ymax, xmax = thing.extent
        tokens = tokenizer.encode(names[thing.code])[:WORDS]
        found += [(token, np.array([xmin, ymin, xmax, ymax])) for token in tokens]
    return found
