# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The layouts of boxes, classes, reading and language; see layouts.py."""

XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh"
XQUAD = "ar de el en es hi ro ru th tr vi zh"


def reference(number, split, sentences, object_=1719310):
    return {
        "sent_ids": [number * 3 + i for i in range(len(sentences))],
        "file_name": f"COCO_train2014_000000581857_{number}.jpg",
        "ann_id": object_,
        "ref_id": number,
        "image_id": 581857,
        "split": split,
        "sentences": [
            {"tokens": text.split(), "raw": text.title(), "sent_id": number * 3 + i, "sent": text}
            for i, text in enumerate(sentences)
        ],
        "category_id": 1,
    }


def box(number, bbox, category=1, image=581857):
    return {
        "segmentation": [[1, 2, 3, 4, 5, 6]],
        "area": float(bbox[2] * bbox[3]),
        "iscrowd": 0,
        "image_id": image,
        "bbox": bbox,
        "category_id": category,
        "id": number,
    }


def image(number, name):
    return {"id": number, "file_name": name, "width": 640, "height": 427, "license": 1}


INSTANCES = {
    "info": {},
    "licenses": [],
    "images": [image(581857, "COCO_train2014_000000581857.jpg")],
    "annotations": [
        box(1719310, [88.0, 6.2, 230.4, 300.75]),
        box(1719311, [320, 10, 200.5, 380]),
    ],
    "categories": [{"supercategory": "person", "id": 1, "name": "person"}],
}
SPLITS = ("val", "testA", "testB", "train", "test")
REFERENCES = [
    reference(i, split, sentences, object_)
    for i, (split, sentences, object_) in enumerate(
        [
            *((split, ["the lady", "woman in blue"], 1719310) for split in SPLITS),
            *((split, ["man on the right"], 1719311) for split in SPLITS),
        ]
    )
]


def refcoco(folder, partition):
    return {f"{folder}/refs({partition}).p": REFERENCES, f"{folder}/instances.json": INSTANCES}


DETECTION = {
    "info": {},
    "licenses": [],
    "images": [image(139, "000000000139.jpg"), image(285, "000000000285.jpg"), image(7, "x.jpg")],
    "annotations": [
        box(1, [236.98, 142.51, 24.7, 69.5], 64, 139),
        box(2, [7.03, 167.76, 149.32, 94.87], 72, 139),
        box(3, [10.0, 20.0, 500.0, 380.0], 23, 285),
    ],
    "categories": [
        {"supercategory": "animal", "id": 23, "name": "bear"},
        {"supercategory": "furniture", "id": 64, "name": "potted plant"},
        {"supercategory": "electronic", "id": 72, "name": "tv"},
    ],
}

MAPPING = "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\nn01484850 shark\n"
SOLUTION = (
    "ImageId,PredictionString\n"
    "ILSVRC2012_val_00000001,n01440764 1 2 30 40 \n"
    "ILSVRC2012_val_00000002,n01484850 1 2 30 40 n01484850 5 6 70 80 \n"
    "ILSVRC2012_val_00000003,n01443537 111 108 441 193 \n"
)
BESIDE = {"LOC_synset_mapping.txt": MAPPING}


def folders(root, **pictures):
    """Pictures in folders of their class, and what lies beside them."""
    files = {f"{root}/{name}/{each}": b"" for name, all_ in pictures.items() for each in all_}
    return files | {f"{root}/README.txt": "200 classes\n"}


OBJECTNET = {
    "objectnet-1.0/images/alarm_clock/0a.png": b"",
    "objectnet-1.0/images/alarm_clock/0b.png": b"",
    "objectnet-1.0/images/air_freshener/1c.png": b"",
    "objectnet-1.0/images/backpack/2d.png": b"",
    "objectnet-1.0/mappings/folder_to_objectnet_label.json": {
        "alarm_clock": "Alarm clock",
        "air_freshener": "Air freshener",
        "backpack": "Backpack",
    },
    "objectnet-1.0/mappings/objectnet_to_imagenet_1k.json": {
        "Alarm clock": "analog clock; digital clock",
        "Backpack": "backpack, back pack",
    },
    # PyTorch's number of a class -> line of the file of labels.
    "objectnet-1.0/mappings/pytorch_to_imagenet_2012_id.json": {"409": 2, "530": 0, "414": 1},
    "objectnet-1.0/mappings/imagenet_to_label_2012_v2": (
        "digital clock\nbackpack, back pack\nanalog clock\n"
    ),
}


def ocr_row(picture, question, answers, kind, dataset):
    return {
        "image_path": picture,
        "question": question,
        "answers": answers,
        "type": kind,
        "dataset_name": dataset,
    }


