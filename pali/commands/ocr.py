# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali ocr`: {"picture", "lang", "text", "log_prob"} for each picture and language."""

from __future__ import annotations

import argparse

from pali.commands import by_language
from pali.commands.pictures import PICTURES

SUMMARY = f"""The text in pictures, as far as it is in the languages asked for.

{PICTURES}"""

EXAMPLE = """examples:
  pali ocr shop_sign.jpg --langs th,en
  pali ocr scans/ --langs Amharic --output text.csv"""

add_arguments = by_language.add_arguments


def run(arguments: argparse.Namespace) -> int:
    """Reads everything that can be read; 0, or 1 when a picture failed."""
    return by_language.run(arguments, "text", lambda model: model.ocr, "read")
