# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ImageNet and its relatives: ReaL labels, V2, A, R, Sketch, ObjectNet.

A prediction is the number of a class, 0 to 999, or its WordNet id, "n01440764"; where a model
chooses by the likelihood of names (pali/metrics/label_names.py) that is the number of the best one.
Score: the share of pictures whose class is right, in 0..1; a picture may have several right classes
(ReaL, ObjectNet), and one without any is not scored.

The files of ImageNet itself are those of its challenge on Kaggle. LOC_synset_mapping.txt, which has
the classes in their order, also makes numbers of WordNet ids where those are folders of pictures.
Ids of pictures are names without their ending: "ILSVRC2012_val_00000001"; of those in folders they
have the folder before them, "n01440764/hobby.jpg".
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pali.benchmarks.benchmark import Anchor, Benchmark, Files, Item, Scored, Split, pali_17b
from pali.benchmarks.rows import document, read_json, read_text
from pali.benchmarks.texts import columns
from pali.metrics.pairs import short
from pali.prompts import PROMPTS

CLASSES = 1000
_ZERO_SHOT = "zero-shot, 224 pixels, top-1 in per cent"
_WORDNET = re.compile(r"n\d{8}")
_MAPPING = "LOC_synset_mapping.txt"
_PICTURES = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class TopOne:
    """Is the class right."""

    metric: str = "top_1"
    variants: tuple[str, ...] = ("top-1",)
    tokenized: bool = False

    def answer(self, value: Any) -> str:
        """The number of a class, or its WordNet id."""
        text = str(value) if type(value) is int else value
        if isinstance(text, str):
            text = text.strip()
            if _WORDNET.fullmatch(text):
                return text
            if text.isascii() and text.isdecimal() and int(text) < CLASSES:
                return str(int(text))
        raise ValueError('a class is its number, 0 to 999, or its WordNet id, such as "n01440764"')

    def score(
        self, items: Sequence[Item], answers: Sequence[str], variant: str, tokenizer: str | None
    ) -> Scored:
        """The share of right classes."""
        for item, answer in zip(items, answers, strict=True):
            wordnet = bool(_WORDNET.fullmatch(answer))
            if not any(bool(_WORDNET.fullmatch(each)) == wordnet for each in item.references):
                raise ValueError(
                    f"{item.id} has the class {answer}, and {_MAPPING}, which says what "
                    f"{'number' if wordnet else 'WordNet id'} that is, is not with the references"
                )
        right = [
            float(answer in item.references) for item, answer in zip(items, answers, strict=True)
        ]
        return columns(items, {"top_1": right}, {"top_1": "top-1"})


def _classes(path: Path) -> list[str]:
    """The WordNet ids of the classes, in their order."""
    lines = read_text(path).splitlines()
    ids = [line.split(" ")[0] for line in lines if line.strip()]
    wrong = [each for each in ids if not _WORDNET.fullmatch(each)]
    if wrong or len(ids) > CLASSES or ids != sorted(set(ids)):
        raise ValueError(
            f"{path} is not the list of classes: lines such as 'n01440764 tench, Tinca tinca', "
            f"sorted{', not ' + repr(wrong[0]) if wrong else ''}"
        )
    return ids


def _names(files: Files) -> dict[str, str]:
    """Of each class the first of its names; all of them where another class has that one, too."""
    path = files.path(1)
    _classes(path)
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    return _told_apart({str(i): line.partition(" ")[2] for i, line in enumerate(lines)}, path)


def _names_of_objectnet(files: Files) -> dict[str, str]:
    numbers, path = document(files.path(3)), files.path(4)
    text = read_text(path).splitlines()
    lines = {number: numbers.integer(number) for number in numbers.fields}
    shared = {number for row in _objectnet(files, "test") for number in row.references}
    return _told_apart({number: text[lines[number]] for number in sorted(shared, key=int)}, path)


def _told_apart(synonyms: dict[str, str], path: Path) -> dict[str, str]:
    first = {number: text.split(",")[0].strip() for number, text in synonyms.items()}
    if unnamed := [number for number, name in first.items() if not name]:
        raise ValueError(f"{path}: class {unnamed[0]} has no name")
    count = Counter(first.values())
    return {n: name if count[name] == 1 else synonyms[n].strip() for n, name in first.items()}


