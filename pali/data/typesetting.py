# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of text: (text, language, view number) -> u8[size size 3].

A view is a pure function of the three. Letters are shaped by HarfBuzz, so conjuncts, joined Arabic
and stacked marks come out as people write them; without RAQM Pillow would set them wrongly, and
nothing is set at all. Lines break where that makes the letters larger. What varies (typeface, size,
turn, place, colours, background, blur, grain) is drawn from a generator seeded by the names. The
whole text is always inside the picture, and its colour differs from all of the background.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont, features

from pali.data.demo_strings import faces, load_strings
from pali.data.drawing import WHITE, Drawing, background, outlined, place, placement, seeded, worn
from pali.languages import LANGUAGES, UNSPACED

# What a view may look like. Lengths are shares of the picture's side, angles are degrees.
SCALE = (0.5, 1.0)  # longer side of the text
ROTATION = 6.0
LEGIBLE = 0.15  # an em below this is not made smaller, and is a reason to break inside words
CONTRAST = 3.0  # of luminance, as WCAG 2.2 defines it and asks of large letters
# Blur counts in this share of an em: 0.3 to 0.9 of it, at most a hair line.
BLUR_UNIT = 1 / 24
LINE_GAP = 0.15  # between the ink of two lines, in em
# Letters are set this much larger than they come out, so that turning them does not blur them.
OVERSAMPLING = 1.5
MEASURE = 64  # pixels of an em at which lines are compared

RIGHT_TO_LEFT = frozenset({"Arab", "Hebr"})
_NEVER_FIRST = frozenset("ะาำๅๆฯະາຳໆຯ、。，）」・ーぁぃぅぇぉっゃゅょァィゥェォッャュョ)")
_NEVER_LAST = frozenset("เแโใไເແໂໃໄ（「(")
_STACKING = "\u1039\u17d2"  # Myanmar's and Khmer's: what follows goes below
_KILLER = "\u103a"  # Myanmar's: a letter that bears it ends a syllable

_LINEAR = ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
_LINEAR[:11] = np.arange(11) / 255 / 12.92
_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])


class Box(NamedTuple):
    """What a line's ink covers, in pixels from where it begins on its base line."""

    left: float
    top: float
    right: float
    bottom: float


class _Setting(NamedTuple):
    """What is drawn at random about the letters of a view."""

    face: str
    lines: tuple[str, ...]
    align: float
    angle: float  # radians
    scale: float
    where: np.ndarray  # [2]
    em: float  # pixels of the picture
    pixels: int  # of an em in the drawing


