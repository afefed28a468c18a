# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of the demo corpus as photos of other shapes, to be laid down as datasets publish them."""

import io
from typing import NamedTuple

import pytest
from PIL import Image

from pali.data.demo_corpus import load_corpus
from pali.data.scenes import describe, render_scene


class Photo(NamedTuple):
    """A picture file and what it shows."""

    file: bytes
    height: int
    width: int
    things: list
    """(label, (ymin, xmin, ymax, xmax) in pixels), from top to bottom."""


SHAPES = [(48, 64), (64, 48), (40, 90), (50, 50)]


def photo(number):
    height, width = SHAPES[number % len(SHAPES)]
    scene = describe("train", number)
    picture = Image.fromarray(render_scene(scene, 64)).resize((width, height))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    names = load_corpus().names("en")
    things = [
        (names[t.code], tuple(s * e for s, e in zip((height, width) * 2, t.extent, strict=True)))
        for t in scene.objects
    ]
    return Photo(file.getvalue(), height, width, things)


@pytest.fixture(scope="session")
def photos():
    return [photo(number) for number in range(6)]
