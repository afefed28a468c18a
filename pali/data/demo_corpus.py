# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The demo corpus as Python values: concepts, their names and keywords, their art, their splits.

Its strings and fonts are read by pali/data/demo_strings.py, its flags by pali/data/demo_flags.py.
The files lie in data/demo of the checkout and are not part of the wheel; the environment variable
PALI_DEMO_DATA names another folder. docs/demo_corpus.md describes every file.

What is never trained on, all fixed by hashes before any training:
- concepts with split "never_seen", in every art set and language;
- for every language the pairs (concept, language) of `held_out`: neither name nor keywords;
- views numbered FIRST_UNSEEN_VIEW and above of any picture;
- the art set UNSEEN_ART.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import io
import json
import lzma
import os
import pathlib
import zipfile
from collections.abc import Iterable
from typing import TypeVar

TRAIN_ART = ("noto", "noto_v1", "twemoji", "fxemoji")
UNSEEN_ART = "fluent"
ALL_ART = (*TRAIN_ART, UNSEEN_ART)
FIRST_UNSEEN_VIEW = 1_000_000
HELD_OUT_PER_LANGUAGE = 20
FOLDER_VARIABLE = "PALI_DEMO_DATA"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Concept:
    """One emoji.

    `code` is its identity everywhere: lower-case hexadecimal code points joined by "-", without the
    variation selector. `mirrors` says whether its picture may be flipped left to right.
    """

    code: str
    char: str
    name: str
    group: str
    subgroup: str
    scope: str  # "core": drawn in five art sets and told apart at 72 pixels; or "extended"
    split: str  # "train" or "never_seen"
    mirrors: bool


class DemoCorpus:
    """The corpus below one folder; each file is read when it is first needed, then kept."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    @functools.cached_property
    def concepts(self) -> tuple[Concept, ...]:
        """Every concept: core/train, core/never_seen, then extended; in CLDR order within each."""
        lines = (self.folder / "concepts.jsonl").read_text(encoding="utf-8").splitlines()
        return tuple(Concept(**json.loads(line)) for line in lines)

    @functools.cached_property
    def core_train(self) -> tuple[Concept, ...]:
        """The concepts of the demo model; the place in this tuple is the class index."""
        return tuple(c for c in self.concepts if c.scope == "core" and c.split == "train")

    @functools.cached_property
    def never_seen(self) -> tuple[Concept, ...]:
        """Core concepts that no training task shows or names."""
        return tuple(c for c in self.concepts if c.scope == "core" and c.split == "never_seen")

    @functools.cached_property
    def class_index(self) -> dict[str, int]:
        """{code: class index} over `core_train`."""
        return {concept.code: index for index, concept in enumerate(self.core_train)}

    def concept(self, code: str) -> Concept:
        """The concept of a code; ValueError names the nearest codes."""
        try:
            return self._by_code[code]
        except KeyError:
            raise unknown_name("concept code", code, self._by_code) from None

    @property
    def languages(self) -> tuple[str, ...]:
        """CLDR base codes ("he", "fil", "no", "zh", …), sorted."""
        return tuple(self._names)

    def names(self, language: str) -> dict[str, str]:
        """{code: name} in `language`; NFC. A few concepts may lack a name (see the data card)."""
        return self._of_language(self._names, language)

    def keywords(self, language: str) -> dict[str, list[str]]:
        """{code: keywords} in `language`; NFC, without duplicates and without the name itself."""
        return self._of_language(self._keywords, language)

    @functools.cache  # noqa: B019 - one corpus lives as long as the process
    def held_out(self, language: str) -> frozenset[str]:
        """Codes of core/train concepts whose name and keywords in `language` are never trained on.

        The HELD_OUT_PER_LANGUAGE smallest sha256 of "language/code" among concepts with a name.
        """
        named = self.names(language)
        codes = [concept.code for concept in self.core_train if concept.code in named]
        codes.sort(key=lambda code: hashlib.sha256(f"{language}/{code}".encode()).hexdigest())
        return frozenset(codes[:HELD_OUT_PER_LANGUAGE])

    def svg(self, art: str, code: str) -> str:
        """The SVG document of a concept in an art set; ValueError when the set does not draw it."""
        if art not in ALL_ART:
            raise unknown_name("art set", art, ALL_ART)
        try:
            return read_archive(self._archive(art)).read(f"{code}.svg").decode()
        except KeyError:
            self.concept(code)
            raise ValueError(
                f"The art set {art!r} has no picture of {code!r}; drawn(art) lists what it has."
            ) from None

    def drawn(self, art: str) -> frozenset[str]:
        """Codes that an art set draws."""
        if art not in ALL_ART:
            raise unknown_name("art set", art, ALL_ART)
        names = read_archive(self._archive(art)).namelist()
        return frozenset(name.removesuffix(".svg") for name in names)

    @functools.cached_property
    def _by_code(self) -> dict[str, Concept]:
        return {concept.code: concept for concept in self.concepts}

    @functools.cached_property
    def _names(self) -> dict[str, dict[str, str]]:
        return json.loads(lzma.decompress((self.folder / "names.json.xz").read_bytes()))

    @functools.cached_property
    def _keywords(self) -> dict[str, dict[str, list[str]]]:
        return json.loads(lzma.decompress((self.folder / "keywords.json.xz").read_bytes()))

    def _archive(self, art: str) -> pathlib.Path:
        return self.folder / "art" / f"{art}.zip"

    def _of_language(self, table: dict[str, T], language: str) -> T:
        try:
            return table[language]
        except KeyError:
            raise unknown_name("language", language, table) from None

    def __reduce__(self):
        """Pickled as its folder: workers read the files themselves."""
        return type(self), (self.folder,)


def load_corpus() -> DemoCorpus:
    """The corpus in $PALI_DEMO_DATA, or in data/demo of the checkout; one object per folder.

    Raises:
      FileNotFoundError: there is no corpus; the message says where it was looked for.
    """
    return _load(os.environ.get(FOLDER_VARIABLE))


@functools.cache
def _load(given: str | None) -> DemoCorpus:
    # Of the checkout that holds this file, or the one that an installed pali is used in.
    checkouts = (pathlib.Path(__file__).resolve().parents[2], pathlib.Path.cwd())
    folders = [pathlib.Path(given)] if given else [path / "data" / "demo" for path in checkouts]
    for folder in folders:
        if (folder / "concepts.jsonl").is_file():
            return DemoCorpus(folder)
    source = f"${FOLDER_VARIABLE}" if given else f"${FOLDER_VARIABLE} is not set"
    raise FileNotFoundError(
        f"No demo corpus in {' or '.join(map(str, folders))} ({source}): concepts.jsonl is "
        "missing. The corpus is part of the repository (data/demo), not of the installed package. "
        f"Clone the repository and work in it, or set {FOLDER_VARIABLE} to a copy of its data/demo."
    )


@functools.cache
def read_archive(path: pathlib.Path) -> zipfile.ZipFile:
    """A zip file of the corpus, kept in memory."""
    # Read whole: a file handle shared by forked workers would share its position too.
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


def unknown_name(kind: str, value: str, known: Iterable[str]) -> ValueError:
    """The error for a name that the corpus lacks; it says the nearest ones."""
    known = sorted(known)
    near = difflib.get_close_matches(str(value), known, n=3, cutoff=0.5) or known[:8]
    return ValueError(f"Unknown {kind} {value!r} in the demo corpus; nearest: {', '.join(near)}.")
