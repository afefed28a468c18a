# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Captions in many languages: Crossmodal-3600 and the validation half of COCO-35L.

Score: the mean over languages of CIDEr, each on its own references (protocols.py). Which languages
count is in the name of the mean: all of them, all but English (big_vision), or all but Quechua
(PaLI), two different "averages of 35".

The split `test` (`dev`) has all languages, with ids KEY/LANG such as "000411001ff7dd4f/sw";
`test-sw` has one, with the keys alone. Languages are spelled as the data set does.
"""

from __future__ import annotations

import bz2
import json
from collections.abc import Iterator
from pathlib import Path

from pali.benchmarks.benchmark import Benchmark, Files, Item, Split, pali_17b, paligemma
from pali.benchmarks.protocols import BV, CHAR, SPACED, TOK, ByLanguage
from pali.benchmarks.rows import Row
from pali.benchmarks.texts import Mean
from pali.languages import COCO_35L as COCO_LANGUAGES
from pali.languages import XM3600 as XM_LANGUAGES
from pali.languages import resolve, resolve_many
from pali.metrics.pairs import read_json_lines
from pali.prompts import PROMPTS

ENGLISH_FROM = "de"
"""The language whose rows the English captions of COCO-35L are taken from, as in big_vision."""


def _xm3600(files: Files, split: str) -> list[Item]:
    path = files.path()
    _, _, only = split.partition("-")
    items = []
    for number, fields in read_json_lines(str(path)):
        row = Row(fields, f"{path}: line {number}")
        key = row.text("image/key")
        for lang in XM_LANGUAGES if not only else (only,):
            said = row.row(lang)
            captions = said.texts("caption") or said.refuse("caption", "captions")
            tokenized = said.texts("caption/tokenized/lowercase")
            if len(tokenized) != len(captions):
                said.refuse("caption/tokenized/lowercase", f"one for each of {len(captions)}")
            items.append(
                Item(
                    key if only else f"{key}/{lang}",
                    captions,
                    f"{key}.jpg",
                    lang=resolve(lang),
                    groups=() if only else (f"lang/{lang}",),
                    facts={"tokenized": tokenized},
                )
            )
    return items


def _coco_35l(files: Files, split: str) -> list[Item]:
    _, _, only = split.partition("-")
    path = files.path()
    captions: dict[tuple[int, str], list[str]] = {}
    for number, line in _lines(path):
        row = Row(line, f"{path}: line {number}")
        image, _, caption = row.text("image_id").partition("_")
        if not (image.isdecimal() and caption.isdecimal()):
            row.refuse("image_id", 'a picture and a caption, such as "391895_0"')
        lang = row.text("trg_lang")
        texts = {lang: "translation_tokenized"}
        if lang == ENGLISH_FROM:
            texts["en"] = "caption_tokenized"
        for code, key in texts.items():
            if code not in COCO_LANGUAGES:
                row.refuse("trg_lang", f"one of {' '.join(COCO_LANGUAGES)}")
            if only in ("", code):
                captions.setdefault((int(image), code), []).append(row.text(key))
    return [
        Item(
            image if only else f"{image}/{lang}",
            tuple(known),
            f"val2014/COCO_val2014_{image:012d}.jpg",
            lang=resolve(lang),
            groups=() if only else (f"lang/{lang}",),
        )
        for (image, lang), known in captions.items()
    ]


def _lines(path: Path) -> Iterator[tuple[int, object]]:
    if path.suffix != ".bz2":
        yield from read_json_lines(str(path))
        return
    with bz2.open(path, "rb") as file:
        number = 0
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, json.loads(line.decode("utf-8"))
        except (EOFError, OSError) as error:
            raise ValueError(f"{path} is no whole bz2 file: {error}") from None
        except ValueError as error:
            raise ValueError(f"line {number} of {path} is no JSON in UTF-8: {error}") from None


def _splits(name: str, file: str, languages: tuple[str, ...], size: int) -> dict[str, Split]:
    whole = {name: Split((file,), size * len(languages))}
    return whole | {f"{name}-{lang}": Split((file,), size) for lang in languages}


_ALL = Mean("cider_mean", "lang/")
_WITHOUT_ENGLISH = Mean("cider_mean_without_en", "lang/", ("lang/en",))
_WITHOUT_QUECHUA = Mean("cider_mean_without_quz", "lang/", ("lang/quz",))

CROSSMODAL_3600 = Benchmark(
    name="xm3600",
    title="Crossmodal-3600, 36 languages",
    splits=_splits("test", "captions.jsonl", XM_LANGUAGES, 3_600),
    read=_xm3600,
    scorer=ByLanguage((_ALL, _WITHOUT_ENGLISH, _WITHOUT_QUECHUA), (TOK, BV, CHAR, SPACED)),
    prompt=PROMPTS["caption"],
    licence="CC BY 4.0",
    documented="https://google.github.io/crossmodal-3600/",
    anchors=pali_17b("98.1 / 75.5 / 72.1", "en / fr / th, CIDEr x 100")
    + paligemma(
        "78.1 / 41.3 / 42.4", what="en / without en / all; protocol xm3600-bv, CIDEr x 100"
    ),
    differs="Which tool made the released tokens is not published, so PaLI's numbers cannot be "
    "reproduced exactly; --check-tokenizer measures how near ours come. PaLI's mean leaves out "
    "Quechua, PaliGemma's English.",
    languages=resolve_many(XM_LANGUAGES),
)

COCO_35L = Benchmark(
    name="coco_35l",
    title="COCO-35L, validation half",
    splits=_splits("dev", "coco_mt_dev.jsonl.bz2", COCO_LANGUAGES, 5_000),
    read=_coco_35l,
    scorer=ByLanguage((_ALL, _WITHOUT_ENGLISH)),
    prompt=PROMPTS["caption"],
    licence="CC BY 4.0; the photos are COCO's",
    documented="https://google.github.io/crossmodal-3600/",
    anchors=paligemma("139.2 / 115.8 / 116.4", what="en / without en / all, CIDEr x 100"),
    differs="References are tokenised and in lower case as published, and go through PTB as in "
    "big_vision. English is taken from the rows of German, once.",
    languages=resolve_many(COCO_LANGUAGES),
)
