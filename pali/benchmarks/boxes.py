# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes: RefCOCO, RefCOCO+ and RefCOCOg, and COCO detection.

RefCOCO: one item for each *expression*, by its sent_id. A prediction is one of

    [x, y, width, height]                     in pixels, as COCO writes boxes
    "<loc0100><loc0200><loc0500><loc0600>"    ymin xmin ymax xmax in 1024 steps, as PaliGemma does
    "10 20 90 100 the left dog"               ymin xmin ymax xmax in thousandths (pali/boxes.py)
    null                                      nothing was found

A text without a box counts as not found; a number that is not finite is an error. Scores: the share
with an IoU of at least 0.5, and the mean IoU of the boxes, in 0..1.

COCO detection: the server's rows {image_id, category_id, bbox, score}, of which a picture may have
any number, or one line for each picture with all its boxes as text, by the names of the classes.
Score: AP by pycocotools, and its eleven other numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pali.benchmarks.benchmark import Benchmark, Files, Item, Scored, Split, Submission, paligemma
from pali.benchmarks.pickles import read_pickle
from pali.benchmarks.rows import Row, document, is_finite
from pali.benchmarks.texts import columns
from pali.boxes import Box, in_whole, parse_boxes
from pali.metrics import coco_ap, referring
from pali.metrics.pairs import short
from pali.prompts import PROMPTS

if TYPE_CHECKING:
    from pali.image import Region

_LOCATIONS = re.compile(r"<loc(\d{4})>" * 4)
_LAST_LOCATION = 1023
_IOU = "iou-0.5|boxes"


@dataclass(frozen=True)
class ReferringScorer:
    """Is the box that was found the one that is meant."""

    metric: str = "accuracy"
    variants: tuple[str, ...] = ("iou-0.5",)
    tokenized: bool = False

    def answer(self, value: Any) -> tuple[float, ...] | str | None:
        """[x, y, width, height], a text, or None."""
        if value is None or isinstance(value, str):
            return value
        return _xywh(value)

    def score(
        self, items: Sequence[Item], answers: Sequence[Any], variant: str, tokenizer: str | None
    ) -> Scored:
        """Accuracy at IoU 0.5 and the mean IoU of boxes."""
        targets = [_corners(item.facts["bbox"]) for item in items]
        found = [_found(item, answer) for item, answer in zip(items, answers, strict=True)]
        overlaps = referring.box_ious(targets, found).tolist()
        right = [float(overlap >= referring.THRESHOLD) for overlap in overlaps]
        lost = sum(box is None for box in found)
        notes = [f"{lost:,} predictions have no box, and count as not found"] if lost else []
        variants = {"accuracy": _IOU, "mean_iou": "mean|boxes"}
        return columns(items, {"accuracy": right, "mean_iou": overlaps}, variants, notes=notes)


@dataclass(frozen=True)
class DetectionScorer:
    """COCO's average precision."""

    metric: str = "ap"
    variants: tuple[str, ...] = ("pycocotools",)
    tokenized: bool = False

    def answer(self, value: Any) -> list[dict[str, Any]] | str:
        """The boxes of a picture: rows of the server, or a text."""
        if isinstance(value, str):
            return value
        if not isinstance(value, list):
            raise ValueError("it must be a text of boxes, or a list of {category_id, bbox, score}")
        for row in value:
            if not isinstance(row, dict) or not {"category_id", "bbox", "score"} <= row.keys():
                raise ValueError("every box has category_id, bbox and score")
            _xywh(row["bbox"])
            for key, right in (("score", is_finite), ("category_id", lambda v: type(v) is int)):
                if not right(row[key]):
                    wanted = "a finite number" if key == "score" else "a number of COCO's classes"
                    raise ValueError(f"its {key} is {short(row[key])}, not {wanted}")
        return value

    def score(
        self, items: Sequence[Item], answers: Sequence[Any], variant: str, tokenizer: str | None
    ) -> Scored:
        """The twelve numbers of pycocotools."""
        names = items[0].facts["classes"]
        truth = {
            "images": [
                dict(zip(("id", "height", "width"), (item.id, *item.facts["size"]), strict=True))
                for item in items
            ],
            "categories": [{"id": number, "name": name} for name, number in names.items()],
            "annotations": [row for item in items for row in item.facts["annotations"]],
        }
        found: list[dict[str, Any]] = []
        unknown = 0
        for item, answer in zip(items, answers, strict=True):
            if not isinstance(answer, str):
                found += ({**row, "image_id": item.id} for row in answer)
                continue
            for box in parse_boxes(answer).boxes:
                if box.label not in names:
                    unknown += 1
                    continue
                found.append(_detection(item, names[box.label], box))
        notes = []
        # Texts have none, and neither have rows that were made of texts.
        unranked = len(found) > 1 and len({row["score"] for row in found}) == 1
        if unranked:
            notes.append("all boxes have one score: an AP without scores is not comparable")
        if unknown:
            notes.append(f"{unknown:,} boxes are of no class of COCO, and are left out")
        scores = coco_ap.coco_ap(truth, found)
        label = coco_ap.VARIANT + ("|no scores" if unranked else "")
        return Scored(
            scores, {}, [None] * len(items), dict.fromkeys(scores, label), notes=tuple(notes)
        )


