# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali demo`: captions of the example pictures beside what people wrote, and what to type next.

pali/embedded/examples/index.json lists the pictures, drawn by seed before the model was trained:
[{"file": "dog_face.png", "code": "1f436", "art": "noto", "references": {"en": "dog face", …}}, …]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pali.commands import CommandError, load_model, result_console
from pali.commands.rows import printable
from pali.languages import LANGUAGES, resolve_many

SUMMARY = "Captions of the example pictures in many scripts, each beside what people wrote."

EXAMPLE = """example:
  pali demo --langs en,sw,hi"""

NEXT = """
What to type next:
  pali caption {picture} --langs en,sw,hi
  pali caption YOUR_PICTURES --langs all --output captions.jsonl
  pali show          what is in the model, and what it was trained on
  pali doctor        what is installed, and what else can be
  pali --help        everything"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali demo`."""
    parser.add_argument("--langs", help="languages (default: one of each script the model writes)")
    parser.add_argument(
        "--model", metavar="FOLDER", help="a model folder (default: the embedded one)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Captions the examples and prints them."""
    from rich.table import Table
    from rich.text import Text

    from pali.checkpoints.pretrained import EMBEDDED

    folder = EMBEDDED / "examples"
    try:
        examples = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except OSError:
        raise CommandError(
            f"the example pictures are missing in {folder}: reinstall pali"
        ) from None
    model = load_model(arguments.model)
    try:
        codes = resolve_many(
            arguments.langs or one_of_each_script(model.languages), model.languages
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    captions = model.caption([folder / example["file"] for example in examples], codes)

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("picture", "language", "caption", "written by people", ""):
        table.add_column(title)
    right = total = 0
    for example, texts in zip(examples, captions, strict=True):
        first_column = iter([f"{_characters(example['code'])}  {example['file']}", example["art"]])
        for code in codes:
            reference = example["references"].get(code, "")
            same = bool(reference) and same_text(texts[code], reference)
            right, total = right + same, total + bool(reference)
            language = f"{code:<4}{LANGUAGES[code].name}"
            mark = Text("=", "green") if same else Text("")
            picture = next(first_column, "")
            table.add_row(picture, language, Text(printable(texts[code])), Text(reference), mark)
        table.add_row()
    console = result_console(sys.stdout)
    console.print(table)
    scripts = {script for code in codes for script in LANGUAGES[code].scripts[:1]}
    console.print(
        f"\n{len(examples)} pictures, {len(codes)} languages, {len(scripts)} scripts; {right} of "
        f"{total} captions are word for word what people wrote (=)."
    )
    console.print(
        NEXT.format(picture=_short(folder / examples[0]["file"])), markup=False, soft_wrap=True
    )
    return 0


def one_of_each_script(languages: Iterable[str]) -> list[str]:
    """For each script the first language written in it, best known first, and Swahili."""
    widely_read = ["en", "ru", "ar", "hi", "zh", "ja", "ko", "th", "el", "he", "bn", "ta", "te"]
    known = list(languages)
    chosen: dict[Any, str] = {}
    for code in [code for code in widely_read if code in known] + known:
        chosen.setdefault(LANGUAGES[code].scripts, code)
    codes = list(chosen.values())
    return codes if "sw" not in known or "sw" in codes else [codes[0], "sw", *codes[1:]]


def same_text(caption: str, reference: str) -> bool:
    """Whether two captions are the same but for case and space at the ends."""
    return caption.strip().casefold() == reference.strip().casefold()


def _characters(code: str) -> str:
    return "".join(chr(int(point, 16)) for point in code.split("-"))


def _short(path: Path) -> str:
    """A path as one would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
