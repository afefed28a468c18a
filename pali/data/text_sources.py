# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Records of text in pictures and of flags: what tasks/demo_ocr.py and tasks/demo_flags.py read.

Sources as those of pali/data/sources.py. What a split holds follows from hashes of texts
(`is_unseen` in pali/data/demo_strings.py): a held-out text is neither shown nor asked for in
training, whichever the language, be it alone, in a combination, or as the name of a flag.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pali.data.demo_corpus import FIRST_UNSEEN_VIEW, load_corpus
from pali.data.demo_flags import TRAIN_FLAGS, UNSEEN_FLAGS, DemoFlags, load_flags
from pali.data.demo_strings import DemoStrings, is_unseen, load_strings
from pali.data.drawing import number_of
from pali.data.question_phrases import FLAG_QUESTIONS
from pali.data.rows import checked
from pali.data.sources import TRAIN_VIEWS, picture

OCR_SPLITS: dict[str, str] = {
    "train": "strings, alone and combined, without the unseen ones",
    "validation": "the same strings in renderings never trained on, some in other combinations",
    "unseen_strings": "strings that were never shown or asked for, alone and combined",
}
FLAG_SPLITS: dict[str, str] = {
    "train": "flags with their names, without the held-out pairs",
    "validation": "the same pairs in renderings never trained on",
    "unseen_art": "the same pairs in the art set never trained on",
    "held_out_pairs": "(territory, language) pairs whose name was never shown or asked for",
}
COMBINED = {2: 0.3, 3: 0.1}
"""Share of the records that try to hold so many strings."""
OCR_VIEWS = 10_000
"""Renderings of a string that training may draw from: times the strings, what can be shuffled."""
PER_LANGUAGE = 100
"""Records of each language in a split for evaluation: those with the smallest hashes."""


