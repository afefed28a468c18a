# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: the pictures of some examples, with the boxes that their answers name.

As one picture (`.png`), or as a page (`.html`) that has prompt and answer beside each of them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pali.boxes import parse_boxes
from pali.drawing import draw_boxes
from pali.web_page import TAIL, data_uri, head

KINDS = (".png", ".html")
"""What a sheet can be, by the end of its name."""

SIDE = 192
"""Pictures are enlarged up to about so many pixels."""

COLUMNS = 8

_STYLE = """\
body { margin: auto; max-width: 90rem; padding: 1rem }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1.5rem;
 padding-left: 1.5rem }
li, h1 { overflow-wrap: anywhere }
img { display: block; max-width: 100% }
dl { margin: .25rem 0 }
dt { opacity: .75; font-size: .8rem }
dd { margin: 0 }
"""


@dataclass(frozen=True)
class Shown:
    """An example as people look at it."""

    task: str
    prompt: str
    answer: str
    image: UInt8[np.ndarray, "h w 3"] | None
    """None: a text alone."""
    lang: str = ""
    """Language code, if the record has one."""


def write_sheet(path: Path, title: str, examples: Sequence[Shown]) -> int:
    """Writes a sheet, and returns how many pictures are on it.

    Args:
      path: ends in one of KINDS.
      title: of the page.
      examples: a page has all of them, a picture those with an image, row by row.

    Raises:
      ValueError: another kind of file, or there is no picture to show.
    """
    check_kind(path)
    images = [
        with_boxes(shown.image, shown.answer) for shown in examples if shown.image is not None
    ]
    if not images:
        raise ValueError("these examples have no pictures: leave --sheet out")
    if path.suffix == ".html":
        path.write_text(page(title, examples), encoding="utf-8")
    else:
        Image.fromarray(contact_sheet(images)).save(path, "PNG")
    return len(images)


def check_kind(path: Path) -> None:
    """Raises ValueError if a sheet cannot be such a file."""
    if path.suffix not in KINDS:
        raise ValueError(f"{path} must end in {' or '.join(KINDS)}, to be a picture or a page")


def page(title: str, examples: Sequence[Shown]) -> str:
    """A page in HTML: each picture with its boxes, its task, prompt and answer."""
    items = "".join(f"<li>{_item(shown)}</li>\n" for shown in examples)
    begin = f"{head(title, _STYLE)}<h1>{html.escape(title)}</h1>\n<ol>\n"
    return f"{begin}{items}</ol>\n{TAIL}"


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int = COLUMNS
) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures in rows, white between them; each in the middle of a cell as large as the largest.

    Args:
      images: at least one.
      columns: pictures in a row.
    """
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * (height + 4) + 4, columns * (width + 4) + 4, 3), 255, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        high, wide = image.shape[:2]
        top = 4 + row * (height + 4) + (height - high) // 2
        left = 4 + column * (width + 4) + (width - wide) // 2
        sheet[top : top + high, left : left + wide] = image
    return sheet


def with_boxes(image: UInt8[np.ndarray, "h w 3"], answer: str) -> UInt8[np.ndarray, "H W 3"]:
    """A picture, enlarged to be seen well, with the boxes that an answer names."""
    times = max(1, SIDE // min(image.shape[:2]))
    boxes, unparsed = parse_boxes(answer)
    enlarged = image.repeat(times, axis=0).repeat(times, axis=1)
    # An answer with anything else in it is another kind of text.
    return draw_boxes(enlarged, [] if unparsed else boxes)


def _item(shown: Shown) -> str:
    lang = f' lang="{html.escape(shown.lang)}"' if shown.lang else ""
    texts = "".join(
        f'<dt>{name}</dt><dd dir="auto"{lang if name == "answer" else ""}>{html.escape(text)}</dd>'
        for name, text in (("task", shown.task), ("prompt", shown.prompt), ("answer", shown.answer))
        if text
    )
    return f"{_picture(shown)}<dl>{texts}</dl>"


def _picture(shown: Shown) -> str:
    if shown.image is None:
        return ""
    drawn = with_boxes(shown.image, shown.answer)
    height, width = drawn.shape[:2]
    return (
        f'<img alt="{html.escape(shown.answer or shown.task)}" width="{width}" height="{height}" '
        f'src="{data_uri(Image.fromarray(drawn), "png", optimize=True)}">'
    )
