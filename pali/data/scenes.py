# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes: one to four drawings of the demo corpus on one background, with their boxes.

A scene is a pure function of (split, number), described without making its pixels:

- Each object is a view of a concept in an art set (pali/data/rendering.py: its turn, mirror image
  and colours), scaled so that its longer side is a fifth to a half of the picture's. Its box is
  tight on the turned drawing.
- Two boxes share at most MAX_OVERLAP of the smaller one's area; later objects cover earlier ones.
- Even numbers have a background of one named colour (COLOURS), the others a varied one without a
  name. Of each four numbers the last two have repeats: 1 to 4 objects of one concept, all counts
  alike, filled up with others. The first two show 2 to 4 different concepts, of which two lie
  clearly side by side or one above the other (`direction`), and one clearly in a corner.

What is shown follows the splits of the corpus: core concepts for training, the four art sets and
views of training; "unseen_art" has its own set, and both it and "validation" have unseen views.
Concepts that are held out in English are left out, so that every object has a name in English;
and some (concept, count) are kept for the split "held_out_counts" alone.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from pali.data.demo_corpus import (
    FIRST_UNSEEN_VIEW,
    TRAIN_ART,
    UNSEEN_ART,
    DemoCorpus,
    load_corpus,
)
from pali.data.drawing import background, sample, seeded, turned, worn
from pali.data.rendering import OVERSAMPLING, draw_look, lay_over, rasterise

SCENE_SPLITS: dict[str, str] = {
    "train": "core concepts in four art sets",
    "validation": "scenes never trained on, of the same concepts and art sets",
    "unseen_art": "the same in the art set never trained on",
    "held_out_counts": "so many objects of a concept as training never shows of it",
}

MAX_OBJECTS = 4
SIZES = (1 / 5, 1 / 2)  # longer side of an object's box
MARGIN = 0.02  # around the objects
MAX_OVERLAP = 0.1
HELD_OUT_COUNTS = 1 / 8
"""Share of the (concept, count), for counts above 1, that training never shows."""

COLOURS = {
    "white": (239, 239, 239),
    "gray": (128, 128, 128),
    "black": (16, 16, 16),
    "red": (205, 30, 35),
    "orange": (239, 130, 20),
    "yellow": (239, 215, 40),
    "green": (40, 150, 60),
    "blue": (40, 80, 205),
    "purple": (125, 50, 160),
    "pink": (239, 150, 185),
}
COLOUR_SPREAD = 16
"""Each channel of a background differs from the colour's value by up to this."""

# A direction is clear when one distance of the centres is this much of the picture's side, and this
# many times the other; a corner, when the centre is this far from both middle lines.
CLEAR_DISTANCE, CLEAR_RATIO, CLEAR_CORNER = 0.2, 2.0, 0.1

OUTLINE_SIDE = 96  # pixels of the drawing whose outline decides a box
RASTER_STEP = 16  # drawings are kept rasterised in multiples of so many pixels


class Extent(NamedTuple):
    """Where an object is: shares of the picture's height and width, 0 at top and left."""

    ymin: float
    xmin: float
    ymax: float
    xmax: float

    @property
    def center(self) -> tuple[float, float]:
        """(y, x)"""
        return (self.ymin + self.ymax) / 2, (self.xmin + self.xmax) / 2


class SceneObject(NamedTuple):
    """One drawing in a scene."""

    code: str
    art: str
    view: int
    extent: Extent


@dataclass(frozen=True)
class Scene:
    """What a scene shows; objects from top to bottom, at the same height from left to right."""

    split: str
    number: int
    objects: tuple[SceneObject, ...]
    colour: str | None
    """Name of the background's colour; None for a background that has no single one."""
    rgb: tuple[int, int, int] | None

    @property
    def key(self) -> str:
        """Its identity as a picture: "scene/train/17"."""
        return f"scene/{self.split}/{self.number}"

    @property
    def counts(self) -> Counter[str]:
        """{concept code: objects}, in the order of the objects."""
        return Counter(thing.code for thing in self.objects)


def is_plain(number: int) -> bool:
    """Whether scenes of this number have a background of one named colour."""
    return number % 2 == 0


def has_repeats(number: int) -> bool:
    """Whether scenes of this number are those for counting."""
    return number % 4 >= 2


