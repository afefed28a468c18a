# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures -> visual tokens [n p d], which serve any number of prompts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from pali import kept
from pali.config import PaLIConfig
from pali.few_at_once import few_at_once
from pali.generation import batches
from pali.image import ImageError, Region, decode_image, resize, seen_region
from pali.models.pali import PaLI
from pali.types import Params


@dataclass(frozen=True)
class VisualTokens:
    """Pictures as the language half sees them: made once by `look`, used for many prompts."""

    array: Float[np.ndarray, "n p d_vit"]
    regions: tuple[Region, ...] = ()
    """Which part of each picture they show; nothing where that is not known."""
    seen: bool = True
    """False where they stand for no picture: text alone, with zeros that nothing looks at."""

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.array)

    def __repr__(self) -> str:
        return f"VisualTokens({'x'.join(map(str, self.array.shape))})"


Picture = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A path, the bytes of a file, a PIL image, or an array (see pali.image.decode_image)."""

Pictures = Iterable[Picture] | VisualTokens
"""Several of them, or what `look` made of them."""


def look(config: PaLIConfig, params: Params, images: Picture | Pictures) -> VisualTokens:
    """What the ViT makes of pictures; visual tokens pass unchanged.

    Raises:
      ImageError: a picture cannot be used.
      ValueError: the visual tokens are another model's.
    """
    vit = config.vit
    if isinstance(images, VisualTokens):
        if images.array.shape[1:] != (vit.num_visual_tokens, vit.width):
            raise ValueError(
                f"these are the visual tokens of another model: {images}; this one makes "
                f"{vit.num_visual_tokens} of width {vit.width}"
            )
        return images
    pictures: list[Any] = [images] if one_picture(images) else list(cast("Any", images))
    made = [np.zeros((0, vit.num_visual_tokens, vit.width), np.float32)]
    regions = []
    for start, count, size in batches(len(pictures)):
        pixels = np.zeros((size, *vit.image_shape, 3), np.uint8)
        for row, picture in enumerate(pictures[start : start + count]):
            name = None if isinstance(picture, str | os.PathLike) else f"picture {start + row + 1}"
            image = decode_image(picture, name)
            regions.append(seen_region(image.shape, vit.image_size, vit.pixels))
            pixels[row] = resize(image, vit.image_size, vit.pixels)
        made.append(np.asarray(see(config, params, pixels), np.float32)[:count])
    return VisualTokens(np.concatenate(made), tuple(regions))


def no_pictures(config: PaLIConfig, count: int) -> VisualTokens:
    """What stands for pictures where a model reads text alone, as in training."""
    vit = config.vit
    zeros = np.zeros((count, vit.num_visual_tokens, vit.width), np.float32)
    return VisualTokens(zeros, seen=False)


def one_picture(images: Any) -> bool:
    """Whether this is a picture, not a list of pictures nor a batch of them in one array."""
    if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return True
    if hasattr(images, "__array__"):
        return np.ndim(cast("Any", images)) < 4
    if not isinstance(images, Iterable | VisualTokens):
        raise ImageError(f"expected a picture or a list of pictures, not {images!r}")
    return False


@kept.traced(1)
def see(
    config: PaLIConfig, params: Any, image: UInt8[Array, "b h w 3"]
) -> Float[Array, "b p d_vit"]:
    """The ViT over one batch; compiled once for each of its sizes."""

    def look(some: Array) -> Array:
        return cast("Array", PaLI(config).apply({"params": params}, some, method="look"))

    return few_at_once(look, math.prod(config.vit.grid) * config.vit.mlp_dim, image)
