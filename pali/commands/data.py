# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali data`: what is done with a data set before training, one module for each sub-command."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

SUMMARY = """Data sets before training: public ones into records; yours checked, and split. Texts
before captioning: the pieces that each language needs."""

EXAMPLE = """examples:
  pali data prepare cc3m --from raw/cc3m
  pali data check birds/train.jsonl --images birds/pictures --html check.html
  pali data shortlist captions.jsonl --model my_model --output my_model/shortlists.npz
  pali data split birds/all.jsonl --by image --to birds/splits

`pali data COMMAND --help` explains one of them."""

COMMANDS = {
    "prepare": "a public data set as it is published -> records that its tasks read",
    "check": "broken pictures, duplicates, wrong languages, lengths, spelling: a report",
    "shortlist": "the pieces of a tokenizer that each language needs, for faster captions",
    "split": "a file into train, validation and test, no picture in two of them",
}
"""Name -> what it does; its module is pali/commands/data_NAME.py, as pali/cli.py wants it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands."""
    commands = parser.add_subparsers(dest="data_command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = _module(name)
        command = commands.add_parser(
            name,
            help=summary,
            description=module.SUMMARY,
            epilog=module.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
    parser.set_defaults(usage=parser.format_help)


def run(arguments: argparse.Namespace) -> int:
    """Runs the sub-command; without one, prints which there are."""
    if arguments.data_command is None:
        print(arguments.usage(), end="")
        return 0
    return _module(arguments.data_command).run(arguments)


def _module(name: str) -> Any:
    return importlib.import_module(f"pali.commands.data_{name}")
