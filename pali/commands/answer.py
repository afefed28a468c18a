# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali answer`: {"picture", "question", "answer", "log_prob"} for each picture and question.

The last word of the command line is the question, or with --questions none is; the files that are
there never change what a word means. But a question that is the name of a file is refused: it was
forgotten.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pali import asking
from pali.commands import CommandError, pictures, read_lines
from pali.commands.rows import Column, Row

if TYPE_CHECKING:
    from pali.predict import Model

SUMMARY = f"""Answers to questions about pictures; questions in any language, answers in English.

{pictures.PICTURES}

QUESTION is the last word, in quotes; there is none with --questions."""

EXAMPLE = """examples:
  pali answer street.jpg 'How many cars are there?'
  pali answer photos/ 'Is there a dog?' --output dogs.csv
  pali answer a.jpg b.jpg --questions questions.txt"""

COLUMNS = (Column("question", "question"), Column("answer", "answer"), Column("log_prob"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali answer`."""
    parser.usage = (
        "pali answer [options] PICTURES... QUESTION\n"
        "       pali answer [options] PICTURES... --questions FILE"
    )
    parser.add_argument(
        "--questions", metavar="FILE", help="ask all of these, one on each line; no QUESTION then"
    )
    pictures.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Asks every question about every picture; 0, or 1 when a picture failed."""
    names, asked = arguments.pictures, []
    try:
        if arguments.questions:
            asked = read_lines(arguments.questions)
        else:
            *names, question = names
            _check(names, question)
            asked = asking.questions([question])
    except ValueError as error:
        raise CommandError(str(error)) from None

    def prepare(model: Model) -> pictures.Verb:
        import numpy as np

        from pali.predict import VisualTokens

        def rows(seen: Sequence[pictures.Seen]) -> Iterator[list[Row]]:
            tokens = model.look([picture.pixels for picture in seen])
            if len(seen) > 1:
                tokens = VisualTokens(np.repeat(tokens.array, len(asked), axis=0))
            texts = iter(model.answer(tokens, asked * len(seen)))
            for _ in seen:
                yield [
                    {"question": question, "answer": str(text), "log_prob": round(text.log_prob, 4)}
                    for question, text in zip(asked, texts, strict=False)
                ]

        return pictures.Verb(rows, together=max(1, 64 // len(asked)))

    arguments.pictures, arguments.questions = names, asked
    items = list(pictures.expand(names))
    return pictures.run(arguments, items, COLUMNS, prepare, failure="asked about")


def _check(names: Sequence[str], question: str) -> None:
    if not names:
        raise CommandError(
            f"{question!r} is the only word, and the last is the question: give pictures before "
            "it, as in: pali answer dog.jpg 'What is this?'"
        )
    if os.path.exists(question):
        raise CommandError(
            f"the last word is the question, and {question!r} is a file; give a question after "
            "it, or --questions FILE"
        )
