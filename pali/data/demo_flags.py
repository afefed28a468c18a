# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Flags of the demo corpus: drawings of territories' flags in two sets of art.

One set is seen in training, the other never (UNSEEN_FLAGS). Codes are CLDR's ("DE", "XK"), names
are in pali/data/demo_strings.py. Territories whose flag is drawn like another's are left out by the
builder: their pictures would have two names.
"""

from __future__ import annotations

import functools
import pathlib

from pali.data.demo_corpus import load_corpus, read_archive, unknown_name

TRAIN_FLAGS, UNSEEN_FLAGS = "flag_icons", "flag_twemoji"
FLAG_ART = (TRAIN_FLAGS, UNSEEN_FLAGS)


class DemoFlags:
    """The flags below a corpus' folder; each archive is read when it is first needed, then kept."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    @functools.cached_property
    def territories(self) -> tuple[str, ...]:
        """Codes of the territories, sorted; every set draws all of them."""
        names = read_archive(self._archive(TRAIN_FLAGS)).namelist()
        return tuple(sorted(name.removesuffix(".svg") for name in names))

    def svg(self, art: str, code: str) -> str:
        """The SVG document of a flag; ValueError names the nearest sets or codes."""
        if art not in FLAG_ART:
            raise unknown_name("set of flags", art, FLAG_ART)
        if code not in self.territories:
            raise unknown_name("territory", code, self.territories)
        return read_archive(self._archive(art)).read(f"{code}.svg").decode()

    def _archive(self, art: str) -> pathlib.Path:
        return self.folder / "flags" / f"{art}.zip"


def load_flags() -> DemoFlags:
    """The flags of the corpus that `load_corpus` finds; one object per folder."""
    return _load(load_corpus().folder)


@functools.cache
def _load(folder: pathlib.Path) -> DemoFlags:
    return DemoFlags(folder)
