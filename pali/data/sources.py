# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Records by number: what the tasks of this checkout read.

A source is any object with `len()` and `source[i] -> dict` (pali/data/pipeline.py). Those here are
frozen dataclasses of names and numbers: cheap to make, pickled in a few bytes, and each process
loads the corpus behind them when it reads the first record.

Records of the demo corpus:
  image_key  "art/code/view", the identity of a rendered picture
  art, code, view  what RenderPicture draws (pali/data/preprocessors.py)
  label      class index; of a flag, a number beyond the classes; -1 for what is in no class
  lang       language of the text, of DemoTexts
  name, keywords, group, subgroup  the texts a task asks for; `name` is the caption's reference
"""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pali.data.converter import NO_LABEL
from pali.data.demo_corpus import (
    FIRST_UNSEEN_VIEW,
    TRAIN_ART,
    UNSEEN_ART,
    Concept,
    DemoCorpus,
    load_corpus,
)
from pali.data.drawing import number_of
from pali.data.rows import checked
from pali.data.skipping import RecordError
from pali.languages import resolve

TRAIN_VIEWS = 100_000
"""Renderings of a picture that training may draw from: more than a run on the fly will ever see."""

SPLITS: dict[str, str] = {
    "train": "core concepts in four art sets, without the held-out pairs",
    "validation": "the same pairs in renderings never trained on",
    "unseen_art": "the same pairs in the art set never trained on",
    "held_out_pairs": "(concept, language) pairs whose texts were never trained on",
    "never_seen": "concepts that were never trained on, in any language",
}


@dataclass(frozen=True)
class DemoPictures:
    """Pictures of concepts and their class index: for training the ViT alone.

    Record `i` shows picture `i % pictures` in view `start + i // pictures`, so any prefix of the
    source holds every picture about as often as any other.
    """

    arts: tuple[str, ...] = TRAIN_ART
    start: int = 0
    stop: int = TRAIN_VIEWS

    @property
    def num_classes(self) -> int:
        """Class indices run from 0 to this; the class of an index is `core_train[index]`."""
        return len(load_corpus().core_train)

    def __len__(self) -> int:
        """Pictures times views."""
        return len(self._pictures) * (self.stop - self.start)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, art, code, view, label."""
        view, place = divmod(checked(index, len(self)), len(self._pictures))
        art, code = self._pictures[place]
        record = picture(art, code, self.start + view)
        return record | {"label": load_corpus().class_index[code]}

    @property
    def _pictures(self) -> list[tuple[str, str]]:
        return _pictures(load_corpus(), self.arts)


@dataclass(frozen=True)
class DemoTexts:
    """(picture, language) pairs with what people wrote: names, keywords, group and subgroup.

    "train" has every picture of TRAIN_ART in `views` renderings in every language. The others have
    one record for each (concept, language), so that each weighs the same in a score: "unseen_art"
    shows its Fluent picture, the rest a picture of TRAIN_ART chosen by hash, in a view that no
    training sees. Evaluation records are ordered by language, then by class.
    """

    split: str
    """One of SPLITS."""
    languages: tuple[str, ...]
    views: int = 48
    needs: Literal["name", "keywords", "two keywords"] = "name"
    """Pairs without such a text are left out."""

    def __len__(self) -> int:
        """Pairs times views; one view for evaluation."""
        return len(self._pairs) * (self.views if self.split == "train" else 1)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image_key, art, code, view, label, lang, name, keywords, group, subgroup."""
        view, pair = divmod(checked(index, len(self)), len(self._pairs))
        art, code, lang = self._pairs[pair]
        if self.split != "train":
            view = FIRST_UNSEEN_VIEW
        corpus = load_corpus()
        concept = corpus.concept(code)
        return picture(art, code, view) | {
            "label": corpus.class_index.get(code, NO_LABEL),
            "lang": lang,
            "name": corpus.names(lang).get(code, ""),
            "keywords": corpus.keywords(lang).get(code, []),
            "group": concept.group,
            "subgroup": concept.subgroup,
        }

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> records."""
        views = self.views if self.split == "train" else 1
        return {lang: n * views for lang, n in Counter(p[-1] for p in self._pairs).items()}

    @property
    def pictures(self) -> DemoPictures | DemoTexts:
        """A source of the different pictures; "train" shows the same ones in every language."""
        return DemoPictures(TRAIN_ART, 0, self.views) if self.split == "train" else self

    @property
    def _pairs(self) -> list[tuple[str, str, str]]:
        return _pairs(load_corpus(), self.split, self.languages, self.needs)


