# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali classify`: the labels that fit a picture best, by likelihood.

A row is {"picture", "rank", "probability", "label", "log_likelihood"}, rank 1 first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pali import asking
from pali.commands import CommandError, pictures, read_names
from pali.commands.rows import Column, Row
from pali.languages import resolve

if TYPE_CHECKING:
    from pali.predict import Model

SUMMARY = f"""Which of some labels fit pictures best, by how likely the model finds their names.

The score of a label is the sum of the log-likelihoods of its tokens after the prompt `class_name`,
so short and frequent names have an advantage. Probabilities are among the labels given: one of
them is the highest even where none fits.

{pictures.PICTURES}"""

EXAMPLE = """examples:
  pali classify photo.jpg --labels cat,dog,tram
  pali classify photos/ --labels @labels.txt --top 1 --output labels.csv
  pali classify photo.jpg --labels paka,mbwa --lang sw"""

COLUMNS = (
    Column("rank"),
    Column("probability", "probability", lambda share: f"{100 * share:6.2f} %"),
    Column("label", "label"),
    Column("log_likelihood"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali classify`."""
    parser.add_argument(
        "--labels",
        required=True,
        metavar="A,B|@FILE",
        help="any number of names, with commas; or a file with one on each line",
    )
    parser.add_argument(
        "--lang", default="en", help="the labels' language, by code or name (default: %(default)s)"
    )
    parser.add_argument(
        "--top", type=int, default=5, metavar="K", help="the best K (default: %(default)s)"
    )
    pictures.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Classifies every picture; 0, or 1 when one failed."""
    if arguments.top < 1:
        raise CommandError(f"--top is {arguments.top}; it must be at least 1")
    try:
        arguments.labels = labels = asking.names(read_names(arguments.labels), "labels")
        resolve(arguments.lang)
    except ValueError as error:
        raise CommandError(str(error)) from None

    def prepare(model: Model) -> pictures.Verb:
        lang = resolve(arguments.lang, model.languages)

        def rows(seen: Sequence[pictures.Seen]) -> Iterator[list[Row]]:
            for found in model.classify([picture.pixels for picture in seen], labels, lang):
                yield [
                    {
                        "rank": rank,
                        "probability": round(label.probability, 6),
                        "label": label.name,
                        "log_likelihood": round(label.log_likelihood, 4),
                    }
                    for rank, label in enumerate(found[: arguments.top], start=1)
                ]

        return pictures.Verb(rows)

    items = list(pictures.expand(arguments.pictures))
    return pictures.run(arguments, items, COLUMNS, prepare, failure="classified")
