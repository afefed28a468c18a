# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Web pictures with alt texts and OCR: two datasets of one folder."""

import json

import pytest

from pali.data.prepared import Prepared
from pali.data.preparing import prepare
from pali.data.raw import find
from tests.data.raw.fixtures import CODES, fetched, jpeg, name, write_tar


def sample(key, code, lang, **about):
    return fetched(key, code, name(code, lang), lang=lang, **about)


@pytest.fixture
def raw(tmp_path):
    read = [
        {"lang": "en", "text": "OPEN\n 24 "},
        {"lang": "he", "text": "חנות"},
        {"lang": "en", "text": "hours"},
    ]
    write_tar(
        tmp_path / "raw" / "train" / "00000.tar",
        sample("0", CODES[0], "sw", ocr=read)
        | sample("1", CODES[1], "ja", ocr=[])
        | sample("2", CODES[2], "iw")
        | sample("3", CODES[3], "en", ocr="OPEN")
        | sample("4", CODES[4], "en", ocr=[{"lang": "en", "text": " "}])
        | sample("5", CODES[5], "en", ocr=[{"lang": "en"}])
        | sample("6", CODES[0], "en", ocr=[{"text": "x"}, "y"])
        | {"7.png": jpeg(CODES[0]), "7.json": b'{"lang": "xx-nowhere"}', "7.txt": b"x"}
        | {"8.jpg": jpeg(CODES[0]), "8.json": b'{"lang": "en"}', "8.txt": b" \n"}
        | {"9.jpg": jpeg(CODES[0]), "9.json": b'{"lang": "en"}', "9.txt": b"\xff"}
        | {"a.json": json.dumps({"lang": "en", "ocr": read}).encode(), "a.txt": b"no picture"},
    )
    folder = tmp_path / "raw" / "validation" / "00000"
    folder.mkdir(parents=True)
    # "1.a" and "1" are one sample; "10" is not between.
    for file, content in {
        **sample("1", CODES[1], "th", ocr=read),
        **sample("10", CODES[2], "zh"),
        "1.note.md": b"",
    }.items():
        (folder / file).write_bytes(content)
    return tmp_path / "raw"


def test_alt_texts(raw, tmp_path):
    manifest = prepare(find("web"), raw, tmp_path)
    assert manifest["splits"] == {"train": 7, "validation": 2}
    assert manifest["skipped"]["train"] == {"row": 2, "text": 1, "picture": 1}
    assert "xx-nowhere" in manifest["errors"]["row"]
    train = Prepared("web", "train", str(tmp_path))
    assert train[2] == {
        "id": "train/2",
        "lang": "he",  # One code for one language.
        "text": name(CODES[2], "he"),
        "image": jpeg(CODES[2]),
        "image_key": "web/train/2",
    }
    validation = Prepared("web", "validation", str(tmp_path))
    assert [validation[i]["id"] for i in range(2)] == ["validation/1", "validation/10"]


def test_the_text_in_a_picture_is_a_record_for_every_language(raw, tmp_path):
    with pytest.raises(FileNotFoundError, match="pali data prepare web "):
        prepare(find("web_ocr"), raw, tmp_path)
    prepare(find("web"), raw, tmp_path)
    manifest = prepare(find("web_ocr"), raw, tmp_path)
    assert manifest["splits"] == {"train": 2, "validation": 2}
    assert manifest["skipped"]["train"] == {"row": 3, "text": 1, "picture": 2}
    train = Prepared("web_ocr", "train", str(tmp_path))
    assert train[0] == {
        "id": "train/0/en",
        "lang": "en",
        "text": "OPEN 24 hours",
        "image": jpeg(CODES[0]),
        "image_key": "web/train/0",
    }
    assert (train[1]["lang"], train[1]["text"]) == ("he", "חנות")
    validation = Prepared("web_ocr", "validation", str(tmp_path))
    assert validation[0]["image"] == jpeg(CODES[1])