def _spelled(number: int, classes: Sequence[str]) -> tuple[str, ...]:
    return (str(number), *classes[number : number + 1])


def _validation(files: Files, split: str) -> list[Item]:
    path = files.path()
    mapping = files.optional(1)
    classes = _classes(mapping) if mapping else []
    if split == "real":
        rows = read_json(path)
        if not isinstance(rows, list):
            raise ValueError(f"{path} is {short(rows)}: expected a list of lists of classes")
        items = []
        for i, labels in enumerate(rows):
            fits = isinstance(labels, list) and all(
                type(each) is int and 0 <= each < CLASSES for each in labels
            )
            if not fits:
                raise ValueError(f"{path}: [{i}] is {short(labels)}: expected numbers of classes")
            spelled = tuple(text for each in labels for text in _spelled(each, classes))
            items.append(_picture(f"ILSVRC2012_val_{i + 1:08d}", spelled))
        return items
    rows = csv.DictReader(io.StringIO(read_text(path)))
    numbers = {each: str(i) for i, each in enumerate(classes)}
    items = []
    for i, row in enumerate(rows, start=2):
        key, said = row.get("ImageId"), row.get("PredictionString")
        if not key or not said or not _WORDNET.fullmatch(said.split(" ")[0]):
            raise ValueError(
                f'{path}: line {i} is {short(row)}: expected "ImageId" and "PredictionString", '
                "which begins with a WordNet id"
            )
        wordnet = said.split(" ")[0]
        known = (wordnet, numbers[wordnet]) if wordnet in numbers else (wordnet,)
        items.append(_picture(key, known))
    return items


def _picture(key: str, classes: tuple[str, ...]) -> Item:
    return Item(key, classes, f"ILSVRC/Data/CLS-LOC/val/{key}.JPEG")


def _folders(files: Files, split: str) -> list[Item]:
    root = files.path()
    mapping = files.optional(1)
    folders = _below(root)
    names = [folder.name for folder in folders]
    by_wordnet = all(map(_WORDNET.fullmatch, names))
    classes = _classes(mapping) if mapping else names if len(names) == CLASSES else []
    if by_wordnet:
        numbers = {each: str(i) for i, each in enumerate(classes)}
        spelled = {name: tuple(filter(None, (name, numbers.get(name)))) for name in names}
    elif all(name.isascii() and name.isdecimal() and int(name) < CLASSES for name in names):
        classes = _classes(mapping) if mapping else []
        spelled = {name: _spelled(int(name), classes) for name in names}
    else:
        odd = next(n for n in names if not _WORDNET.fullmatch(n) and not n.isdecimal())
        raise ValueError(
            f"{root} has a folder {odd!r}: they are named by WordNet ids, or by 0 to 999"
        )
    return _listed(folders, spelled, root.name)


def _objectnet(files: Files, split: str) -> list[Item]:
    root = files.path()
    labels, to_imagenet, order, lines = (files.path(i) for i in range(1, 5))
    names = document(labels)
    numbers = document(order)
    text = read_text(lines).splitlines()
    class_of: dict[str, str] = {}
    for number in numbers.fields:
        line = numbers.integer(number)
        if not 0 <= line < len(text) or not number.isdecimal():
            raise ValueError(
                f"{order}: class {number} is line {line} of {lines}, which is not there"
            )
        class_of[text[line].strip()] = number
    shared = document(to_imagenet)
    known: dict[str, tuple[str, ...]] = {}
    for label in shared.fields:
        wanted = shared.text(label).split("; ")
        if lost := [each for each in wanted if each not in class_of]:
            raise ValueError(f"{to_imagenet}: {label} is {lost[0]!r}, which {lines} does not have")
        known[label] = tuple(class_of[each] for each in wanted)
    folders = [folder for folder in _below(root) if names.text(folder.name) in known]
    classes = {folder.name: known[names.text(folder.name)] for folder in folders}
    return _listed(folders, classes, "objectnet-1.0/images")