OCRBENCH = [
    ocr_row("IIIT5K/1.png", "what is written?", ["CENTRE"], "Regular Text Recognition", "IIIT5K"),
    ocr_row("docVQA/2.png", "Which year?", ["1971", "in 1971"], "Doc-oriented VQA", "docVQA"),
    ocr_row(
        "HME100k/3.jpg",
        "Write the expression.",
        r"\frac { A } { b }",
        "Handwritten Mathematical Expression Recognition",
        "HME100k",
    ),
]
MLT = {
    "train_gt/gt_tr_img_00001.txt": (
        "\ufeff1,2,30,2,30,20,1,20,Latin,Rue de, Paris\r\n5,50,9,50,9,60,5,60,Latin,###\r\n"
        "1,70,30,70,30,90,1,90,Latin,STOP\r\n"
    ),
    "train_gt/gt_tr_img_00002.txt": "1,2,30,2,30,20,1,20,Arabic,قف\n",
    "train_gt/gt_tr_img_00003.txt": "1,2,30,2,30,20,1,20,None,###\n",
}
_HEAD = (
    "language\tgold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\tpromptID\tpairID\tgenre\tlabel1\tmatch"
)


def xnli():
    lines = [_HEAD]
    for lang in XNLI.split():
        for number, label in ((1, "neutral"), (2, "contradiction"), (3, "entailment")):
            texts = f'{lang} "and he said, Mama\t{lang} He called\u2028his mom.'
            lines.append(
                f"{lang}\t{label}\t\t\t\t\t{texts}\t1\t{number}\tfacetoface\t{label}\tTrue"
            )
    return "\n".join(lines) + "\n"


def xquad(lang):
    return {
        "data": [
            {
                "title": "Super_Bowl_50",
                "paragraphs": [
                    {
                        "context": f"{lang}: The Panthers defense gave up just 308 points.",
                        "qas": [
                            {
                                "id": "56beb4343aeaaa14008c925b",
                                "question": f"{lang}: How many points?",
                                "answers": [{"text": "308", "answer_start": 40}],
                            },
                            {
                                "id": "56beb4343aeaaa14008c925c",
                                "question": f"{lang}: Who?",
                                "answers": [{"text": "The Panthers", "answer_start": 4}],
                            },
                        ],
                    }
                ],
            }
        ],
        "version": "1.1",
    }


MORE = {
    "refcoco": {
        **{split: refcoco("refcoco", "unc") for split in ("val", "testA", "testB", "train")},
        **{f"google-{split}": refcoco("refcoco", "google") for split in ("val", "test", "train")},
    },
    "refcoco_plus": {
        split: refcoco("refcoco+", "unc") for split in ("val", "testA", "testB", "train")
    },
    "refcocog": {
        **{split: refcoco("refcocog", "umd") for split in ("val", "test", "train")},
        **{f"google-{split}": refcoco("refcocog", "google") for split in ("val", "train")},
    },
    "coco_detection": {
        split: {f"annotations/instances_{split}2017.json": DETECTION} for split in ("val", "train")
    },
    "imagenet": {
        "val": {"LOC_val_solution.csv": SOLUTION, **BESIDE},
        "real": {"real.json": [[0], [], [1, 2], [999]], **BESIDE},
    },
    "imagenet_v2": {
        "test": {
            **folders(
                "imagenetv2-matched-frequency-format-val",
                **{"0": ["a1.jpeg", "b2.jpeg"], "10": ["c3.jpeg"], "2": ["d4.jpeg"]},
            ),
            **BESIDE,
        }
    },
    "imagenet_a": {
        "test": folders("imagenet-a", n01443537=["0.00_a.jpg"], n01484850=["0.01_b.jpg", "c.jpg"])
    },
    "imagenet_r": {
        "test": {
            **folders("imagenet-r", n01443537=["art_0.jpg"], n01484850=["cartoon_1.jpg"]),
            **BESIDE,
        }
    },
    "imagenet_sketch": {
        "test": folders("sketch", n01440764=["sketch_1.JPEG"], n01443537=["sketch_2.JPEG"])
    },
    "objectnet": {"test": OBJECTNET},
    "ocrbench": {"test": {"OCRBench/OCRBench.json": OCRBENCH}},
    "mlt2019": {"train": MLT},
    "xnli": {split: {f"XNLI-1.0/xnli.{split}.tsv": xnli()} for split in ("test", "dev")},
    "xquad": {
        "test": {f"xquad.{lang}.json": xquad(lang) for lang in XQUAD.split()},
        "test-th": {"xquad.th.json": xquad("th")},
    },
}
