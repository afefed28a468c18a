# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Bytes -> pixels: the one way a picture becomes an array, in training and inference alike.

In:  a path, the bytes of a file, a PIL image or an array.
Out: `decode_image` gives u8[h w 3], upright, opaque, sRGB values as stored;
     `resize` brings it to the u8[h w 3] a ViT reads (the ViT itself scales to mean and deviation).

Without a word on `pixels`, resizing is PaliGemma's (big_vision `resize(size, antialias=True)`):
bilinear with antialiasing, the whole picture without a crop, so that nothing at the border is lost.
What `PixelConfig` knows beside it is what the image processors of Hugging Face do, to the byte.
`seen_region` says which part of a picture is left.

Whatever is wrong with a picture ends as an `ImageError` that names it and says what to do.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import stat
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pali.config import ImageSize, PixelConfig, image_shape

MAX_PIXELS = 178_000_000
"""Pictures with more pixels are refused before they are decoded: a small file can unpack to
gigabytes. 178 megapixels are just below the limit that PIL itself sets; they take 0.5 GB as RGB,
and up to 2 GB for a moment where transparency is laid over white."""

MAX_FILE = 2**31
"""Bytes of a picture file that a record may name: 16 bits for each colour of `MAX_PIXELS`, not
compressed, and as much again."""

MAX_ENLARGED = 64_000_000
"""Pixels that a picture may have between the two steps of a crop. It covers 224 x 224 up to ratios
of sides of 1 to 1275; beyond, only what stays is made."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".gif"),
    *(".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".ico", ".jp2"),
)
"""How pictures in a folder are recognised; a file named by itself may be called anything."""

# Fixed, because PIL also opens formats that run other programs (EPS) or that any text may match.
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000")
_FORMAT_NAMES = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, PPM, ICO or JPEG 2000"
# Values of EXIF's orientation that exchange height and width.
_ON_THE_SIDE = (5, 6, 7, 8)

_T = TypeVar("_T")


class ImageError(ValueError):
    """A picture that cannot be used: which one, what is wrong with it, what to do."""


class Region(NamedTuple):
    """A part of a picture: its edges in pixels of the picture, and the size of the whole."""

    top: float
    left: float
    bottom: float
    right: float
    height: int
    width: int

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """Its edges (top, left, bottom, right) in shares of the whole."""
        height, width = self.height, self.width
        return self.top / height, self.left / width, self.bottom / height, self.right / width


def decode_image(source: Any, name: str | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of one picture.

    EXIF orientation is applied; CMYK, palette, grey and 16-bit pictures become 8-bit RGB;
    transparency is laid over white; of an animation or a multi-page file the first frame is taken.
    Colour profiles are ignored, as in the data pipelines of big_vision.

    Args:
      source: a path, the bytes of a file, a PIL image, or an array u8[h w], u8[h w 1|3|4] or the
        same in floats between 0 and 1.
      name: what to call the picture in an error; the path where there is one.

    Raises:
      ImageError: no such file, not a picture, damaged, or more than `MAX_PIXELS` pixels.
    """
    return np.array(_decode(source, name))


def _decode(source: Any, name: str | None) -> Image.Image:
    """As `decode_image`; an RGB picture of PIL's, which may be the one that was given."""
    if name is None:
        name = display_name(source) if isinstance(source, str | os.PathLike) else "the picture"
    if isinstance(source, str | os.PathLike):
        with _open_file(os.fspath(source), name) as file:
            return _open_picture(file, name, _decode_pil)
    if isinstance(source, bytes | bytearray | memoryview):
        return _open_picture(io.BytesIO(source), name, _decode_pil)
    if isinstance(source, Image.Image):
        return _decode_pil(source, name)
    if hasattr(source, "__array__"):
        return _decode_array(np.asarray(source), name)
    raise ImageError(
        f"{name} is a {type(source).__name__}; expected a path, bytes, a PIL image or an array"
    )


def resize(
    image: UInt8[np.ndarray, "h w 3"], size: ImageSize, pixels: PixelConfig = PixelConfig()
) -> UInt8[np.ndarray, "high wide 3"]:
    """What a ViT sees of a picture, antialiased.

    Args:
      image: any picture; one that has the size already is returned as it is.
      size: the ViT's `image_size`.
      pixels: the ViT's. "squash" is the whole picture, its ratio of sides not kept. "crop" keeps
        it: the picture is scaled until it just covers `size`, and what lies beyond is cut off, at
        both ends alike (of a square: the shorter side to the size, then the middle, as for CLIP).
    """
    if image.shape == (*image_shape(size), 3):
        return image
    return np.array(_resize(Image.fromarray(image), size, pixels))