def answer_in_pixels(item: Item, text: str, region: Region) -> list[Any] | None:
    """What a model wrote, as a file of predictions has it: in pixels of the whole picture.

    Args:
      item: of one of these benchmarks.
      text: boxes as pali writes them (pali/boxes.py); what is none is left out.
      region: the part of the picture that the model saw.

    Returns:
      Rows of the server for detection, without boxes of unknown classes; else the first box,
      [x, y, width, height], or None.
    """
    boxes = in_whole(parse_boxes(text).boxes, region)
    if names := item.facts.get("classes"):
        return [_detection(item, names[box.label], box) for box in boxes if box.label in names]
    return _pixels(item, boxes[0]) if boxes else None


def _pixels(item: Item, box: Box) -> list[float]:
    height, width = item.facts["size"]
    corner = [box.xmin * width, box.ymin * height]
    return [*corner, (box.xmax - box.xmin) * width, (box.ymax - box.ymin) * height]


def _detection(item: Item, category: int, box: Box) -> dict[str, Any]:
    bbox = _pixels(item, box)
    return {"image_id": item.id, "category_id": category, "bbox": bbox, "score": 1.0}


def _xywh(value: Any) -> tuple[float, ...]:
    plain = isinstance(value, list) and len(value) == 4
    if not plain or not all(map(is_finite, value)):
        raise ValueError("a box is [x, y, width, height], four finite numbers")
    if value[2] < 0 or value[3] < 0:
        raise ValueError("width and height of a box are not negative")
    return tuple(map(float, value))


def _corners(bbox: Sequence[float]) -> tuple[float, ...]:
    """ymin, xmin, ymax, xmax of [x, y, width, height]."""
    x, y, width, height = bbox
    return (y, x, y + height, x + width)


def _found(item: Item, answer: Any) -> tuple[float, ...] | None:
    if answer is None or not isinstance(answer, str):
        return answer if answer is None else _corners(answer)
    if match := _LOCATIONS.search(answer):
        shares = [int(step) / _LAST_LOCATION for step in match.groups()]
    elif boxes := parse_boxes(answer).boxes:
        shares = list(boxes[0][:4])
    else:
        return None
    height, width = item.facts["size"]
    ymin, xmin, ymax, xmax = (
        share * side for share, side in zip(shares, (height, width) * 2, strict=True)
    )
    return (ymin, xmin, ymax, xmax) if ymin <= ymax and xmin <= xmax else None


def _sizes(whole: Row) -> dict[int, tuple[float, float]]:
    """Height and width of every picture."""
    return {
        row.integer("id"): (row.number("height"), row.number("width"))
        for row in whole.rows("images")
    }