@functools.lru_cache(maxsize=4096)
def describe(split: str, number: int) -> Scene:
    """The scene of a number.

    Raises:
      ValueError: no such split, a negative number, or a number without repeats in the split
        "held_out_counts".
    """
    if split not in SCENE_SPLITS:
        raise ValueError(f"unknown split {split!r} of scenes; known: {', '.join(SCENE_SPLITS)}")
    if number < 0:
        raise ValueError(f"scene {number}: numbers start at 0")
    if split == "held_out_counts" and not has_repeats(number):
        raise ValueError(f"scene {number} of held_out_counts: it has only scenes with repeats")
    generator = seeded(f"scene/{split}/{number}")
    codes = _choose(generator, split, has_repeats(number))
    arts = (UNSEEN_ART,) if split == "unseen_art" else TRAIN_ART
    first_view = 0 if split == "train" else FIRST_UNSEEN_VIEW
    looks = [
        (
            code,
            arts[int(generator.integers(len(arts)))],
            first_view + int(generator.integers(FIRST_UNSEEN_VIEW)),
        )
        for code in codes
    ]
    shapes = [_shape(*look) for look in looks]
    while True:
        extents = _arrange(generator, shapes)
        if extents and (has_repeats(number) or _is_clear(extents)):
            break
    objects = [SceneObject(*look, extent) for look, extent in zip(looks, extents, strict=True)]
    objects.sort(key=lambda thing: thing.extent)
    colour = rgb = None
    if is_plain(number):
        colour = list(COLOURS)[int(generator.integers(len(COLOURS)))]
        spread = generator.integers(-COLOUR_SPREAD, COLOUR_SPREAD, 3, endpoint=True)
        red, green, blue = (int(c + s) for c, s in zip(COLOURS[colour], spread, strict=True))
        rgb = (red, green, blue)
    return Scene(split, number, tuple(objects), colour, rgb)


