# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A ViT's learned positions at another resolution: [1 p d] -> [1 q d], any grid to any other.

Linear interpolation in two dimensions that lays corner patch on corner patch, as big_vision does
(`scipy.ndimage.zoom` of order 1); PaLI's high-resolution phase begins with positions so enlarged
(arXiv 2209.06794, section 3.2, which does not say how). One thing differs: for some sizes, 8 -> 26
among them, SciPy's rounding puts the last row just outside the old grid and makes it zero, which
nobody wants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from pali.checkpoints.weights import Tensor


def resample(
    positions: Float[Any, "1 p d"], grid: tuple[int, int], source: tuple[int, int] | None = None
) -> Float[np.ndarray, "1 q d"]:
    """Positions for another grid of patches, float32.

    Args:
      positions: one vector for each patch, row by row from the top left.
      grid: rows and columns wanted.
      source: rows and columns there are; a square unless given.

    Raises:
      ValueError: the number of positions is not that of `source`, or is no square.
    """
    count, width = positions.shape[1:]
    if source is None:
        side = math.isqrt(count)
        source = side, side
        if side**2 != count:
            raise ValueError(
                f"{count} positions are no square grid: say how many rows and columns they have"
            )
    if math.prod(source) != count:
        raise ValueError(f"{count} positions are not {source[0]} rows of {source[1]}")
    values = np.asarray(positions, np.float64).reshape(*source, width)
    for axis, size in enumerate(grid):
        values = _along(values, axis, size)
    return values.astype(np.float32).reshape(1, math.prod(grid), width)


def on_grid(
    tensors: Mapping[str, Tensor], grid: tuple[int, int], source: tuple[int, int]
) -> dict[str, Tensor]:
    """The arrays of a PaLI, its positions on another grid; nothing is read yet."""
    found = dict(tensors)
    if "vit/pos_embedding" in found and grid != source:
        tensor = found["vit/pos_embedding"]
        shape = (1, math.prod(grid), tensor.shape[-1])
        found["vit/pos_embedding"] = tensor.then(shape, lambda a: resample(a, grid, source))
    return found


def _along(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Linear interpolation along one axis, the first and the last entry staying in place."""
    last = values.shape[axis] - 1
    place = np.linspace(0, last, size)
    below = place.astype(np.int64)
    share = np.expand_dims(place - below, tuple(i for i in range(values.ndim) if i != axis))
    above = np.minimum(below + 1, last)
    return values.take(below, axis) * (1 - share) + values.take(above, axis) * share
