# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Triplets of picture, question and answer, about the pictures of another dataset."""

import json

import pytest

from pali.data.prepared import Prepared
from pali.data.preparing import prepare
from pali.data.raw import find, json_lines
from tests.data.raw.fixtures import CODES, jpeg, name, pictures_of


def triplet(image_id, lang, question, **changes):
    row = {"image_id": image_id, "lang": lang, "question": question, "answer": name(CODES[0])}
    return json.dumps(row | changes, ensure_ascii=False)


@pytest.mark.parametrize("piece", [100, 2**28])
def test_triplets(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(json_lines, "PIECE", piece)
    prepare(pictures_of("cc3m", {"train": ["train/1"], "validation": []}), tmp_path, tmp_path)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "vq2a_cc3m_train.jsonl").write_text(
        "\n".join(
            [
                triplet("1", "en", "what is this?"),
                triplet(1, "iw", "מה זה?"),
                triplet("2", "en", "is there a picture?"),
                triplet("1_0", "en", "whose is it?"),
                triplet("1", "xx-", "what?"),
                triplet("1", "en", " "),
                triplet("1", "en", "how many?", answer=2),
                "{",
            ]
        )
    )
    manifest = prepare(find("vq2a_cc3m"), raw, tmp_path)
    assert manifest["splits"] == {"train": 2}
    assert manifest["skipped"]["train"] == {"picture": 1, "row": 4, "text": 1}
    assert manifest["same_id"] == {"train": 0}
    train = Prepared("vq2a_cc3m", "train", str(tmp_path))
    assert train[0]["id"] == "train/0"
    assert {key: train[1][key] for key in train[1] if key != "id"} == {
        "lang": "he",
        "question": "מה זה?",
        "answer": name(CODES[0]),
        "image": jpeg(CODES[0]),
        "image_key": "cc3m/train/1",
    }


def test_coco(tmp_path):
    prepare(pictures_of("coco", {"train": ["42"]}), tmp_path, tmp_path)
    (tmp_path / "vq2a_coco_validation.jsonl").write_text(triplet(42, "sw", "hii ni nini?"))
    assert prepare(find("vq2a_coco"), tmp_path, tmp_path)["splits"] == {"validation": 1}
    assert Prepared("vq2a_coco", "validation", str(tmp_path))[0]["image_key"] == "coco/42"