def render_scene(scene: Scene, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The picture of a scene, a pure function of its description and the size."""
    generator = seeded(f"{scene.key}/pixels")
    ground = background(generator, size) if scene.rgb is None else np.array(scene.rgb)
    canvas = np.array(np.broadcast_to(ground, (size, size, 3)), np.float32)
    for thing in scene.objects:
        _draw(canvas, thing)
    return worn(generator, canvas, SIZES[1] * size / 72)


def direction(first: Extent, second: Extent) -> str | None:
    """Where the first lies as seen from the second; None where that is not clear."""
    (y, x), (other_y, other_x) = first.center, second.center
    down, right = y - other_y, x - other_x
    far, near = max(abs(down), abs(right)), min(abs(down), abs(right))
    if far < CLEAR_DISTANCE or far < CLEAR_RATIO * near:
        return None
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "below" if down > 0 else "above"


def corner(extent: Extent) -> str | None:
    """In which corner something lies, as "top left"; None where that is not clear."""
    y, x = extent.center
    if min(abs(y - 0.5), abs(x - 0.5)) < CLEAR_CORNER:
        return None
    return f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"


@functools.cache
def is_count_held_out(code: str, count: int) -> bool:
    """Whether training never shows exactly so many objects of a concept."""
    digest = hashlib.sha256(f"{count} of {code}".encode()).digest()
    return count > 1 and int.from_bytes(digest[:8], "big") < HELD_OUT_COUNTS * 2**64


@functools.cache
def scene_codes(corpus: DemoCorpus) -> tuple[str, ...]:
    """The concepts that scenes show, and that questions about scenes name.

    A name with "and" in it could not be told from two names in a detection prompt.
    """
    held_out, names = corpus.held_out("en"), corpus.names("en")
    return tuple(
        concept.code
        for concept in corpus.core_train
        if concept.code not in held_out and "and" not in names[concept.code].split()
    )


@functools.cache
def _words(corpus: DemoCorpus, code: str) -> frozenset[str]:
    return frozenset(word.rstrip("s") for word in corpus.names("en")[code].lower().split())


def are_alike(code: str, other: str) -> bool:
    """Whether two concepts share a word of their English names, but for a plural's s.

    Such (a horse, a horse face) are never shown together, nor is one asked for as absent where the
    other is shown: people could not agree on the answer.
    """
    corpus = load_corpus()
    return not _words(corpus, code).isdisjoint(_words(corpus, other))


def absent(generator: np.random.Generator, shown: Sequence[str], count: int = 1) -> list[str]:
    """Different concepts that are unlike each other and all of `shown`."""
    codes = scene_codes(load_corpus())
    found: list[str] = []
    while len(found) < count:
        code = codes[int(generator.integers(len(codes)))]
        if not any(are_alike(code, other) for other in (*shown, *found)):
            found.append(code)
    return found


def _choose(generator: np.random.Generator, split: str, repeats: bool) -> list[str]:
    """The concept of every object."""
    if not repeats:
        return absent(generator, (), int(generator.integers(2, MAX_OBJECTS, endpoint=True)))
    wanted = split == "held_out_counts"
    count = int(generator.integers(2 if wanted else 1, MAX_OBJECTS, endpoint=True))
    while True:
        (main,) = absent(generator, ())
        if is_count_held_out(main, count) == wanted:
            break
    others = int(generator.integers(MAX_OBJECTS - count, endpoint=True))
    return [main] * count + absent(generator, (main,), others)


def _shape(code: str, art: str, view: int) -> tuple[float, float]:
    """Height and width of a turned drawing, the longer one 1."""
    look = draw_look(seeded(f"{art}/{code}/{view}"), art, code)
    drawing = rasterise(art, code, OUTLINE_SIDE)
    _, _, (width, height) = turned(drawing, look.angle, look.mirror)
    longer = max(width, height)
    return float(height / longer), float(width / longer)


def _arrange(
    generator: np.random.Generator, shapes: Sequence[tuple[float, float]]
) -> list[Extent] | None:
    """A place for every shape, each size and place drawn evenly; None if room runs out."""
    placed: list[Extent] = []
    for shape in shapes:
        for _ in range(20):
            height, width = generator.uniform(*SIZES) * np.array(shape)
            room = 1 - 2 * MARGIN - np.array([height, width])
            y, x = MARGIN + generator.random(2) * room
            extent = Extent(float(y), float(x), float(y + height), float(x + width))
            if all(_overlap(extent, other) <= MAX_OVERLAP for other in placed):
                placed.append(extent)
                break
        else:
            return None
    return placed


def _overlap(one: Extent, other: Extent) -> float:
    """The area that two boxes share, as a share of the smaller one's."""
    height = min(one.ymax, other.ymax) - max(one.ymin, other.ymin)
    width = min(one.xmax, other.xmax) - max(one.xmin, other.xmin)
    areas = [(e.ymax - e.ymin) * (e.xmax - e.xmin) for e in (one, other)]
    return max(height, 0) * max(width, 0) / min(areas)


def _is_clear(extents: Sequence[Extent]) -> bool:
    pairs = itertools.combinations(extents, 2)
    return any(direction(*pair) for pair in pairs) and any(map(corner, extents))


def _draw(canvas: np.ndarray, thing: SceneObject) -> None:
    """Lays one object over what the canvas [size size 3] holds so far."""
    size = len(canvas)
    ymin, xmin, ymax, xmax = (size * share for share in thing.extent)
    longer = max(ymax - ymin, xmax - xmin)
    side = RASTER_STEP * math.ceil(OVERSAMPLING * longer / RASTER_STEP)
    generator = seeded(f"{thing.art}/{thing.code}/{thing.view}")
    look = draw_look(generator, thing.art, thing.code)
    drawing = rasterise(thing.art, thing.code, side)
    turn, low, extent = turned(drawing, look.angle, look.mirror)
    zoom = longer / extent.max()
    # Only the part of the canvas that the object can reach is worked on.
    top, left = max(0, math.floor(ymin) - 1), max(0, math.floor(xmin) - 1)
    part = canvas[top : math.ceil(ymax) + 1, left : math.ceil(xmax) + 1]
    center = np.array([(xmin + xmax) / 2 - left, (ymin + ymax) / 2 - top])
    middle = center - zoom * (low + extent / 2)
    picture = sample(drawing, (part.shape[1], part.shape[0]), turn, zoom, middle)
    part[:] = lay_over(picture, look, part)
