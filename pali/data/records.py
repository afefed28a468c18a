# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenised records: task features written once, for training without SeqIO and TensorFlow.

    write_records(read_mixture(name), folder, "train")     where SeqIO is installed
    mixture = read_records(folder, "train")                anywhere; goes where read_mixture's goes

A folder has one sub-folder for each split, with for each task

  NAME.array_record   the examples, in the order of the task's source
  NAME.pictures.npy   i64: where each different picture stands first

and meta.json: {"format", "name", "tokenizer": sha256, "tasks": [{"name", "rate", "pictures",
"image", "pixels", "draws"}]}, where "pictures" is "stored", "left_out" or "none", "image" says what
made them, "pixels" how picture files were resized and "draws" whether each visit saw another part.

Tasks keep their names, rates and order of records; so training draws the very batches that it would
draw from the mixture itself. A record is a msgpack map; an array in it is extension type 1:
(dtype, shape, bytes).
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import grain
import ml_dtypes  # noqa: F401, makes np.dtype("bfloat16") known
import msgpack
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from pali.config import PixelConfig, from_json
from pali.data.picture_content import KeepContent, content_of_pixels, draws
from pali.data.pipeline import Drawn, Example, Function, Mixture, Task

FORMAT = 1
_ARRAY = 1


@dataclass(frozen=True)
class RecordFile:
    """A source over one array_record file; opened on first use, picklable as its path."""

    path: str

    def __len__(self) -> int:
        """Records in the file."""
        return len(_open(self.path))

    def __getitem__(self, index: int) -> Example:
        """The features as they were written."""
        return unpack(_open(self.path)[index])

    @property
    def pictures(self) -> FirstRecords:
        """A source of the different pictures, for filling a cache of visual tokens."""
        return FirstRecords(self)


@dataclass(frozen=True)
class FirstRecords:
    """The records of a file in which a picture stands for the first time."""

    file: RecordFile

    def __len__(self) -> int:
        """Different pictures."""
        return len(_open_pictures(self.file.path))

    def __getitem__(self, index: int) -> Example:
        """The features as they were written."""
        return self.file[int(_open_pictures(self.file.path)[index])]


@dataclass(frozen=True, repr=False)
class StoredImage:
    """Stands where an image was made before writing, so that visual tokens can take its place."""

    image: str
    """What made the image; this is also what the function calls itself, for `vit_fingerprint`."""
    pixels: PixelConfig | None = None
    """How it was made of a picture file; None where it was drawn, or in records that do not say."""
    makes_image: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """The example as it is: "image" is in it."""
        return example

    def content(self, example: Example) -> str:
        """What the image was made of; of records that do not say, its pixels."""
        return example.get("image_content") or content_of_pixels(example["image"])

    def __repr__(self) -> str:
        return self.image


@dataclass(frozen=True, repr=False)
class LeftOutImage:
    """Stands where an image would be made, of records that were written without."""

    image: str
    folder: str
    draws: bool = False
    """Whether it would be another picture at every visit."""
    makes_image: ClassVar[bool] = True
    left_out: ClassVar[bool] = True

    def __call__(self, example: Example) -> Example:
        """Always raises: only visual tokens can take the picture's place."""
        raise ValueError(
            f"the records in {self.folder} hold no pictures: train on a visual-token cache that "
            "was filled from the same pictures before (data.visual_token_cache), or write the "
            "records with pictures"
        )

    def content(self, example: Example) -> str:
        """What the image would be made of."""
        if "image_content" not in example:
            raise ValueError(
                f"the records in {self.folder} do not say which pictures they are about, as those "
                "of an earlier pali do not: write them anew"
            )
        return example["image_content"]

    def __repr__(self) -> str:
        return self.image


