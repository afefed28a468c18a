# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Words of scripts without spaces, by others' segmenters: Chinese, Japanese, Thai.

    zh  jieba, its exact mode
    ja  janome, with its own dictionary
    th  PyThaiNLP, newmm with its own word list

In:  text as people write it.
Out: the same words with one space between them; spaces are none.

Other segmenters cut elsewhere, and a CIDEr of their words is another number: zh moves by half. So a
score names the segmenter and its version. Without any there are `characters`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import unicodedata
import warnings
from collections.abc import Callable, Sequence

PACKAGES = {"zh": "jieba", "ja": "janome", "th": "pythainlp"}
"""Language -> the package that segments it."""


def segment(texts: Sequence[str], lang: str) -> list[str]:
    """Texts with a space between their words.

    Args:
      texts: in one language.
      lang: one of PACKAGES.

    Raises:
      ModuleNotFoundError: its package is not installed; the message says how to get it.
    """
    cut = _cutters(lang)
    # Half a character, which JSON can hold, is none that a segmenter could encode.
    texts = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    return [" ".join(word for word in map(str.strip, cut(text)) if word) for text in texts]


def characters(texts: Sequence[str]) -> list[str]:
    """Texts with a space between their characters, as people see them: with their marks."""
    return [" ".join(_clusters(text)) for text in texts]


def label(lang: str) -> str:
    """The segmenter of a language and its version, as in "jieba@0.42.1"."""
    return f"{PACKAGES[lang]}@{importlib.metadata.version(PACKAGES[lang])}"


def _clusters(text: str) -> list[str]:
    clusters: list[str] = []
    for character in "".join(text.split()):
        if clusters and unicodedata.category(character) in ("Mn", "Mc", "Me"):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


@functools.cache
def _cutters(lang: str) -> Callable[[str], Sequence[str]]:
    name = PACKAGES[lang]
    try:
        with warnings.catch_warnings():  # jieba has escapes that Python warns of.
            warnings.simplefilter("ignore")
            return _MAKERS[lang](importlib.import_module(_MODULES[lang]))
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"words of {lang} need {name}: pip install 'open-pali[metrics]', or take the protocol "
            "of characters",
            name=error.name,
        ) from error


def _jieba(module) -> Callable[[str], Sequence[str]]:
    module.setLogLevel(60)  # It tells stderr where its cache is.
    return module.lcut


_MODULES = {"zh": "jieba", "ja": "janome.tokenizer", "th": "pythainlp.tokenize"}
_MAKERS: dict[str, Callable] = {
    "zh": _jieba,
    "ja": lambda module: functools.partial(_listed, module.Tokenizer(wakati=True).tokenize),
    "th": lambda module: functools.partial(module.word_tokenize, engine="newmm"),
}


def _listed(tokenize: Callable, text: str) -> list[str]:
    return list(tokenize(text))
