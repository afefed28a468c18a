# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali show`: what is in a model folder. Reads and checks everything, runs nothing."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, result_console
from pali.languages import LANGUAGES

if TYPE_CHECKING:
    from pali.config import PaLIConfig

SUMMARY = "Sizes, languages and notes of a model; checks that its weights fit its configuration."

EXAMPLE = """example:
  pali show --model runs/demo_captions/model"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali show`."""
    parser.add_argument(
        "--model", metavar="FOLDER", help="a model folder (default: the embedded one)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what the folder holds."""
    from pali.checkpoints import merge, pretrained
    from pali.checkpoints.hub import locate
    from pali.tokenizer import Tokenizer

    try:
        folder = pretrained.EMBEDDED if arguments.model is None else locate(arguments.model)
        loaded = pretrained.load_model(folder)
        pieces = Tokenizer(loaded.tokenizer_path).vocab_size
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(str(error)) from None
    console = result_console(sys.stdout)
    console.print(str(folder), style="bold", markup=False)
    if loaded.metadata.notes:
        console.print(loaded.metadata.notes, markup=False)
    sizes = parameters(merge.flatten(loaded.params))
    console.print(_parts(loaded.config, sizes))
    stored = (folder / pretrained.WEIGHTS).stat().st_size
    total = sum(sizes.values())
    # Two bytes for each parameter, or four; a header of names beside them.
    kind = "bfloat16" if stored < 3 * total else "float32"
    console.print(
        f"weights     {stored / 1e6:.1f} MB in {kind}, {4 * total / 1e6:.1f} MB in memory"
    )
    console.print(f"tokenizer   {pieces:,} pieces")
    codes = loaded.metadata.languages
    names = ", ".join(f"{code} {LANGUAGES[code].name}" for code in codes) or "the folder names none"
    console.print(f"languages   {len(codes)}: {names}")
    if prompts := loaded.metadata.prompts:
        longest = loaded.metadata.prompt_length
        length = f", of at most {longest} tokens" if longest else ""
        console.print(f"prompts     {', '.join(prompts)}{length}")
    card = folder / pretrained.CARD
    if card.is_file():
        console.print(f"model card  {card}", soft_wrap=True)
    return 0


def parameters(flat: dict[str, Any]) -> dict[str, int]:
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
        + f"; {' x '.join(map(str, vit.image_shape))} pixels, patch {vit.patch_size}: "
        f"{vit.num_visual_tokens} visual tokens",
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
