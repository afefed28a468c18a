# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali demo`: captions of the example pictures beside what people wrote, and what to type next.

pali/embedded/examples/index.json lists the pictures, drawn by seed before the model was trained:
[{"file": "dog_face.png", "code": "1f436", "art": "noto", "references": {"en": "dog face", …}}, …]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pali.commands import CommandError, load_model, result_console
from pali.commands.rows import printable
from pali.data.demo_corpus import UNSEEN_ART
from pali.languages import LANGUAGES, resolve_many

SUMMARY = "Captions of the example pictures in many scripts, each beside what people wrote."

EXAMPLE = """example:
  pali demo --langs en,sw,hi"""

NEXT = """
What to type next:
  {pali} caption {picture} --langs en,sw,hi
  {pali} caption YOUR_PICTURES --langs all --output captions.jsonl
  {pali} show          what is in the model, and what it was trained on
  {pali} doctor        what is installed, and what else can be
  {pali} --help        everything"""


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
            arguments.langs or one_of_each_script(model.languages), model.languages or None
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    captions = model.caption([folder / example["file"] for example in examples], codes)

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("picture", "language", "caption", "written by people", ""):
        table.add_column(title, overflow="fold")
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
    unseen = sum(example["art"] == UNSEEN_ART for example in examples)
    counts = ((len(examples), "picture"), (len(codes), "language"), (len(scripts), "script"))
    shown = ", ".join(f"{n} {thing}" + "s" * (n != 1) for n, thing in counts)
    console.print(
        f"\n{shown}; {right} of {total} captions are word for word what people wrote (=).\n"
        f"Below a picture's name stands who drew it: {unseen} are by {UNSEEN_ART}, whose art the "
        "model never saw in training."
    )
    picture = _short(folder / examples[0]["file"])
    console.print(NEXT.format(pali=_command(), picture=picture), markup=False, soft_wrap=True)
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


def _command() -> str:
    """How to type the `pali` of this installation: a virtual environment may not be on the path."""
    own = Path(sys.executable).with_name("pali")
    found = shutil.which("pali")
    if own.is_file() and not (found and os.path.samefile(found, own)):
        return _short(own)
    return "pali"


def _short(path: Path) -> str:
    """A path as one would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
