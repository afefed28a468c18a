# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Vocabulary shortlists: for each language the pieces of a tokenizer that its texts are made of.

    derive(tokenizer, {lang: texts}) -> Shortlists --write--> one .npz file --read--> Shortlists

An output head of 250,000 columns is most of a decoding step; a language needs some thousands. Every
shortlist has what any text may need besides: the special pieces, all bytes, and short pieces of
digits, punctuation and signs. So whatever a shortlist lacks can still be spelled in bytes, where
the tokenizer has these, but not as the tokenizer itself spells it: `lost` counts how often.

The file holds one bit for each piece and name, compressed, and what it was made for and from.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import shutil
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from pali.languages import LANGUAGES, script_of
from pali.tokenizer import SPACE, Tokenizer

FILE = "shortlists.npz"
"""What it is called in a model's folder."""

_FORMAT = 1
_DAMAGED = (zipfile.BadZipFile, zlib.error)
_SIGNS = frozenset({"Sm", "Sc", "Sk"})  # Not "So": thousands of emoji.
_SHORT = 2  # Characters of a sign or number that every language has; longer ones are spelled so.


@dataclass(frozen=True, eq=False)
class Shortlists:
    """Which pieces each language, or each script, may use."""

    masks: Mapping[str, Bool[np.ndarray, " V"]]
    """By language code, or by scripts as `script_name` spells them."""
    tokenizer: str
    """SHA-256 of the tokenizer's file, in hexadecimal."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What it was made from, and what it loses."""

    def __repr__(self) -> str:
        return f"<shortlists of {len(self.masks)}: {', '.join(self.masks)}>"

    def get(self, lang: str) -> Bool[np.ndarray, " V"] | None:
        """The pieces of a language (its own, or its script's); None where there is no list."""
        found = self.masks.get(lang)
        return self.masks.get(script_name(lang)) if found is None else found

    def mask(self, lang: str) -> Bool[np.ndarray, " V"]:
        """As `get`; ValueError where there is no list."""
        found = self.get(lang)
        if found is None:
            raise ValueError(
                f"the shortlists have none for {LANGUAGES[lang].name} ({lang}), but for "
                f"{', '.join(self.masks)}; make one with `pali data shortlist`"
            )
        return found

    def check(self, tokenizer: Tokenizer) -> None:
        """Raises ValueError if they were made for another tokenizer."""
        if self.tokenizer != fingerprint(tokenizer):
            raise ValueError(
                "the shortlists were made for another tokenizer than this model's: their ids mean "
                "other pieces; make them again with `pali data shortlist --model`"
            )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the file.

        Raises:
          OSError: it cannot be written.
        """
        size = len(next(iter(self.masks.values())))
        said = {
            **{"format_version": _FORMAT, "tokenizer": self.tokenizer, "vocab_size": size},
            **{"names": list(self.masks), "about": dict(self.about)},
        }
        bits = np.packbits(np.stack(list(self.masks.values())), axis=1)
        with open(path, "wb") as file:
            np.savez_compressed(file, said=np.array(json.dumps(said)), bits=bits)


def read(path: str | os.PathLike[str]) -> Shortlists:
    """Reads what `Shortlists.write` wrote.

    Raises:
      ValueError: it is no such file, or one of a later version.
      OSError: it cannot be read.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            said, bits = json.loads(str(arrays["said"])), arrays["bits"]
        size, names = said["vocab_size"], said["names"]
        masks = np.unpackbits(bits, axis=1, count=size).astype(bool)
        if said["format_version"] != _FORMAT:
            raise ValueError("another version")
        pairs = dict(zip(names, masks, strict=True))
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, *_DAMAGED) as error:
        raise ValueError(
            f"{os.fspath(path)} holds no shortlists that this version of pali can read ({error}); "
            "`pali data shortlist` writes such files"
        ) from None
    return Shortlists(pairs, said["tokenizer"], said["about"])


def beside(tokenizer_path: str | os.PathLike[str], tokenizer: Tokenizer) -> Shortlists | None:
    """Those in the folder of a model; None where there are none.

    Raises:
      ValueError: they are damaged, or another tokenizer's.
    """
    path = pathlib.Path(tokenizer_path).with_name(FILE)
    if not path.is_file():
        return None
    found = read(path)
    found.check(tokenizer)
    return found


