# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CC3M-35L and COCO-35L: captions translated by machine from English into 34 languages.

One JSON object a line, each one caption in one language:

    {"image_id", "src_lang": "en", "trg_lang", "caption_tokenized", "translation_tokenized",
     "backtranslation_tokenized"}

    cc3m_mt_{train,dev}.jsonl    image_id is the row in CC3M's list of the split, from 1
    coco_mt_{train,dev}.jsonl    image_id is "COCOID_N": a picture of COCO, and which caption of it

as they are, or packed (.bz2, .gz). A packed file is read by one process from front to back; one
that is unpacked is cut into pieces that are read at once, and read where it is if both are there.

Records: id "train/17/sw" (split, image_id, language), picture, lang, caption. Texts are as
published: tokenised, in lower case, and with # for every digit in CC3M. English is the source of
every other language; it is taken once, from the rows of German, as big_vision takes it, so that it
is written like the translations.
"""

from __future__ import annotations

import bz2
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pali.data.pipeline import Example
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError
from pali.languages import resolve

SPLITS = {"train": "train", "dev": "validation"}
ENGLISH_FROM = "de"
"""The language whose rows English is taken from."""

PIECE = 2**28
"""Bytes of an unpacked file that one process reads."""

_OPEN: dict[str, Callable[[Path], Any]] = {
    "": lambda path: path.open("rb"),
    ".bz2": bz2.open,
    ".gz": gzip.open,
}


@dataclass(frozen=True)
class Translations:
    """The files of one dataset."""

    prefix: str
    """Of the files' names."""
    image_id: str
    """What an image_id looks like; its group "picture" is the picture's number."""
    by_split: bool
    """Whether pictures of different splits have the same numbers."""

    def parts(self, folder: Path) -> list[Part]:
        """Pieces of the files that are there.

        Raises:
          FileNotFoundError: there is none.
        """
        found = []
        for name, split in SPLITS.items():
            file = f"{self.prefix}_{name}.jsonl"
            paths = [path for end in _OPEN if (path := folder / f"{file}{end}").is_file()]
            if paths and paths[0].suffix == ".jsonl":
                size = paths[0].stat().st_size
                found += [
                    Part(split, file, start, min(start + PIECE, size))
                    for start in range(0, size, PIECE)
                ]
            elif paths:
                found.append(Part(split, paths[0].name))
        if not found:
            raise FileNotFoundError(
                f"{folder} has no {self.prefix}_train.jsonl and no {self.prefix}_dev.jsonl, nor "
                "either as .bz2 or .gz"
            )
        return found

    def read(self, folder: Path, part: Part) -> Iterator[Example | RecordError]:
        """id, picture, lang, caption of the rows that begin in a piece."""
        path = folder / part.file
        try:
            for place, line in _lines(path, part):
                try:
                    yield from self._records(line, f"{path}, byte {place}", part.split)
                except RecordError as error:
                    yield error
        except (EOFError, OSError, zlib.error) as error:
            if getattr(error, "errno", None) is not None:
                raise  # The disk's, and not the content's.
            raise ValueError(f"{path} is damaged ({error}); fetch it again") from None

    def _records(self, line: bytes, where: str, split: str) -> Iterator[Example | RecordError]:
        """The translation, and where it is German the English."""
        row = _object(line, where)
        image = re.fullmatch(self.image_id, str(row.get("image_id")))
        if not image:
            raise RecordError("row", f'{where} has "image_id": {row.get("image_id")!r}')
        # The numbers of CC3M are rows of two lists.
        picture = str(int(image["picture"]))
        picture = f"{split}/{picture}" if self.by_split else picture
        texts = {"trg_lang": "translation_tokenized"}
        if row.get("trg_lang") == ENGLISH_FROM:
            texts["src_lang"] = "caption_tokenized"
        for code, key in texts.items():
            try:
                lang, caption = _language(row, code, where), _caption(row, key, where)
                identifier = f"{split}/{image[0]}/{lang}"
                yield {"id": identifier, "picture": picture, "lang": lang, "caption": caption}
            except RecordError as error:
                yield error


def _lines(path: Path, part: Part) -> Iterator[tuple[int, bytes]]:
    """Place and content of every line that begins in [start, stop) of what is unpacked."""
    file: BinaryIO
    with _OPEN[path.suffix.removesuffix(".jsonl")](path) as file:
        place = part.start
        if place:
            # A line that began before belongs to the piece before.
            file.seek(place - 1)
            place += len(file.readline()) - 1
        while part.stop is None or place < part.stop:
            line = file.readline()
            if not line:
                return
            yield place, line
            place += len(line)


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordError("row", f"{where} is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise RecordError("row", f"{where} is no JSON object")
    return row


def _language(row: dict[str, Any], key: str, where: str) -> str:
    code = row.get(key)
    try:
        if not isinstance(code, str):
            raise ValueError("expected the code of a language")
        return resolve(code)
    except ValueError as error:
        raise RecordError("row", f'{where} has "{key}": {code!r}; {error}') from None


def _caption(row: dict[str, Any], key: str, where: str) -> str:
    text = row.get(key)
    if not isinstance(text, str):
        raise RecordError("row", f'{where} has "{key}": {text!r}; expected a text')
    if not text.strip():
        raise RecordError("text", f'{where} has an empty "{key}"')
    return text.strip()


def _with_english(rows: int) -> int:
    """Rows and English captions, where `rows` are of 34 languages alike."""
    return rows + rows // 34


_CC3M = Translations("cc3m_mt", r"(?P<picture>[0-9]+)", by_split=True)
_COCO = Translations("coco_mt", r"(?P<picture>[0-9]+)_[0-9]+", by_split=False)
_PUBLISHED = "https://google.github.io/crossmodal-3600/"

CC3M_35L = Dataset(
    name="cc3m_35l",
    about="the captions of CC3M in 35 languages, 34 of them by machine translation",
    documented=_PUBLISHED,
    licence="CC BY 4.0; pictures as of cc3m",
    files="""
DIR/cc3m_mt_train.jsonl        or .jsonl.bz2, .jsonl.gz; unpacked it is read by many processes
DIR/cc3m_mt_dev.jsonl
""",
    parts=_CC3M.parts,
    read=_CC3M.read,
    pictures="cc3m",
    sizes={"train": _with_english(112_824_580), "validation": _with_english(538_560)},
)

COCO_35L = Dataset(
    name="coco_35l",
    about="the captions of COCO in 35 languages, 34 of them by machine translation",
    documented=_PUBLISHED,
    licence="CC BY 4.0; pictures as of coco",
    files="""
DIR/coco_mt_train.jsonl.bz2    or unpacked: then it is read by many processes
DIR/coco_mt_dev.jsonl.bz2
""",
    parts=_COCO.parts,
    read=_COCO.read,
    pictures="coco",
    sizes={"train": _with_english(19_258_790), "validation": _with_english(850_000)},
)