def write_records(
    mixture: Mixture,
    folder: str | os.PathLike[str],
    split: str,
    *,
    name: str = "",
    pictures: bool = True,
) -> None:
    """Writes every example of every task, after its functions, below `folder`/`split`.

    Args:
      mixture: tasks and rates, adapted to the model first (`fit_to_model`).
      folder: made when absent.
      split: name of the sub-folder.
      name: what the mixture is called; training under another name is then refused.
      pictures: whether to store "image"; without it, only what tells it apart is kept, for training
        on cached visual tokens. A picture that is drawn anew at every visit is stored once.

    Raises:
      FileExistsError: the split was written there before.
    """
    path = pathlib.Path(folder) / split
    if (path / "meta.json").exists():
        raise FileExistsError(f"{path} has records already; delete it, or give another folder")
    path.mkdir(parents=True, exist_ok=True)
    tasks = []
    for task, rate in mixture:
        makers = [f for f in task.functions if getattr(f, "makes_image", False)]
        functions = [f for f in task.functions if pictures or f not in makers]
        # A part of a picture that was drawn once is not the picture: its pixels tell it apart.
        if makers and not (pictures and draws(makers)):
            functions.insert(task.functions.index(makers[0]), KeepContent(tuple(makers)))
        _write_task(path / task.name, replace(task, functions=tuple(functions)))
        state = ("stored" if pictures else "left_out") if makers else "none"
        image = ", ".join(map(repr, makers))
        pixels = next((asdict(f.pixels) for f in makers if hasattr(f, "pixels")), None)
        told = {"name": task.name, "rate": rate, "pictures": state, "image": image}
        tasks.append(told | {"pixels": pixels, "draws": draws(makers)})
    tokenizers = {
        f.tokenizer for task, _ in mixture for f in task.functions if hasattr(f, "tokenizer")
    }
    hashes = [file_hash(tokenizer) for tokenizer in sorted(tokenizers)]
    meta = {"format": FORMAT, "name": name, "tokenizer": " ".join(hashes), "tasks": tasks}
    # Last: a folder without it was not written to its end.
    (path / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def read_records(
    folder: str | os.PathLike[str],
    split: str,
    tokenizer: str | os.PathLike[str] | None = None,
    name: str | None = None,
) -> list[tuple[Task, float]]:
    """The tasks and rates that `write_records` wrote.

    Args:
      folder: where the records were written.
      split: its sub-folder.
      tokenizer: the model's SentencePiece model; records that another one cut are refused.
      name: of the mixture; records that were written under another name are refused.

    Raises:
      ValueError: there are no whole records of that split, or they are of another format, another
        tokenizer or another mixture.
    """
    path = pathlib.Path(folder) / split
    if not (path / "meta.json").is_file():
        splits = sorted(meta.parent.name for meta in pathlib.Path(folder).glob("*/meta.json"))
        raise ValueError(
            f"no records of split {split!r} in {folder} "
            + (f"(it has {', '.join(splits)})" if splits else "(it has none, or unfinished ones)")
            + f". `pali tasks NAME --split {split} --write {folder}` writes them"
        )
    meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    if meta["format"] != FORMAT:
        raise ValueError(f"{path} has records of format {meta['format']}; this pali reads {FORMAT}")
    written = meta.get("name", "")
    if name is not None and written not in ("", name):
        raise ValueError(
            f"the records in {path} are of {written!r}, and {name!r} is asked for: set "
            f"data.mixture to {written!r}, or give the other records"
        )
    if tokenizer is not None and meta["tokenizer"] not in ("", file_hash(tokenizer)):
        raise ValueError(
            f"the records in {path} were tokenised by another tokenizer than {tokenizer}; write "
            "them anew for this model"
        )
    return [(_read_task(path, task), task["rate"]) for task in meta["tasks"]]


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file, by which a tokenizer is known again."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def pack(example: Example) -> bytes:
    """An example of text, bytes, numbers, lists of text and arrays -> bytes."""
    return msgpack.Packer(default=_pack_array).pack(example)


def unpack(record: bytes) -> Example:
    """What `pack` packed; arrays are read-only."""
    return msgpack.unpackb(record, ext_hook=_unpack_array, strict_map_key=False)


def _write_task(path: pathlib.Path, task: Task) -> None:
    # One record to a group: training reads them one by one, in any order.
    writer = ArrayRecordWriter(f"{path}.array_record", "group_size:1")
    first: dict[str, int] = {}
    examples = Drawn(task, seed=0, shuffled=False)
    for index in range(len(examples)):
        example = examples[index]
        if isinstance(example.get("image"), bytes):  # A file that nothing has decoded.
            del example["image"]
        content = example.get("image_content")
        if content is None and isinstance(example.get("image"), np.ndarray):
            content = content_of_pixels(example["image"])
        if content is not None:
            first.setdefault(content, index)
        writer.write(pack(example))
    writer.close()
    np.save(f"{path}.pictures.npy", np.array(list(first.values()), np.int64))


def _read_task(path: pathlib.Path, task: dict[str, Any]) -> Task:
    pixels = from_json(PixelConfig, json.dumps(task["pixels"])) if task.get("pixels") else None
    functions: dict[str, tuple[Function, ...]] = {
        "stored": (StoredImage(task["image"], pixels),),
        "left_out": (LeftOutImage(task["image"], str(path), task.get("draws", False)),),
        "none": (),
    }
    source = RecordFile(str(path / f"{task['name']}.array_record"))
    return Task(task["name"], source, functions[task["pictures"]])


def _pack_array(value: Any) -> msgpack.ExtType:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a {type(value).__name__} cannot be written into a record")
    array = np.asarray(value, order="C")
    return msgpack.ExtType(_ARRAY, msgpack.packb((array.dtype.name, array.shape, array.tobytes())))


def _unpack_array(code: int, data: bytes) -> Any:
    if code != _ARRAY:
        raise ValueError(f"a record has a value of unknown kind {code}")
    dtype, shape, content = msgpack.unpackb(data)
    return np.frombuffer(content, np.dtype(dtype)).reshape(shape)


@functools.cache
def _open(path: str) -> Any:
    return grain.sources.ArrayRecordDataSource([path])


@functools.cache
def _open_pictures(path: str) -> np.ndarray:
    return np.load(path.removesuffix(".array_record") + ".pictures.npy")
