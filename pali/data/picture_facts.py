# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What is to be known of a picture before training on it, without keeping its pixels.

In:  the path of a file, or a function that draws the picture.
Out: `Facts`: its size, the numbers by which it is compared with others, what is unusual about it,
     or why it cannot be used. Files are decoded as training does it (pali/image.py).
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image

from pali.data.duplicates import fingerprint, perceptual_hash
from pali.data.skipping import UNUSABLE
from pali.image import check_is_file, decode_image, display_name

Picture = str | Callable[[], Any]
"""A path, or a function without arguments whose result is the pixels, u8[h w 3]."""


@dataclass(frozen=True)
class Facts:
    """Of one picture."""

    digest: int = 0
    """Of the file's bytes, or of the pixels drawn; 0 where there is none."""
    look: int = 0
    """See `perceptual_hash`."""
    height: int = 0
    width: int = 0
    unusual: tuple[str, ...] = ()
    """Names of UNUSUAL."""
    error: Exception | None = None
    """Why it cannot be used."""


UNUSUAL: dict[str, str] = {
    "rotated": "lies on its side or head and says so (EXIF); used upright",
    "animated": "has several frames or pages; the first is used",
    "transparent": "is transparent; used on white",
    "deep": "has more than 8 bits for each colour; scaled to 8",
    "cmyk": "is in CMYK, for printing; converted without its colour profile",
    "palette": "has a palette; used in full colour",
}
"""What a picture may be and yet is used."""


def find_facts(picture: Picture) -> Facts:
    """The facts of one picture; what cannot be used is no exception here, but its `error`."""
    try:
        if not isinstance(picture, str):
            pixels = np.asarray(picture())
            digest = fingerprint(pixels.tobytes() + str(pixels.shape).encode())
            return _facts(pixels, digest, ())
        check_is_file(picture)
        try:
            content = pathlib.Path(picture).read_bytes()
        except (OSError, ValueError):
            decode_image(picture)  # It knows what to say.
            raise
        pixels = decode_image(content, display_name(picture))
        return _facts(pixels, fingerprint(content), _unusual(content))
    except (*UNUSABLE, OSError) as error:
        return Facts(error=error)


def pixels_of(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
    """Its pixels, for a page that shows it.

    Raises:
      ImageError: it cannot be decoded.
    """
    if isinstance(picture, str):
        check_is_file(picture)
    return decode_image(picture if isinstance(picture, str) else picture())


def _facts(pixels: np.ndarray, digest: int, unusual: tuple[str, ...]) -> Facts:
    height, width = pixels.shape[:2]
    return Facts(digest, perceptual_hash(pixels), height, width, unusual)


def _unusual(content: bytes) -> tuple[str, ...]:
    """From the header of a file that could be decoded."""
    with Image.open(io.BytesIO(content)) as image:
        try:
            rotated = image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
        except Exception:  # Broken EXIF beside good pixels, as in pali/image.py.
            rotated = False
        found = {
            "rotated": rotated,
            "animated": getattr(image, "n_frames", 1) > 1,
            "transparent": image.has_transparency_data,
            "deep": image.mode in ("I", "F") or image.mode.startswith("I;16"),
            "cmyk": image.mode == "CMYK",
            "palette": image.mode in ("P", "PA"),
        }
    return tuple(name for name, is_so in found.items() if is_so)