def _listed(
    folders: Sequence[Path], classes: Mapping[str, tuple[str, ...]], root: str
) -> list[Item]:
    """The pictures of folders, each with the classes of its folder."""
    return [
        Item(
            f"{folder.name}/{file.name}",
            classes[folder.name],
            f"{root}/{folder.name}/{file.name}",
        )
        for folder in folders
        for file in _pictures(folder)
    ]


def _below(root: Path) -> list[Path]:
    if not root.is_dir():
        raise ValueError(f"{root} is no folder of pictures in folders")
    return sorted(path for path in root.iterdir() if path.is_dir())


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)


def _of(
    name: str,
    title: str,
    files: tuple[str, ...],
    size: int | None,
    documented: str,
    licence: str,
    differs: str,
    read: Callable[[Files, str], list[Item]] = _folders,
    names: Callable[[Files], dict[str, str]] = _names,
    anchors: tuple[Anchor, ...] = (),
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        splits={"test": Split(files, size)},
        read=read,
        scorer=TopOne(),
        prompt=PROMPTS["class_name"],
        licence=licence,
        documented=documented,
        anchors=anchors,
        differs=differs,
        names=names,
    )


_PUBLISHER = "see the publisher"
_200 = (
    "Its 200 classes may be the only candidates, as timm has it, or all 1,000: say which; "
    "the formula is the same."
)

IMAGENET = Benchmark(
    name="imagenet",
    title="ImageNet, labels of the challenge and ReaL",
    splits={
        "val": Split(("LOC_val_solution.csv", _MAPPING), 50_000),
        "real": Split(("real.json", _MAPPING), 50_000),
    },
    read=_validation,
    scorer=TopOne(),
    prompt=PROMPTS["class_name"],
    licence="ImageNet's terms of access; of ReaL see the publisher",
    documented="https://www.kaggle.com/c/imagenet-object-localization-challenge and "
    "https://github.com/google-research/reassessed-imagenet",
    anchors=pali_17b("72.11", _ZERO_SHOT),
    differs="ReaL has no label for some pictures; these are not scored.",
    names=_names,
)
IMAGENET_V2 = _of(
    "imagenet_v2",
    "ImageNet-V2, matched frequency",
    ("imagenetv2-matched-frequency-format-val", _MAPPING),
    10_000,
    "https://github.com/modestyachts/ImageNetV2",
    _PUBLISHER,
    "Folders are numbers of classes, and are read as numbers: 2 comes before 10.",
)
IMAGENET_A = _of(
    "imagenet_a",
    "ImageNet-A",
    ("imagenet-a", _MAPPING),
    7_500,
    "https://github.com/hendrycks/natural-adv-examples",
    _PUBLISHER,
    _200,
    anchors=pali_17b("44.70", _ZERO_SHOT),
)
IMAGENET_R = _of(
    "imagenet_r",
    "ImageNet-R",
    ("imagenet-r", _MAPPING),
    30_000,
    "https://github.com/hendrycks/imagenet-r",
    _PUBLISHER,
    _200,
    anchors=pali_17b("81.97", _ZERO_SHOT),
)
IMAGENET_SKETCH = _of(
    "imagenet_sketch",
    "ImageNet-Sketch",
    ("sketch", _MAPPING),
    50_889,
    "https://github.com/HaohanWang/ImageNet-Sketch",
    _PUBLISHER,
    "",
)
_MAPPINGS = (
    "folder_to_objectnet_label.json",
    "objectnet_to_imagenet_1k.json",
    "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
)
OBJECTNET = _of(
    "objectnet",
    "ObjectNet, the classes it shares with ImageNet",
    ("objectnet-1.0/images", *(f"objectnet-1.0/mappings/{name}" for name in _MAPPINGS)),
    18_574,
    "https://objectnet.dev",
    "its licence forbids training on it",
    "Pictures have a red border of 2 pixels, to be cropped before a model sees them. Classes are "
    "numbers; WordNet ids are not known here.",
    _objectnet,
    _names_of_objectnet,
)
