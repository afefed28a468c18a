# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""By what a picture is known, wherever it comes from: its content, and what makes pixels of it.

A function that makes "image" may say by a method `content(example)` what that depends on, as text:
a hash of the file's bytes, or the name of what is drawn. It is then known without being made. Of
any other function the pixels themselves are the content.

A function that makes another picture for another `example["draw"]` says so by `draws = True`, and
must have that method.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pali.image import ImageError, check_is_file, display_name

Example = dict[str, Any]

KEY_BYTES = 16


@dataclass(frozen=True)
class KeepContent:
    """image_content: text by which the picture that some functions would make is known."""

    makers: tuple[Any, ...]

    def __call__(self, example: Example) -> Example:
        """Adds "image_content"."""
        return example | {"image_content": content_of(self.makers, example)}


def content_of(makers: Sequence[Any], example: Example) -> str:
    """What the picture of an example is, before these functions make it."""
    if len(makers) == 1 and hasattr(makers[0], "content"):
        return makers[0].content(example)
    if draws(makers):
        raise ValueError(
            f"{name_of(makers)} draws another picture every time (draws = True), and does not say "
            "of what: give it a method content(example), and let no other function make its picture"
        )
    for function in makers:
        example = function(example)
    return content_of_pixels(example["image"])


def draws(makers: Sequence[Any]) -> bool:
    """Whether a record has other pixels at every visit."""
    return any(getattr(function, "draws", False) for function in makers)


def name_of(makers: Sequence[Any]) -> str:
    """The functions and all their settings, as text.

    Raises:
      ValueError: a function has no name that would be the same tomorrow.
    """
    names = []
    for function in makers:
        name = repr(function)
        if " at 0x" in name:
            name = f"{function.__module__}.{getattr(function, '__qualname__', '<')}"
            if "<" in name:
                raise ValueError(
                    f"{function!r} makes a picture, and cannot be told from others like it, so "
                    "its visual tokens cannot be kept: make it a frozen dataclass or a function of "
                    "a module"
                )
        names.append(name)
    return ", ".join(names)


def key_of(makers: Sequence[Any], content: str, view: int) -> bytes:
    """Of 16 bytes: what the picture is, how pixels are made of it, and which view of it this is."""
    text = "\0".join((content, name_of(makers), str(view)))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def content_of_file(content: bytes) -> str:
    """Of a picture file."""
    return f"file {hashlib.blake2b(content, digest_size=KEY_BYTES).hexdigest()}"


def content_of_path(path: str | os.PathLike[str]) -> str:
    """Of a picture file that is named.

    Raises:
      ImageError: there is none that could be read.
    """
    try:
        check_is_file(path)
        found = os.stat(path)
        return _content_of_path(os.fspath(path), found.st_mtime_ns, found.st_size)
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{display_name(path)} cannot be read: {reason}") from None


def content_of_pixels(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """Of pixels."""
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=KEY_BYTES)
    digest.update(np.ascontiguousarray(image).data)
    return f"pixels {digest.hexdigest()}"


def pixels_hash(image: UInt8[np.ndarray, "h w 3"]) -> int:
    """Of 64 bits, by which it is noticed that a picture is made otherwise than before."""
    return int(content_of_pixels(image)[-16:], 16)


@functools.lru_cache(maxsize=2**16)
def _content_of_path(path: str, changed: int, size: int) -> str:
    """One picture is asked about in many languages, and read once."""
    del changed, size
    return content_of_file(Path(path).read_bytes())
