# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CC3M and CC12M: lists of addresses with captions, and the pictures that img2dataset fetched.

    cc3m    Train_GCC-training.tsv, Validation_GCC-1.1.0-Validation.tsv      caption <tab> url
    cc12m   cc12m.tsv                                                        url <tab> caption

The lists have no names for their rows, so a picture finds its own by "url" in its .json
(pali/data/raw/webdataset.py), and the caption is the list's. Of rows with the same address the
first one counts: its caption goes with every such picture. A first line that names the columns, as
img2dataset needs it, is no row.

Records: id "train/17" (split, row from 1, by which CC3M-35L knows it), lang "en", caption, image.
Rows whose picture is gone from the web have no record; they are counted, and it is the list itself
that is compared with what is published.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt64

from pali.data.pipeline import Example
from pali.data.raw import webdataset
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError

_HEADERS = (b"caption\turl", b"url\tcaption")


@dataclass(frozen=True)
class Lists:
    """Where the captions of a dataset's pictures are, and how its files are read."""

    files: Mapping[str, str]
    """Split -> TSV."""
    url: int
    """Column of the address: 0 or 1; the caption is in the other."""

    def parts(self, folder: Path) -> list[Part]:
        """Tars or folders of pictures, of whatever splits are there.

        Raises:
          FileNotFoundError: there are none, or the list of a split that has some.
        """
        found = [part for part in webdataset.parts(folder) if part.split in self.files]
        for split in {part.split: None for part in found}:
            if not (folder / self.files[split]).is_file():
                raise FileNotFoundError(
                    f"{folder} has pictures in {split}, and no {self.files[split]}, which has "
                    "their captions"
                )
        if not found:
            raise FileNotFoundError(f"{folder} has no pictures in {' or '.join(self.files)}")
        return found

    def listed(self, folder: Path, split: str) -> tuple[int, int]:
        """Rows of the list of a split, and those that are no address and caption with a tab."""
        rows = malformed = 0
        with open(folder / self.files[split], "rb") as file:
            for number, line in enumerate(file):
                if number or line.strip().lower() not in _HEADERS:
                    rows += 1
                    malformed += b"\t" not in line or not _cells(line, self.url)[0]
        return rows, malformed

    def read(self, folder: Path, part: Part) -> Iterator[Example | RecordError]:
        """id, lang, caption, image of every sample of a tar or folder."""
        path = folder / self.files[part.split]
        rows = _open(str(path), self.url, path.stat().st_mtime_ns)
        for sample in webdataset.samples(folder / part.file):
            try:
                yield _record(sample, rows, part.split)
            except RecordError as error:
                yield error


@dataclass(frozen=True)
class Rows:
    """A TSV whose rows are found by their address, and read where they stand.

    It keeps 24 bytes a row, and none of their text: 300 MB of the 12 million of CC12M.
    """

    content: Any
    """The file, mapped into memory."""
    url: int
    hashes: UInt64[np.ndarray, " rows"]
    """Of the addresses, sorted."""
    numbers: Int64[np.ndarray, " rows"]
    """Of the rows with these hashes, from 0; equal ones in the file's order."""
    starts: Int64[np.ndarray, " rows"]
    """Row -> its first byte."""

    def find(self, url: str) -> tuple[int, str] | None:
        """Number (from 1) and caption of the first row with an address.

        Raises:
          RecordError: the caption is not UTF-8.
        """
        address = url.encode("utf-8", "surrogatepass")
        wanted = np.frombuffer(_digest(address), np.uint64)[0]
        place = int(np.searchsorted(self.hashes, wanted))
        while place < len(self.hashes) and self.hashes[place] == wanted:
            row = int(self.numbers[place])
            start = int(self.starts[row])
            end = self.content.find(b"\n", start)
            line = self.content[start : end if end >= 0 else len(self.content)]
            found, caption = _cells(line, self.url)
            if found == address:
                try:
                    return row + 1, caption.decode("utf-8")
                except UnicodeDecodeError as error:
                    message = f"row {row + 1} of the list is not UTF-8: {error}"
                    raise RecordError("row", message) from None
            place += 1  # Another address, of the same hash.
        return None


def _record(sample: webdataset.Sample, rows: Rows, split: str) -> Example:
    url = sample.about.get("url")
    if not isinstance(url, str):
        raise RecordError("row", f'{sample.where}.json has "url": {url!r}; expected an address')
    found = rows.find(url.strip())
    if found is None:
        raise RecordError("row", f"{sample.where} is from {url}, which the list does not have")
    row, caption = found
    if not caption:
        raise RecordError("text", f"row {row}, the caption of {sample.where}, is empty")
    return {"id": f"{split}/{row}", "lang": "en", "caption": caption, "image": sample.picture}


@functools.lru_cache(maxsize=2)
def _open(path: str, url: int, changed: int) -> Rows:
    """A list, read once by each process, and again when it was changed."""
    del changed
    digests, starts, place = bytearray(), array("q"), 0
    with open(path, "rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # An empty file cannot be mapped.
            raise ValueError(f"{path} is empty; fetch it again") from error
        for number, line in enumerate(file):
            if number or line.strip().lower() not in _HEADERS:
                digests += _digest(_cells(line, url)[0])
                starts.append(place)
            place += len(line)
    found = np.frombuffer(digests, np.uint64)
    order = np.argsort(found, kind="stable")  # Stable: of equal ones the first comes first.
    return Rows(content, url, found[order], order, np.frombuffer(starts, np.int64))


def _cells(line: bytes, url: int) -> tuple[bytes, bytes]:
    """Address and caption of a row; a caption may have tabs, an address has none."""
    if url == 0:
        address, _, caption = line.partition(b"\t")
    else:
        caption, _, address = line.rpartition(b"\t")
    return address.strip(), caption.strip()


def _digest(url: bytes) -> bytes:
    return hashlib.blake2b(url, digest_size=8).digest()


_CC3M = Lists(
    {"train": "Train_GCC-training.tsv", "validation": "Validation_GCC-1.1.0-Validation.tsv"}, url=1
)
_CC12M = Lists({"train": "cc12m.tsv"}, url=0)

CC3M = Dataset(
    name="cc3m",
    about="3.3 million web pictures with cleaned English alt texts",
    documented="https://ai.google.com/research/ConceptualCaptions/download",
    licence="captions free for any use, with acknowledgement of Google; pictures their owners'",
    files="""
DIR/Train_GCC-training.tsv                 caption <tab> url, as published
DIR/Validation_GCC-1.1.0-Validation.tsv
DIR/train/00000.tar                        their pictures: img2dataset with --output_format
DIR/validation/00000.tar                   webdataset, or files (folders train/00000)
""",
    parts=_CC3M.parts,
    read=_CC3M.read,
    sizes={"train": 3_318_333, "validation": 15_840},
    listed=_CC3M.listed,
    languages=("en",),
)

CC12M = Dataset(
    name="cc12m",
    about="12 million web pictures with English alt texts",
    documented="https://github.com/google-research-datasets/conceptual-12m",
    licence="captions free for any use, with acknowledgement of Google; pictures their owners'",
    files="""
DIR/cc12m.tsv                 url <tab> caption, as published
DIR/train/00000.tar           their pictures: img2dataset with --output_format webdataset, or files
                              (folders train/00000)
""",
    parts=_CC12M.parts,
    read=_CC12M.read,
    sizes={"train": 12_423_374},
    listed=_CC12M.listed,
    languages=("en",),
)
