# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A ViT's learned positions at another resolution: [1 p d] -> [1 q d], both square grids.

Linear interpolation in two dimensions, centre of patch to centre of patch as pictures themselves
are resized; PaLI's high-resolution phase begins like this (arXiv 2209.06794, section 3.2).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Float


def resample(positions: Float[Any, "1 p d"], count: int) -> Float[np.ndarray, "1 q d"]:
    """Positions for `count` patches, float32.

    Raises:
      ValueError: `count`, or the number of positions there are, is no square.
    """
    before, after = math.isqrt(positions.shape[1]), math.isqrt(count)
    if before**2 != positions.shape[1] or after**2 != count:
        raise ValueError(
            f"{positions.shape[1]} positions cannot become {count}: both must be square grids"
        )
    width = positions.shape[-1]
    grid = np.asarray(positions, np.float32).reshape(before, before, width)
    resized = jax.image.resize(grid, (after, after, width), "linear")
    return np.asarray(resized).reshape(1, count, width)
