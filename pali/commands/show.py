# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali show`: what is in a model folder, or what a preset would be. Runs nothing.

Of a folder names, types and shapes of the weights are read, and no number of them; of a preset
nothing is allocated.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, plan, result_console
from pali.languages import LANGUAGES

if TYPE_CHECKING:
    from pali.config import PaLIConfig, ViTConfig

SUMMARY = """Sizes, languages and notes of a model; checks that its weights fit its configuration.
Of a preset its sizes, published ones beside them, how much memory it needs, and what a mesh of
devices divides."""

EXAMPLE = """examples:
  pali show --model runs/demo_captions/model
  pali show --model siglip-so400m/14-224+mt5-base --batch 32 --memory 24
  pali show --model pali-17b --batch 4096 --mesh fsdp=64,model=4 --memory 32

Presets are the PaLIs of the paper (pali-3b, pali-5b, pali-15b, pali-17b) and pali-vit-22b, ViTs
(vit-…, siglip-…, siglip2-…, clip-…, augreg-…, hf-vit-…), language models (mt5-…, umt5-…), and any
ViT with any language model, a plus between. A name that is none gets the nearest ones for an
answer."""

PIXELS = (224, 448, 588, 756)
"""Sides of a picture for which visual tokens are counted: those of PaLI and its successors."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali show`."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model folder, or the name of a preset (default: the embedded model)",
    )
    plan.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints what the folder or the repository holds, or the preset would."""
    from pali.checkpoints import pretrained
    from pali.checkpoints.hub import locate
    from pali.models import presets
    from pali.tokenizer import Tokenizer

    folder, unknown = pretrained.EMBEDDED, ""
    if arguments.model is not None and not os.path.lexists(arguments.model):
        try:
            return _show_preset(arguments, *presets.find(arguments.model))
        except ValueError as error:
            unknown = f"there is no folder {arguments.model!r}, and {error}"
            if presets.looks_like_one(arguments.model):
                raise CommandError(unknown) from None  # Else it may still be a repository.
    try:
        folder = folder if arguments.model is None else locate(arguments.model)
        if unknown and not folder.exists():
            raise FileNotFoundError(unknown)
        tensors, config, metadata = pretrained.look(folder)
        pieces = Tokenizer(folder / pretrained.TOKENIZER).vocab_size
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(str(error)) from None
    console = result_console(sys.stdout)
    console.print(str(folder), style="bold", markup=False)
    if metadata.notes:
        console.print(metadata.notes, markup=False)
    sizes = parameters(tensors)
    console.print(_parts(config, sizes))
    console.print()
    stored = sum(tensor.nbytes for tensor in tensors.values())
    kinds = " and ".join(sorted({str(tensor.dtype) for tensor in tensors.values()}))
    in_memory = 4 * sum(sizes.values())
    console.print(
        f"weights     {stored / 1e6:.1f} MB in {kinds}, {in_memory / 1e6:.1f} MB in memory"
    )
    console.print(f"tokenizer   {pieces:,} pieces")
    vit = config.vit
    kept = {"squash": "squashed to", "crop": "cut to"}[vit.pixels.fit]
    token = (
        ""
        if not vit.class_token
        else ", the class token " + ("first" if vit.class_token_visual else "left out")
    )
    height, width = vit.image_shape
    console.print(
        f"pictures    {kept} {height} x {width} pixels ({vit.pixels.resample}), "
        f"{vit.num_visual_tokens:,} visual tokens{token}"
    )
    for source in metadata.sources:
        licence = f" ({source.licence})" if source.licence else ""
        console.print(f"made of     {source.origin}{licence}", markup=False, soft_wrap=True)
    codes = metadata.languages
    names = ", ".join(f"{code} {LANGUAGES[code].name}" for code in codes) or "the folder names none"
    console.print(f"languages   {len(codes)}: {names}")
    if prompts := metadata.prompts:
        longest = metadata.prompt_length
        length = f", of at most {longest} tokens" if longest else ""
        console.print(f"prompts     {', '.join(prompts)}{length}", markup=False)
    card = folder / pretrained.CARD
    if card.is_file():
        console.print(f"model card  {card}", markup=False, soft_wrap=True)
    if plan.asked_for(arguments):
        console.print()
        plan.show(console, config, arguments)
    return 0


