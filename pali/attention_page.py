# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A web page in which every word of an answer shows the patches that the decoder looked at.

    HEAD, then `picture_section(...)` for each picture, then the TAIL of every page

Words are radio buttons, and the map of a word lies inside its label: pointing at it, choosing it or
reaching it with the keyboard lays the map over the picture. This is done by CSS alone. A page that
was cut short shows the pictures that it holds.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from pali.attention import Word
from pali.image import Region
from pali.languages import LANGUAGES
from pali.tokenizer import SPACE
from pali.web_page import data_uri, head

LONGEST_SIDE = 360
"""Of a picture on the page, in CSS pixels; its file may have twice as many, for fine screens."""

# From dark to light, as the eye orders them: black, purple, red, orange, pale yellow.
_STOPS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
_LEVELS = 16

_STYLE = """\
body { max-width: 70rem; margin: auto; padding: 1rem }
h2 { overflow-wrap: anywhere }
.both { position: relative; display: grid; grid-template-columns: var(--w) 1fr; gap: 2rem;
 align-items: start }
.picture { display: block; width: var(--w); height: var(--h) }
.picture { margin-bottom: 2rem }
/* The maps lie inside the list, but over the picture: they neither scroll with it nor are cut. */
.words { max-height: max(var(--h), 75vh); overflow-y: auto; padding: .25rem }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: .5rem 0 }
dt { opacity: .75 }
dd { margin: 0 }
label { cursor: pointer; margin-inline: 1px; border-bottom: 2px dotted; border-radius: 2px }
label:hover, label:has(:checked) { background: Highlight; color: HighlightText }
label:has(:focus-visible) { outline: 2px solid; outline-offset: 2px }
input { appearance: none; width: 0; height: 0; margin: 0; outline: none }
.seen { display: none; position: absolute; top: 0; left: 0; width: var(--w); color: CanvasText;
 pointer-events: none; line-height: 2rem; font-size: .875rem; white-space: nowrap }
.map { display: block; width: var(--map-w); height: var(--map-h); margin: var(--map-m);
 opacity: .7; image-rendering: pixelated }
:checked ~ .seen, label:hover .seen { display: block }
.words:has(label:hover) label:not(:hover) .seen { display: none }
@media (max-width: 45rem) {
 .both { grid-template-columns: 1fr; gap: 0 }
 .words { max-height: 45vh }
}
"""

HEAD = (
    head("Where the model looked", _STYLE, line=1.6)
    + """\
<h1>Where the model looked</h1>
<p>Point at a word, or choose one: its map lies over the picture. The lighter a patch, the more of
the decoder’s cross-attention it had while that word was written (mean over layers and heads); each
map is scaled to its own lightest patch. What no map covers the model did not see. Words in scripts
without spaces are shown in pieces. This tells where the decoder read, not why.</p>
"""
)


def picture_section(
    number: int,
    name: str,
    picture: UInt8[np.ndarray, "h w 3"],
    answers: Mapping[str, Sequence[Word]],
    region: Region | None = None,
) -> str:
    """The part of the page about one picture.

    Args:
      number: a different one for each section of a page.
      name: what the picture is called.
      picture: its pixels, at any size; shown with its own ratio of sides.
      answers: the words by language code, with maps of what the model saw.
      region: which part of the picture that is; by default all of it.
    """
    height, width = picture.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    size = f"--w:{wide}px;--h:{high}px;{_place(region, high, wide)}"
    button = f'<input type="radio" name="p{number}"'
    lines = "\n".join(
        f"{_title(code)}{''.join(_word(word, button) for word in words) or '–'}</dd>"
        for code, words in answers.items()
    )
    title = html.escape(name)
    return f"""<section>
<h2>{title}</h2>
<div class="both" style="{size}">
<img class="picture" alt="{title}" src="{_jpeg(picture)}">
<div class="words" role="radiogroup" aria-label="Words about {title}">
<label>{button} checked>the picture alone</label>
<dl>
{lines}
</dl>
</div>
</div>
</section>
"""


def _place(region: Region | None, high: int, wide: int) -> str:
    """Size and margins of the maps over a picture of that size on the page."""
    top, left, bottom, right = region.shares if region else (0, 0, 1, 1)
    margins = (top * high, (1 - right) * wide, (1 - bottom) * high, left * wide)
    margin = " ".join(f"{side:.2f}px" for side in margins)
    size = f"--map-w:{(right - left) * wide:.2f}px;--map-h:{(bottom - top) * high:.2f}px"
    return f"{size};--map-m:{margin}"


def _title(code: str) -> str:
    name = html.escape(LANGUAGES[code].name)
    return f'<dt>{name}</dt><dd lang="{html.escape(code)}" dir="auto">'


def _word(word: Word, button: str) -> str:
    rows, columns = word.patches.shape
    row, column = divmod(int(word.patches.argmax()), columns)
    alt = f"most in row {row + 1}, column {column + 1} of {rows} by {columns} patches"
    said = f"{word.on_picture:.0%} on the picture, {1 - word.on_picture:.0%} on the prompt"
    space = " " if word.pieces[0].startswith(SPACE) else ""
    return (
        f'{space}<label title="{html.escape(" ".join(word.pieces))}">{button}>'
        f"{html.escape(word.text)}"
        f'<span class="seen" lang="en" dir="ltr"><img class="map" alt="{alt}" '
        f'src="{_map(word.patches)}">{said}</span></label>'
    )


def _map(patches: Float[np.ndarray, "rows columns"]) -> str:
    """One pixel for each patch, in 16 colours up to its own highest."""
    highest = max(float(patches.max()), np.finfo(np.float32).tiny)
    levels = np.round(patches / highest * (_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(levels).convert("P")
    image.putpalette(_palette())
    return data_uri(image, "png", bits=4, optimize=True)


def _palette() -> list[int]:
    at = np.linspace(0, len(_STOPS) - 1, _LEVELS)
    channels = [np.interp(at, range(len(_STOPS)), stops) for stops in zip(*_STOPS, strict=True)]
    return np.stack(channels, axis=-1).round().astype(int).ravel().tolist()


def _jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((2 * LONGEST_SIDE, 2 * LONGEST_SIDE))
    return data_uri(image, "jpeg", quality=85)