@dataclass(frozen=True)
class DemoOcr:
    """Texts to be set in a picture and read: strings of the corpus, alone or two or three together.

    Record `i` of "train" is string `i % strings` in view `i // strings`. A hash of both decides
    which others of its language stand beside it, where there are any that are short enough; so the
    combinations change from view to view. Evaluation has one view, which no training sees.
    """

    split: str
    """One of OCR_SPLITS."""
    languages: tuple[str, ...] | None = None
    """None: all that have strings."""
    max_characters: int = 12
    """Code points of a text, spaces included."""
    views: int = OCR_VIEWS

    def __len__(self) -> int:
        """Strings times views; one view for evaluation."""
        return len(self._strings) * (self.views if self.split == "train" else 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, lang, text, view."""
        view, place = divmod(checked(index, len(self)), len(self._strings))
        lang, string = self._strings[place]
        if self.split != "train":
            view = FIRST_UNSEEN_VIEW
        pool = _pool(load_strings(), self.split, lang, self.max_characters)
        text = _combined(string, pool, self.max_characters, f"{lang}/{string}/{view}")
        return {"image_key": f"text/{lang}/{text}/{view}", "lang": lang, "text": text, "view": view}

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records."""
        views = self.views if self.split == "train" else 1
        return {lang: n * views for lang, n in Counter(s[0] for s in self._strings).items()}

    @property
    def _strings(self) -> list[tuple[str, str]]:
        return _strings(load_strings(), self.split, self.languages, self.max_characters)


@dataclass(frozen=True)
class DemoFlagNames:
    """(flag, language) pairs with the territory's name.

    "train" has every flag of TRAIN_FLAGS in `views` renderings in every language; the others have
    one record for each pair, "unseen_art" with the flag of UNSEEN_FLAGS.
    """

    split: str
    """One of FLAG_SPLITS."""
    languages: tuple[str, ...] | None = None
    """None: all that have names of territories."""
    views: int = TRAIN_VIEWS

    def __len__(self) -> int:
        """Pairs times views; one view for evaluation."""
        return len(self._pairs) * (self.views if self.split == "train" else 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, art, code, view, label, lang, name."""
        view, place = divmod(checked(index, len(self)), len(self._pairs))
        lang, code = self._pairs[place]
        if self.split != "train":
            view = FIRST_UNSEEN_VIEW
        art = UNSEEN_FLAGS if self.split == "unseen_art" else TRAIN_FLAGS
        name = load_strings().named(lang, "territory")[code]
        record = {"lang": lang, "name": name, "label": _flag_label(code)}
        return picture(art, code, view) | record

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records."""
        views = self.views if self.split == "train" else 1
        return {lang: n * views for lang, n in Counter(p[0] for p in self._pairs).items()}

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        return _pairs(load_strings(), load_flags(), self.split, self.languages)


@dataclass(frozen=True)
class DemoFlagQuestions:
    """Whose flag is this? Asked in many languages, answered in English.

    Flags whose English name is held out are left out; otherwise as DemoFlagNames, but that each
    flag is asked about in every language, in evaluation as well.
    """

    split: str
    """One of FLAG_SPLITS, but for "held_out_pairs": the answers are the same in all languages."""
    languages: tuple[str, ...]
    views: int = TRAIN_VIEWS

    def __len__(self) -> int:
        """Flags times languages times views; one view for evaluation."""
        pairs = len(self._codes) * len(self.languages)
        return pairs * (self.views if self.split == "train" else 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, art, code, view, label, lang, question, answer."""
        turn, place = divmod(checked(index, len(self)), len(self._codes))
        view, language = divmod(turn, len(self.languages))
        if self.split != "train":
            view = FIRST_UNSEEN_VIEW
        code, lang = self._codes[place], self.languages[language]
        art = UNSEEN_FLAGS if self.split == "unseen_art" else TRAIN_FLAGS
        answer = load_strings().named("en", "territory")[code]
        texts = {"lang": lang, "question": FLAG_QUESTIONS[lang], "answer": answer}
        return picture(art, code, view) | texts | {"label": _flag_label(code)}

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records."""
        return dict.fromkeys(self.languages, len(self) // len(self.languages))

    @property
    def _codes(self) -> Sequence[str]:
        _check(self.split, {split: "" for split in FLAG_SPLITS if split != "held_out_pairs"})
        return _codes_asked(load_strings(), load_flags())


@functools.cache
def _codes_asked(strings: DemoStrings, flags: DemoFlags) -> tuple[str, ...]:
    names = strings.named("en", "territory")
    return tuple(c for c in flags.territories if c in names and not is_unseen(names[c]))


def _flag_label(code: str) -> int:
    """A number of its own, beyond the classes of concepts."""
    return len(load_corpus().core_train) + load_flags().territories.index(code)


@functools.cache
def _strings(
    strings: DemoStrings, split: str, languages: tuple[str, ...] | None, max_characters: int
) -> list[tuple[str, str]]:
    """(language, string) of every record of a view."""
    _check(split, OCR_SPLITS)
    found = []
    for lang in strings.languages if languages is None else languages:
        pool = _pool(strings, split, lang, max_characters)
        found += [(lang, s) for s in (pool if split == "train" else _some(lang, pool))]
    if not found:
        raise ValueError(
            f"no string of split {split!r} in {languages} has at most {max_characters} characters"
        )
    return found


@functools.cache
def _pool(strings: DemoStrings, split: str, lang: str, max_characters: int) -> tuple[str, ...]:
    """The strings of a split, shortest first."""
    unseen = split == "unseen_strings"
    fitting = (text for text in strings.texts(lang) if len(text) <= max_characters)
    return tuple(sorted((t for t in fitting if is_unseen(t) == unseen), key=lambda t: (len(t), t)))


def _combined(string: str, pool: tuple[str, ...], max_characters: int, name: str) -> str:
    """The string with up to two others of the pool after it, as the hash of the name says."""
    number = _fraction(f"count/{name}")
    count = 1
    for size, share in COMBINED.items():
        if number < share:
            count = size
            break
        number -= share
    text = string
    for step in range(1, count):
        room = max_characters - len(text) - 1
        fitting = bisect.bisect_right(pool, room, key=len)
        if not fitting:
            break
        longer = f"{text} {pool[int(_fraction(f'{step}/{name}') * fitting)]}"
        # A combination can spell another string, which then must be on the same side.
        if is_unseen(longer) != is_unseen(string):
            break
        text = longer
    return text


@functools.cache
def _pairs(
    strings: DemoStrings, flags: DemoFlags, split: str, languages: tuple[str, ...] | None
) -> list[tuple[str, str]]:
    """(language, territory) of every record of a view."""
    _check(split, FLAG_SPLITS)
    held_out = split == "held_out_pairs"
    found = []
    for lang in strings.languages if languages is None else languages:
        names = strings.named(lang, "territory")
        codes = [c for c in flags.territories if c in names and is_unseen(names[c]) == held_out]
        found += [(lang, code) for code in (codes if split == "train" else _some(lang, codes))]
    if not found:
        raise ValueError(f"no territory of split {split!r} has a name in {languages}")
    return found


def _some(lang: str, names: Iterable[str]) -> list[str]:
    """At most PER_LANGUAGE of them: a fair part, and the same one every time."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{lang}/{name}".encode()).digest())
    return ranked[:PER_LANGUAGE]


def _check(split: str, known: dict[str, str]) -> None:
    if split not in known:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(known)}")


def _fraction(name: str) -> float:
    return number_of(name) / 2**64
