# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CC3M-35L and COCO-35L: translations that find their pictures, read in pieces or packed."""

import bz2
import dataclasses
import gzip
import json

import pytest

from pali.data.prepared import Prepared
from pali.data.preparing import prepare
from pali.data.raw import find, json_lines
from pali.data.raw.dataset import Part
from tests.data.raw.fixtures import CODES, jpeg, name, pictures_of

LANGUAGES = ("sw", "de", "th")


def row(image_id, code, lang, **changes):
    """As crossmodal-3600's README describes it."""
    return json.dumps(
        {
            "image_id": image_id,
            "src_lang": "en",
            "trg_lang": lang,
            "caption_tokenized": f"{name(code)} # .",
            "translation_tokenized": f"{name(code, lang)} # .",
            "backtranslation_tokenized": "",
        }
        | changes,
        ensure_ascii=False,
    )


def rows(ids):
    return [row(i, code, lang) for i, code in zip(ids, CODES, strict=False) for lang in LANGUAGES]


WRONG = [
    row("9", CODES[0], "sw"),  # There is no such picture.
    row("x1", CODES[0], "sw"),
    row(None, CODES[0], "sw"),
    row("1", CODES[0], "sw", trg_lang="klingon"),
    row("1", CODES[0], "sw", trg_lang=None),
    row("1", CODES[0], "sw", translation_tokenized=" "),
    row("1", CODES[0], "sw", translation_tokenized=["a"]),
    row("2", CODES[0], "de", caption_tokenized=""),
    "{broken",
    "[]",
]


def test_cc3m_35l(tmp_path):
    prepare(
        pictures_of("cc3m", {"train": ["train/1", "train/2"], "validation": ["validation/1"]}),
        tmp_path,
        tmp_path,
    )
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = [*rows(["1", "2"]), *WRONG]
    (raw / "cc3m_mt_train.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    with gzip.open(raw / "cc3m_mt_dev.jsonl.gz", "wt") as file:
        file.write("\n".join(rows([1])))
    manifest = prepare(find("cc3m_35l"), raw, tmp_path)
    # Two pictures in three languages and English; and the German of a row whose English is empty.
    assert manifest["splits"] == {"train": 9, "validation": 4}
    assert manifest["skipped"]["train"] == {"picture": 1, "row": 8, "text": 2}
    train = Prepared("cc3m_35l", "train", str(tmp_path))
    assert [train[i]["id"] for i in range(4)] == [
        *("train/1/sw", "train/1/de", "train/1/en", "train/1/th"),
    ]
    assert train[2] == {
        "id": "train/1/en",
        "lang": "en",
        "caption": f"{name(CODES[0])} # .",
        "image": jpeg(CODES[0]),
        "image_key": "cc3m/train/1",
    }
    assert train[7]["caption"] == f"{name(CODES[1], 'th')} # ."
    assert train[7]["image"] == jpeg(CODES[1])
    validation = Prepared("cc3m_35l", "validation", str(tmp_path))
    assert validation[0]["image_key"] == "cc3m/validation/1"
    packed = (raw / "cc3m_mt_dev.jsonl.gz").read_bytes()
    (raw / "cc3m_mt_dev.jsonl.gz").write_bytes(packed[:-10])
    with pytest.raises(ValueError, match="damaged"):
        list(find("cc3m_35l").read(raw, Part("validation", "cc3m_mt_dev.jsonl.gz")))


def test_coco_35l(tmp_path):
    prepare(pictures_of("coco", {"train": ["42"], "validation": ["7"]}), tmp_path, tmp_path)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "coco_mt_train.jsonl.bz2").write_bytes(
        bz2.compress(
            "\n".join([*rows(["42_0", "42_1", "43_0"]), row("42", "1f415", "sw")]).encode()
        )
    )
    (raw / "coco_mt_dev.jsonl.bz2").write_bytes(bz2.compress("\n".join(rows(["7_3"])).encode()))
    manifest = prepare(find("coco_35l"), raw, tmp_path)
    assert manifest["splits"] == {"train": 8, "validation": 4}
    assert manifest["skipped"]["train"] == {"picture": 4, "row": 1}
    assert manifest["same_id"] == {"train": 0, "validation": 0}
    train = Prepared("coco_35l", "train", str(tmp_path))
    assert (train[4]["id"], train[4]["image_key"]) == ("train/42_1/sw", "coco/42")
    assert Prepared("coco_35l", "validation", str(tmp_path))[0]["image_key"] == "coco/7"
    content = (raw / "coco_mt_dev.jsonl.bz2").read_bytes()
    for damaged in (content[:-8], b"BZh9 and no more"):
        (raw / "coco_mt_dev.jsonl.bz2").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged"):
            list(find("coco_35l").read(raw, Part("validation", "coco_mt_dev.jsonl.bz2")))


@pytest.mark.parametrize("piece", [1, 7, 100, 10_000])
def test_pieces_of_a_file_are_the_file(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(json_lines, "PIECE", piece)
    coco_35l = find("coco_35l")
    content = "\n".join(rows(["42_0"])) + "\n\n" + row("7_1", CODES[0], "th")
    (tmp_path / "coco_mt_dev.jsonl").write_text(content)
    (tmp_path / "coco_mt_dev.jsonl.bz2").write_bytes(b"not read")
    parts = coco_35l.parts(tmp_path)
    assert len(parts) == -(-len(content.encode()) // piece)
    whole = dataclasses.replace(parts[0], stop=None)

    def read(part):
        found = coco_35l.read(tmp_path, part)
        return [str(record) if isinstance(record, Exception) else record for record in found]

    found = [record for part in parts for record in read(part)]
    assert found == read(whole)
    assert [isinstance(record, str) for record in found] == [False] * 4 + [True, False]
