# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CC3M-35L and COCO-35L: captions translated by machine from English into 34 languages.

One JSON object a line, each one caption in one language:

    {"image_id", "src_lang": "en", "trg_lang", "caption_tokenized", "translation_tokenized",
     "backtranslation_tokenized"}

    cc3m_mt_{train,dev}.jsonl    image_id is the row in CC3M's list of the split, from 1
    coco_mt_{train,dev}.jsonl    image_id is "COCOID_N": a picture of COCO, and which caption of it

as they are, or packed (pali/data/raw/json_lines.py).

Records: id "train/17/sw" (split, image_id, language), picture, lang, caption. Texts are as
published: tokenised, in lower case, and with # for every digit in CC3M. English is the source of
every other language; it is taken once, from the rows of German, as big_vision takes it, so that it
is written like the translations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pali.data.pipeline import Example
from pali.data.raw import fields, json_lines
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError
from pali.languages import resolve_many

ENGLISH_FROM = "de"
"""The language whose rows English is taken from."""


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
        """Pieces of the files that are there; FileNotFoundError if none is."""
        files = {"train": f"{self.prefix}_train.jsonl", "validation": f"{self.prefix}_dev.jsonl"}
        return json_lines.parts(folder, files)

    def read(self, folder: Path, part: Part) -> Iterator[Example | RecordError]:
        """id, picture, lang, caption of the rows that begin in a piece."""
        for place, line in json_lines.lines(folder, part):
            try:
                yield from self._records(line, f"{part.file}, byte {place}", part.split)
            except RecordError as error:
                yield error

    def _records(self, line: bytes, where: str, split: str) -> Iterator[Example | RecordError]:
        """The translation, and where it is German the English."""
        row = fields.json_object(line, where)
        image = re.fullmatch(self.image_id, str(row.get("image_id")))
        if not image:
            raise RecordError("row", f'{where} has "image_id": {str(row.get("image_id"))[:40]!r}')
        # The numbers of CC3M are rows of two lists.
        picture = str(int(image["picture"]))
        picture = f"{split}/{picture}" if self.by_split else picture
        texts = {"trg_lang": "translation_tokenized"}
        if row.get("trg_lang") == ENGLISH_FROM:
            texts["src_lang"] = "caption_tokenized"
        for code, key in texts.items():
            try:
                lang, caption = fields.language(row, code, where), fields.text(row, key, where)
                identifier = f"{split}/{image[0]}/{lang}"
                yield {"id": identifier, "picture": picture, "lang": lang, "caption": caption}
            except RecordError as error:
                yield error


def _with_english(rows: int) -> int:
    """Rows and English captions, where `rows` are of 34 languages alike."""
    return rows + rows // 34


_CC3M = Translations("cc3m_mt", r"(?P<picture>[0-9]{1,18})", by_split=True)
_COCO = Translations("coco_mt", r"(?P<picture>[0-9]{1,18})_[0-9]{1,18}", by_split=False)
_PUBLISHED = "https://google.github.io/crossmodal-3600/"

# The README of the data set's own files says 112,824,580 rows of training; 112,821,180 is written
# of them as well. The publisher's number stands here. The two are 100 captions in 34 languages
# apart, and the warning, which never stops anything, names what was found and what was expected.
_CC3M_TRAIN = 112_824_580

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
    sizes={"train": _with_english(_CC3M_TRAIN), "validation": _with_english(538_560)},
    languages=resolve_many("coco-35l"),
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
    languages=resolve_many("coco-35l"),
)
