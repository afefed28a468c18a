# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes on a picture, to look at: a frame for each, its label in the corner.

The same label has the same colour in every picture. Labels are drawn in PIL's own font, which has
Latin letters; what it lacks becomes an empty square.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from pali.boxes import Box


def draw_boxes(
    image: UInt8[np.ndarray, "h w 3"], boxes: Iterable[Box]
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of the picture with boxes drawn on it, in the order given."""
    height, width = image.shape[:2]
    drawn = Image.fromarray(image.copy())
    pen = ImageDraw.Draw(drawn)
    line = max(1, round(min(height, width) / 200))
    font = ImageFont.load_default(max(10, round(min(height, width) / 30)))
    for box in boxes:
        # A box ends at the edge of its last pixel, the pen on that pixel.
        left, top = int(box.xmin * width), int(box.ymin * height)
        right, bottom = int(np.ceil(box.xmax * width)) - 1, int(np.ceil(box.ymax * height)) - 1
        colour = _colour(box.label)
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=line)
        # The tag stands on the box, or inside where there is no room above.
        _, _, tag_width, tag_height = map(int, pen.textbbox((0, 0), box.label, font))
        tag_top = top - tag_height - 2 * line
        tag_top = tag_top if tag_top >= 0 else top
        tag = (left, tag_top, left + tag_width + 2 * line, tag_top + tag_height + 2 * line)
        pen.rectangle(tag, fill=colour)
        pen.text((left + line, tag_top + line), box.label, "white", font)
    return np.asarray(drawn)


def _colour(label: str) -> tuple[int, int, int]:
    """A strong colour, dark enough for white letters."""
    hue = zlib.crc32(label.encode()) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 0.7)
    return round(255 * red), round(255 * green), round(255 * blue)
