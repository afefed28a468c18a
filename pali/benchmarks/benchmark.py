# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a benchmark is: its files, what is asked, how answers are scored and handed in.

In:  the raw files as their publisher hands them out, in a folder, or the one file of a split.
Out: `Item`s: what is asked of a model, and what its answer is compared with.

A specification is a `Benchmark`, in the module of its family; registry.py has all by name. It needs
neither TensorFlow nor JAX, and no picture: a picture is a path below the folder where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pali.prompts import PROMPTS, Prompt

SPEC = "1"
"""Version of the specifications; it rises when one of them changes a score."""


@dataclass(frozen=True)
class Item:
    """One question, or one picture to describe."""

    id: int | str
    references: tuple[str, ...] = ()
    """What the answer is compared with; nothing where the answers are hidden, and where a picture
    is not scored."""
    picture: str = ""
    """Path below the folder of pictures; "" of text alone."""
    question: str = ""
    lang: str = "en"
    """The language of the answer, as pali spells it."""
    groups: tuple[str, ...] = ()
    """Parts of the split that are also scored by themselves, such as "answer_type/number"."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the scorer of the family needs besides: boxes, tokenised references."""


@dataclass(frozen=True)
class Split:
    """A part of a benchmark with files of its own."""

    files: tuple[str, ...]
    """Below the folder of references; the first has what is scored, and may be given alone."""
    size: int | None = None
    """Items that are published, where that is known."""
    hidden: bool = False
    """Whether the answers are known to a server alone."""


@dataclass(frozen=True)
class Files:
    """The files of one split, below a folder, or the first of them by itself."""

    root: Path
    names: tuple[str, ...]

    def path(self, index: int = 0) -> Path:
        """The path of a file of the split.

        Raises:
          FileNotFoundError: it is not there.
          ValueError: it is there twice.
        """
        found = self.optional(index)
        if found is None and not self.root.is_dir():
            raise FileNotFoundError(
                f"{self.root} is one file, and {self.names[index]} is needed as well: give the "
                "folder that has both"
            )
        if found is None:
            raise FileNotFoundError(
                f"{self.root} has no {self.names[index]}, also not in a folder of it"
            )
        return found

    def like(self, pattern: str) -> list[Path]:
        """Every file of that pattern, in their order; a file given alone is the only one.

        Raises:
          FileNotFoundError: there is none.
        """
        if not self.root.is_dir():
            return [self.root]
        found = sorted(self.root.glob(pattern)) or sorted(self.root.glob(f"*/{pattern}"))
        if not found:
            raise FileNotFoundError(f"{self.root} has no {pattern}, also not in a folder of it")
        return found

    def optional(self, index: int) -> Path | None:
        """The path of a file that scoring can do without; None if it is not there."""
        name = self.names[index]
        if not self.root.is_dir():
            return self.root if index == 0 else None
        if index == 0 and self.root.name == Path(name).name:
            return self.root  # The folder of pictures itself.
        for spelled in (name, name.removesuffix(".bz2")):
            if (self.root / spelled).exists():
                return self.root / spelled
        found = sorted(self.root.glob(f"*/{name}"))
        if len(found) > 1:
            raise ValueError(f"{name} is there twice, {found[0]} and {found[1]}: give one of them")
        return found[0] if found else None


@dataclass(frozen=True)
class Scored:
    """What a scorer finds."""

    scores: dict[str, float]
    """The score first; others follow."""
    groups: dict[str, dict[str, float]]
    """Of each group the same scores."""
    per_item: list[float | None]
    variants: dict[str, str]
    """Of each score the variant, as its signature has it."""
    tokenizer: str = "none"
    notes: tuple[str, ...] = ()
    judged: Mapping[str, int] = field(default_factory=dict)
    """Of scores that judge answers as they are, without a tokenizer, and not all of them: how many
    they are of."""


@runtime_checkable
class Scorer(Protocol):
    """How the answers to a benchmark become numbers."""

    @property
    def metric(self) -> str:
        """The name of the score."""
        ...

    @property
    def variants(self) -> tuple[str, ...]:
        """What --variant may be; the first is the default."""
        ...

    @property
    def tokenized(self) -> bool:
        """Whether a tokenizer can be chosen."""
        ...

    def answer(self, value: Any) -> Any:
        """A prediction as it stands in a file, as `score` takes it.

        Raises:
          ValueError: it is none; the message goes on after "has prediction …: ".
        """
        ...

    def score(
        self, items: Sequence[Item], answers: Sequence[Any], variant: str, tokenizer: str | None
    ) -> Scored:
        """Scores of items and their answers, in the same order."""
        ...