def copy_beside(
    tokenizer_path: str | os.PathLike[str] | None, folder: str | os.PathLike[str]
) -> None:
    """Lets the shortlists beside a tokenizer, if there are any, go with it into another folder.

    Args:
      tokenizer_path: a SentencePiece model; None is one beside which there is nothing.
      folder: a model's. Shortlists that are in it already are replaced, or are taken away.
    """
    source = None if tokenizer_path is None else pathlib.Path(tokenizer_path).with_name(FILE)
    dest = pathlib.Path(folder, FILE)
    if source is None or not source.is_file():
        dest.unlink(missing_ok=True)
    elif source.resolve() != dest.resolve():
        shutil.copyfile(source, dest)


def derive(tokenizer: Tokenizer, texts: Mapping[str, Iterable[str]]) -> Shortlists:
    """The pieces of each language's texts, and those that every text may need.

    Args:
      tokenizer: the model's.
      texts: by language code, or by anything else that shortlists are to be called.

    Raises:
      ValueError: there are no texts.
    """
    if not texts:
        raise ValueError("there are no texts to derive shortlists from")
    always = common(tokenizer)
    masks = {}
    for name, own in texts.items():
        mask = always.copy()
        for ids in tokenizer.encode_batch(own):
            mask[ids] = True
        masks[name] = mask
    return Shortlists(masks, fingerprint(tokenizer))


class Lost(NamedTuple):
    """What texts that a shortlist was not made from need besides."""

    texts: int
    tokens: int
    texts_outside: int
    """Texts that cannot be written as the tokenizer spells them."""
    tokens_outside: int
    """Tokens that are not in the shortlist."""


def lost(tokenizer: Tokenizer, mask: Bool[np.ndarray, " V"], texts: Iterable[str]) -> Lost:
    """How much of some texts is outside of a shortlist."""
    rows = tokenizer.encode_batch(texts)
    outside = [np.count_nonzero(~mask[ids]) for ids in rows]
    return Lost(len(rows), sum(map(len, rows)), int(np.count_nonzero(outside)), int(sum(outside)))


def script_name(lang: str) -> str:
    """The scripts of a language as one word: "Latn", "Kana+Hani"."""
    return "+".join(LANGUAGES[lang].scripts)


def of_script(tokenizer: Tokenizer, lang: str) -> Bool[np.ndarray, " V"]:
    """The pieces that have no letter of a script in which the language is not written.

    Needs no texts: what is left where another script has to be kept out.
    """
    allowed = {*LANGUAGES[lang].scripts, "Zyyy"}
    return np.array([scripts <= allowed for scripts in _scripts(tokenizer)])


@functools.lru_cache(maxsize=4)
def common(tokenizer: Tokenizer) -> Bool[np.ndarray, " V"]:
    """The pieces of every shortlist: specials, bytes, short numbers, punctuation and signs."""
    return np.array([_is_common(tokenizer, token) for token in range(tokenizer.vocab_size)])


def fingerprint(tokenizer: Tokenizer) -> str:
    """SHA-256 of a tokenizer's file, in hexadecimal."""
    return hashlib.sha256(tokenizer.to_bytes()).hexdigest()


def _is_common(tokenizer: Tokenizer, token: int) -> bool:
    if tokenizer.is_special(token):
        return True
    word = tokenizer.piece(token).replace(SPACE, "")
    kinds = [unicodedata.category(character) for character in word]
    return len(word) <= _SHORT and all(kind[0] in "NPZ" or kind in _SIGNS for kind in kinds)


@functools.lru_cache(maxsize=4)
def _scripts(tokenizer: Tokenizer) -> tuple[frozenset[str], ...]:
    """The scripts of each piece's letters."""
    found = []
    for token in range(tokenizer.vocab_size):
        piece = "" if tokenizer.is_special(token) else tokenizer.piece(token)
        letters = (c for c in piece if unicodedata.category(c)[0] == "L")
        found.append(frozenset(map(script_of, letters)))
    return tuple(found)