def _resize(whole: Image.Image, size: ImageSize, pixels: PixelConfig) -> Image.Image:
    high, wide = image_shape(size)
    if whole.size == (wide, high):
        return whole
    resample = Image.Resampling[pixels.resample.upper()]
    if pixels.fit == "squash":
        return whole.resize((wide, high), resample)
    shape = (whole.height, whole.width)
    (rows, columns), (top, left) = _covering(shape, (high, wide))
    if rows * columns > MAX_ENLARGED:
        seen = seen_region(shape, size, pixels)
        box = (seen.left, seen.top, seen.right, seen.bottom)
        return whole.resize((wide, high), resample, box)
    covering = whole.resize((columns, rows), resample)
    return covering.crop((left, top, left + wide, top + high))


def seen_region(shape: tuple[int, ...], size: ImageSize, pixels: PixelConfig) -> Region:
    """Which part of a picture (its height, width, …) is in what `resize` makes of it."""
    height, width, *_ = shape
    if pixels.fit == "squash":
        return Region(0, 0, height, width, height, width)
    high, wide = image_shape(size)
    (rows, columns), (top, left) = _covering((height, width), (high, wide))
    return Region(
        top * height / rows,
        left * width / columns,
        (top + high) * height / rows,
        (left + wide) * width / columns,
        height,
        width,
    )


def load_image(
    source: Any, size: ImageSize, pixels: PixelConfig = PixelConfig(), name: str | None = None
) -> UInt8[np.ndarray, "high wide 3"]:
    """`decode_image`, then `resize`; the whole picture is never copied into an array."""
    return np.array(_resize(_decode(source, name), size, pixels))


def _covering(
    shape: tuple[int, ...], size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size at which a picture of `shape` just covers `size`; top and left of its middle.

    What is a fraction of a pixel is dropped, as Hugging Face does.
    """
    (height, width, *_), (high, wide) = shape, size
    if height * wide >= width * high:
        rows, columns = int(wide * height / width), wide
    else:
        rows, columns = high, int(high * width / height)
    return (rows, columns), ((rows - high) // 2, (columns - wide) // 2)


def upright_size(content: bytes, name: str) -> tuple[int, int]:
    """Height and width of a picture as `decode_image` gives it, turned by EXIF; little is decoded.

    Raises:
      ImageError: not a picture, or more than `MAX_PIXELS` pixels.
    """
    return _open_picture(io.BytesIO(content), name, _checked_upright_size)


def check_is_file(path: str | os.PathLike[str]) -> None:
    """Refuses what a record may name and no picture is: a pipe makes its reader wait, a device has
    no end. What is not there, or cannot be looked at, is left to `decode_image`.

    Raises:
      ImageError: a pipe, a device or a socket, or a file larger than `MAX_FILE`.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ImageError(f"{display_name(path)} is a pipe or a device, not a picture file")
    if stat.S_ISREG(found.st_mode) and found.st_size > MAX_FILE:
        raise ImageError(f"{display_name(path)} has {found.st_size:,} bytes; at most {MAX_FILE:,}")


def display_name(path: str | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """A path as text that can always be printed, even where its bytes are no valid UTF-8."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # Half a character, as JSON can spell it.
        return str(path).encode("utf-8", "backslashreplace").decode()


def _open_file(path: Any, name: str) -> Any:
    if isinstance(path, str) and re.match(r"https?://", path):
        raise ImageError(f"{name} is a web address; download it first, then give the file")
    try:
        file = open(path, "rb")  # noqa: SIM115, the caller closes it
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file{_near_file(path)}") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder, not a picture") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name} cannot be read: {reason}") from None
    if file.seekable():
        return file
    with file:  # A pipe, as in <(curl ...): PIL needs to go back and forth.
        return io.BytesIO(file.read())


def _near_file(path: Any) -> str:
    folder, wanted = os.path.split(os.fsdecode(path))
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return f" (there is no folder {display_name(folder)} either)" if folder else ""
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.75)
    return f"; did you mean {display_name(os.path.join(folder, near[0]))}?" if near else ""


def _open_picture(file: Any, name: str, use: Callable[[Image.Image, str], _T]) -> _T:
    """What `use` makes of the picture in a file; an ImageError says what else is in it."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            return use(image, name)
    except ImageError:
        raise
    except UnidentifiedImageError:
        file.seek(0)
        raise ImageError(
            f"{name} is not a picture{_what_it_is(file.read(512))}; "
            f"expected {_FORMAT_NAMES}, whole and undamaged"
        ) from None
    except Image.DecompressionBombError as error:
        # PIL refuses before it would say how wide and how high; its message has the product.
        count = re.search(r"\d+", str(error))
        raise _too_large(name, int(count[0]) if count else None) from None
    except Exception as error:  # PIL's decoders meet damage with any exception there is.
        raise ImageError(
            f"{name} cannot be decoded ({_reason(error)}): damaged or cut short"
        ) from None


def _checked_size(image: Image.Image, name: str) -> tuple[int, int]:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name, image.width * image.height, f"{image.width} x {image.height}: ")
    return image.height, image.width


def _checked_upright_size(image: Image.Image, name: str) -> tuple[int, int]:
    height, width = _checked_size(image, name)
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation) in _ON_THE_SIDE
    except Exception:  # As in `_upright`.
        turned = False
    return (width, height) if turned else (height, width)


