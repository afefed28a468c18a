# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How `pali caption`, `answer`, `ocr` and `detect` choose the words: options, and what rows gain.

    arguments --read--> Decoding, before a model is loaded --fit--> checked against the model

Rows stay as they are documented unless an option asks for more: "confidence" with --confidence or
--n-best; "others" with --n-best; "shortlisted" with --shortlist or --ensure-language;
"wrong_language" with --ensure-language.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, Once
from pali.commands.rows import Column, Row, printable

if TYPE_CHECKING:
    from pali.generation import Decoding, Text
    from pali.predict import Model

_FIELDS = {
    **{"beam": "beam_size", "temperature": "temperature", "top_k": "top_k", "top_p": "top_p"},
    **{"seed": "seed", "n_best": "n_best", "min_length": "min_length", "max_length": "max_length"},
    **{"min_chars": "min_chars", "max_chars": "max_chars", "prefix": "prefix"},
    "no_repeat_ngram": "no_repeat_ngram",
}
"""Options, as argparse calls them, and the fields of `Decoding` that they give."""

_OF_SAMPLING = ("temperature", "top_k", "top_p", "seed")

WIDEST = 64
"""Hypotheses of a beam; with 64 pictures they fill a batch of 4,096."""

OWN = "own"
"""What --shortlist says for the one in the model's folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What holds for every text that a model writes."""
    group = parser.add_argument_group(
        "how the words are chosen", "greedily, unless --beam or --sample is given"
    )
    _add(group, "--beam", int, "N", "search with a beam of N")
    _add(group, "--length-penalty", float, "A", "of --beam, T5X's: higher for longer (0.6)")
    group.add_argument("--sample", action="store_true", help="draw at random")
    _add(group, "--temperature", float, "T", "of --sample: below 1 sharper, above more varied")
    _add(group, "--top-k", int, "K", "of --sample: only the K likeliest tokens")
    _add(group, "--top-p", float, "P", "of --sample: only the likeliest that together have P")
    _add(group, "--seed", int, "S", "of --sample: the same seed draws the same (0)")
    _add(group, "--n-best", int, "N", "of --beam and --sample: N texts, the others in `others`")
    _add(group, "--min-length", int, "N", "at least N tokens")
    _add(group, "--max-length", int, "N", "at most N tokens, the end counted")
    _add(group, "--min-chars", int, "N", "at least N characters")
    _add(group, "--max-chars", int, "N", "at most N characters")
    _add(group, "--no-repeat-ngram", int, "N", "no N tokens in a row twice")
    _add(group, "--prefix", str, "TEXT", "what every text begins with")
    group.add_argument(
        "--confidence", action="store_true", help="how sure the model was, 0 to 1, in each row"
    )


def add_language_arguments(parser: argparse.ArgumentParser, ensure: bool = True) -> None:
    """What holds where the language of a text is known."""
    _add(
        parser,
        "--shortlist",
        str,
        "FILE",
        "write with the pieces of the language alone, which is faster: a file of `pali data "
        f'shortlist`, or "{OWN}" for the model\'s own',
    )
    if ensure:
        parser.add_argument(
            "--ensure-language",
            action="store_true",
            help="decode what is in another language again; what still is, is marked",
        )


def given(arguments: argparse.Namespace) -> list[str]:
    """The options of decoding that were given, as they are written."""
    names = ("beam", "length_penalty", "sample", *_FIELDS, "shortlist", "ensure_language")
    values = ((name, getattr(arguments, name, None)) for name in dict.fromkeys(names))
    return [_option(name) for name, value in values if value not in (None, False)]


def read(arguments: argparse.Namespace) -> Decoding:
    """How the words are chosen, as far as it can be told without a model.

    Raises:
      CommandError: options do not go together, or a value is none.
    """
    _check_pairs(arguments)
    from pali.decoding import LengthPenalty
    from pali.generation import Decoding

    fields = {field: getattr(arguments, name) for name, field in _FIELDS.items()}
    fields = {field: value for field, value in fields.items() if value is not None}
    if arguments.length_penalty is not None:
        fields["length_penalty"] = LengthPenalty("t5x", arguments.length_penalty)
    method = "beam" if arguments.beam is not None else "sample" if arguments.sample else "greedy"
    ensure = getattr(arguments, "ensure_language", False)
    try:
        return Decoding(method, **fields, ensure_language=ensure)
    except ValueError as error:
        raise CommandError(_in_options(str(error))) from None