@dataclass(frozen=True)
class Submission:
    """What a server wants: a JSON list of {"question_id": 7, "answer": "a dog"}."""

    id: str
    answer: str
    where: str
    """The server, and what it calls the file."""
    read: tuple[tuple[str, str], ...] = ()
    """Other names of the two fields, which are read and never written."""
    mapping: bool = False
    """Whether it is one object of ids and answers instead of a list."""
    many: tuple[str, ...] = ()
    """Fields of rows of which an id may have any number, also none: boxes of a picture."""

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Every pair of names that is read."""
        return ((self.id, self.answer), *self.read)


_PALI = "PaLI, arXiv 2209.06794, as others report it"


@dataclass(frozen=True)
class Anchor:
    """A published number to compare with."""

    system: str
    score: str
    """As it is printed there."""
    what: str
    """The split, the variant, the scale."""
    source: str


def pali_17b(score: str, what: str) -> tuple[Anchor, ...]:
    """The number of PaLI-17B; `what` it is of."""
    return (Anchor("PaLI-17B", score, what, _PALI),)


def paligemma(at_224: str, at_448: str | None = None, what: str = "") -> tuple[Anchor, ...]:
    """The numbers of PaliGemma 3B, transferred at two resolutions; `what` they are of."""
    numbers = {"pt-224": at_224, "pt-448": at_448}
    return tuple(
        Anchor(f"PaliGemma 3B {size}", score, what, "big_vision, README of PaliGemma")
        for size, score in numbers.items()
        if score is not None
    )


@dataclass(frozen=True)
class Benchmark:
    """One benchmark."""

    name: str
    title: str
    splits: Mapping[str, Split]
    """The first is the default."""
    read: Callable[[Files, str], list[Item]]
    """(files, split) -> its items. Raises ValueError, naming the file and the place in it."""
    scorer: Scorer
    licence: str
    documented: str
    """Where the files are published."""
    submission: Submission | None = None
    prompt: Prompt = PROMPTS["vqa"]
    """PaLI's, filled by `inputs`."""
    anchors: tuple[Anchor, ...] = ()
    differs: str = ""
    """What cannot be reproduced exactly, and why."""
    pictures: bool = True
    """Whether it is about pictures, and not about text alone."""
    names: Callable[[Files], dict[str, str]] | None = None
    """The files of a split -> name of each class, by its number, where classes are asked for."""
    languages: Sequence[str] = ("en",)
    """Those of its questions and answers, as pali spells them."""

    def items(self, references: Path, split: str | None = None) -> list[Item]:
        """The items of a split.

        Args:
          references: a folder, or the split's first file.
          split: one of `splits`; None is the first.

        Raises:
          OSError: a file is not there or cannot be read.
          ValueError: there is no such split, or a file is not as it is published.
        """
        name, chosen = self.split(split)
        if not references.exists():
            raise FileNotFoundError(f"{references} is not there")
        items = self.read(Files(references, chosen.files), name)
        if not items:
            raise ValueError(f"{references} has nothing of the split {name} of {self.name}")
        return items

    def split(self, name: str | None) -> tuple[str, Split]:
        """A split and its name; None is the first. ValueError lists them."""
        name = name or next(iter(self.splits))
        if name not in self.splits:
            raise ValueError(
                f"no split {name!r} of {self.name}; there are {', '.join(self.splits)}"
            )
        return name, self.splits[name]

    def inputs(self, item: Item) -> str:
        """The prompt of an item: "Answer in EN: What is this? <extra_id_0>"."""
        return self.prompt.fill(self.fields(item))

    def fields(self, item: Item) -> dict[str, str]:
        """What the prompt is filled with: {"question": "What is this?", "lang": "en"}."""
        return dict.fromkeys(self.prompt.fields, item.question) | {"lang": item.lang}

    def class_names(self, references: Path, split: str | None = None) -> dict[str, str]:
        """Name of each class, by its number; ValueError where no classes are asked for."""
        if self.names is None:
            raise ValueError(f"{self.name} does not ask for classes")
        return self.names(Files(references, self.split(split)[1].files))
