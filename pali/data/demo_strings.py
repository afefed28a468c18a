# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Strings of the demo corpus and the typefaces that set them: what a reader of text learns from.

    strings.json.xz   {language: {kind: {key: text}}}; kinds: KINDS, keys as CLDR has them
    fonts.zip         the faces of `faces`, each reduced to the characters of its languages

Texts are in NFC and in their language's script alone; every character of a text is in every face of
its language. Never trained on, in any language and any task: the texts of `is_unseen`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
import pathlib

from pali.data.demo_corpus import load_corpus, read_archive, unknown_name
from pali.languages import LANGUAGES

KINDS = ("language", "territory", "month", "day")
UNSEEN_SHARE = 0.1

_SANS_AND_SERIF = {
    **{"Armn": "Armenian", "Beng": "Bengali", "Deva": "Devanagari", "Ethi": "Ethiopic"},
    **{"Geor": "Georgian", "Gujr": "Gujarati", "Guru": "Gurmukhi", "Hebr": "Hebrew"},
    **{"Khmr": "Khmer", "Knda": "Kannada", "Mlym": "Malayalam", "Mymr": "Myanmar"},
    **{"Sinh": "Sinhala", "Taml": "Tamil", "Telu": "Telugu"},
    **{"Latn": "", "Cyrl": "", "Grek": ""},
}
_FACES_OF_SCRIPT = {
    **{s: (f"NotoSans{name}", f"NotoSerif{name}") for s, name in _SANS_AND_SERIF.items()},
    "Arab": ("NotoNaskhArabic", "NotoSansArabic"),
    "Cher": ("NotoSansCherokee",),
    "Laoo": ("NotoSansLao", "NotoLoopedLao"),
    "Orya": ("NotoSansOriya",),
    "Thai": ("NotoSansThai", "NotoLoopedThai"),
}
# Urdu is written in Nastaliq; the same Han character is drawn otherwise in each of the others.
_FACES_OF_LANGUAGE = {
    "ur": ("NotoNastaliqUrdu", "NotoNaskhArabic"),
    "ja": ("NotoSansCJKjp", "NotoSerifCJKjp"),
    "ko": ("NotoSansCJKkr", "NotoSerifCJKkr"),
    "yue": ("NotoSansCJKhk", "NotoSerifCJKhk"),
    "zh": ("NotoSansCJKsc", "NotoSerifCJKsc"),
}


def faces(language: str) -> tuple[str, ...]:
    """The typefaces that texts of a language (a code of `LANGUAGES`) are set in."""
    own = _FACES_OF_LANGUAGE.get(language)
    return own or _FACES_OF_SCRIPT[LANGUAGES[language].scripts[0]]


def is_unseen(text: str) -> bool:
    """Whether no training may show or ask for a text (in NFC).

    By the text alone, so that the same one in two languages falls on one side: the first 8 bytes
    of its sha256, as a fraction of 2^64, are below UNSEEN_SHARE.
    """
    fraction = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    return fraction < UNSEEN_SHARE


class DemoStrings:
    """The strings and fonts below a corpus' folder; each file is read when first needed, then kept.

    Whoever asks for a language that they do not have gets a ValueError with the nearest ones.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    @property
    def languages(self) -> tuple[str, ...]:
        """CLDR base codes of the languages that have strings, sorted; nearly all of the corpus."""
        return tuple(self._strings)

    @functools.cache  # noqa: B019 - one corpus lives as long as the process
    def texts(self, language: str) -> tuple[str, ...]:
        """The different texts of a language, sorted."""
        kinds = self._of_language(language).values()
        return tuple(sorted({text for kind in kinds for text in kind.values()}))

    def named(self, language: str, kind: str) -> dict[str, str]:
        """{key: text} of one of KINDS: `named("sw", "territory")["KE"] == "Kenya"`."""
        if kind not in KINDS:
            raise unknown_name("kind of string", kind, KINDS)
        return self._of_language(language)[kind]

    def font(self, face: str) -> bytes:
        """The font file of a face, TrueType or OpenType."""
        fonts = read_archive(self.folder / "fonts.zip")
        if face not in fonts.namelist():
            raise unknown_name("typeface", face, fonts.namelist())
        return fonts.read(face)

    @functools.cached_property
    def _strings(self) -> dict[str, dict[str, dict[str, str]]]:
        return json.loads(lzma.decompress((self.folder / "strings.json.xz").read_bytes()))

    def _of_language(self, language: str) -> dict[str, dict[str, str]]:
        try:
            return self._strings[language]
        except KeyError:
            raise unknown_name("language of strings", language, self._strings) from None


def load_strings() -> DemoStrings:
    """The strings of the corpus that `load_corpus` finds; one object per folder."""
    return _load(load_corpus().folder)


@functools.cache
def _load(folder: pathlib.Path) -> DemoStrings:
    return DemoStrings(folder)
