# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali caption`: {"picture", "lang", "caption", "log_prob"} for each picture and language."""

from __future__ import annotations

import argparse

from pali.commands import by_language
from pali.commands.pictures import PICTURES

SUMMARY = f"""Captions for pictures, in one or many languages.

{PICTURES}"""

EXAMPLE = """examples:
  pali caption dog.jpg --langs en,fr,hi,sw,th,zh,ar
  pali caption 'photos/**/*.jpg' --langs xm3600 --output captions.jsonl
  curl -s https://example.org/dog.jpg | pali caption - --langs Swahili"""

add_arguments = by_language.add_arguments


def run(arguments: argparse.Namespace) -> int:
    """Captions everything that can be captioned; 0, or 1 when a picture failed."""
    return by_language.run(arguments, "caption", lambda model: model.caption, "captioned")
