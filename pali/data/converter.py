# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Task features of any length -> model features of fixed shapes, one example at a time.

As SeqIO's EncDecFeatureConverter without packing: tokens are cut or padded with 0 on the right,
the decoder reads its targets shifted right behind a 0, and padding weighs nothing in the loss.
A cut prompt or answer loses its end-of-sequence token, as in T5X: choose lengths that cut almost
nothing. An example without a picture gets zeros and `image_mask` False. What stands in the place of
a record that cannot be used (pali/data/skipping.py) is padding alone, with a code in "skipped".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from jaxtyping import Int

from pali.config import ImageSize, image_shape
from pali.data.skipping import code

Example = dict[str, Any]

NO_LABEL = -1
"""The label of an example that does not say what it shows."""


@dataclass(frozen=True)
class EncoderDecoderFeatures:
    """inputs i32[s], targets i32[t] and a picture -> what PaLI reads (pali/types.py)."""

    inputs: int
    """Prompt tokens."""
    targets: int
    """Target tokens."""
    image_size: ImageSize
    visual_tokens: tuple[int, int] | None = None
    """(visual tokens, ViT width), when pictures come as cached visual tokens instead of pixels."""

    def __call__(self, example: Example) -> Example:
        """Model features, without a batch axis.

        Raises:
          ValueError: the picture has another shape than this converter was told.
        """
        if code(example):
            nothing = np.zeros(0, np.int32)
            example = example | {"inputs": nothing, "targets": nothing}
        targets = pad(example["targets"], self.targets)
        picture, present = self._picture(example)
        return picture | {
            "image_mask": np.bool_(present),
            "encoder_input_tokens": pad(example["inputs"], self.inputs),
            "decoder_input_tokens": np.concatenate([np.zeros(1, np.int32), targets[:-1]]),
            "decoder_target_tokens": targets,
            "decoder_loss_weights": (targets > 0).astype(np.float32),
            **_known(example),
        }

    def _picture(self, example: Example) -> tuple[Example, bool]:
        if self.visual_tokens is None:
            name, shape, dtype = "image", (*image_shape(self.image_size), 3), np.uint8
        else:
            name, shape, dtype = "visual_tokens", self.visual_tokens, ml_dtypes.bfloat16
        value = example.get(name)
        if value is None:
            return {name: np.zeros(shape, dtype)}, False
        _check(name, value, shape)
        return {name: value}, True


@dataclass(frozen=True)
class ClassificationFeatures:
    """image u8[h w 3] and label -> what training the ViT alone reads."""

    image_size: ImageSize

    def __call__(self, example: Example) -> Example:
        """The picture, its class index, i32, and the words its patches show if that is known."""
        shape = (*image_shape(self.image_size), 3)
        if code(example):
            example = example | {"image": np.zeros(shape, np.uint8)}
        _check("image", example["image"], shape)
        return {"image": example["image"]} | _known(example)


def pad(tokens: Int[np.ndarray, " n"], length: int) -> Int[np.ndarray, " length"]:
    """The first `length` tokens, followed by zeros up to `length`; i32."""
    padded = np.zeros(length, np.int32)
    tokens = tokens[:length]
    padded[: len(tokens)] = tokens
    return padded


def _known(example: Example) -> Example:
    """What is known of the picture beside the texts."""
    # Somebody's own records may have a text of that name.
    label = example.get("label", NO_LABEL)
    label = np.int32(label if isinstance(label, int | np.integer) else NO_LABEL)
    known: Example = {"label": label, "skipped": np.int32(code(example))}
    if "patch_words" in example:
        known["patch_words"] = example["patch_words"]
    return known


def _check(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if isinstance(value, bytes):
        raise ValueError(
            f"{name} is still the bytes of a file: give the task the function DecodePicture, or "
            "its source image=None, if it is of text alone"
        )
    if value.shape != shape:
        raise ValueError(
            f"{name} has shape {value.shape}, and the model expects {shape}: the size in the task "
            "and the size in the config must agree"
        )