def _show_preset(arguments: argparse.Namespace, name: str, config: Any) -> int:
    from pali.checkpoints import pretrained
    from pali.config import MT5Config, ViTConfig
    from pali.models import presets

    missing: set[str] = set()
    whole = presets.pali("siglip-b/16-224+mt5-small")  # Stands in for the half that is not there.
    if isinstance(config, ViTConfig):
        whole = dataclasses.replace(whole, vit=config)
        missing = {"projection", "embedding", "encoder", "decoder", "output head"}
    elif isinstance(config, MT5Config):
        whole = dataclasses.replace(whole, mt5=config)
        missing = {"projection", "vit"}
    else:
        whole = config
    if missing and plan.asked_for(arguments):
        raise CommandError(f"{name} is half a PaLI, and a memory plan is for a whole one")

    sizes = parameters(pretrained.expected_arrays(whole))
    sizes = {part: count for part, count in sizes.items() if part not in missing}

    console = result_console(sys.stdout)
    halves = presets.halves(name)
    made_of = "" if name == "+".join(halves) else f" = {' + '.join(halves)}"
    console.print(f"{name}{made_of}", style="bold", markup=False)
    console.print(_parts(whole, sizes))
    counts = {name: sum(sizes.values())}
    if not missing:
        counts |= {halves[0]: sizes["vit"]}
        counts |= {halves[1]: sum(sizes.values()) - sizes["vit"] - sizes["projection"]}
    console.print()
    table = _published(counts)
    console.print(table or "published      no number of parameters is known here")
    if "vit" not in missing:
        console.print()
        console.print(f"visual tokens  {_visual_tokens(whole.vit)}")
    if not missing:
        console.print()
        plan.show(console, whole, arguments)
    return 0


def _published(counts: dict[str, int]) -> Any:
    """Beside each published number what our count becomes when it counts the same."""
    from rich.table import Table

    from pali.models.published import PUBLISHED

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("published", "number", "counted so", "counting"):
        table.add_column(title, justify="right" if title in ("number", "counted so") else "left")
    for name, count in counts.items():
        if found := PUBLISHED.get(name):
            what = f"{found.counts} ({found.source})"
            table.add_row(name, found.number, f"{count + found.extra:,}", what)
    return table if table.row_count else None


def _visual_tokens(vit: ViTConfig) -> str:
    sides = [side for side in PIXELS if side % vit.patch_size == 0]
    no = [str(side) for side in PIXELS if side % vit.patch_size and side != vit.image_size]
    if isinstance(vit.image_size, int):
        sides = sorted({*sides, vit.image_size})
    found = []
    for side in sides:
        at = vit if side == vit.image_size else dataclasses.replace(vit, image_size=side)
        found.append(f"{at.num_visual_tokens:,} at {side}")
    rest = f"; {' and '.join(no)} are no multiples of patch {vit.patch_size}" if no else ""
    return f"{', '.join(found)} pixels{rest}"


def parameters(flat: Mapping[str, Any]) -> dict[str, int]:
    """Number of parameters of each part, from `a/b/c` names."""
    counts: Counter[str] = Counter()
    for name, array in flat.items():
        folders = name.split("/")
        if folders[0] != "mt5":
            part = folders[0]
        elif "logits_dense" in folders:
            part = "output head"
        else:
            part = {"token_embedder": "embedding"}.get(folders[1], folders[1])
        counts[part] += math.prod(array.shape)
    return dict(counts)


def _parts(config: PaLIConfig, sizes: dict[str, int]) -> Any:
    from rich.table import Table

    vit, mt5 = config.vit, config.mt5
    blocks = "layers {}, width {}, MLP {}, heads {}"
    shape = (mt5.width, mt5.mlp_dim, mt5.num_heads)
    facts = {
        "vit": blocks.format(vit.depth, vit.width, vit.mlp_dim, vit.num_heads)
        + f"\n{' x '.join(map(str, vit.image_shape))} pixels, patch {vit.patch_size}: "
        f"{vit.num_visual_tokens:,} visual tokens",
        "projection": f"{vit.width} to {mt5.width}",
        "embedding": f"{mt5.vocab_size:,} rows of {mt5.width}",
        "encoder": blocks.format(mt5.encoder_layers, *shape) + f" of {mt5.head_dim}",
        "decoder": blocks.format(mt5.decoder_layers, *shape) + f" of {mt5.head_dim}",
        "output head": f"{mt5.vocab_size:,} logits",
    }
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part")
    table.add_column("parameters", justify="right")
    table.add_column("shape")
    for part, count in sorted(sizes.items(), key=lambda item: [*facts, item[0]].index(item[0])):
        table.add_row(part, f"{count:,}", facts.get(part, ""))
    table.add_row("total", f"{sum(sizes.values()):,}", "", style="bold")
    return table
