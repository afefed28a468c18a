# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A row for each picture and language: what `pali caption` and `pali ocr` share."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, Once, decoding_flags, pictures
from pali.commands.rows import Column, Row
from pali.languages import GROUPS, LANGUAGES, resolve_many

if TYPE_CHECKING:
    from pali.predict import Model, Text, VisualTokens

AlsoDone = Callable[["Model", Sequence[pictures.Seen], "VisualTokens", Sequence[Any]], None]

LANGUAGE = Column("lang", "language", lambda code: f"{code:<4}{LANGUAGES[code].name}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which languages, and what every command of pictures takes."""
    parser.add_argument(
        "--langs",
        action=Once,
        default="en",
        help="languages by code or name, with commas, or lists of them: all, "
        f"{', '.join(GROUPS)} (default: %(default)s)",
    )
    decoding_flags.add_language_arguments(parser)
    pictures.add_arguments(parser)
    decoding_flags.add_arguments(parser)


def run(
    arguments: argparse.Namespace,
    key: str,
    ask: Callable[[Model], Callable[..., Any]],
    failure: str,
    also: Callable[[Sequence[pictures.Item]], AlsoDone] | None = None,
) -> int:
    """Writes rows {"picture", "lang", `key`, "log_prob"}; 0, or 1 when a picture failed.

    Options of decoding_flags.py add to the rows.

    Args:
      arguments: those of `add_arguments`.
      key: what a row calls the text.
      ask: the method of a model that takes pictures and languages.
      failure: what the failed pictures could not be.
      also: called with all that was asked for, before anything is done; gives what is called with
        every batch of pictures, what the ViT saw of them, and their texts by language.
    """
    try:  # A misspelt language should be known before a model is loaded.
        resolve_many(arguments.langs)
    except ValueError as error:
        raise CommandError(str(error)) from None

    decoding = decoding_flags.read(arguments)
    items = list(pictures.expand(arguments.pictures))
    done = also(items) if also else None

    def prepare(model: Model) -> pictures.Verb:
        from pali.generation import MAX_LENGTH

        codes = resolve_many(arguments.langs, model.languages or None)
        chosen = decoding_flags.fit(arguments, decoding, model, MAX_LENGTH, codes)
        asked = functools.partial(ask(model), decoding=chosen)
        more = functools.partial(decoding_flags.values, arguments, key)
        return verb(model, codes, key, asked, more, done)

    columns = (LANGUAGE, Column(key, key), Column("log_prob"), *decoding_flags.columns(arguments))
    return pictures.run(arguments, items, columns, prepare, failure)


def verb(
    model: Model,
    codes: Sequence[str],
    key: str,
    ask: Callable[..., Any],
    more: Callable[[Text], Row] = lambda text: {},
    done: AlsoDone | None = None,
) -> pictures.Verb:
    """What asks a model about pictures in the languages `codes`.

    Args:
      model: looks at the pictures.
      codes: of languages.
      key: what a row calls the text.
      ask: takes what the model saw, and the languages.
      more: what a row says of a text besides.
      done: called with every batch.
    """

    def rows(seen: Sequence[pictures.Seen]) -> Iterator[list[Row]]:
        tokens = model.look([picture.pixels for picture in seen])
        found = ask(tokens, codes)
        if done:
            done(model, seen, tokens, found)
        for texts in found:
            yield [
                {"lang": code, key: str(text), "log_prob": round(text.log_prob, 4), **more(text)}
                for code, text in texts.items()
            ]

    return pictures.Verb(rows, together(len(codes)))


def together(languages: int) -> int:
    """So many pictures at once fill a batch of prompts."""
    return max(8, 64 // languages)
