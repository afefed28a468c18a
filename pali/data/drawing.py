# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What every composed picture shares: a drawing set somewhere inside it, a background, wear.

A drawing is anything with an outline (art, a flag, lines of text). The whole of it is always inside
the picture. What varies is drawn from a generator seeded by the name of the picture, so that a
picture is a pure function of its name: pali/data/rendering.py, pali/data/typesetting.py.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageFilter

# Lengths are shares of the picture's side.
BACKGROUNDS = {"white": 0.2, "solid": 0.3, "gradient": 0.2, "stripes": 0.1, "clouds": 0.2}
STRIPE_WIDTH = (0.06, 0.25)
CLOUD_CELLS = 4  # noise of this many cells a side, enlarged smoothly
BLUR_SHARE, BLUR_RADIUS = 0.2, (0.3, 0.9)  # in the caller's unit
GRAIN_SHARE, GRAIN_DEVIATION = 0.2, (2.0, 9.0)  # of 255

WHITE = 255.0


class Drawing(NamedTuple):
    """A rasterised drawing: premultiplied RGBA and the outline's points relative to its centre."""

    image: Image.Image  # mode "RGBa"
    center: tuple[float, float]  # of the visible part, in pixels
    outline: np.ndarray  # [n 2] (x, y)


def outlined(image: Image.Image) -> Drawing:
    """A drawing from its premultiplied pixels, mode "RGBa"; something in it must be visible."""
    visible = np.asarray(image)[..., 3] > 8
    rows = np.flatnonzero(visible.any(axis=1))
    first = visible.argmax(axis=1)[rows]
    last = image.width - visible[:, ::-1].argmax(axis=1)[rows]
    corners = [(x, y) for x in (first, last) for y in (rows, rows + 1)]
    outline = np.concatenate([np.stack(corner, axis=1) for corner in corners]).astype(np.float64)
    center = (outline.min(axis=0) + outline.max(axis=0)) / 2
    return Drawing(image, (float(center[0]), float(center[1])), outline - center)


def seeded(name: str) -> np.random.Generator:
    """The generator of everything that varies in the picture of this name."""
    digest = hashlib.blake2b(_bytes(name), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def number_of(name: str) -> int:
    """A number from 0 to 2^64, drawn by a name: for a single choice."""
    return int.from_bytes(hashlib.blake2b(_bytes(name), digest_size=8).digest(), "little")


def _bytes(name: str) -> bytes:
    # A picture's name may be a path that is not UTF-8, or has half a character.
    return name.encode("utf-8", "surrogatepass")


def place(
    drawing: Drawing,
    size: int,
    angle: float,
    scale: float,
    where: Float[np.ndarray, " 2"],
    mirror: bool = False,
) -> Image.Image:
    """The drawing turned, scaled and set into a transparent picture; mode "RGBa".

    Args:
      drawing: what to set.
      size: side of the picture in pixels.
      angle: in radians.
      scale: longer side of the turned drawing, as a share of the picture's.
      where: (x, y) in [0, 1]: from touching the left or upper edge to touching the other.
      mirror: whether left and right are exchanged before the turn.
    """
    return sample(drawing, (size, size), *placement(drawing, size, angle, scale, where, mirror))


def placement(
    drawing: Drawing,
    size: int,
    angle: float,
    scale: float,
    where: Float[np.ndarray, " 2"],
    mirror: bool = False,
) -> tuple[np.ndarray, float, np.ndarray]:
    """How `place` sets a drawing: a matrix [2 2], a zoom, and where its centre comes to be, (x, y).

    A point of the drawing, seen from its centre, comes to be at `matrix @ point * zoom + middle`.
    """
    turn, low, extent = turned(drawing, angle, mirror)
    zoom = scale * (size - 2) / extent.max()  # one pixel of margin for interpolation
    corner = 1 + where * (size - 2 - zoom * extent)
    return turn, zoom, corner - zoom * low


def turned(
    drawing: Drawing, angle: float, mirror: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrix [2 2] of a turn; where the turned outline begins and how far it goes, (x, y)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    if mirror:
        turn = turn @ np.diag([-1.0, 1.0])
    points = drawing.outline @ turn.T
    low, high = points.min(axis=0), points.max(axis=0)
    return turn, low, high - low


def sample(
    drawing: Drawing, size: tuple[int, int], turn: np.ndarray, zoom: float, middle: np.ndarray
) -> Image.Image:
    """The drawing turned and zoomed, its centre at `middle` of a picture of (width, height)."""
    # Image.transform wants the way back: from a pixel of the result to one of the drawing.
    back = np.linalg.inv(turn) / zoom
    offset = np.array(drawing.center) - back @ middle
    coefficients = (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])
    return drawing.image.transform(
        size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )


def background(generator: np.random.Generator, size: int) -> Float32[np.ndarray, "h w 3"]:
    """A background that broadcasts to [size size 3], in 0..255."""
    kind = _pick(generator.random())
    first, second = generator.uniform(0, WHITE, (2, 1, 1, 3)).astype(np.float32)
    if kind == "white":
        return np.full((1, 1, 3), WHITE, np.float32)
    if kind == "solid":
        return first
    if kind == "clouds":
        cells = generator.random((CLOUD_CELLS, CLOUD_CELLS), dtype=np.float32)
        clouds = Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC)
        return first + (second - first) * np.asarray(clouds).clip(0, 1)[..., None]
    angle = generator.uniform(0, 2 * math.pi)
    steps = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    across = math.cos(angle) * steps[None, :] + math.sin(angle) * steps[:, None]
    if kind == "gradient":
        share = np.clip(across / math.sqrt(2) + 0.5, 0, 1)
    else:
        width = generator.uniform(*STRIPE_WIDTH)
        share = (np.floor(across / width) % 2).astype(np.float32)
    return first + (second - first) * share[..., None]


def worn(
    generator: np.random.Generator, picture: Float32[np.ndarray, "h w 3"], unit: float
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture of 0..255 in whole numbers; now and then grainy, now and then blurred.

    `unit` is what BLUR_RADIUS counts in, in pixels: small beside what should stay recognisable.
    """
    if generator.random() < GRAIN_SHARE:
        deviation = generator.uniform(*GRAIN_DEVIATION)
        picture = picture + deviation * generator.standard_normal(picture.shape, dtype=np.float32)
    result = np.clip(picture + 0.5, 0, WHITE).astype(np.uint8)
    if generator.random() < BLUR_SHARE:
        radius = generator.uniform(*BLUR_RADIUS) * unit
        result = np.asarray(Image.fromarray(result).filter(ImageFilter.GaussianBlur(radius)))
    return result


def _pick(number: float) -> str:
    """The kind of background for a number drawn evenly from [0, 1)."""
    for kind, share in BACKGROUNDS.items():
        number -= share
        if number < 0:
            return kind
    return kind
