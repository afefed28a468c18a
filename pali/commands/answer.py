# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali answer`: {"picture", "question", "answer", "log_prob"} for each picture and question.

With --choices the answer is the likeliest of these, and "probability" its share among them.

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
from pali.commands import CommandError, decoding_flags, pictures, read_lines, read_names
from pali.commands.rows import Column, Row

if TYPE_CHECKING:
    from pali.generation import Text
    from pali.predict import Model

SUMMARY = f"""Answers to questions about pictures; questions in any language, answers in English.

{pictures.PICTURES}

QUESTION is the last word, in quotes; there is none with --questions."""

EXAMPLE = """examples:
  pali answer street.jpg 'How many cars are there?'
  pali answer photos/ 'Is there a dog?' --output dogs.csv
  pali answer a.jpg b.jpg --questions questions.txt
  pali answer photos/ 'Is there a dog?' --choices yes,no"""

COLUMNS = (Column("question", "question"), Column("answer", "answer"), Column("log_prob"))
SHARE = Column("probability", "probability", lambda share: f"{100 * share:6.2f} %")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali answer`."""
    parser.usage = (
        "pali answer [options] PICTURES... QUESTION\n"
        "       pali answer [options] PICTURES... --questions FILE"
    )
    parser.add_argument(
        "--questions", metavar="FILE", help="ask all of these, one on each line; no QUESTION then"
    )
    parser.add_argument(
        "--choices",
        metavar="A,B|@FILE",
        help="answer with one of these, by how likely each is; or a file with one on each line",
    )
    decoding_flags.add_language_arguments(parser, ensure=False)
    pictures.add_arguments(parser)
    decoding_flags.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Asks every question about every picture; 0, or 1 when a picture failed."""
    names, asked, choices = arguments.pictures, [], None
    decoding = decoding_flags.read(arguments)
    try:
        if arguments.choices is not None:
            _check_choices(arguments)
            choices = asking.names(read_names(arguments.choices), "choices")
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

        from pali.generation import MAX_LENGTH
        from pali.predict import VisualTokens

        chosen = decoding_flags.fit(arguments, decoding, model, MAX_LENGTH, ["en"])

        def rows(seen: Sequence[pictures.Seen]) -> Iterator[list[Row]]:
            tokens = model.look([picture.pixels for picture in seen])
            if len(seen) > 1:
                tokens = VisualTokens(np.repeat(tokens.array, len(asked), axis=0))
            texts = iter(model.answer(tokens, asked * len(seen), choices, decoding=chosen))
            for _ in seen:
                pairs = zip(asked, texts, strict=False)
                yield [_row(arguments, question, text) for question, text in pairs]

        return pictures.Verb(rows, together=max(1, 64 // len(asked)))

    arguments.pictures, arguments.questions = names, asked
    items = list(pictures.expand(names))
    columns = (*COLUMNS, *([SHARE] if choices else []), *decoding_flags.columns(arguments))
    return pictures.run(arguments, items, columns, prepare, failure="asked about")


def _row(arguments: argparse.Namespace, question: str, text: Text) -> Row:
    from pali.choosing import probability

    row = {"question": question, "answer": str(text), "log_prob": round(text.log_prob, 4)}
    if arguments.choices is not None:
        row["probability"] = round(probability(text), 6)
    return {**row, **decoding_flags.values(arguments, "answer", text)}


def _check_choices(arguments: argparse.Namespace) -> None:
    if options := decoding_flags.given(arguments):
        raise CommandError(
            f"--choices are scored and not decoded, so {' and '.join(options)} would change "
            "nothing; give one or the other"
        )


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
