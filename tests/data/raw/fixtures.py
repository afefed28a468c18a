# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files as other people's tools write them, made of the demo corpus."""

import functools
import io
import json
import tarfile

from PIL import Image

from pali.data.demo_corpus import load_corpus
from pali.data.raw.dataset import Dataset, Part
from pali.data.rendering import render
from pali.languages import resolve

CODES = ("1f415", "1f408", "1f33b", "1f682", "1f34e", "1f511")


@functools.cache
def jpeg(code: str) -> bytes:
    """A concept of the demo corpus, as a camera would write it."""
    file = io.BytesIO()
    Image.fromarray(render("noto", code, 0, 24)).save(file, "JPEG")
    return file.getvalue()


def name(code: str, lang: str = "en") -> str:
    return load_corpus().names(resolve(lang))[code]


def write_tar(path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for file, content in files.items():
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def fetched(key: str, code: str, text: str, **about) -> dict[str, bytes]:
    """What img2dataset writes of one picture (rom1504/img2dataset, img2dataset/writer.py)."""
    meta = {"key": key, "status": "success", "error_message": None, "width": 24, "height": 24}
    return {
        f"{key}.jpg": jpeg(code),
        f"{key}.json": json.dumps(meta | about, indent=4).encode(),
        f"{key}.txt": text.encode(),
    }


def pictures_of(dataset: str, ids: dict[str, list[str]]) -> Dataset:
    """A dataset of pictures alone, in place of the real one."""
    return Dataset(
        name=dataset,
        about="",
        documented="",
        licence="",
        files="",
        parts=lambda folder: [Part(split, ".") for split in ids],
        read=lambda folder, part: (
            {"id": identifier, "image": jpeg(CODES[i])}
            for i, identifier in enumerate(ids[part.split])
        ),
    )
