# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A JSONL file as a task, without a task file: captions of pictures, or questions about them.

    {"image": "kingfisher.jpg", "lang": "sw", "caption": "mdiria juu ya tawi"}
    {"image": "kingfisher.jpg", "lang": "sw", "question": "Ni nini hiki?", "answer": "mdiria"}

The file is the split that is trained on; every other split is the file of that name beside it, as
`pali data split` writes them. Other fields, other prompts and metrics want a task of their own
(docs/add_a_task.md).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pali.config import JSONL, ImageSize
from pali.data.pipeline import Mixture, Task
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.skipping import RecordError
from pali.data.sources import JsonLines, parse_line, read_lines

FORMS = {
    ("lang", "caption"): TextToText("caption", "caption"),
    ("lang", "question", "answer"): TextToText("vqa_in", "answer"),
    ("question", "answer"): TextToText("vqa", "answer"),
}
"""Fields of the first whole line -> what is asked and answered; the first that are all there."""


def read_jsonl(
    path: str, split: str, images: str | None, tokenizer: str, image_size: ImageSize
) -> Mixture:
    """One task: the records of a split.

    Args:
      path: the file of split `train`.
      split: another one is SPLIT.jsonl beside it.
      images: the folder below which "image" is a path; None: where the file lies.
      tokenizer, image_size: of the model.

    Raises:
      ValueError: there is no such file or folder, or no line of it has the fields of FORMS.
    """
    file = Path(path) if split == "train" else Path(path).with_name(split + JSONL)
    if not file.is_file():
        raise ValueError(_missing(file, split))
    folder = Path(images) if images else file.parent
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} for the pictures of {file}: data.images")
    functions = (DecodePicture(image_size), _form(file), Tokenize(tokenizer))
    source = JsonLines(str(file), image_folder=str(folder))
    # By its name alone: where the file lies does not change what is drawn.
    return [(Task(Path(path).stem, source, functions), 1.0)]


def _missing(file: Path, split: str) -> str:
    if split == "train":
        return f"there is no file {file}: data.mixture names a task, or a JSONL file ({JSONL})"
    return (
        f"there is no {file}, which split {split!r} is read from: `pali data split` makes splits "
        "of one file; without any, give --eval-splits and nothing behind it"
    )


def _form(file: Path) -> TextToText:
    """What the first line that is a record has fields for."""
    for number, line in read_lines(str(file)):
        with contextlib.suppress(RecordError):
            record = parse_line(line, f"{file}, line {number}")
            for fields, form in FORMS.items():
                if record.keys() >= set(fields):
                    return form
            raise ValueError(
                f"{file}, line {number} has the fields {', '.join(record)}. Without a task of your "
                f"own (docs/add_a_task.md) it needs image, and {_choices()}"
            )
    raise ValueError(f"{file} has no record: write one JSON object a line")


def _choices() -> str:
    return "; or ".join(" and ".join(fields) for fields in FORMS)
