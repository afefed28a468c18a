# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Per-example functions: a dict of strings, numbers and arrays -> the next dict.

Each is a frozen dataclass that is called with one example and returns a new one. What is drawn at
random is drawn by example["draw"], and none imports TensorFlow, so the same object serves Grain,
its worker processes and (lifted by pali/data/seqio_bridge.py) SeqIO. Write your own as a
module-level function or such a class; a function that makes "image" says so by `makes_image =
True`, so that training on cached visual tokens can leave it out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pali import prompts
from pali.config import ImageSize, PixelConfig
from pali.data.drawing import number_of
from pali.data.rendering import render
from pali.data.scenes import describe, render_scene
from pali.data.skipping import RecordError
from pali.data.typesetting import typeset
from pali.image import load_image
from pali.tokenizer import load_tokenizer

Example = dict[str, Any]


@dataclass(frozen=True)
class RenderPicture:
    """art, code, view -> image u8[size size 3], a pure function of the three."""

    size: int
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image"."""
        image = render(example["art"], example["code"], example["view"], self.size)
        return example | {"image": image}


@dataclass(frozen=True)
class TypesetPicture:
    """text, lang, view -> image u8[size size 3], a pure function of the three."""

    size: int
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image"."""
        image = typeset(example["text"], example["lang"], example["view"], self.size)
        return example | {"image": image}


@dataclass(frozen=True)
class RenderScene:
    """split, scene -> image u8[size size 3] of that scene, a pure function of the two."""

    size: int
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image"."""
        scene = describe(example["split"], example["scene"])
        return example | {"image": render_scene(scene, self.size)}


@dataclass(frozen=True)
class DecodePicture:
    """image, the bytes of a picture file, or image_key, its path -> image u8[h w 3]."""

    size: ImageSize
    pixels: PixelConfig = field(default_factory=PixelConfig)
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Adds "image"; raises ImageError, which names the file, when it cannot be read."""
        name = example["image_key"]
        source = example.get("image", name)
        return example | {"image": load_image(source, self.size, self.pixels, name)}


@dataclass(frozen=True)
class TextToText:
    """Makes "inputs" and "targets", both text: a prompt filled by the record, and its answer.

    `prompt` is a name of pali/prompts.py, whose fields are keys of the record; `answer` is the key
    of the answer. An answer that is a list becomes one text with commas.
    """

    prompt: str
    answer: str

    def __call__(self, example: Example) -> Example:
        """Adds "inputs" and "targets"; RecordError names a record that has no such answer."""
        answer = example.get(self.answer)
        if isinstance(answer, list | tuple) and all(isinstance(part, str) for part in answer):
            answer = ", ".join(answer)
        if not isinstance(answer, str):
            record = example.get("image_key", f"with {', '.join(example)}")
            raise RecordError(
                "text",
                f"the record {record} has {self.answer!r}: {answer!r}; the answer to prompt "
                f"{self.prompt!r} must be a text or a list of texts",
            )
        return example | {"inputs": prompts.get(self.prompt).fill(example), "targets": answer}


@dataclass(frozen=True)
class SomeOf:
    """A few items of a list, others for every view of a picture, in the order of the list.

    Long lists would be cut at the same place every time; so each item gets its turn.
    """

    key: str
    """The list."""
    count: int
    to: str
    """Where the chosen items go."""

    def __call__(self, example: Example) -> Example:
        """Adds `to`: up to `count` items, chosen by a hash of the picture and the item."""

        def rank(item: str) -> bytes:
            return hashlib.blake2b(
                f"{example['image_key']}/{item}".encode(), digest_size=8
            ).digest()

        chosen = set(sorted(example[self.key], key=rank)[: self.count])
        return example | {self.to: [item for item in example[self.key] if item in chosen]}


@dataclass(frozen=True)
class CutList:
    """Cuts a list of at least two items in two, at another place for every view of a picture.

    The cut is between items, and its position counts them: the one unit that lists have in every
    script, whereas words are not marked in Chinese, Japanese or Thai. Neither part is empty.
    """

    key: str
    """The list."""

    def __call__(self, example: Example) -> Example:
        """Adds "position" and the lists "before" and "after"; RecordError for a list too short."""
        items = example[self.key]
        if len(items) < 2:
            message = f"{self.key} of {example['image_key']} is {items}: too short to cut"
            raise RecordError("text", message)
        position = 1 + number_of(f"{example['image_key']}/cut") % (len(items) - 1)
        parts = {"before": items[:position], "after": items[position:]}
        return example | parts | {"position": position}


@dataclass(frozen=True)
class Tokenize:
    """Text -> i32[length] in "inputs" and "targets", each ended by eos, as T5X's append_eos does.

    Only the path travels to worker processes; each loads the SentencePiece model once.
    """

    tokenizer: str

    def __call__(self, example: Example) -> Example:
        """Replaces both texts by their ids."""
        tokenizer = load_tokenizer(self.tokenizer)
        ids = {
            key: np.array([*tokenizer.encode(example[key]), tokenizer.eos_id], np.int32)
            for key in ("inputs", "targets")
        }
        return example | ids
