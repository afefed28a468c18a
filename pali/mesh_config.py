# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How many devices there are along each axis of a mesh: what a config and a command line say.

What lies where on them is in pali/sharding.py. Nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MeshConfig:
    """How many devices there are along each axis of the mesh; see pali/sharding.py."""

    data: int = -1
    """Divides the batch. -1: as many as the other two leave of the devices there are."""
    fsdp: int = 1
    """Divides the batch, and every matrix along the width of the model."""
    model: int = 1
    """Divides heads, MLPs and the vocabulary, and with them the matrices."""

    def __post_init__(self):
        for name, size in vars(self).items():
            rest = name == "data" and size == -1
            if not 1 <= size < 2**31 and not rest:
                also = ", or -1 for the rest of the devices" if name == "data" else ""
                raise ValueError(
                    f"axis {name} is {size}; it must be at least 1, and below 2^31{also}"
                )

    def over(self, devices: int) -> MeshConfig:
        """The same mesh with the size of `data` worked out.

        Raises:
          ValueError: the axes do not multiply to `devices`; it says what would.
        """
        others = self.fsdp * self.model
        said = f"fsdp {self.fsdp} x model {self.model}"
        if devices % others:
            raise ValueError(
                f"a mesh of {said} cannot be laid over {devices:,} devices: {others:,} does not "
                f"divide them; with model {self.model}, fsdp may be "
                f"{_either(divisors_near(self.fsdp, devices // self.model))}"
                if devices % self.model == 0
                else f"a mesh of {said} cannot be laid over {devices:,} devices: model may be "
                f"{_either(divisors_near(self.model, devices))}"
            )
        rest = devices // others
        if self.data not in (-1, rest):
            raise ValueError(
                f"a mesh of data {self.data} x {said} has {self.data * others:,} devices, and "
                f"there are {devices:,}: set data to {rest}, or to -1 for whatever is left"
            )
        return dataclasses.replace(self, data=rest)

    @property
    def shares(self) -> int:
        """Parts in which the batch is divided."""
        return self.data * self.fsdp

    @property
    def devices(self) -> int:
        """All of them."""
        return self.data * self.fsdp * self.model


def divisors_near(size: int, number: int) -> list[int]:
    """The divisors of `number` that come next to `size` from below and from above."""
    found = sorted(
        {
            d
            for low in range(1, math.isqrt(number) + 1)
            if number % low == 0
            for d in (low, number // low)
        }
    )
    below, above = [d for d in found if d <= size], [d for d in found if d > size]
    return below[-1:] + above[:1]


def _either(sizes: list[int]) -> str:
    return " or ".join(f"{size:,}" for size in sizes)
