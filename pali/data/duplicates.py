# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What is there twice: equal bytes, texts that differ in case alone, pictures that look alike.

Everything is compared by 64-bit numbers, so that millions of records take a few bytes each. That
two of ten million different ones share a number happens by chance in one of 370,000 data sets.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import unicodedata

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt64
from PIL import Image

NEAR_BITS = 4
"""Pictures whose perceptual hashes differ in at most so many of 64 bits look alike."""

_SIDE = 32  # The picture that is transformed; of its frequencies the 8 x 8 lowest are kept.
_FLAT = 2.0  # Deviation of grey values below which a picture has nothing to be told by.
_CROWD = 1000


def fingerprint(data: bytes | str) -> int:
    """64 bits that tell contents apart; never 0, which stands for nothing."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def normal_text(text: str) -> str:
    """A text without what two copies of it may differ in: case, width, punctuation, spaces.

    NFKC, case folded, then letters, marks and digits alone. What has none of these stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return " ".join(kept.split()) or text


def perceptual_hash(image: UInt8[np.ndarray, "h w 3"]) -> int:
    """64 bits that hardly change when a picture is scaled, compressed or brightened.

    The signs of the lowest 8 x 8 frequencies of its 32 x 32 grey values against their median
    ("pHash"; Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010).
    0 for a picture that is flat: what has nothing in it looks like everything.
    """
    # A large picture is first thinned out: the filter below would take most of the time.
    step = max(1, min(image.shape[:2]) // 256)
    grey = Image.fromarray(np.ascontiguousarray(image[::step, ::step])).convert("L")
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR), np.float64)
    if small.std() < _FLAT:
        return 0
    lowest = (_cosines() @ small @ _cosines().T).ravel()
    bits = lowest > np.median(lowest[1:])  # The first is the mean brightness.
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@functools.cache
def _cosines() -> Float[np.ndarray, "8 side"]:
    places = np.arange(_SIDE) + 0.5
    return np.cos(math.pi / _SIDE * np.outer(np.arange(8), places))


def repeats(hashes: UInt64[np.ndarray, " n"]) -> list[Int[np.ndarray, " m"]]:
    """The groups of places that hold the same number, in the order of their first places.

    0 is nothing, and is not repeated.
    """
    order = np.argsort(hashes, kind="stable")
    new = np.diff(hashes[order], prepend=np.uint64(0)) != 0
    starts = np.flatnonzero(new)  # What is nothing comes first, and starts no group.
    ends = np.append(starts[1:], len(order))
    several = ends - starts > 1
    found = [order[a:b] for a, b in zip(starts[several], ends[several], strict=True)]
    return sorted(found, key=lambda group: int(group[0]))


def near(
    hashes: UInt64[np.ndarray, " n"], distance: int = NEAR_BITS
) -> list[Int[np.ndarray, " m"]]:
    """The groups of places whose numbers differ in at most `distance` bits, directly or in steps.

    The bits are cut into `distance + 2` blocks; of two such numbers at least two blocks are equal,
    so each pair of blocks is sorted by, and only what is equal in it is compared (Manku et al.,
    Detecting Near-Duplicates for Web Crawling, 2007). Numbers that more than a thousand others
    share two blocks with are compared with the thousand that follow them.

    Returns:
      Groups of at least two, in the order of their first places; 0 is nothing, as in `repeats`.
    """
    distinct = np.unique(hashes[hashes != 0])
    parent = np.arange(len(distinct))
    edges = np.linspace(0, 64, distance + 3).astype(int)
    masks = [(1 << int(b)) - (1 << int(a)) for a, b in itertools.pairwise(edges)]
    for pair in itertools.combinations(masks, 2):
        _join(distinct, np.uint64(pair[0] | pair[1]), distance, parent)
    label = np.zeros(len(hashes), np.uint64)
    places = np.searchsorted(distinct, hashes)
    known = hashes != 0
    label[known] = parent[places[known]] + 1
    return repeats(label)


def _join(
    numbers: UInt64[np.ndarray, " n"], mask: np.uint64, distance: int, parent: Int[np.ndarray, " n"]
) -> None:
    """Gives one parent to numbers that are equal under the mask and near as a whole."""
    keys = numbers & mask
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    left = np.arange(len(order))
    for step in range(1, _CROWD):
        left = left[left + step < len(order)]
        left = left[keys[left] == keys[left + step]]
        if not len(left):
            return
        a, b = order[left], order[left + step]
        close = np.bitwise_count(numbers[a] ^ numbers[b]) <= distance
        _merge(parent, a[close], b[close])


def _merge(
    parent: Int[np.ndarray, " n"], a: Int[np.ndarray, " m"], b: Int[np.ndarray, " m"]
) -> None:
    """Puts a[i] and b[i] into one group; `parent` is the lowest place of each place's group."""
    while len(apart := np.flatnonzero(parent[a] != parent[b])):
        a, b = a[apart], b[apart]
        low, high = np.minimum(parent[a], parent[b]), np.maximum(parent[a], parent[b])
        np.minimum.at(parent, high, low)
        while (parent != (above := parent[parent])).any():
            parent[:] = above
