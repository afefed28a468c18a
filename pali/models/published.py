# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How many parameters the models of the presets are said to have, and what that number counts.

Papers count differently. ViT-G's 1,843M are patches, positions and blocks; ViT-e's 3,926M are
reached with the pooling head and the 29,593 classes of its pre-training; ViT-22B's 21,743M are the
matrices of its blocks alone. None of these may be compared with another, or with a model in memory,
before that is set right; `extra` does so.

"recalled" means: known from memory and confirmed by the arithmetic of `extra`, not looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

from pali.models.vit_sizes import VITS


@dataclass(frozen=True)
class Published:
    """One number."""

    number: str
    """As printed: 3,926M or 1.2B."""
    source: str
    counts: str = "all of these"
    """What it counts, compared with the preset."""
    extra: int = 0
    """Parameters that it counts and the preset has not; below zero, what the preset has more."""


def _map_head(width: int, mlp_dim: int) -> int:
    attention = 4 * width * width + 4 * width
    mlp = 2 * width * mlp_dim + mlp_dim + width
    return width + attention + 2 * width + mlp  # Probe and norm beside them.


def _classes(width: int, number: int) -> int:
    return (width + 1) * number


_E = "PaLI, arXiv 2209.06794, recalled"
_22B = "ViT-22B, arXiv 2302.05442, table 1, recalled"
_SCALING = "Scaling ViT, arXiv 2106.04560, table 2, recalled"
_MT5 = "README of multilingual-t5"
_OPEN_CLIP = "OpenCLIP, docs/model_profile.csv"
_SIGLIP2 = "big_vision, README_siglip2.md"
_PALI = "PaLI, arXiv 2209.06794, as others report it"

_E_HEADS = _map_head(1792, 15360) + _classes(1792, 29_593)

_22B_SMALL = (
    (14 * 14 * 3 + 1 + 256) * 6144  # patches and positions
    + 48 * (2 * 6144 + 2 * 128 + 24576)  # norms and biases of the blocks
    + 6144  # the last norm
)


def _siglip2(name: str, number: str) -> Published:
    config = VITS[name]
    without = -_map_head(config.width, config.mlp_dim)
    return Published(number, _SIGLIP2, "all but the pooling head, rounded", without)


def _clip(name: str, number: str, projection: int) -> Published:
    counts = f"a projection to {projection} and the class token's position as well"
    return Published(number, _OPEN_CLIP, counts, (projection + 1) * VITS[name].width)


PUBLISHED = {
    "vit-g/14": Published("1,011M", _SCALING),
    "vit-G/14": Published("1,843M", _SCALING),
    "vit-e/14": Published("3,926M", _E, "a pooling head and 29,593 classes as well", _E_HEADS),
    "vit-22b/14": Published("21,743M", _22B, "the matrices of the blocks alone", -_22B_SMALL),
    "siglip-b/16-224": Published("92.88M", _OPEN_CLIP),
    "siglip-b/16-256": Published("92.93M", _OPEN_CLIP),
    "siglip-b/16-i18n-256": Published("92.93M", _OPEN_CLIP),
    "siglip-b/16-384": Published("93.18M", _OPEN_CLIP),
    "siglip-b/16-512": Published("93.52M", _OPEN_CLIP),
    "siglip-l/16-256": Published("315.96M", _OPEN_CLIP),
    "siglip-l/16-384": Published("316.28M", _OPEN_CLIP),
    "siglip-so400m/14-224": Published("427.68M", _OPEN_CLIP),
    "siglip-so400m/14-384": Published("428.23M", _OPEN_CLIP),
    "siglip2-b/16-224": _siglip2("siglip2-b/16-224", "86M"),
    "siglip2-l/16-256": _siglip2("siglip2-l/16-256", "303M"),
    "siglip2-so400m/14-224": _siglip2("siglip2-so400m/14-224", "400M"),
    "siglip2-g-opt/16-256": _siglip2("siglip2-g-opt/16-256", "1B"),
    "clip-b/32-224": _clip("clip-b/32-224", "87.85M", 512),
    "clip-b/16-224": _clip("clip-b/16-224", "86.19M", 512),
    "clip-l/14-224": _clip("clip-l/14-224", "303.97M", 768),
    "clip-l/14-336": _clip("clip-l/14-336", "304.29M", 768),
    "mt5-small": Published("300M", _MT5),
    "mt5-base": Published("580M", _MT5),
    "mt5-large": Published("1.2B", _MT5),
    "mt5-xl": Published("3.7B", _MT5),
    "mt5-xxl": Published("13B", _MT5),
    "pali-3b": Published("3B", _PALI),
    "pali-5b": Published("5B", _PALI),
    "pali-15b": Published("14.8B", _PALI),
    "pali-17b": Published("16.9B", _PALI, "the pooling head and classes of ViT-e too", _E_HEADS),
}
"""By the name of the preset, where a number is known."""
