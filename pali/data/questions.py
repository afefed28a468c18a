# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about scenes: cross-lingual VQA, and the same turned around.

What is asked of a scene (`Query`) is a pure function of (scene, kind, number) and has no language;
`phrase` puts it in one of the 36 (pali/data/question_phrases.py). Answers are English, as in PaLI:

  count      "0" … "4"; of scenes with repeats. Zero a fifth of the time, of an absent concept; else
             the concept that is there most often, so that all five are alike
  presence   "yes", "no"; half of each
  colour     a name of COLOURS (pali/data/scenes.py); of scenes with a plain background
  direction  "left", "right", "above", "below": the first thing, seen from the second, both there
             once, where it is clear; of scenes without repeats
  corner     "top left", "top right", "bottom left", "bottom right", of one thing, where it is
             clear; of scenes without repeats

A name that is held out in a language is never asked for in it: see `languages_of`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pali.data.demo_corpus import load_corpus
from pali.data.drawing import seeded
from pali.data.question_phrases import KINDS, PHRASES
from pali.data.scenes import Scene, absent, corner, direction, has_repeats, is_plain

ABSENT_SHARE = {"count": 1 / 5, "presence": 1 / 2}
"""How often a question is about something that is not there."""


class Query(NamedTuple):
    """A question without a language, and its answer in English."""

    kind: str
    codes: tuple[str, ...]
    """Concepts that it names."""
    answer: str


def suits(kind: str, number: int) -> bool:
    """Whether scenes of this number can be asked this kind of question.

    Raises:
      ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of question {kind!r}; known: {', '.join(KINDS)}")
    if kind == "colour":
        return is_plain(number)
    return kind == "presence" or has_repeats(number) == (kind == "count")


def ask(scene: Scene, kind: str, number: int) -> Query:
    """Question `number` of this kind about a scene.

    Raises:
      ValueError: the scene cannot be asked this (see `suits`).
    """
    if not suits(kind, scene.number):
        raise ValueError(f"{scene.key} cannot be asked for {kind}: see pali.data.questions.suits")
    generator = seeded(f"{scene.key}/{kind}/{number}")
    if generator.random() < ABSENT_SHARE.get(kind, 0):
        (code,) = absent(generator, list(scene.counts))
        return Query(kind, (code,), "0" if kind == "count" else "no")
    queries = visible(scene, kind)
    if kind == "count":
        most = str(max(scene.counts.values()))
        queries = [query for query in queries if query.answer == most]
    return queries[int(generator.integers(len(queries)))]


def visible(scene: Scene, kind: str) -> list[Query]:
    """Every question of a kind that is about what the scene shows; those about absent things not.

    A question about where something is names things that are there once, and only where the answer
    is clear.
    """
    counts = scene.counts
    if kind == "count":
        return [Query(kind, (code,), str(count)) for code, count in counts.items()]
    if kind == "presence":
        return [Query(kind, (code,), "yes") for code in counts]
    if kind == "colour":
        return [Query(kind, (), scene.colour)] if scene.colour else []
    once = [thing for thing in scene.objects if counts[thing.code] == 1]
    if kind == "corner":
        placed = [(thing.code, corner(thing.extent)) for thing in once]
        return [Query(kind, (code,), answer) for code, answer in placed if answer]
    found = []
    for first in once:
        for second in once:
            if answer := direction(first.extent, second.extent):
                found.append(Query(kind, (first.code, second.code), answer))
    return found


def languages_of(query: Query, languages: Iterable[str]) -> list[str]:
    """Those of the languages in which every name of the question may be trained on."""
    corpus = load_corpus()
    return [
        language
        for language in languages
        if all(
            code in corpus.names(language) and code not in corpus.held_out(language)
            for code in query.codes
        )
    ]


def phrase(query: Query, language: str) -> str:
    """The question in a language, with the CLDR names of what it is about.

    Raises:
      ValueError: there are no phrases in that language.
    """
    if language not in PHRASES:
        raise ValueError(f"no questions in {language!r}; there are in {', '.join(PHRASES)}")
    names = load_corpus().names(language)
    fields = {letter: names[code] for letter, code in zip("ab", query.codes, strict=False)}
    return PHRASES[language][query.kind].format_map(fields)


def turned_around(scene: Scene, number: int, language: str) -> tuple[str, list[str]] | None:
    """An answer, and every question about what the scene shows that has it, one drawn first.

    Of things that are not there any number of questions could be asked; they are left out. None
    if all its questions name something that is held out in the language.
    """
    generator = seeded(f"{scene.key}/turned_around/{number}")
    askable = {
        kind: [query for query in visible(scene, kind) if languages_of(query, [language])]
        for kind in KINDS
    }
    kinds = [kind for kind, queries in askable.items() if queries]
    if not kinds:
        return None
    queries = askable[kinds[int(generator.integers(len(kinds)))]]
    chosen = queries[int(generator.integers(len(queries)))]
    same = [q for kind in kinds for q in askable[kind] if q.answer == chosen.answer and q != chosen]
    return chosen.answer, [phrase(query, language) for query in (chosen, *same)]