def _refcoco(files: Files, split: str) -> list[Item]:
    path = files.path()
    refs = read_pickle(path)
    if not isinstance(refs, list):
        raise ValueError(f"{path} is no list of referring expressions")
    whole = document(files.path(1))
    sizes = _sizes(whole)
    boxes = {row.integer("id"): row for row in whole.rows("annotations")}
    wanted = split.removeprefix("google-")
    items = []
    for i, value in enumerate(refs):
        row = Row(value, str(path), i)
        if row.text("split") != wanted:
            continue
        picture, object_ = row.integer("image_id"), row.integer("ann_id")
        if object_ not in boxes or picture not in sizes:
            raise ValueError(f"{row.where}: annotation {object_} is not in {files.path(1)}")
        box = boxes[object_].numbers("bbox", 4)
        facts = {"bbox": box, "size": sizes[picture]}
        for sentence in row.rows("sentences"):
            items.append(
                Item(
                    sentence.integer("sent_id"),
                    (" ".join(f"{number:g}" for number in box),),
                    f"train2014/COCO_train2014_{picture:012d}.jpg",
                    sentence.text("sent"),
                    facts=facts,
                )
            )
    return items


def _detect(files: Files, split: str) -> list[Item]:
    whole = document(files.path())
    classes = {row.text("name"): row.integer("id") for row in whole.rows("categories")}
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in whole.rows("annotations"):
        row.numbers("bbox", 4)
        row.integer("id")
        row.integer("iscrowd")
        if row.integer("category_id") not in classes.values():
            row.refuse("category_id", "one of the categories")
        row.number("area")
        rows.setdefault(row.integer("image_id"), []).append(row.fields)
    sizes = _sizes(whole)
    if lost := rows.keys() - sizes.keys():
        raise ValueError(f"{whole.where}: picture {min(lost)} of annotations is not in images")
    folder = {"val": "val2017", "train": "train2017"}[split]
    return [
        Item(
            row.integer("id"),
            (f"{len(rows.get(row.integer('id'), []))} boxes",),
            f"{folder}/{row.text('file_name')}",
            " and ".join(classes),
            facts={
                "size": sizes[row.integer("id")],
                "annotations": rows.get(row.integer("id"), []),
                "classes": classes,
            },
        )
        for row in whole.rows("images")
    ]


def _referring(name: str, title: str, splits: dict[str, Split], score: str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        splits=splits,
        read=_refcoco,
        scorer=ReferringScorer(),
        prompt=PROMPTS["detect"],
        licence="see the publisher; the photos are COCO's",
        documented="https://github.com/lichengunc/refer",
        anchors=paligemma(score, what="val, mIoU of masks, per cent"),
        differs="Boxes alone: mean_iou is not the mIoU of masks, which need PaliGemma's decoder of "
        "masks.",
    )


def _of(partition: str, sizes: dict[str, int | None], prefix: str = "") -> dict[str, Split]:
    files = (f"refs({partition}).p", "instances.json")
    return {f"{prefix}{split}": Split(files, size) for split, size in sizes.items()}


REFCOCO = _referring(
    "refcoco",
    "RefCOCO",
    _of("unc", {"val": 10_834, "testA": 5_657, "testB": 5_095, "train": None})
    | _of("google", {"val": None, "test": None, "train": None}, "google-"),
    "73.40",
)
REFCOCO_PLUS = _referring(
    "refcoco_plus",
    "RefCOCO+",
    _of("unc", {"val": 10_758, "testA": 5_726, "testB": 4_889, "train": None}),
    "68.32",
)
REFCOCOG = _referring(
    "refcocog",
    "RefCOCOg",
    _of("umd", {"val": 4_896, "test": 9_602, "train": None})
    | _of("google", {"val": None, "train": None}, "google-"),
    "67.65",
)

COCO_DETECTION = Benchmark(
    name="coco_detection",
    title="COCO 2017 detection, boxes",
    splits={
        "val": Split(("instances_val2017.json",), 5_000),
        "train": Split(("instances_train2017.json",), 118_287),
    },
    read=_detect,
    scorer=DetectionScorer(),
    prompt=PROMPTS["detect"],
    submission=Submission(
        "image_id",
        "boxes",
        "COCO: detections_test-dev2017_NAME_results.json, in a zip",
        many=("category_id", "bbox", "score"),
    ),
    licence="annotations CC BY 4.0; the photos under those of Flickr",
    documented="https://cocodataset.org/#download",
    differs="AP ranks boxes by a score, which texts do not carry: give the likelihood of each box.",
)
