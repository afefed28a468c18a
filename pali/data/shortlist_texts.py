# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Texts that vocabulary shortlists are derived from, and others that they are measured on.

    JSONL of {"lang", "caption" or "text"}, or the demo corpus -> {lang: texts}, {lang: held-out}

Of the demo corpus held out is what its training never sees: names and keywords of the concepts
never seen and of each language's held-out pairs, and the unseen strings. Of a file, every tenth
text by its hash, unless another file is given for it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence

from pali.data.demo_corpus import load_corpus
from pali.data.demo_strings import is_unseen, load_strings
from pali.languages import LANGUAGES, resolve
from pali.shortlist import script_name

Texts = dict[str, list[str]]
"""By language code, or by scripts."""

FIELDS = ("caption", "text")
_HELD_OUT = 10  # Every so many-th text of a file.


def demo_texts() -> tuple[Texts, Texts]:
    """Texts of the demo corpus, and those that are held out: by language."""
    corpus, strings = load_corpus(), load_strings()
    never = {concept.code for concept in corpus.concepts if concept.split != "train"}
    groups = [part for concept in corpus.concepts for part in (concept.group, concept.subgroup)]
    kept: Texts = {}
    held_out: Texts = {}
    for lang in corpus.languages:
        names, keywords = corpus.names(lang), corpus.keywords(lang)
        unseen = never | corpus.held_out(lang)
        kept[lang], held_out[lang] = list(dict.fromkeys(groups)) if lang == "en" else [], []
        for code in [*names, *keywords.keys() - names.keys()]:
            texts = [*([names[code]] if code in names else []), *keywords.get(code, [])]
            (held_out if code in unseen else kept)[lang] += texts
        for text in strings.texts(lang) if lang in strings.languages else ():
            (held_out if is_unseen(text) else kept)[lang].append(text)
        known = set(kept[lang])  # A keyword may stand for two things.
        held_out[lang] = [text for text in held_out[lang] if text not in known]
    return kept, held_out


def read_texts(path: str) -> Texts:
    """The texts of a JSONL file, by language.

    Raises:
      ValueError: a line is no such row; there is no row.
      OSError: the file cannot be read.
    """
    found: Texts = {}
    with open(path, encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    lang, text = _row(line, f"{path}, line {number}")
                    found.setdefault(lang, []).append(text)
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not a text file in UTF-8") from None
    if not found:
        raise ValueError(f"{path} has no rows")
    return found


def _row(line: str, where: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
    except ValueError:
        raise ValueError(f"{where} is no JSON") from None
    row = row if isinstance(row, dict) else {}
    texts = [row[name] for name in FIELDS if isinstance(row.get(name), str)]
    if len(texts) != 1 or not isinstance(row.get("lang"), str):
        raise ValueError(f'{where} lacks "lang", or one of {" and ".join(FIELDS)}')
    try:
        return resolve(row["lang"]), texts[0]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def parted(texts: Mapping[str, Sequence[str]]) -> tuple[Texts, Texts]:
    """Nine tenths of each language's texts, and one; by the text alone, so that copies go along."""
    held = {lang: [text for text in own if _is_held(text)] for lang, own in texts.items()}
    kept = {lang: [text for text in own if not _is_held(text)] for lang, own in texts.items()}
    return kept, held


def by_script(texts: Mapping[str, Iterable[str]]) -> Texts:
    """The texts of all languages of the same scripts together."""
    found: Texts = {}
    for lang, own in texts.items():
        found.setdefault(script_name(lang) if lang in LANGUAGES else lang, []).extend(own)
    return found


def _is_held(text: str) -> bool:
    return zlib.crc32(text.encode()) % _HELD_OUT == 0