def fit(
    arguments: argparse.Namespace,
    chosen: Decoding,
    model: Model,
    max_length: int,
    langs: Sequence[str] | None = None,
) -> Decoding:
    """The same with the shortlists that were asked for, checked against a model.

    Args:
      arguments: those of `add_arguments`.
      chosen: what `read` made of them.
      model: the model.
      max_length: the most tokens unless an option says another number.
      langs: the languages that are asked for, by code.

    Raises:
      CommandError: the model cannot do it.
    """
    from dataclasses import replace

    from pali import generation, shortlist

    path = getattr(arguments, "shortlist", None)
    try:
        if path == OWN and model.shortlists is None:
            raise ValueError(
                f"--shortlist {OWN}: the model's folder has no {shortlist.FILE}; make one with "
                "`pali data shortlist`"
            )
        if path is not None:
            lists = model.shortlists if path == OWN else shortlist.read(path)
            chosen = replace(chosen, shortlist=lists)
        generation.check(model.tokenizer, chosen, max_length, langs)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise CommandError(_in_options(str(error))) from None
    return chosen


def columns(arguments: argparse.Namespace) -> list[Column]:
    """What rows hold besides, after "log_prob"."""
    return [_COLUMNS[name] for name in _given_facts(arguments)]


def values(arguments: argparse.Namespace, key: str, text: Text) -> Row:
    """What a row holds besides; `key` is what it calls the text."""
    return row_facts(_given_facts(arguments), key, text)


def facts(
    *, confidence: bool = False, n_best: bool = False, shortlist: bool = False, ensure: bool = False
) -> tuple[str, ...]:
    """Names of what rows hold besides where this was asked for."""
    found = ["confidence"] * (confidence or n_best) + ["others"] * n_best
    found += ["shortlisted"] * (ensure or shortlist) + ["wrong_language"] * ensure
    return tuple(found)


def row_facts(names: Sequence[str], key: str, text: Text) -> Row:
    """These facts of a text; `key` is what its row calls the text, and each of its others."""
    judged = "wrong_language" in names
    every: Row = {
        "confidence": round(text.confidence, 4),
        "others": [
            {key: str(other), "log_prob": round(other.log_prob, 4)}
            | ({"wrong_language": other.wrong_language} if judged else {})
            for other in text.others
        ],
        "shortlisted": text.shortlisted,
        "wrong_language": text.wrong_language,
    }
    return {name: every[name] for name in names}


def _given_facts(arguments: argparse.Namespace) -> tuple[str, ...]:
    return facts(
        confidence=arguments.confidence,
        n_best=arguments.n_best is not None,
        shortlist=getattr(arguments, "shortlist", None) is not None,
        ensure=getattr(arguments, "ensure_language", False),
    )


def _add(group: Any, option: str, kind: type, metavar: str, help: str) -> None:
    group.add_argument(option, action=Once, type=kind, metavar=metavar, help=help)


def _check_pairs(arguments: argparse.Namespace) -> None:
    """Refuses options that contradict each other, or that would do nothing."""
    beam, sample = arguments.beam is not None, arguments.sample
    if beam and sample:
        raise CommandError("--beam and --sample are two ways to choose the words; give one")
    if not sample:
        for name in _OF_SAMPLING:
            if getattr(arguments, name) is not None:
                instead = "--beam" if beam else "greedy decoding"
                raise CommandError(
                    f"{_option(name)} is of --sample, and would change nothing with {instead}"
                )
    if arguments.length_penalty is not None and not beam:
        instead = "--sample" if sample else "greedy decoding"
        raise CommandError(
            f"--length-penalty is of --beam, and would change nothing with {instead}"
        )
    if not math.isfinite(arguments.length_penalty or 0):
        raise CommandError(f"--length-penalty is {arguments.length_penalty}; give a number")
    if beam and arguments.beam > WIDEST:
        raise CommandError(f"--beam is {arguments.beam}; it must be at most {WIDEST}")
    if arguments.n_best is not None and not (beam or sample):
        raise CommandError("--n-best needs --beam or --sample: greedy decoding finds one text")
    if arguments.n_best is not None and beam and arguments.n_best > arguments.beam:
        raise CommandError(
            f"--n-best is {arguments.n_best} and --beam {arguments.beam}; a beam finds no more "
            "texts than it is wide"
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _in_options(message: str) -> str:
    """An error of `Decoding` in the words of the command line."""
    for name, field in _FIELDS.items():
        told = "" if "_" in field else r"(?= is )"  # "prefix" and "seed" are words, too.
        message = re.sub(rf"\b{field}\b{told}", _option(name), message)
    return message


def _others(others: Sequence[Row]) -> str:
    return " | ".join(printable(next(iter(other.values()))) for other in others)


_COLUMNS = {
    "confidence": Column("confidence", "confidence", lambda share: f"{100 * share:6.2f} %"),
    "others": Column("others", "others", _others),
    "shortlisted": Column("shortlisted"),
    "wrong_language": Column("wrong_language", "wrong language", lambda wrong: "yes" * wrong),
}
"""How tables and CSV show them."""
