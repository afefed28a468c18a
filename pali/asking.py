# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What may be asked of a model, and what is said when it may not be up to it.

    an empty question, label or class     refused
    no label, no class                    refused
    pictures and prompts of other number  refused, unless one of either goes with all of the other
    a label or class given twice          asked once, with a notice
    words in a script without pieces      asked, spelled in bytes or unknown pieces, with a notice
    a language in such a script           the same, where the model does not say that it knows it
    a prompt longer than any in training  asked whole, with a notice
    a task that training did not have     asked, with a notice

Nothing is ever cut or left out in silence. That a label or class was never seen in training cannot
be known from its name, and is no fault: names are text, and any may be asked. Nor is there a limit
to their number.
"""

from __future__ import annotations

import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pali.languages import LANGUAGES

if TYPE_CHECKING:
    from pali.tokenizer import Tokenizer


_ALSO = {"class_name": "split_caption"}
"""Prompts that another one teaches: "Photo of" is a caption's beginning."""


class Notice(UserWarning):
    """The model is asked all the same; what it answers may be worth less."""


def questions(given: str | Iterable[str]) -> list[str]:
    """One question or several, without spaces at their ends.

    Raises:
      ValueError: a question is empty.
    """
    found = [given.strip()] if isinstance(given, str) else [question.strip() for question in given]
    for number, question in enumerate(found, start=1):
        if not question:
            which = f"question {number} of {len(found)}" if len(found) > 1 else "the question"
            raise ValueError(f"{which} is empty; ask something, as in 'What is this?'")
    return found


def names(given: Iterable[str], what: str) -> list[str]:
    """Labels or classes, each once, in the order given; a Notice names those given twice.

    Args:
      given: the names; spaces at their ends are dropped.
      what: what an error calls them, "labels" or "classes".

    Raises:
      ValueError: there is none, one is empty, or they are one string instead of a list.
    """
    if isinstance(given, str):
        raise ValueError(f"{what} is the text {given!r}; give a list, as in [{given!r}, …]")
    found = [name.strip() for name in given]
    if not found:
        raise ValueError(f"there are no {what}; give at least one")
    if "" in found:
        raise ValueError(f"number {found.index('') + 1} of the {len(found)} {what} is empty")
    if repeated := [name for name, count in Counter(found).items() if count > 1]:
        message = f"{what} given more than once are asked once: {_shown(repeated)}"
        warnings.warn(message, Notice, stacklevel=3)
    return list(dict.fromkeys(found))


def paired(pictures: int, given: str | Sequence[str]) -> tuple[list[int], list[str]]:
    """The picture and the prompt of each row; one of either goes with all of the other.

    Raises:
      ValueError: their numbers differ, and neither is one.
    """
    asked = [given] if isinstance(given, str) else list(given)
    rows = list(range(pictures))
    if len(rows) == 1:
        rows *= len(asked)
    elif len(asked) == 1:
        asked *= len(rows)
    if len(rows) != len(asked):
        raise ValueError(
            f"{len(rows)} pictures and {len(asked)} prompts: give one prompt for each picture, "
            "one picture, or one prompt"
        )
    return rows, asked


def remarks(
    prompt: str,
    asked: Iterable[str],
    words: Sequence[str],
    *,
    tokenizer: Tokenizer,
    trained_on: Sequence[str],
    longest: int,
    untrained: bool,
    langs: Sequence[str] = (),
) -> Iterator[str]:
    """What is to be said about prompts that a model may not be up to.

    Args:
      prompt: the name of the prompt (pali/prompts.py).
      asked: the filled prompts.
      words: what the person wrote: questions, labels, classes.
      tokenizer: the model's.
      trained_on: names of the prompts the model was trained on; empty where that is not known.
      longest: tokens of the longest prompt it was trained on; 0 where that is not known.
      untrained: what joins its ViT to its mT5 is random.
      langs: codes of languages that are asked for without its being known whether it knows them.
    """
    if untrained:
        yield (
            "the model was joined from a ViT and an mT5 and not trained since: its answers mean "
            "nothing; start a training from it (init.models of a config)"
        )
    if trained_on and not {prompt, _ALSO.get(prompt)} & set(trained_on):
        yield (
            f"the model was not trained on {prompt!r} prompts but on {', '.join(trained_on)}; its "
            "answers may be nonsense"
        )
    length = max((len(ids) + 1 for ids in tokenizer.encode_batch(asked)), default=0)
    if longest and length > longest:
        yield (
            f"a prompt has {length} tokens and the model was trained on at most {longest}; it is "
            "asked whole, and understood less well"
        )
    if strange := [code for code in langs if not _spells(tokenizer, code)]:
        yield (
            f"the model's tokenizer has no pieces for the letters of {_shown(strange)}; what it "
            "writes there is spelled in bytes, or not at all"
        )
    if unread := [word for word in words if tokenizer.unknown_share(word) > 0.5]:
        yield (
            f"the model's tokenizer has no pieces for most of {_shown(unread)}; asked all the "
            "same, spelled in bytes or unknown pieces"
        )


def _spells(tokenizer: Tokenizer, code: str) -> bool:
    """Whether a tokenizer has pieces for a language, judged by what it calls itself."""
    return tokenizer.unknown_share(LANGUAGES[code].endonym) <= 0.5


@contextmanager
def notices_to(show: Callable[[str], None]) -> Iterator[None]:
    """While it lasts every different Notice is shown once, by `show`; other warnings as before."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        others, seen = warnings.showwarning, set()

        def show_warning(message: Warning | str, category: type[Warning], *rest: object) -> None:
            if not issubclass(category, Notice):
                others(message, category, *rest)  # type: ignore[arg-type]
            elif str(message) not in seen:
                seen.add(str(message))
                show(str(message))

        warnings.showwarning = show_warning
        yield


def _shown(texts: Sequence[str]) -> str:
    some = ", ".join(repr(textwrap.shorten(text, 40, placeholder=" …")) for text in texts[:3])
    return f"{some} and {len(texts) - 3} more" if len(texts) > 3 else some
