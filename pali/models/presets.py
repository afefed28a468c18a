# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Models by name: the demo's two, and any ViT of vit_sizes.py before any mT5 of mt5_sizes.py.

>>> pali("siglip-so400m/14-224+mt5-base").vit.num_visual_tokens
256
>>> pali("PaLI-17B").mt5.width
4096

`pali-3b` to `pali-17b` are those of the paper (arXiv 2209.06794), whose weights were never
published, and `pali-vit-22b` is one with the ViT of arXiv 2302.05442; STARTABLE are combinations
of which both halves are public.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.models.mt5_sizes import LANGUAGE_MODELS
from pali.models.vit_sizes import VITS

DEMO_CAPTIONS = PaLIConfig(
    vit=ViTConfig(
        width=192,
        depth=4,
        mlp_dim=768,
        num_heads=6,
        patch_size=12,
        image_size=72,
        pool="map",
        num_classes=343,
        dtype="bfloat16",
        scan=False,
    ),
    mt5=MT5Config(
        vocab_size=8192,
        width=192,
        mlp_dim=512,
        num_heads=3,
        head_dim=64,
        encoder_layers=1,
        decoder_layers=3,
        dtype="bfloat16",
        scan=False,
    ),
)
"""What only names things, in half the time: configs/demo_captions_vit.py, demo_captions.py."""

DEMO = PaLIConfig(
    vit=replace(DEMO_CAPTIONS.vit, depth=6),
    mt5=replace(DEMO_CAPTIONS.mt5, encoder_layers=2),
)
"""The embedded model, for every task of the demo corpus: configs/demo_vit.py and what follows."""

PALIS = {
    "pali-3b": "vit-G/14+mt5-large",
    "pali-5b": "vit-e/14+mt5-large",
    "pali-15b": "vit-G/14+mt5-xxl",
    "pali-17b": "vit-e/14+mt5-xxl",
    "pali-vit-22b": "vit-22b/14+mt5-xxl",
}
"""The models of the paper and what they are made of; 5B is one of its ablations. The last is none
of them, nor PaLI-X, whose language half is another: it is what PaLI-17B becomes with ViT-22B."""

STARTABLE = (
    *(f"siglip-so400m/14-224+{family}" for family in ("mt5-base", "mt5-large", "mt5-xl")),
    *(f"siglip-so400m/14-224+{family}" for family in ("umt5-base", "umt5-xl")),
    *(f"siglip-b/16-224+{family}" for family in ("mt5-small", "mt5-base")),
    *(f"siglip-b/16-224+{family}" for family in ("umt5-small", "umt5-base")),
)


def pali(name: str) -> PaLIConfig:
    """A PaLI by its name, or by those of its halves with a plus between.

    Args:
      name: `pali-17b` or `vit-e/14+mt5-xxl`; small and capital letters are the same, except where
        two names differ in nothing else (`vit-g/14` has 1.0 billion parameters, `vit-G/14` 1.8).

    Raises:
      ValueError: there is no such model; names the nearest.
    """
    config = find(name)[1]
    if not isinstance(config, PaLIConfig):
        whole = f"{name}+mt5-base" if isinstance(config, ViTConfig) else f"siglip-b/16-224+{name}"
        raise ValueError(f"{name} is half a PaLI; name both halves, as in {whole}")
    return config


def find(name: str) -> tuple[str, PaLIConfig | ViTConfig | MT5Config]:
    """A preset under its name as it is spelled here: a PaLI, a ViT or a language model.

    Raises:
      ValueError: there is no such model; names the nearest.
    """
    if "+" in name:
        first, second = name.split("+", 1)
        first, second = _spelled(first, VITS), _spelled(second, LANGUAGE_MODELS)
        return f"{first}+{second}", PaLIConfig(VITS[first], LANGUAGE_MODELS[second])
    spelled = _spelled(name, [*PALIS, *VITS, *LANGUAGE_MODELS])
    if spelled in PALIS:
        return spelled, find(PALIS[spelled])[1]
    return spelled, VITS.get(spelled) or LANGUAGE_MODELS[spelled]


def looks_like_one(name: str) -> bool:
    """Whether a name that is no preset is spelled as one: "siglip-so400m/14", "vit-22/14"."""
    heads = {other.split("/")[0] for other in [*PALIS, *VITS, *LANGUAGE_MODELS]}
    head = name.split("/")[0].casefold()
    return "+" in name or bool(difflib.get_close_matches(head, heads, n=1, cutoff=0.8))


def halves(name: str) -> list[str]:
    """The names of ViT and language model that a PaLI is made of; of half a PaLI its own."""
    spelled = find(name)[0]
    return PALIS.get(spelled, spelled).split("+")


def _spelled(name: str, known: Iterable[str]) -> str:
    wanted = name.strip()
    folded = {other: other.casefold() for other in known}
    same = [other for other in folded if folded[other] == wanted.casefold()]
    if same:  # Of vit-g/14 and vit-G/14 the one that is spelled more like it.
        return max(same, key=lambda other: sum(a == b for a, b in zip(other, wanted, strict=True)))
    begun = [other for other in folded if folded[other].startswith(wanted.casefold())]
    near = difflib.get_close_matches(wanted.casefold(), dict.fromkeys(folded.values()), cutoff=0.5)
    found = begun or [other for letters in near for other in folded if folded[other] == letters]
    hint = f"did you mean {' or '.join(found[:4])}?" if found else f"there are {', '.join(folded)}"
    raise ValueError(f"there is no model {name!r}; {hint}")