def typeset(text: str, lang: str, view: int, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """View number `view` of a text in a language (a code of the demo corpus' strings).

    Views below FIRST_UNSEEN_VIEW are for training, the others for evaluation; both are set alike.

    Raises:
      ValueError: the text is empty.
      RuntimeError: Pillow cannot shape text.
    """
    if not text.strip():
        raise ValueError("an empty text cannot be set")
    generator = seeded(f"text/{lang}/{text}/{view}")
    set_ = _draw_setting(generator, text, lang, size)
    drawing = ink(set_.lines, lang, set_.face, set_.pixels, set_.align)
    placed = place(drawing, size, set_.angle, set_.scale, set_.where)
    cover = (1 / WHITE) * np.asarray(placed)[..., 3:].astype(np.float32)
    colour, ground = colours(generator, size)
    return worn(generator, colour * cover + ground * (1 - cover), BLUR_UNIT * set_.em)


def character_boxes(
    text: str, lang: str, view: int, size: int
) -> Float[np.ndarray, "characters 4"]:
    """Where each character of that view stands: (xmin, ymin, xmax, ymax) in pixels.

    As wide as the character moves the pen on, as high as the ink of its line. Characters that are
    not set (spaces between lines) are NaN. Where letters join or stack, one's width may be zero.
    """
    set_ = _draw_setting(seeded(f"text/{lang}/{text}/{view}"), text, lang, size)
    drawing = ink(set_.lines, lang, set_.face, set_.pixels, set_.align)
    turn, zoom, middle = placement(drawing, size, set_.angle, set_.scale, set_.where)
    font, direction = _font(set_.face, set_.pixels), _direction(lang)
    boxes = np.full((len(text), 4), np.nan)
    first = 0
    for line, (x, y), box in _places(set_.lines, lang, set_.face, set_.pixels, set_.align):
        first = text.index(line, first)
        ends = [
            font.getlength(line[:count], direction=direction, language=lang)
            for count in range(len(line) + 1)
        ]
        pens = x + (ends[-1] - np.array(ends) if direction == "rtl" else np.array(ends))
        for place_, (one, other) in enumerate(itertools.pairwise(pens)):
            edges = [(pen, y + edge) for pen in (one, other) for edge in (box.top, box.bottom)]
            points = (np.array(edges) - drawing.center) @ turn.T * zoom + middle
            boxes[first + place_] = *points.min(axis=0), *points.max(axis=0)
        first += len(line)
    return boxes


def _draw_setting(generator: np.random.Generator, text: str, lang: str, size: int) -> _Setting:
    choices = faces(lang)
    face = choices[generator.integers(len(choices))]
    angle = math.radians(generator.uniform(-ROTATION, ROTATION))
    scale = generator.uniform(*SCALE)
    align = generator.integers(3) / 2
    where = generator.random(2)
    lines, longer_side = layout(text, lang, face)
    scale = min(1.0, max(scale, LEGIBLE * longer_side))
    em = scale * size / longer_side
    # Steps of √2, so that few sizes of a font are held in memory.
    pixels = round(16 * 2 ** (math.ceil(2 * math.log2(OVERSAMPLING * em / 16)) / 2))
    return _Setting(face, lines, align, angle, scale, where, em, pixels)


@functools.lru_cache(maxsize=65536)
def layout(text: str, lang: str, face: str) -> tuple[tuple[str, ...], float]:
    """The lines that fill a square with the largest letters, and their longer side in em."""
    words = [f"{word} " for word in text.split()]
    best = _broken(words, lang, face)
    if best[1] > 1 / LEGIBLE and UNSPACED & set(LANGUAGES[lang].scripts):
        pieces = [piece for word in words for piece in clusters(word)]
        best = min(best, _broken(pieces, lang, face), key=lambda found: found[1])
    return best


def clusters(text: str) -> list[str]:
    """The text cut where a script without spaces may break a line: never inside a syllable's stack.

    By the order of the characters alone, without a dictionary: between words it is right, inside a
    word at least every piece can be read.
    """
    pieces = [text[:1]]
    for before, character, after in zip(text, text[1:], f"{text[2:]} ", strict=False):
        joined = (
            unicodedata.category(character)[0] in "MZ"
            or character in _NEVER_FIRST
            or before in _NEVER_LAST
            or before in _STACKING
            or character in _STACKING
            or after in _KILLER + _STACKING[0]
        )
        if joined:
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


@functools.lru_cache(maxsize=16)  # A picture and the places of its letters come together.
def ink(lines: tuple[str, ...], lang: str, face: str, pixels: int, align: float) -> Drawing:
    """Lines of text in black, with an em of so many pixels.

    `align` is 0 for lines that begin at the left, 1 for lines that end at the right.
    """
    font, direction = _font(face, pixels), _direction(lang)
    boxes = [_box(line, lang, face, pixels) for line in lines]
    width, height, _ = _extent(boxes, pixels)
    alpha = Image.new("L", (math.ceil(width) + 2, math.ceil(height) + 2))
    draw = ImageDraw.Draw(alpha)
    for line, where, _ in _places(lines, lang, face, pixels, align):
        draw.text(where, line, 255, font, "ls", direction=direction, language=lang)
    black = Image.new("L", alpha.size)
    return outlined(Image.merge("RGBA", (black, black, black, alpha)).convert("RGBa"))


def _places(
    lines: Sequence[str], lang: str, face: str, pixels: int, align: float
) -> Iterator[tuple[str, tuple[float, float], Box]]:
    """Each line with where it begins on its base line, and its box around that."""
    boxes = [_box(line, lang, face, pixels) for line in lines]
    width, _, pitch = _extent(boxes, pixels)
    for number, (line, box) in enumerate(zip(lines, boxes, strict=True)):
        x = 1 - box.left + round(align * (width - (box.right - box.left)))
        y = 1 - boxes[0].top + round(number * pitch)
        yield line, (x, y), box


def colours(
    generator: np.random.Generator, size: int
) -> tuple[Float32[np.ndarray, " 3"], Float32[np.ndarray, "h w 3"]]:
    """A colour for text and a background, as different in luminance everywhere as CONTRAST says."""
    ground = background(generator, size)
    wanted = generator.uniform(0, WHITE, 3)
    dark_first = generator.random() < 0.5
    light = luminance(ground)
    dark_fits = light.min() + 0.05 >= CONTRAST * 0.05
    light_fits = CONTRAST * (light.max() + 0.05) <= 1.05
    if not (dark_fits or light_fits):
        # Half way to white is light enough for black, half way to black dark enough for white.
        ground = ground / 2 + (WHITE / 2 if dark_first else 0)
        light = luminance(ground)
    dark = dark_first if dark_fits == light_fits else dark_fits
    end = np.full(3, 0.0 if dark else WHITE)
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):  # as near to the wanted colour as there is contrast
        colour = end + share * (wanted - end)
        own = float(luminance(colour))
        high, low = (light.min(), own) if dark else (own, light.max())
        if high + 0.05 >= CONTRAST * (low + 0.05):
            break
    return colour.astype(np.float32), ground.astype(np.float32)


