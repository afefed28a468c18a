# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of the demo corpus: (art set, concept, view number) -> u8[size size 3].

A view is a pure function of its three names: the drawing is rasterised once, and everything that
varies (size, turn, place, mirror image, colours, background, blur, grain) is drawn from a
generator seeded by their hash. The whole drawing is always inside the picture.

Rasterising needs resvg-py (extra `train`); it is imported when the first drawing is made.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageFilter

from pali.data.demo_corpus import load_corpus

# What a view may look like. Lengths are shares of the picture's side, angles are degrees.
SCALE = (0.72, 1.0)  # longer side of the turned drawing
ROTATION = 14.0
MIRROR_SHARE = 0.5
BRIGHTNESS = (0.85, 1.05)
CONTRAST = (0.85, 1.12)
SATURATION = (0.75, 1.25)
HUE = 9.0
BACKGROUNDS = {"white": 0.2, "solid": 0.3, "gradient": 0.2, "stripes": 0.1, "clouds": 0.2}
STRIPE_WIDTH = (0.06, 0.25)
CLOUD_CELLS = 4  # noise of this many cells a side, enlarged smoothly
BLUR_SHARE, BLUR_RADIUS = 0.2, (0.3, 0.9)  # radius at 72 pixels
GRAIN_SHARE, GRAIN_DEVIATION = 0.2, (2.0, 9.0)  # of 255
CANONICAL_SCALE = 0.9
# Drawings are rasterised this much larger than the picture, so that bilinear sampling at the
# scales above neither blurs nor skips pixels.
OVERSAMPLING = 1.5

LUMINANCE = np.array([0.299, 0.587, 0.114])
WHITE = 255.0


class Drawing(NamedTuple):
    """A rasterised drawing: premultiplied RGBA and the outline's points relative to its centre."""

    image: Image.Image  # mode "RGBa"
    center: tuple[float, float]  # of the visible part, in pixels
    outline: np.ndarray  # [n 2] (x, y)


class Look(NamedTuple):
    """How a view shows a drawing."""

    angle: float  # radians
    scale: float  # of the turned drawing's longer side to the picture's
    mirror: bool
    place: np.ndarray  # [2] (x, y) of what room is left, in 0..1
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
    png = resvg_py.svg_to_bytes(svg_string=load_corpus().svg(art, code), width=side, height=side)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA").convert("RGBa")
    visible = np.asarray(image)[..., 3] > 8
    rows = np.flatnonzero(visible.any(axis=1))
    first = visible.argmax(axis=1)[rows]
    last = side - visible[:, ::-1].argmax(axis=1)[rows]
    corners = [(x, y) for x in (first, last) for y in (rows, rows + 1)]
    outline = np.concatenate([np.stack(corner, axis=1) for corner in corners]).astype(np.float64)
    center = (outline.min(axis=0) + outline.max(axis=0)) / 2
    return Drawing(image, (float(center[0]), float(center[1])), outline - center)


def render(art: str, code: str, view: int, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """View number `view` of a concept in an art set.

    Views below FIRST_UNSEEN_VIEW are for training, the others for evaluation; both are drawn alike.
    Raises ValueError for an unknown art set or code.
    """
    generator = seeded(f"{art}/{code}/{view}")
    drawing = rasterise(art, code, round(OVERSAMPLING * size))
    look = draw_look(generator, code)
    picture = _place(drawing, size, look.angle, look.scale, look.mirror, look.place)
    return develop(lay_over(picture, look, background(generator, size)), generator)


def seeded(name: str) -> np.random.Generator:
    """The generator of whatever has this name."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def draw_look(generator: np.random.Generator, code: str) -> Look:
    """How a view of a concept shows its drawing."""
    angle = math.radians(generator.uniform(-ROTATION, ROTATION))
    scale = generator.uniform(*SCALE)
    mirror = generator.random() < MIRROR_SHARE and load_corpus().concept(code).mirrors
    place = generator.random(2)
    return Look(angle, scale, mirror, place, *_colour_change(generator))


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


def develop(
    result: Float32[np.ndarray, "size size 3"], generator: np.random.Generator, share: float = 1.0
) -> UInt8[np.ndarray, "size size 3"]:
    """The finished picture: grain on some, blur on some; `result` is used up.

    Drawings that take only a `share` of the picture's side are blurred by so much less.
    """
    if generator.random() < GRAIN_SHARE:
        deviation = generator.uniform(*GRAIN_DEVIATION)
        result += deviation * generator.standard_normal(result.shape, dtype=np.float32)
    finished = np.clip(result + 0.5, 0, WHITE).astype(np.uint8)
    if generator.random() < BLUR_SHARE:
        radius = generator.uniform(*BLUR_RADIUS) * share * len(finished) / 72
        blurred = Image.fromarray(finished).filter(ImageFilter.GaussianBlur(radius))
        finished = np.asarray(blurred)
    return finished


def canonical(art: str, code: str, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The plain picture of a concept: upright, centred, on white, in its own colours."""
    drawing = rasterise(art, code, round(OVERSAMPLING * size))
    picture = _place(drawing, size, 0.0, CANONICAL_SCALE, False, np.array([0.5, 0.5]))
    pixels = np.asarray(picture).astype(np.uint16)
    return (pixels[..., :3] + (255 - pixels[..., 3:])).clip(0, 255).astype(np.uint8)


def _place(
    drawing: Drawing, size: int, angle: float, scale: float, mirror: bool, place: np.ndarray
) -> Image.Image:
    """The drawing turned, scaled and set somewhere in a picture; mode "RGBa"."""
    turn, low, extent = turned(drawing, angle, mirror)
    zoom = scale * (size - 2) / extent.max()  # one pixel of margin for interpolation
    corner = 1 + place * (size - 2 - zoom * extent)
    return sample(drawing, (size, size), turn, zoom, corner - zoom * low)


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


def _pick(number: float) -> str:
    """The kind of background for a number drawn evenly from [0, 1)."""
    for kind, share in BACKGROUNDS.items():
        number -= share
        if number < 0:
            return kind
    return kind