def _decode_pil(image: Image.Image, name: str) -> Image.Image:
    _checked_size(image, name)
    try:
        image.load()
        image = _upright(image)
        image = _eight_bit(image, name)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image if image.mode == "RGB" else image.convert("RGB")
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(
            f"{name} cannot be decoded ({_reason(error)}): damaged or cut short"
        ) from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image  # PIL would copy it.
        return ImageOps.exif_transpose(image)
    except Exception:  # Broken EXIF beside good pixels: the picture is worth more than its tag.
        return image


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Grey pictures of 16 or 32 bits or floats, which PIL would clip at 255, scaled to 8 bits.

    The file does not say what white is: 65535 in 16 bits; else the nearest of 1 (floats alone),
    255 and 65535 that the values keep to. A little above 1 is still meant to be white.
    """
    if not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
        return image
    values = np.asarray(image).astype(np.float64)
    highest = values[np.isfinite(values)].max(initial=0)
    if image.mode.startswith("I;16"):
        top = 65535.0
    elif image.mode == "F" and highest < 2:
        top = 1.0
    else:
        top = 255.0 if highest <= 255 else 65535.0
    if highest > max(top, 2):
        raise ImageError(f"{name} has grey values up to {highest:g}; save it with 8 or 16 bits")
    grey = np.nan_to_num(np.clip(values / top, 0, 1))
    return Image.fromarray((grey * 255 + 0.5).astype(np.uint8))


def _decode_array(array: np.ndarray, name: str) -> Image.Image:
    shape = "x".join(map(str, array.shape))
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or not array.size:
        hint = "; channels come last here: transpose it" if array.shape[:1] in ((1,), (3,)) else ""
        raise ImageError(
            f"{name} has shape {shape}; expected h w, or h w and 1, 3 or 4 channels{hint}"
        )
    if np.issubdtype(array.dtype, np.floating):
        # Not "low < 0": a NaN fails every comparison and must be refused too.
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"{name} is {array.dtype} from {array.min():g} to {array.max():g}; "
                "floats must lie between 0 and 1, and 0 to 255 must be uint8"
            )
        array = (array.astype(np.float32) * 255 + 0.5).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"{name} is {array.dtype}; expected uint8, or floats between 0 and 1")
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    return _decode_pil(Image.fromarray(np.ascontiguousarray(array)), name)


def _too_large(name: str, pixels: int | None, size: str = "") -> ImageError:
    count = f"{size}{pixels / 1e6:,.0f} megapixels" if pixels else "too many pixels"
    return ImageError(
        f"{name} is too large ({count}; the limit is {MAX_PIXELS // 10**6}); make it smaller first"
    )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


def _what_it_is(head: bytes) -> str:
    """A guess, from its first bytes, at what a file that is no picture is instead."""
    start = head.lstrip()[:64].lower()
    if not head:
        return " but an empty file"
    if b"<svg" in head.lower():
        return " of pixels but an SVG drawing: export it as PNG"
    if start.startswith((b"<!doctype html", b"<html")):
        return " but a web page: the download probably went wrong"
    if start.startswith(b"version https://git-lfs"):
        return " but a Git LFS pointer: run `git lfs pull`"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return " that can be read here but HEIC: convert it to JPEG"
    if start.startswith(b"%pdf"):
        return " but a PDF: export its pages as PNG"
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return " but a text file"