@dataclass(frozen=True)
class JsonLines:
    """Your own records: one JSON object a line, each with the same keys.

    With `image_folder`, the key "image" is a path below it: it becomes the record's "image_key",
    and DecodePicture reads it.
    """

    path: str
    image_folder: str | None = None
    lang: str | None = None
    """Only the lines whose "lang" is this language, in whichever spelling."""

    def __len__(self) -> int:
        """Lines that are not empty."""
        return len(self._lines)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The object on a line; RecordError names the line, if it has none or lacks its picture."""
        number, line = self._lines[checked(index, len(self))]
        where = f"{self.path}, line {number}"
        record = parse_line(line, where)
        return record if self.image_folder is None else locate(record, self.image_folder, where)

    @property
    def per_language(self) -> dict[str, int]:
        """Language -> lines; those that name none that pali knows are in none."""
        found = {lang: len(lines) for lang, lines in _lines_of_languages(self.path).items()}
        return found if self.lang is None else {resolve(self.lang): len(self)}

    @property
    def _lines(self) -> list[tuple[int, str]]:
        if self.lang is None:
            return _lines(self.path)
        return _lines_of_languages(self.path).get(resolve(self.lang), [])


def parse_line(line: str | bytes, where: str) -> dict[str, Any]:
    """The object on a line of JSONL; RecordError, which says `where`, if there is none."""
    try:
        record = json.loads(line)
        shown = "" if isinstance(record, dict) else json.dumps(record)[:40]
    except (ValueError, RecursionError) as error:
        raise RecordError("row", f"{where} is not a JSON object: {error}") from None
    if not isinstance(record, dict):
        raise RecordError("row", f"{where} is not a JSON object but {shown}")
    return record


def locate(record: dict[str, Any], folder: str, where: str) -> dict[str, Any]:
    """The record with "image_key", its "image" below a folder; RecordError if it names none."""
    image = record.get("image")
    if not isinstance(image, str):
        message = f'{where} has "image": {image!r}; it must be a path as text'
        raise RecordError("row", message)
    rest = {key: value for key, value in record.items() if key != "image"}
    # An address stays as it is, to be named as what it is.
    path = image if re.match(r"https?://", image) else str(pathlib.Path(folder) / image)
    return rest | {"image_key": path}


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers, one at a time.

    Raises:
      ValueError: it is not UTF-8.
    """
    # A file's own lines, not splitlines(): it also cuts at characters that JSON allows in a text.
    # "utf-8-sig": editors of some systems begin a file with a byte-order mark.
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
        except UnicodeDecodeError:
            message = f"{path} is not UTF-8 (line {_not_utf8(path)}); save it as UTF-8"
            raise ValueError(message) from None


def _not_utf8(path: str) -> int:
    """The first line that is not: a file is decoded in pieces, and the error knows that alone."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 0


def picture(art: str, code: str, view: int) -> dict[str, Any]:
    """The fields of a record that RenderPicture draws by."""
    return {"image_key": f"{art}/{code}/{view}", "art": art, "code": code, "view": view}


@functools.cache
def _pictures(corpus: DemoCorpus, arts: Sequence[str]) -> list[tuple[str, str]]:
    """(art, code) of the core concepts for training that each set draws."""
    drawn = {art: corpus.drawn(art) for art in arts}
    return [(art, c.code) for art in arts for c in corpus.core_train if c.code in drawn[art]]


@functools.cache
def _pairs(
    corpus: DemoCorpus, split: str, languages: Sequence[str], needs: str
) -> list[tuple[str, str, str]]:
    """(art, code, language) of every pair of a split, in one view."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    arts = (UNSEEN_ART,) if split == "unseen_art" else TRAIN_ART
    drawn = {art: corpus.drawn(art) for art in arts}
    pairs = []
    for lang in languages:
        texts = corpus.names(lang) if needs == "name" else corpus.keywords(lang)
        for concept in _concepts(corpus, split, lang):
            available = [art for art in arts if concept.code in drawn[art]]
            found = texts.get(concept.code, ())
            if not found or not available or (needs == "two keywords" and len(found) < 2):
                continue
            if split != "train":
                available = available[number_of(f"{lang}/{concept.code}") % len(available) :][:1]
            pairs += [(art, concept.code, lang) for art in available]
    return pairs


def _concepts(corpus: DemoCorpus, split: str, lang: str) -> Iterable[Concept]:
    if split == "never_seen":
        return corpus.never_seen
    held_out = corpus.held_out(lang)
    wanted = split == "held_out_pairs"
    return (c for c in corpus.core_train if (c.code in held_out) == wanted)


@functools.cache
def _lines(path: str) -> list[tuple[int, str]]:
    return list(read_lines(path))


@functools.cache
def _lines_of_languages(path: str) -> dict[str, list[tuple[int, str]]]:
    """Language -> its lines; a damaged line, or one without a language, is in none."""
    found: dict[str, list[tuple[int, str]]] = {}
    for number, line in _lines(path):
        with contextlib.suppress(ValueError, TypeError, LookupError):
            found.setdefault(resolve(parse_line(line, path)["lang"]), []).append((number, line))
    return dict(sorted(found.items()))


def read_text(path: str) -> str:
    """The text of a file.

    Raises:
      ValueError: it is not UTF-8.
      FileNotFoundError: there is none.
    """
    try:  # "utf-8-sig": editors of some systems begin a file with a byte-order mark.
        return pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
