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

from tests.benchmarks.more_layouts import MORE


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


def ten(*answers):
    """Ten answers: the last one fills what is missing."""
    rest = [answers[-1]] * (10 - len(answers))
    return [
        {"answer": text, "answer_confidence": "yes", "answer_id": i}
        for i, text in enumerate([*answers, *rest], 1)
    ]


def vqa_annotation(number, kind, answer_type, *answers, raw=False):
    rows = ten(*answers)
    if raw:
        rows = [{**row, "raw_answer": row["answer"]} for row in rows]
    return {
        "question_type": kind,
        "multiple_choice_answer": answers[-1],
        "answers": rows,
        "image_id": number // 1000,
        "answer_type": answer_type,
        "question_id": number,
    }


def vqa_questions(subset, asked):
    return {
        "info": {"version": "2.0"},
        "task_type": "Open-Ended",
        "data_type": "mscoco",
        "license": {},
        "data_subtype": subset,
        "questions": [
            {"image_id": key // 1000, "question": text, "question_id": key}
            for key, text in asked.items()
        ],
    }


def vqa_annotations(subset, rows):
    return {
        "info": {"version": "2.0"},
        "license": {},
        "data_subtype": subset,
        "annotations": rows,
        "data_type": "mscoco",
    }


ASKED = {
    262148000: "Where is he looking?",
    262148001: "Is it sunny?",
    393225000: "How many dogs are there?",
}
ANNOTATED = [
    vqa_annotation(262148000, "where is the", "other", "at table", "Down.", "down", "the table"),
    vqa_annotation(262148001, "is it", "yes/no", "yes"),
    vqa_annotation(393225000, "how many", "number", "2", "two", "two dogs", "2"),
]


def vqa(prefix, subset, raw=False):
    rows = [{**row} for row in ANNOTATED]
    if raw:
        rows = [
            {**row, "answers": [{**a, "raw_answer": a["answer"]} for a in row["answers"]]}
            for row in rows
        ]
    return {
        f"{prefix}mscoco_{subset}_annotations.json": vqa_annotations(subset, rows),
        f"{prefix}OpenEnded_mscoco_{subset}_questions.json": vqa_questions(subset, ASKED),
    }


def textvqa(split, rows):
    return {
        "dataset_type": split,
        "dataset_name": "textvqa",
        "dataset_version": "0.5.1",
        "data": rows,
    }


def textvqa_row(number, question, *answers):
    row = {
        "question": question,
        "image_id": "0054c91397f2fe05",
        "image_classes": ["Billboard"],
        "flickr_original_url": "https://farm.example/1.jpg",
        "image_width": 1024,
        "image_height": 730,
        "question_tokens": question.lower().split(),
        "question_id": number,
        "set_name": "val",
    }
    return row | ({"answers": [each["answer"] for each in ten(*answers)]} if answers else {})


def vizwiz_question(number, split, question, kind=None, *answers):
    row = {"image": f"VizWiz_{split}_{number:08d}.jpg", "question": question}
    if kind is None:
        return row
    rows = [{k: v for k, v in each.items() if k != "answer_id"} for each in ten(*answers)]
    answerable = int(kind != "unanswerable")
    return row | {"answers": rows, "answer_type": kind, "answerable": answerable}


def doc_question(number, question, answers=None, kinds=None):
    row = {
        "questionId": number,
        "question": question,
        "image": "documents/xnbl0037_1.png",
        "docId": 279,
        "ucsf_document_id": "xnbl0037",
        "ucsf_document_page_no": "1",
        "data_split": "val",
    }
    if kinds is not None:
        row["question_types"] = kinds
    return row if answers is None else row | {"answers": answers}


def rrc(name, split, rows):
    return {"dataset_name": name, "dataset_version": "1.0", "dataset_split": split, "data": rows}


def info_question(number, question, answers=None):
    row = {
        "questionId": number,
        "question": question,
        "image_local_name": "38313.jpeg",
        "image_url": "https://blog.example/38313.jpeg",
        "ocr_output_file": "38313.json",
        "data_split": "val",
    }
    if answers is None:
        return row
    return row | {"answers": answers, "answer_type": ["multi span"], "evidence": ["text"]}


def st_question(number, question, answers=None):
    row = {
        "question": question,
        "file_path": "coco-text/COCO_train2014_000000419839.jpg",
        "file_name": "COCO_train2014_000000419839.jpg",
        "question_id": number,
        "dataset": "coco-text",
        "set_name": "train",
        "question_tokens": question.split(),
    }
    return row if answers is None else row | {"answers": answers}


_XM = (
    "ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt quz ro ru sv sw "
    "te th tr uk vi zh"
)
XM_LANGUAGES = _XM.split()
IN_THEIR_WORDS = {
    "en": (
        ["A dog on the grass.", "Brown dog, running"],
        ["a dog on the grass .", "brown dog , running"],
    ),
    "zh": (["一只狗在草地上跑。"], ["一只 狗 在 草地 上 跑 。"]),
    "ja": (["芝生の上を走る犬。"], ["芝生 の 上 を 走る 犬 。"]),
    "th": (["สุนัขวิ่งบนหญ้า"], ["สุนัข วิ่ง บน หญ้า"]),
    "ko": (["잔디 위를 달리는 개"], ["잔디 위를 달리는 개"]),
    "sw": (["Mbwa kwenye nyasi."], ["mbwa kwenye nyasi ."]),
}
MORE_WORDS = {
    "en": (["Two boats on a lake."], ["two boats on a lake ."]),
    "zh": (["湖上有两条船。"], ["湖上 有 两条 船 。"]),
    "ja": (["湖に浮かぶ二隻のボート"], ["湖 に 浮かぶ 二 隻 の ボート"]),
    "th": (["เรือสองลำในทะเลสาบ"], ["เรือ สอง ลำ ใน ทะเลสาบ"]),
    "ko": (["호수 위의 보트 두 척"], ["호수 위의 보트 두 척"]),
    "sw": (["Mashua mbili ziwani"], ["mashua mbili ziwani"]),
}


def xm3600_row(key, words, number):
    """A line of captions.jsonl; languages that have no words here get a name of their own."""
    row = {"image/key": key, "image/locale": "sw"}
    for lang in XM_LANGUAGES:
        raw, tokens = words.get(lang, ([f"{lang} {number}"], [f"{lang} {number}"]))
        row[lang] = {
            "caption": raw,
            "caption/tokenized": tokens,
            "caption/tokenized/lowercase": [text.lower() for text in tokens],
        }
    return row


XM3600 = {
    "captions.jsonl": [
        xm3600_row("000411001ff7dd4f", IN_THEIR_WORDS, "one"),
        xm3600_row("00048daad5da2fe8", MORE_WORDS, "two"),
    ]
}


def coco_mt(image, number, lang, english, translation):
    return {
        "image_id": f"{image}_{number}",
        "src_lang": "en",
        "trg_lang": lang,
        "caption_tokenized": english,
        "translation_tokenized": translation,
        "backtranslation_tokenized": english,
    }


COCO_MT = {
    "coco_mt_dev.jsonl.bz2": [
        coco_mt(391895, 0, "de", "a dog on the grass .", "ein hund auf dem gras ."),
        coco_mt(391895, 1, "de", "a dog runs", "ein hund läuft"),
        coco_mt(391895, 0, "sw", "a dog on the grass .", "mbwa kwenye nyasi ."),
        coco_mt(60623, 0, "de", "two boats", "zwei boote"),
        coco_mt(60623, 0, "sw", "two boats", "mashua mbili"),
    ]
}


def gqa_row(image, question, answer=None, structural="query"):
    row = {"question": question, "imageId": image, "isBalanced": True}
    if answer is None:
        return row
    return row | {
        "semantic": [{"operation": "select", "dependencies": [], "argument": "boy (1)"}],
        "entailed": ["02930158"],
        "equivalent": ["02930152"],
        "types": {"detailed": "directWhich", "semantic": "rel", "structural": structural},
        "answer": answer,
        "groups": {"global": None, "local": "10q-wall_color"},
        "semanticStr": "select: boy",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "fullAnswer": f"It is {answer}.",
    }


GQA = {
    "201307251": gqa_row("n161313", "Is it overcast?", "no", "verify"),
    "201640614": gqa_row("n235859", "Who is wearing the dress?", "woman"),
    "202225914": gqa_row(
        "n336443", "Does the utensil on top of the table look clean?", "no", "verify"
    ),
}
XGQA_LANGUAGES = ("bn", "de", "en", "id", "ko", "pt", "ru", "zh")


def xgqa(lang):
    rows = {k: {**row, "question": f"{lang}: {row['question']}"} for k, row in GQA.items()}
    # The release has fewer fields than GQA's own file.
    return {k: {f: r[f] for f in ("question", "imageId", "answer")} for k, r in rows.items()}


def maxm(lang, rows):
    return {
        "dataset": "maxm",
        "version": "v1",
        "split": lang,
        "annotations": [
            {
                "image_id": image,
                "image_url": f"https://open-images.example/{image}.jpg",
                "qa_pairs": [
                    {
                        "question_id": f"{image}_{i}",
                        "question": question,
                        "answers": answers,
                        "processed_answers": processed,
                        "is_collection": False,
                    }
                    for i, (question, answers, processed) in enumerate(pairs)
                ],
            }
            for image, pairs in rows.items()
        ],
    }


MAXM = {
    "maxm_v1/maxm_v1_fr.json": maxm(
        "fr", {"0a1": [("De quelle couleur ?", ["bleu", "Bleu clair"], ["bleu", "bleu clair"])]}
    ),
    "maxm_v1/maxm_v1_th.json": maxm("th", {"0b2": [("สุนัขอยู่ที่ไหน", ["บนหญ้า"], ["บน หญ้า"])]}),
    "maxm_v1/maxm_v1_yesno_fr.json": maxm("fr", {"0c3": [("Est-ce bleu ?", ["oui"], ["oui"])]}),
}


def chart_row(name, query, label):
    return {"imgname": name, "query": query, "label": label}


def chartqa(split):
    return {
        f"ChartQA Dataset/{split}/{split}_human.json": [
            chart_row("41699051005347.png", "How many food item is shown in the bar graph?", "14"),
            chart_row("41699051005347.png", "Is the value 'Yes'?", "No"),
        ],
        f"ChartQA Dataset/{split}/{split}_augmented.json": [
            chart_row("multi_col_20.png", "What was the value in 2018?", "5.9%"),
        ],
    }


CHARTS = {
    f"{split}{half}": chartqa(split)
    for split in ("test", "val", "train")
    for half in ("", "-human", "-augmented")
}


def ai2d_file(name, questions):
    return {
        "imageName": name,
        "questions": {
            text: {
                "abcLabel": letters,
                "answerTexts": options,
                "correctAnswer": right,
                "questionId": f"{name}-{i}",
            }
            for i, (text, options, right, letters) in enumerate(questions)
        },
    }


AI2D = {
    "ai2d_test_ids.csv": "0\n7\n\n",
    "ai2d/questions/0.png.json": ai2d_file(
        "0.png",
        [
            ("which is the egg stage", ["A", "B", "C", "D"], 2, True),
            ("what eats grass", ["frog", "grasshopper", "hawk", "snake"], 1, False),
        ],
    ),
    "ai2d/questions/3.png.json": ai2d_file(
        "3.png", [("what is it", ["a", "b", "c", "d"], 0, False)]
    ),
    "ai2d/questions/7.png.json": ai2d_file("7.png", []),
}


def tally_row(image, number, question, answer, simple=None):
    row = {
        "image": image,
        "answer": answer,
        "data_source": "imported_genome",
        "question": question,
        "image_id": 2412548,
        "question_id": number,
    }
    return row if simple is None else row | {"issimple": simple}


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
    "vqav2": {
        "val": vqa("v2_", "val2014"),
        "train": vqa("v2_", "train2014"),
        "test": {"v2_OpenEnded_mscoco_test2015_questions.json": vqa_questions("test2015", ASKED)},
        "test-dev": {
            "v2_OpenEnded_mscoco_test-dev2015_questions.json": vqa_questions(
                "test-dev2015", dict(list(ASKED.items())[:2])
            )
        },
    },
    "okvqa": {"val": vqa("", "val2014", raw=True), "train": vqa("", "train2014", raw=True)},
    "textvqa": {
        "val": {
            "TextVQA_0.5.1_val.json": textvqa(
                "val",
                [
                    textvqa_row(34602, "what does the sign say?", "stop", "STOP.", "stop sign"),
                    textvqa_row(34603, "what brand is it?", "nokia", "Nokia", "nokia"),
                ],
            )
        },
        "train": {
            "TextVQA_0.5.1_train.json": textvqa("train", [textvqa_row(0, "what is it?", "dakota")])
        },
        "test": {"TextVQA_0.5.1_test.json": textvqa("test", [textvqa_row(39602, "what time?")])},
    },
    "vizwiz_vqa": {
        "val": {
            "Annotations/val.json": [
                vizwiz_question(
                    0, "val", "Ok. There is another picture?", "unanswerable", "unanswerable"
                ),
                vizwiz_question(1, "val", "What colour is it?", "other", "grey", "Grey", "blue"),
                vizwiz_question(2, "val", "Can you see it?", "yes/no", "", "yes", "yes"),
            ]
        },
        "train": {
            "Annotations/train.json": [vizwiz_question(0, "train", "What is it?", "other", "soup")]
        },
        "test": {"Annotations/test.json": [vizwiz_question(0, "test", "What is this?")]},
    },
    "docvqa": {
        "val": {
            "val_v1.0_withQT.json": rrc(
                "docvqa",
                "val",
                [
                    doc_question(
                        49153, "What is the ‘actual’ value?", ["0.28"], ["figure/diagram"]
                    ),
                    doc_question(
                        24580,
                        "Name of the university?",
                        ["university of california", "UC"],
                        ["layout", "form"],
                    ),
                    doc_question(57349, "What is the name?", ["itc limited"], []),
                ],
            )
        },
        "train": {
            "train_v1.0_withQT.json": rrc(
                "docvqa", "train", [doc_question(337, "Date?", ["1/8/93"])]
            )
        },
        "test": {"test_v1.0.json": rrc("docvqa", "test", [doc_question(57344, "What title?")])},
    },
    "infovqa": {
        "val": {
            "infographicsVQA_val_v1.0_withQT.json": rrc(
                "infographicVQA",
                "val",
                [
                    info_question(98304, "Which two cities?", ["Paris, London"]),
                    info_question(98305, "How many?", ["70%", "70 %"]),
                ],
            )
        },
        "train": {
            "infographicsVQA_train_v1.0.json": rrc(
                "infographicVQA", "train", [info_question(1, "How many?", ["3"])]
            )
        },
        "test": {
            "infographicsVQA_test_v1.0.json": rrc(
                "infographicVQA", "test", [info_question(2, "Who?")]
            )
        },
    },
    "stvqa": {
        "test": {"test_task_3.json": {"task": 3, "data": [st_question(72961, "what number?")]}},
        "train": {
            "train_task_3.json": {
                "task": 3,
                "data": [
                    st_question(74139, "Where is the train going?", ["to New York", "New York"]),
                    st_question(74140, "What does it say?", ["STOP"]),
                ],
            }
        },
    },
    "xm3600": dict.fromkeys(("test", "test-en", "test-th"), XM3600),
    "coco_35l": dict.fromkeys(("dev", "dev-sw"), COCO_MT),
    "gqa": {
        **{
            split: {f"questions1.2/{split}_balanced_questions.json": GQA}
            for split in ("testdev", "val", "train")
        },
        "submission": {
            "questions1.2/submission_all_questions.json": {
                "201": gqa_row("n1", "Is it raining?"),
                "202": gqa_row("n2", "What is red?"),
            }
        },
    },
    "xgqa": {
        "testdev": {
            f"testdev_balanced_questions_{lang}.json": xgqa(lang) for lang in XGQA_LANGUAGES
        },
        "testdev-bn": {"testdev_balanced_questions_bn.json": xgqa("bn")},
        "fewshot-bn": {"few_shot/bn/test.json": xgqa("bn")},
    },
    "maxm": dict.fromkeys(("test", "test-fr"), MAXM),
    "chartqa": CHARTS,
    "ai2d": {"test": AI2D, "train": AI2D},
    "tallyqa": {
        "test": {
            "test.json": [
                tally_row("VG_100K_2/2412548.jpg", 20001, "How many people?", 10, True),
                tally_row("VG_100K_2/2412548.jpg", 20002, "How many men wear ties?", 0, False),
            ]
        },
        "train": {"train.json": [tally_row("train2014/COCO_1.jpg", 1, "How many dogs?", 2)]},
    },
    **MORE,
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
