# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""English captions: COCO in Karpathy's splits, NoCaps, TextCaps, VizWiz-Captions.

Score: CIDEr-D on PTB tokens, all references of a picture; BLEU-4 and ROUGE-L beside it. METEOR and
SPICE are not computed.

  coco_captions    references are `sentences.raw` of dataset_coco.json
  nocaps           a picture has a domain, and each domain is scored by itself
  textcaps         one row for each caption of a picture
  vizwiz_captions  captions that are rejected or pre-canned are dropped, as in its API; a picture
                   with no other is not scored
"""

from __future__ import annotations

from collections.abc import Iterable

from pali.benchmarks.benchmark import Benchmark, Files, Item, Split, Submission, pali_17b, paligemma
from pali.benchmarks.rows import Row, document, same_split
from pali.benchmarks.texts import Measure, TextScorer
from pali.prompts import PROMPTS

SCORER = TextScorer(
    (
        Measure("cider", "cider", "cider-d"),
        Measure("bleu_4", "bleu", "bleu-4"),
        Measure("rouge_l", "rouge_l", "coco"),
    )
)
_NO_METEOR = "METEOR and SPICE need jars in Java and are not computed."
_KARPATHY = {"test": ("test",), "val": ("val",), "train": ("train", "restval")}


def _karpathy(files: Files, split: str) -> list[Item]:
    if split == "test2014":
        return [
            Item(row.identifier("id"), picture=f"test2014/{row.text('file_name')}")
            for row in document(files.path()).rows("images")
        ]
    items = []
    for row in document(files.path()).rows("images"):
        if row.text("split") in _KARPATHY[split]:
            captions = tuple(sentence.text("raw") for sentence in row.rows("sentences"))
            picture = f"{row.text('filepath')}/{row.text('filename')}"
            items.append(Item(row.integer("cocoid"), _some(captions, row), picture))
    return items


def _nocaps(files: Files, split: str) -> list[Item]:
    whole = document(files.path())
    captions = {} if split == "test" else _by_picture(whole.rows("annotations"))
    folder = {"val": "validation", "test": "test"}[split]
    items = []
    for row in whole.rows("images"):
        domains = (f"domain/{row.text('domain')}",) if "domain" in row else ()
        key = row.integer("id")
        known = captions.get(key, ())
        picture = f"{folder}/{row.text('file_name')}"
        if split != "test":
            _some(known, row)
        items.append(Item(key, known, picture, groups=domains))
    _none_left(whole, captions, items)
    return items


def _textcaps(files: Files, split: str) -> list[Item]:
    whole = document(files.path())
    same_split(whole, "dataset_type", (split,))
    captions: dict[str, tuple[str, ...]] = {}
    for row in whole.rows("data"):
        key = row.text("image_id")
        said = () if split == "test" else (row.text("caption_str"),)
        captions[key] = (*captions.get(key, ()), *said)
    folder = "test_images" if split == "test" else "train_images"  # val is cut from train.
    return [Item(key, known, f"{folder}/{key}.jpg") for key, known in captions.items()]


def _vizwiz(files: Files, split: str) -> list[Item]:
    whole = document(files.path())
    captions = {} if split == "test" else _by_picture(whole.rows("annotations"), checked=True)
    items = []
    for row in whole.rows("images"):
        key = row.integer("id")
        items.append(Item(key, captions.get(key, ()), f"{split}/{row.text('file_name')}"))
    _none_left(whole, captions, items)
    return items


def _by_picture(rows: Iterable[Row], checked: bool = False) -> dict[int, tuple[str, ...]]:
    """Captions by the number of their picture; of VizWiz those that people accepted."""
    captions: dict[int, tuple[str, ...]] = {}
    for row in rows:
        key = row.integer("image_id")
        known = captions.setdefault(key, ())
        if not (checked and (row.flag("is_rejected") or row.flag("is_precanned"))):
            captions[key] = (*known, row.text("caption"))
    return captions


def _none_left(whole: Row, captions: dict[int, tuple[str, ...]], items: list[Item]) -> None:
    lost = sorted(captions.keys() - {item.id for item in items})
    if lost:
        raise ValueError(
            f"{whole.where}: {len(lost):,} pictures of annotations are not in images, such as "
            f"{lost[0]}"
        )


def _some(captions: tuple[str, ...], row: Row) -> tuple[str, ...]:
    if not captions:
        raise ValueError(f"{row.where} has no caption: is this the file of another split?")
    return captions


COCO_CAPTIONS = Benchmark(
    name="coco_captions",
    title="COCO Captions, splits of Karpathy",
    splits={
        "test": Split(("dataset_coco.json",), 5_000),
        "val": Split(("dataset_coco.json",), 5_000),
        "train": Split(("dataset_coco.json",), 113_287),
        "test2014": Split(("image_info_test2014.json",), hidden=True),
    },
    read=_karpathy,
    scorer=SCORER,
    prompt=PROMPTS["caption"],
    submission=Submission(
        "image_id", "caption", "COCO: captions_test2014_NAME_results.json, in a zip"
    ),
    licence="annotations CC BY 4.0; the photos under those of Flickr",
    documented="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    anchors=pali_17b("149.1", "test, CIDEr x 100")
    + paligemma("141.92", "144.60", "val, CIDEr x 100"),
    differs=_NO_METEOR + " PaliGemma's number is of the val split.",
)

NOCAPS = Benchmark(
    name="nocaps",
    title="NoCaps",
    splits={
        "val": Split(("nocaps_val_4500_captions.json",), 4_500),
        "test": Split(("nocaps_test_image_info.json",), 10_600, hidden=True),
    },
    read=_nocaps,
    scorer=SCORER,
    prompt=PROMPTS["caption"],
    submission=Submission("image_id", "caption", "EvalAI, phases val and test"),
    licence="see the publisher; the photos are of Open Images",
    documented="https://nocaps.org/download",
    anchors=pali_17b("124.4", "test, CIDEr x 100") + paligemma("121.72", "123.58", "CIDEr x 100"),
    differs="Each domain is scored on its own pictures; that the server does the same is not "
    "confirmed. " + _NO_METEOR,
)

TEXTCAPS = Benchmark(
    name="textcaps",
    title="TextCaps",
    splits={
        "val": Split(("TextCaps_0.1_val.json",), 3_166),
        "train": Split(("TextCaps_0.1_train.json",), 21_953),
        "test": Split(("TextCaps_0.1_test.json",), 3_289, hidden=True),
    },
    read=_textcaps,
    scorer=SCORER,
    prompt=PROMPTS["caption"],
    submission=Submission("image_id", "caption", "EvalAI; image_id is a string"),
    licence="CC BY 4.0",
    documented="https://textvqa.org/textcaps/dataset/",
    anchors=paligemma("127.48", "153.94", "CIDEr x 100"),
    differs=_NO_METEOR,
)

VIZWIZ_CAPTIONS = Benchmark(
    name="vizwiz_captions",
    title="VizWiz-Captions",
    splits={
        "val": Split(("val.json",), 7_750),
        "train": Split(("train.json",), 23_431),
        "test": Split(("test.json",), 8_000, hidden=True),
    },
    read=_vizwiz,
    scorer=SCORER,
    prompt=PROMPTS["caption"],
    submission=Submission("image_id", "caption", "EvalAI"),
    licence="CC BY 4.0",
    documented="https://vizwiz.org/tasks-and-datasets/image-captioning/",
    differs=_NO_METEOR,
)
