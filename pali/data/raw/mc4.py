# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""mC4: web text in 101 languages, one JSON object a line in gzipped shards of each language.

    c4-sw.tfrecord-00000-of-00002.json.gz               {"text": …, "timestamp": …, "url": …}
    c4-sw-validation.tfrecord-00000-of-00001.json.gz

Records: id "sw/validation/00000/17" (language, shard, line from 0), lang, text. Each shard is a
part. Languages that mC4 has a second time in Latin letters ("c4-hi-Latn") are declared as the
language itself; only the id tells them apart ("hi-Latn/00000/17").
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from pali.data.pipeline import Example
from pali.data.raw import fields
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError
from pali.languages import resolve, resolve_many

_SHARD = re.compile(r"c4-([a-z]+(?:-Latn)?)(-validation)?\.tfrecord-(\d+)-of-(\d+)\.json\.gz")


def parts(folder: Path) -> list[Part]:
    """The shards that are there, of whatever languages."""
    found = {path.name: _SHARD.fullmatch(path.name) for path in sorted(folder.glob("*.json.gz"))}
    shards = {name: match for name, match in found.items() if match}
    for name, match in shards.items():
        try:
            resolve(match[1].removesuffix("-Latn"))
        except ValueError as error:
            raise ValueError(f"{folder / name}: {error}; put it elsewhere") from None
        if not (folder / name).stat().st_size:
            raise ValueError(f"{folder / name} is empty; fetch it again, or put it elsewhere")
    if not shards:
        raise FileNotFoundError(
            f"{folder} has no file like c4-sw.tfrecord-00000-of-00002.json.gz; give the folder "
            "`multilingual` of mC4 in JSON"
        )
    return [Part("validation" if match[2] else "train", name) for name, match in shards.items()]


def read(folder: Path, part: Part) -> Iterator[Example | RecordError]:
    """id, lang, text of every line of a shard."""
    match = _SHARD.fullmatch(part.file)
    assert match
    lang = resolve(match[1].removesuffix("-Latn"))
    name = f"{match[1]}{match[2] or ''}/{match[3]}"
    try:
        with gzip.open(folder / part.file) as file:
            for number, line in enumerate(file):
                yield _record(line, f"{name}/{number}", lang, f"{part.file}, line {number + 1}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{folder / part.file} is damaged ({error}); fetch it again") from None


def _record(line: bytes, identifier: str, lang: str, where: str) -> Example | RecordError:
    try:
        row = fields.json_object(line, where)
        fields.text(row, "text", where)
    except RecordError as error:
        return error
    return {"id": identifier, "lang": lang, "text": row["text"]}


MC4 = Dataset(
    name="mc4",
    about="web text in 101 languages, for span corruption",
    documented="https://huggingface.co/datasets/allenai/c4",
    licence="ODC-BY 1.0; the texts under the terms of Common Crawl",
    files="""
DIR/c4-sw.tfrecord-00000-of-00002.json.gz               shards of the languages you want, as in the
DIR/c4-sw-validation.tfrecord-00000-of-00001.json.gz    folder `multilingual` of allenai/c4
""",
    parts=parts,
    read=read,
    pictures="none",
    languages=resolve_many("mc4"),
)
