# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The records of a JSONL file, or of tasks, as `pali data check` looks at them: one by one.

In:  a file and the names of its fields, or tasks with their functions.
Out: `Row`s, in order: the texts that training would learn, the picture not yet decoded, or why
     training would skip the record.
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pali import prompts
from pali.data.picture_facts import Picture, pixels_of
from pali.data.preprocessors import DecodePicture, TextToText
from pali.data.skipping import UNUSABLE
from pali.data.sources import locate, parse_line, read_lines

if TYPE_CHECKING:
    from pali.data.pipeline import Task

TEXT_FIELDS = ("caption", "text", "answer")
LANG_FIELDS = ("lang", "language")
"""What the fields of a JSONL file are called, unless it is said; the first that is there counts."""

ID_FIELD = "id"

_NO_FIELDS = "list_objects"  # A prompt that asks for none: here the answer alone counts.
_TO_LEARN_NAMES = 100


@dataclass(frozen=True)
class Row:
    """One record."""

    number: int
    """Its place, from 0."""
    where: str
    """What to call it."""
    id: str | None = None
    lang: str | None = None
    """The language of the text, as declared."""
    inputs: str | None = None
    text: str | None = None
    key: str | None = None
    """What the picture is called."""
    picture: Picture | None = None
    error: Exception | None = None
    """Why training would skip it, but for its picture."""


@runtime_checkable
class Rows(Protocol):
    """What can be checked."""

    @property
    def name(self) -> str:
        """What they are called."""
        ...

    def __len__(self) -> int:
        """Records."""
        ...

    def __iter__(self) -> Iterator[Row]:
        """All of them, in order."""
        ...

    def at(self, numbers: Iterable[int]) -> Iterator[Row]:
        """Some of them, by number, in ascending order; they must come in it."""
        ...


@dataclass(frozen=True)
class JsonRows:
    """A JSONL file, as the source JsonLines, DecodePicture and TextToText would read it."""

    name: str
    """Its path."""
    images: str
    """The folder below which "image" is a path."""
    text: str
    lang: str | None
    """The fields of the text and of its language; None where no record says the language."""

    def __len__(self) -> int:
        """Lines that are not empty."""
        return sum(1 for _ in read_lines(self.name))

    def __iter__(self) -> Iterator[Row]:
        """Never more than one line in memory."""
        for number, (line, content) in enumerate(read_lines(self.name)):
            yield self._row(number, f"line {line}", content)

    def at(self, numbers: Iterable[int]) -> Iterator[Row]:
        """Reads the file up to the last of them."""
        wanted = set(numbers)
        lines = itertools.islice(enumerate(read_lines(self.name)), max(wanted, default=-1) + 1)
        for number, (line, content) in lines:
            if number in wanted:
                yield self._row(number, f"line {line}", content)

    def _row(self, number: int, where: str, line: str) -> Row:
        try:
            record = parse_line(line, f"{self.name}, {where}")
            known = Row(number, where, id=_text(record, ID_FIELD), lang=_text(record, self.lang))
            record = locate(record, self.images, f"{self.name}, {where}")
        except UNUSABLE as error:
            return Row(number, where, error=error)
        form = TextToText("caption" if self.lang else _NO_FIELDS, self.text)
        path = record["image_key"]
        # One file by two spellings of its path is one picture; an address has its own.
        key = path if "://" in path else os.path.normpath(path)
        changes: dict[str, Any] = {"key": key, "picture": path}
        try:
            lang = {"lang": record.get(self.lang)} if self.lang else {}
            changes["text"] = form(record | lang)["targets"]
        except UNUSABLE as error:
            changes |= {"text": _text(record, self.text), "error": error}
        return Row(**{**vars(known), **changes})


def json_rows(
    path: str, images: str, *, text: str | None = None, lang: str | None = None
) -> JsonRows:
    """A JSONL file whose fields are called as its first records call them.

    Raises:
      ValueError: the file has no record, or none of the first has such a field; it is not UTF-8.
      OSError: the file cannot be read.
    """
    fields: dict[str, None] = {}
    for line, content in itertools.islice(read_lines(path), _TO_LEARN_NAMES):
        try:
            fields.update(dict.fromkeys(parse_line(content, f"{path}, line {line}")))
        except UNUSABLE:
            continue
    if not fields:
        raise ValueError(f"{path} has no line with a JSON object to begin with; expected JSONL")
    found = {}
    for option, given, known in (("text", text, TEXT_FIELDS), ("lang", lang, LANG_FIELDS)):
        if given is not None and given not in fields:
            raise ValueError(f"--{option}-field is {given!r}; {path} has {', '.join(fields)}")
        found[option] = given or next((name for name in known if name in fields), None)
    if found["text"] is None:
        raise ValueError(
            f"{path} has {', '.join(fields)}; say by --text-field which is the text to learn"
        )
    return JsonRows(path, images, found["text"], found["lang"])


@dataclass(frozen=True)
class TaskRows:
    """Tasks, one after the other: what their functions make of the records, pictures put off."""

    name: str
    tasks: Sequence[Task]

    def __len__(self) -> int:
        """Records of all."""
        return sum(len(task.source) for task in self.tasks)

    def __iter__(self) -> Iterator[Row]:
        """Every task's records once, in the order of its source."""
        return self.at(range(len(self)))

    def at(self, numbers: Iterable[int]) -> Iterator[Row]:
        """Any record at once."""
        starts = [0, *itertools.accumulate(len(task.source) for task in self.tasks)]
        for number in numbers:
            place = bisect.bisect_right(starts, number) - 1
            yield _task_row(self.tasks[place], number - starts[place], number)


def _task_row(task: Task, index: int, number: int) -> Row:
    where = f"{task.name}, record {index}"
    example: dict[str, Any] = {}
    picture = None
    try:
        example = task.source[index] | {"draw": f"0/{task.name}/{index}/0"}
        for function in task.functions:
            if hasattr(function, "tokenizer"):
                continue
            if not getattr(function, "makes_image", False):
                try:
                    example = function(example)
                except KeyError as missing:  # One that looks at the picture.
                    if picture is None or missing.args != ("image",):
                        raise
                    example = function(example | {"image": pixels_of(picture)})
            elif isinstance(function, DecodePicture):
                picture = str(example["image_key"])
            else:
                picture = partial(_drawn, function, dict(example))
        error = None
    except UNUSABLE as caught:
        error = caught
    return Row(
        number,
        where,
        id=_text(example, ID_FIELD),
        lang=_answer_language(task, example),
        inputs=_text(example, "inputs"),
        text=_text(example, "targets"),
        key=_text(example, "image_key"),
        picture=picture,
        error=error,
    )


def _drawn(function: Any, example: dict[str, Any]) -> Any:
    return function(example)["image"]


def _answer_language(task: Task, example: Mapping[str, Any]) -> str | None:
    """The language of the text to be learned: not that of a question which is asked in it."""
    forms = [function for function in task.functions if isinstance(function, TextToText)]
    if forms:
        prompt = prompts.get(forms[-1].prompt)
        if "lang" not in prompt.fields:
            return "en" if prompt.template.startswith("Answer in EN") else None
    return _text(example, "lang")


def _text(record: Mapping[str, Any], field: str | None) -> str | None:
    value = record.get(field) if field else None
    return value if value is None or isinstance(value, str) else str(value)
