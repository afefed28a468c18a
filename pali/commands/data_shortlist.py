# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali data shortlist`: the pieces of a tokenizer that each language needs, and what they lose."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, result_console
from pali.commands.rows import check_output

if TYPE_CHECKING:
    from pali.data.shortlist_texts import Texts
    from pali.shortlist import Lost, Shortlists

SUMMARY = """From texts in many languages: which pieces of a model's tokenizer each language needs.
`pali caption --shortlist FILE` then computes those alone. Held-out texts tell what is lost: how
many of their tokens are not in the shortlist, and how many texts have such a token, so that they
could only be written in other pieces."""

EXAMPLE = """examples:
  pali data shortlist captions.jsonl --model my_model --output my_model/shortlists.npz
  pali data shortlist train.jsonl --held-out validation.jsonl --by script --output scripts.npz
  pali data shortlist --demo --output demo.npz

A row is {"lang": "sw", "caption": "mbwa"}, or "text" instead. Without --held-out every tenth text
is held out, by a hash of it; the demo corpus holds out what its training never sees."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali data shortlist`."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="JSONL files of texts")
    parser.add_argument(
        "--demo", action="store_true", help="the demo corpus of this checkout instead of files"
    )
    parser.add_argument("--held-out", metavar="FILE", help="JSONL of texts to measure with")
    parser.add_argument(
        "--by",
        choices=("language", "script"),
        default="language",
        help="one list for each language, or for all of the same scripts (default: %(default)s)",
    )
    parser.add_argument(
        "--model", metavar="FOLDER", help="whose tokenizer it is (default: the embedded model)"
    )
    parser.add_argument("--output", required=True, metavar="FILE.npz", help="write there")
    parser.add_argument("--overwrite", action="store_true", help="replace --output if it exists")


def run(arguments: argparse.Namespace) -> int:
    """Derives, measures and writes; 0."""
    if bool(arguments.files) == arguments.demo:
        raise CommandError("give files of texts, or --demo, and not both")
    if arguments.demo and arguments.held_out:
        raise CommandError("--demo has held-out texts of its own; --held-out is for files")
    sources = [*arguments.files, *([arguments.held_out] if arguments.held_out else [])]
    check_output(arguments.output, arguments.overwrite, sources)
    from pali import shortlist

    try:
        tokenizer = _tokenizer(arguments.model)
        kept, held_out = _texts(arguments)
        found = shortlist.derive(tokenizer, kept)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(str(error)) from None
    losses = {
        name: shortlist.lost(tokenizer, found.masks[name], texts)
        for name, texts in held_out.items()
        if name in found.masks and texts
    }
    about = {name: loss._asdict() for name, loss in losses.items()}
    found = shortlist.Shortlists(found.masks, found.tokenizer, {"held_out": about})
    try:
        found.write(arguments.output)
    except OSError as error:
        raise CommandError(f"{arguments.output} cannot be written: {error.strerror}") from None
    _print(found, losses)
    without = [name for name in held_out if name not in found.masks]
    if without:
        print(
            f"pali data shortlist: held-out texts of {', '.join(without)} have no list to be "
            "measured with",
            file=sys.stderr,
        )
    return 0


def _tokenizer(path: str | None) -> Any:
    """The tokenizer of a model, without its weights."""
    from pathlib import Path

    from pali.checkpoints import pretrained
    from pali.checkpoints.hub import locate
    from pali.tokenizer import Tokenizer

    folder = Path(pretrained.EMBEDDED if path is None else locate(path))
    return Tokenizer(folder / pretrained.TOKENIZER)


def _texts(arguments: argparse.Namespace) -> tuple[Texts, Texts]:
    """Those to derive from, and those to measure with."""
    from pali.data.shortlist_texts import by_script, demo_texts, parted, read_texts

    if arguments.demo:
        kept, held_out = demo_texts()
    else:
        kept = {}
        for path in arguments.files:
            for lang, texts in read_texts(path).items():
                kept.setdefault(lang, []).extend(texts)
        if arguments.held_out:
            held_out = read_texts(arguments.held_out)
        else:
            kept, held_out = parted(kept)
    if arguments.by == "script":
        return by_script(kept), by_script(held_out)
    return kept, held_out


def _print(found: Shortlists, losses: dict[str, Lost]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("", "pieces", "held-out texts", "texts outside", "tokens outside"):
        table.add_column(title, justify="right" if title else "left")
    for name, mask in found.masks.items():
        table.add_row(name, f"{mask.sum():,}", *_cells(losses.get(name)))
    result_console(sys.stdout).print(table)


def _cells(loss: Lost | None) -> tuple[str, str, str]:
    if loss is None:
        return "0", "", ""
    return (
        f"{loss.texts:,}",
        f"{100 * loss.texts_outside / loss.texts:.2f} %",
        f"{100 * loss.tokens_outside / max(loss.tokens, 1):.2f} %",
    )
