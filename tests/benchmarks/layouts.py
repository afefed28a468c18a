# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files of benchmarks as their publishers lay them out, small and invented.

LAYOUTS[benchmark][split] is {file: content}: an object or a list for .json, a list for .jsonl, text
or bytes otherwise. With the right rows stand what a reader must pass over or refuse to score:
rejected captions, rows of other splits, pictures without a reference.
"""

import bz2
import json
import pickle


def coco_image(number, split, folder, captions):
    return {
        "filepath": folder,
        "sentids": [number * 10 + i for i in range(len(captions))],
        "filename": f"COCO_{folder}_{number:012d}.jpg",
        "imgid": number % 7,
        "split": split,
        "sentences": [
            {
                "tokens": caption.lower().rstrip(".").split(),
                "raw": caption,
                "imgid": number % 7,
                "sentid": number * 10 + i,
            }
            for i, caption in enumerate(captions)
        ],
        "cocoid": number,
    }


DOG = ["A dog runs on green grass.", "a brown dog playing in a park", "Dog on the grass"]
BOAT = ["Two boats on a lake.", "boats in calm water", "A pair of boats, one of them red"]
TRAIN = ["A train at a station.", "the train stops at the platform"]

KARPATHY = {
    "images": [
        coco_image(391895, "test", "val2014", DOG),
        coco_image(60623, "val", "val2014", BOAT),
        coco_image(483108, "test", "val2014", TRAIN),
        coco_image(384213, "restval", "val2014", BOAT),
        coco_image(318219, "train", "train2014", TRAIN),
    ],
    "dataset": "coco",
}


def nocaps_image(number, domain):
    return {
        "license": 0,
        "file_name": f"{number:016x}.jpg",
        "coco_url": f"https://s3.amazonaws.com/nocaps/val/{number:016x}.jpg",
        "height": 732,
        "width": 1024,
        "date_captured": "2018-11-06 11:04:33",
        "id": number,
        "open_images_id": f"{number:016x}",
        "domain": domain,
    }


def coco_annotations(captions, **more):
    rows = [(image, text) for image, texts in captions.items() for text in texts]
    return [
        {"image_id": image, "id": i, "caption": text, **more}
        for i, (image, text) in enumerate(rows)
    ]


NOCAPS_IMAGES = [
    nocaps_image(0, "in-domain"),
    nocaps_image(1, "near-domain"),
    nocaps_image(2, "near-domain"),
    nocaps_image(3, "out-domain"),
]


def textcaps_row(key, caption=None, others=()):
    row = {
        "image_id": key,
        "image_classes": ["Sign"],
        "flickr_original_url": f"https://farm.example/{key}.jpg",
        "image_width": 1024,
        "image_height": 683,
        "image_name": key,
        "image_path": f"train/{key}.jpg",
        "set_name": "val",
        "caption_id": 1,
    }
    if caption is not None:
        row |= {"caption_str": caption, "caption_tokens": caption.split()}
        row |= {"reference_strs": [caption, *others], "reference_tokens": []}
    return row


def textcaps(split, rows):
    return {
        "dataset_type": split,
        "dataset_name": "textcaps",
        "dataset_version": "0.1",
        "data": rows,
    }


def vizwiz_image(number, split):
    return {
        "file_name": f"VizWiz_{split}_{number:08d}.jpg",
        "id": number,
        "text_detected": True,
        "vizwiz_url": f"https://ivc.ischool.utexas.edu/{number}.jpg",
    }


def vizwiz_caption(image, text, rejected=False, precanned=False):
    return {
        "caption": text,
        "image_id": image,
        "is_precanned": precanned,
        "is_rejected": rejected,
        "id": image * 10 + len(text),
        "text_detected": False,
    }


LAYOUTS = {
    "coco_captions": {
        "test": {"dataset_coco.json": KARPATHY},
        "val": {"dataset_coco.json": KARPATHY},
        "train": {"dataset_coco.json": KARPATHY},
        "test2014": {
            "annotations/image_info_test2014.json": {
                "info": {},
                "images": [{"id": 1, "file_name": "COCO_test2014_000000000001.jpg"}],
                "categories": [],
            }
        },
    },
    "nocaps": {
        "val": {
            "nocaps_val_4500_captions.json": {
                "licenses": [],
                "info": {},
                "images": NOCAPS_IMAGES,
                "annotations": coco_annotations({0: DOG, 1: BOAT, 2: TRAIN, 3: BOAT[:2]}),
            }
        },
        "test": {
            "nocaps_test_image_info.json": {
                "licenses": [],
                "info": {},
                # The domain is the server's secret.
                "images": [
                    {k: v for k, v in image.items() if k != "domain"} for image in NOCAPS_IMAGES
                ],
            }
        },
    },
    "textcaps": {
        "val": {
            "TextCaps_0.1_val.json": textcaps(
                "val",
                [
                    textcaps_row("0054c91397f2fe05", "A sign that says stop.", ["a stop sign"]),
                    textcaps_row("0054c91397f2fe05", "a stop sign", ["A sign that says stop."]),
                    textcaps_row("1234567890abcdef", "Two bottles of Coke", []),
                ],
            )
        },
        "train": {
            "TextCaps_0.1_train.json": textcaps("train", [textcaps_row("ab", "A book by Poe", [])])
        },
        "test": {"TextCaps_0.1_test.json": textcaps("test", [textcaps_row("cd")])},
    },
    "vizwiz_captions": {
        "val": {
            "annotations/val.json": {
                "info": {},
                "images": [vizwiz_image(n, "val") for n in (23431, 23432, 23433)],
                "annotations": [
                    vizwiz_caption(23431, "A can of green beans on a table."),
                    vizwiz_caption(23431, "Green beans in a can"),
                    vizwiz_caption(
                        23431,
                        "Quality issues are too severe to recognize visual content.",
                        precanned=True,
                    ),
                    vizwiz_caption(23432, "A spammed caption", rejected=True),
                    vizwiz_caption(23433, "a computer screen"),
                    vizwiz_caption(23433, "a computer with a blue screen"),
                    vizwiz_caption(23433, "a computer screen asdf", rejected=True),
                ],
            }
        },
        "train": {
            "annotations/train.json": {
                "info": {},
                "images": [vizwiz_image(0, "train")],
                "annotations": [vizwiz_caption(0, "a box")],
            }
        },
        "test": {
            "annotations/test.json": {"info": {}, "images": [vizwiz_image(31181, "test")]},
        },
    },
}
"""By benchmark and split."""


def write(folder, files):
    """Writes the files of a layout below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(name, content))


def encoded(name, content):
    """The bytes of a file, in the format that its name says."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    if name.endswith(".json"):
        return json.dumps(content, ensure_ascii=False).encode()
    if name.endswith(".p"):
        return pickle.dumps(content, protocol=2)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content).encode()
    return bz2.compress(lines) if name.endswith(".bz2") else lines
