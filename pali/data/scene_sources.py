# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Records about scenes (pali/data/scenes.py): what the tasks on them read, as sources.

As in pali/data/sources.py a source is a frozen dataclass of names and numbers. All of them ask
about the scenes 0 to `scenes` of a split, those that suit the question, each of them `times` times,
in another language every time; any prefix of a source asks about every scene about as often as
about any other.

Records:
  image_key     "scene/split/number"
  split, scene  what RenderScene draws (pali/data/preprocessors.py)
  lang          language of the question
  and the fields of a prompt, and what answers it
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pali.data import object_prompts, questions
from pali.data.rows import checked
from pali.data.scenes import Scene, describe, has_repeats


@dataclass(frozen=True)
class Scenes:
    """The scenes themselves, without a question."""

    split: str
    """One of SCENE_SPLITS."""
    scenes: int

    def __len__(self) -> int:
        """Scenes; in "held_out_counts" those with repeats."""
        return len(self._numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, split, scene."""
        return _picture(describe(self.split, self._numbers[checked(index, len(self))]))

    @property
    def _numbers(self) -> Sequence[int]:
        return _numbers(self.split, self.scenes)


@dataclass(frozen=True)
class SceneQuestions:
    """Cross-lingual questions of one kind, with English answers (pali/data/questions.py).

    A question that names what is held out in the language whose turn it is, is asked in the next
    language in which it may be.
    """

    split: str
    scenes: int
    times: int
    kind: str
    languages: tuple[str, ...]

    def __len__(self) -> int:
        """Scenes that suit the kind, times questions."""
        return len(self._numbers) * self.times

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, split, scene, lang, question, answer."""
        time, place = divmod(checked(index, len(self)), len(self._numbers))
        scene = describe(self.split, self._numbers[place])
        query = questions.ask(scene, self.kind, time)
        turn = _turn(self.languages, place, time, self.times)
        lang = next(iter(questions.languages_of(query, turn)), None)
        if lang is None:
            raise _no_language(scene, self.languages)
        question = questions.phrase(query, lang)
        return _picture(scene) | {"lang": lang, "question": question, "answer": query.answer}

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records in which it is its turn; some of them go to the next language."""
        return _turns(self.languages, len(self._numbers), self.times)

    @property
    def pictures(self) -> Scenes:
        """A source of the different pictures."""
        return Scenes(self.split, self.scenes)

    @property
    def _numbers(self) -> Sequence[int]:
        return _numbers(self.split, self.scenes, questions.suits, self.kind)


@dataclass(frozen=True)
class SceneAnswers:
    """English answers, and questions that have them, in many languages: for VQG."""

    split: str
    scenes: int
    times: int
    languages: tuple[str, ...]

    def __len__(self) -> int:
        """Scenes times answers."""
        return len(self._numbers) * self.times

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, split, scene, lang, answer, question; references, all the right questions."""
        time, place = divmod(checked(index, len(self)), len(self._numbers))
        scene = describe(self.split, self._numbers[place])
        for lang in _turn(self.languages, place, time, self.times):
            if found := questions.turned_around(scene, time, lang):
                texts = {"answer": found[0], "question": found[1][0], "references": found[1]}
                return _picture(scene) | {"lang": lang} | texts
        raise _no_language(scene, self.languages)

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records in which it is its turn; some of them go to the next language."""
        return _turns(self.languages, len(self._numbers), self.times)

    @property
    def pictures(self) -> Scenes:
        """A source of the different pictures."""
        return Scenes(self.split, self.scenes)

    @property
    def _numbers(self) -> Sequence[int]:
        return _numbers(self.split, self.scenes)


@dataclass(frozen=True)
class SceneObjects:
    """One of the object-aware forms or detection, in English (pali/data/object_prompts.py)."""

    split: str
    scenes: int
    times: int
    form: str

    def __len__(self) -> int:
        """Scenes that suit the form, times questions."""
        return len(self._numbers) * self.times

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, split, scene, lang, the fields of the form's prompt, answer."""
        time, place = divmod(checked(index, len(self)), len(self._numbers))
        scene = describe(self.split, self._numbers[place])
        asked = object_prompts.fields(scene, self.form, time)
        return _picture(scene) | {"lang": "en"} | asked

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records."""
        return {"en": len(self)}

    @property
    def pictures(self) -> Scenes:
        """A source of the different pictures."""
        return Scenes(self.split, self.scenes)

    @property
    def _numbers(self) -> Sequence[int]:
        return _numbers(self.split, self.scenes, object_prompts.suits, self.form)


def _picture(scene: Scene) -> dict[str, Any]:
    return {"image_key": scene.key, "split": scene.split, "scene": scene.number}


@functools.cache
def _numbers(
    split: str,
    scenes: int,
    suits: Callable[[str, int], bool] = lambda kind, number: True,
    kind: str = "",
) -> Sequence[int]:
    """The numbers below `scenes` that exist in a split and suit a kind of question."""
    exists = has_repeats if split == "held_out_counts" else lambda number: True
    return tuple(number for number in range(scenes) if exists(number) and suits(kind, number))


def _turn(languages: Sequence[str], place: int, time: int, times: int) -> Sequence[str]:
    """The languages, beginning with the one whose turn it is: all as often as any other."""
    first = (place + time * max(1, len(languages) // times)) % len(languages)
    return (*languages[first:], *languages[:first])


def _turns(languages: Sequence[str], places: int, times: int) -> dict[str, int]:
    """How often each language is the first of its `_turn`."""
    counts = dict.fromkeys(languages, 0)
    for time in range(times):
        for place in range(min(places, len(languages))):
            lang = _turn(languages, place, time, times)[0]
            counts[lang] += len(range(place, places, len(languages)))
    return counts


def _no_language(scene: Scene, languages: Sequence[str]) -> ValueError:
    return ValueError(
        f"{scene.key} has a question that none of {', '.join(languages)} may ask, because a name "
        "is held out in it; give more languages, or English"
    )