def luminance(colour: Float[np.ndarray, "*axes 3"]) -> Float[np.ndarray, "*axes"]:
    """Relative luminance (WCAG 2.2) in [0, 1] of sRGB colours [... 3] in 0..255."""
    return np.asarray(_LINEAR[np.clip(colour + 0.5, 0, 255).astype(np.uint8)] @ _WEIGHTS)


def _broken(pieces: Sequence[str], lang: str, face: str) -> tuple[tuple[str, ...], float]:
    """The best of the layouts whose lines are filled up to some width."""
    spans = {
        (start, end): "".join(pieces[start:end]).strip()
        for start in range(len(pieces))
        for end in range(start + 1, len(pieces) + 1)
    }
    boxes = {span: _box(line, lang, face, MEASURE) for span, line in spans.items()}
    widths = {span: box.right - box.left for span, box in boxes.items()}
    best: tuple[tuple[str, ...], float] = ((), math.inf)
    for limit in sorted(set(widths.values()), reverse=True):
        filled = []
        start = 0
        while start < len(pieces):
            # At least one piece, however wide it is.
            end = start + 1
            while end < len(pieces) and widths[start, end + 1] <= limit:
                end += 1
            filled.append((start, end))
            start = end
        width, height, _ = _extent([boxes[span] for span in filled], MEASURE)
        if max(width, height) / MEASURE < best[1]:
            best = tuple(spans[span] for span in filled), max(width, height) / MEASURE
    return best


def _extent(boxes: Sequence[Box], pixels: int) -> tuple[float, float, float]:
    """Width and height of lines with these boxes around their origins, and from line to line.

    By the ink and not by the font's own line height: so lines of Nastaliq, which slope and stack to
    twice the usual height, stand as close as any, and never touch.
    """
    gaps = [above.bottom - below.top for above, below in itertools.pairwise(boxes)]
    pitch = max(gaps, default=0) + LINE_GAP * pixels
    width = max(box.right - box.left for box in boxes)
    return width, (len(boxes) - 1) * pitch + boxes[-1].bottom - boxes[0].top, pitch


def _box(line: str, lang: str, face: str, pixels: int) -> Box:
    font, direction = _font(face, pixels), _direction(lang)
    found = font.getbbox(line, anchor="ls", direction=direction, language=lang)
    return Box(*map(float, found))


def _direction(lang: str) -> str:
    return "rtl" if LANGUAGES[lang].scripts[0] in RIGHT_TO_LEFT else "ltr"


@functools.lru_cache(maxsize=256)
def _font(face: str, pixels: int) -> ImageFont.FreeTypeFont:
    if not features.check("raqm"):
        raise RuntimeError(
            "Pillow cannot shape text here (features.check('raqm') is False), and most scripts "
            "would come out wrong. Its wheels from PyPI can once FriBiDi is installed: "
            "apt install libfribidi0, or brew install fribidi."
        )
    content = io.BytesIO(load_strings().font(face))
    return ImageFont.truetype(content, pixels, layout_engine=ImageFont.Layout.RAQM)
