# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions and answers made from captions, as VQ²A makes them (arXiv 2205.01883).

VQ²A writes questions whose answers are in a caption, and keeps those that a second model answers
the same; PaLI has CC3M's, asked in 35 languages and answered in English. What VQ²A made for
training is not known to be published, so this layout is our own: a JSON object a line

    {"image_id": "17", "lang": "sw", "question": "mbwa yuko wapi?", "answer": "on the grass"}

in vq2a_cc3m_{train,validation}.jsonl or vq2a_coco_{train,validation}.jsonl, which may be packed
(pali/data/raw/json_lines.py). "image_id" is the row in CC3M's list of the split, from 1, or the
number of a picture of COCO; "lang" is the language of the question; the answer is English.

Records: id "train/4711" (split, and the byte at which the line begins), picture, lang, question,
answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pali.data.pipeline import Example
from pali.data.raw import fields, json_lines
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError


@dataclass(frozen=True)
class Triplets:
    """The files about one dataset's pictures."""

    name: str
    by_split: bool
    """Whether pictures of different splits have the same numbers."""

    def parts(self, folder: Path) -> list[Part]:
        """Pieces of the files that are there; FileNotFoundError if none is."""
        splits = ("train", "validation")
        return json_lines.parts(folder, {split: f"{self.name}_{split}.jsonl" for split in splits})

    def read(self, folder: Path, part: Part) -> Iterator[Example | RecordError]:
        """id, picture, lang, question, answer of the lines that begin in a piece."""
        for place, line in json_lines.lines(folder, part):
            try:
                record = self._record(line, f"{part.file}, byte {place}", part.split)
                yield {"id": f"{part.split}/{place}"} | record
            except RecordError as error:
                yield error

    def _record(self, line: bytes, where: str, split: str) -> Example:
        row = fields.json_object(line, where)
        image = str(row.get("image_id"))
        if not (image.isascii() and image.isdecimal() and len(image) < 19):
            message = f'{where} has "image_id": {image[:40]!r}; expected a number'
            raise RecordError("row", message)
        picture = str(int(image))
        return {
            "picture": f"{split}/{picture}" if self.by_split else picture,
            "lang": fields.language(row, "lang", where),
            "question": fields.text(row, "question", where),
            "answer": fields.text(row, "answer", where),
        }


_CC3M = Triplets("vq2a_cc3m", by_split=True)
_COCO = Triplets("vq2a_coco", by_split=False)

_FILES = """
DIR/NAME_train.jsonl        {"image_id", "lang", "question", "answer"}, one object a line: our own
DIR/NAME_validation.jsonl   layout, for triplets that you make yourself; also .jsonl.bz2 or .gz
"""
_LICENCE = "yours to know: the triplets are your own; captions and pictures as of "

VQ2A_CC3M = Dataset(
    name="vq2a_cc3m",
    about="questions in any language with English answers, made from the captions of CC3M",
    documented="https://arxiv.org/abs/2205.01883",
    licence=f"{_LICENCE}cc3m",
    files=_FILES.replace("NAME", "vq2a_cc3m"),
    parts=_CC3M.parts,
    read=_CC3M.read,
    pictures="cc3m",
)

VQ2A_COCO = Dataset(
    name="vq2a_coco",
    about="questions in any language with English answers, made from the captions of COCO",
    documented="https://arxiv.org/abs/2205.01883",
    licence=f"{_LICENCE}coco",
    files=_FILES.replace("NAME", "vq2a_coco"),
    parts=_COCO.parts,
    read=_COCO.read,
    pictures="coco",
)
