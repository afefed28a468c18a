# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Web pictures of your own with alt texts and the text in them: what PaLI has WebLI for.

WebLI was never published. Its place is taken by a WebDataset (pali/data/raw/webdataset.py) whose
samples have

    KEY.jpg     the picture
    KEY.txt     its alt text
    KEY.json    {"lang": "sw", "ocr": [{"lang": "sw", "text": "duka"}, {"lang": "en", …}, …], …}

"lang" is the language of the alt text. "ocr" is what an OCR service read, string by string in the
order of reading, each with its language; it may be missing, and other keys may be there, so that a
step over what img2dataset wrote has only to add these two.

Two datasets read the same folder:

    web       id "train/KEY", lang, text, image
    web_ocr   id "train/KEY/sw", picture "train/KEY", lang, text: a record for every language of the
              strings in a picture, which are joined by spaces, as PaLI's prompt asks for one. A
              picture that `web` leaves out for its alt text is kept with these records
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pali.data.pipeline import Example
from pali.data.raw import fields, webdataset
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError


def read_texts(folder: Path, part: Part) -> Iterator[Example | RecordError]:
    """id, lang, text, image of every sample of a tar or folder."""
    for sample in webdataset.samples(folder / part.file):
        try:
            yield {
                "id": f"{part.split}/{sample.key}",
                "lang": fields.language(sample.about, "lang", f"{sample.where}.json"),
                "text": sample.text,
                "image": sample.picture,
            }
        except RecordError as error:
            yield error


def read_ocr(folder: Path, part: Part) -> Iterator[Example | RecordError]:
    """id, picture, lang, text, image of every language that is read in a picture."""
    for sample in webdataset.samples(folder / part.file):
        picture = f"{part.split}/{sample.key}"
        try:
            texts = _texts(sample)
        except RecordError as error:
            yield error
            continue
        for lang, text in texts.items():
            record = {"picture": picture, "lang": lang, "text": text}
            try:
                yield {"id": f"{picture}/{lang}"} | record | {"image": sample.picture}
            except RecordError as error:
                yield error


def _texts(sample: webdataset.Sample) -> dict[str, str]:
    """What is read in a picture, by language."""
    where = f'"ocr" of {sample.where}.json'
    strings = sample.about.get("ocr", [])
    if not isinstance(strings, list) or not all(isinstance(string, dict) for string in strings):
        raise RecordError("row", f"{where} is {strings!r}; expected a list of objects")
    texts: dict[str, list[str]] = {}
    for string in strings:
        words = fields.text(string, "text", where).split()
        texts.setdefault(fields.language(string, "lang", where), []).extend(words)
    return {lang: " ".join(words) for lang, words in texts.items()}


_FILES = """
DIR/train/00000.tar          KEY.jpg, KEY.txt (alt text) and KEY.json with "lang" and, for what is
DIR/validation/00000.tar     read in the picture, "ocr": [{"lang": …, "text": …}, …]; or folders of
                             such files: train/00000
"""
_LICENCE = "yours to know: the dataset is your own"

WEB = Dataset(
    name="web",
    about="web pictures of your own with alt texts in any language, in place of WebLI",
    documented="https://github.com/webdataset/webdataset",
    licence=_LICENCE,
    files=_FILES,
    parts=webdataset.parts,
    read=read_texts,
)

WEB_OCR = Dataset(
    name="web_ocr",
    about="the text in these pictures, language by language",
    documented="https://github.com/webdataset/webdataset",
    licence=_LICENCE,
    files=_FILES,
    parts=webdataset.parts,
    read=read_ocr,
    pictures="web",
)
