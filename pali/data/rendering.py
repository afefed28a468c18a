# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of the demo corpus: (art set, concept or flag, view number) -> u8[size size 3].

A view is a pure function of its three names: the drawing is rasterised once, and everything that
varies (size, turn, place, mirror image, colours, background, blur, grain) is drawn from a
generator seeded by their hash. The whole drawing is always inside the picture.

Rasterising needs resvg-py (extra `train`); it is imported when the first drawing is made.
"""

from __future__ import annotations

import functools
import io
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from pali.data.demo_corpus import load_corpus
from pali.data.demo_flags import FLAG_ART, load_flags
from pali.data.drawing import WHITE, Drawing, background, outlined, place, seeded, worn

# What a view may look like. Lengths are shares of the picture's side, angles are degrees.
SCALE = (0.72, 1.0)  # longer side of the turned drawing
ROTATION = 14.0
MIRROR_SHARE = 0.5
BRIGHTNESS = (0.85, 1.05)
CONTRAST = (0.85, 1.12)
SATURATION = (0.75, 1.25)
HUE = 9.0
CANONICAL_SCALE = 0.9
# Drawings are rasterised this much larger than the picture, so that bilinear sampling at the
# scales above neither blurs nor skips pixels.
OVERSAMPLING = 1.5

LUMINANCE = np.array([0.299, 0.587, 0.114])


class Look(NamedTuple):
    """How a view shows a drawing."""

    angle: float  # radians
    scale: float  # of the turned drawing's longer side to the picture's
    mirror: bool
    where: np.ndarray  # [2] (x, y) of what room is left, in 0..1
    matrix: np.ndarray  # [3 3]: the colour is matrix @ rgb + shift, for rgb in 0..255
    shift: float


@functools.lru_cache(maxsize=8192)
def rasterise(art: str, code: str, side: int) -> Drawing:
    """The drawing at `side` pixels, kept in memory (4·side² bytes each)."""
    try:
        import resvg_py
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "Rendering the demo corpus needs resvg-py: pip install 'open-pali[train]'",
            name="resvg_py",
        ) from None
    svg = load_flags().svg(art, code) if art in FLAG_ART else load_corpus().svg(art, code)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side)
    return outlined(Image.open(io.BytesIO(bytes(png))).convert("RGBA").convert("RGBa"))


def render(art: str, code: str, view: int, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """View number `view` of a concept in an art set, or of a territory's flag in a set of flags.

    Views below FIRST_UNSEEN_VIEW are for training, the others for evaluation; both are drawn alike.
    Raises ValueError for an unknown art set or code.
    """
    generator = seeded(f"{art}/{code}/{view}")
    drawing = rasterise(art, code, round(OVERSAMPLING * size))
    look = draw_look(generator, art, code)
    picture = place(drawing, size, look.angle, look.scale, look.where, look.mirror)
    return worn(generator, lay_over(picture, look, background(generator, size)), size / 72)


def draw_look(generator: np.random.Generator, art: str, code: str) -> Look:
    """How a view of a concept or a flag shows its drawing."""
    angle = math.radians(generator.uniform(-ROTATION, ROTATION))
    scale = generator.uniform(*SCALE)
    mirror = generator.random() < MIRROR_SHARE and _mirrors(art, code)
    where = generator.random(2)
    return Look(angle, scale, mirror, where, *_colour_change(generator))


def lay_over(
    picture: Image.Image, look: Look, ground: Float32[np.ndarray, ...]
) -> Float32[np.ndarray, "h w 3"]:
    """A picture of mode "RGBa" in the colours of a look, over what broadcasts to its [h w 3]."""
    pixels = np.asarray(picture).reshape(-1, 4).astype(np.float32)
    # Premultiplied colours: a shift of all colours is a shift in proportion to the opacity.
    change = np.concatenate([look.matrix.T, np.full((1, 3), look.shift / WHITE)])
    drawn = pixels @ change.astype(np.float32)
    cover = (1 / WHITE) * pixels[:, 3:]
    np.clip(drawn, 0, pixels[:, 3:], out=drawn)
    shape = (picture.height, picture.width, -1)
    return drawn.reshape(shape) + ground * (1 - cover).reshape(shape)


def canonical(art: str, code: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The plain picture of a concept or a flag: upright, centred, on white, in its own colours."""
    drawing = rasterise(art, code, round(OVERSAMPLING * size))
    picture = place(drawing, size, 0.0, CANONICAL_SCALE, np.array([0.5, 0.5]))
    pixels = np.asarray(picture).astype(np.uint16)
    return (pixels[..., :3] + (255 - pixels[..., 3:])).clip(0, 255).astype(np.uint8)


def _mirrors(art: str, code: str) -> bool:
    # A flag flipped is another flag, or none.
    return art not in FLAG_ART and load_corpus().concept(code).mirrors


def _colour_change(generator: np.random.Generator) -> tuple[np.ndarray, float]:
    """A colour matrix [3 3] and a shift: result = matrix @ rgb + shift, for rgb in 0..255."""
    brightness, contrast = generator.uniform(*BRIGHTNESS), generator.uniform(*CONTRAST)
    saturation = generator.uniform(*SATURATION)
    hue = math.radians(generator.uniform(-HUE, HUE))
    third, root = (1 - math.cos(hue)) / 3, math.sin(hue) / math.sqrt(3)
    turn = np.full((3, 3), third) + math.cos(hue) * np.eye(3)
    turn += root * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    grey = np.broadcast_to(LUMINANCE, (3, 3))
    saturate = saturation * np.eye(3) + (1 - saturation) * grey
    return brightness * contrast * saturate @ turn, WHITE / 2 * (1 - contrast)
