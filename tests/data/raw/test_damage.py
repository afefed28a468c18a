# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files with what no publisher would write: each row has a fate, and no file stops or hangs."""

import gzip
import json
import os
import tarfile
import time

import pytest

from pali.data.prepared import Prepared
from pali.data.preparing import prepare
from pali.data.raw import conceptual_captions, find, json_stream, visual_genome, webdataset
from pali.data.raw.coco_format import read_annotations
from pali.data.raw.objects365 import picture
from pali.data.skipping import RecordError
from tests.data.raw import test_coco, test_open_images
from tests.data.raw.fixtures import CODES, fetched, jpeg, pictures_of, write_tar

DEEP = "[" * 100_000


def prepared(name, raw, to, split="train"):
    manifest = prepare(find(name), raw, to)
    source = Prepared(name, split, str(to))
    return manifest, [source[i] for i in range(len(source))]


def test_pictures_outside_the_folder_pipes_and_devices(photos, tmp_path):
    raw = tmp_path / "raw"
    content = test_coco.lay_down(raw, photos)
    (tmp_path / "secret.jpg").write_bytes(photos[1].file)
    os.mkfifo(raw / "train2017" / "pipe.jpg")
    rows = content["images"]
    rows[1]["file_name"] = "../../secret.jpg"
    rows[2]["file_name"] = str(tmp_path / "secret.jpg")
    rows[3]["file_name"] = "pipe.jpg"
    rows[4]["file_name"] = "a\0b.jpg"
    rows[5]["file_name"] = "x" * 10_000
    test_coco.write(raw, content)
    manifest, records = prepared("coco", raw, tmp_path)
    assert [record["id"] for record in records] == ["139"]
    assert manifest["skipped"]["train"] == {"picture": 5}
    assert "secret.jpg, which is outside" in manifest["errors"]["picture"]
    assert picture(raw, "train", "x" * 10_000).name == "x" * 10_000
    row = {"image_id": 1, "url": "https://x/../secret.jpg", "width": 2, "height": 2}
    things = [{"image_id": 1, "objects": [{"x": 0, "y": 0, "w": 1, "h": 1, "names": ["a"]}]}]
    (raw / "image_data.json").write_text(json.dumps([row]))
    (raw / "objects.json").write_text(json.dumps(things))
    (error,) = visual_genome.read(raw, visual_genome.parts(raw)[0])
    assert isinstance(error, RecordError)
    assert "is outside" in str(error)


@pytest.mark.parametrize("number", ["1e999", str(2**63), str(10**400), "NaN", '"x"'])
@pytest.mark.parametrize(
    "place",
    [
        '"images": [{"id": @, "file_name": "b.jpg", "height": 2, "width": 2}, ',
        '"images": [{"id": 9, "file_name": "b.jpg", "height": @, "width": 2}, ',
        '"categories": [{"id": @, "name": "cat"}, ',
        '"annotations": [{"image_id": @, "category_id": 1, "bbox": [0, 0, 1, 1]}, ',
        '"annotations": [{"image_id": 1, "category_id": @, "bbox": [0, 0, 1, 1]}, ',
        '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, @, 1]}, ',
    ],
)
def test_numbers_that_are_none_of_the_format(tmp_path, place, number):
    text = json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.jpg", "height": 2, "width": 2}],
            "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "half \ud83d"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
        }
    )
    key = place.partition("[")[0] + "["
    path = tmp_path / "x.json"
    path.write_text(text.replace(key, place.replace("@", number)))
    found = read_annotations(path)
    assert set(found.labels.values()) <= {"dog", "cat"}
    assert found.of(len(found.rows) - 1)[1].shape[0] >= 1
    row = json.loads(place.partition("[")[2].replace("@", number).rstrip(", "))
    renamed = {"image_id": row.get("id"), "url": "https://x/VG_100K/1.jpg"}
    visual_genome._picture_row(renamed | {"height": row.get("height", 2), "width": 2})
    visual_genome._thing({"names": ["a"], "x": 0, "y": 0, "w": (row.get("bbox") or [0] * 4)[2]})


def test_deep_json_and_long_numbers_cost_one_row(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    prepare(pictures_of("cc3m", {"train": ["train/1"]}), raw, tmp_path)
    with gzip.open(raw / "c4-sw.tfrecord-00000-of-00001.json.gz", "wb") as file:
        file.write(b"\n".join([DEEP.encode(), b'{"text": "\xff"}', b'{"text": "habari"}']))
    manifest, records = prepared("mc4", raw, tmp_path)
    assert manifest["skipped"]["train"] == {"row": 2}
    assert records[0]["id"] == "sw/00000/2"
    row = {"image_id": "9" * 5000, "lang": "sw", "question": "a?", "answer": "b"}
    good = row | {"image_id": "1"}
    (raw / "vq2a_cc3m_train.jsonl").write_text("\n".join([json.dumps(row), DEEP, json.dumps(good)]))
    manifest, records = prepared("vq2a_cc3m", raw, tmp_path)
    assert manifest["skipped"]["train"] == {"row": 2}
    assert len(manifest["errors"]["row"]) < 200
    row = {"image_id": "9" * 5000, "trg_lang": "sw", "translation_tokenized": "paka"}
    (raw / "cc3m_mt_train.jsonl").write_text("\n".join([json.dumps(row), DEEP]))
    assert prepare(find("cc3m_35l"), raw, tmp_path)["skipped"]["train"] == {"row": 2}


def test_deep_json_damages_a_file_of_annotations(tmp_path):
    (tmp_path / "x.json").write_text(f'{{"images": [{DEEP}')
    with pytest.raises(ValueError, match=r"x.json is damaged"):
        list(json_stream.elements(tmp_path / "x.json"))


def test_early_damage_is_found_where_it_is(tmp_path, monkeypatch):
    """Read on to its end, and decoded anew with every piece, a file would take hours."""
    monkeypatch.setattr(json_stream, "_CHUNK", 1000)
    path = tmp_path / "x.json"
    path.write_text('[{"a": 1} {"b": 2}, ' + "{}, " * 100_000 + "{}]")
    with path.open() as file:
        text = json_stream._Text(file)
        with pytest.raises(ValueError, match="found '{'"):
            list(json_stream._top(text))
        assert len(text._text) <= 2000
    path.write_text('[{"a": [1 2]}, ' + "{}, " * 100_000 + "{}]")
    with path.open() as file:
        text = json_stream._Text(file)
        with pytest.raises(ValueError, match="delimiter"):
            list(json_stream._top(text))
        assert len(text._text) <= 2000
    # A text that is never closed is read on, in pieces that grow.
    path.write_text('["' + "a" * 3_000_000)
    begin = time.process_time()
    with pytest.raises(ValueError, match="Unterminated"):
        list(json_stream.elements(path))
    assert time.process_time() - begin < 2, "3,000 pieces of 1,000 took half a minute"


def test_quotation_marks_cost_their_own_line(photos, tmp_path):
    raw = tmp_path / "raw"
    rows = test_open_images.lay_down(raw, photos[:2], "validation")
    path = raw / "validation-annotations-bbox.csv"
    quoted = rows[0].replace("xclick", '"xclick')
    long = rows[0].replace("xclick", f'"{"x" * 200_000}"')
    lines = [test_open_images.BOXES, quoted, long, '"\n', *rows]
    path.write_text("\ufeff" + "".join(lines))
    _, records = prepared("open_images", raw, tmp_path, "validation")
    labels = [label for record in records for label in record["labels"]]
    assert sorted(labels) == sorted(label for photo in photos[:2] for label, _ in photo.things)
    path.write_bytes(path.read_bytes() + b"\xff\n")
    with pytest.raises(ValueError, match=r"annotations-bbox.csv is damaged .*utf-8"):
        prepare(find("open_images"), raw, tmp_path / "again")


def test_a_list_in_another_encoding_is_no_list_of_captions(tmp_path):
    raw = tmp_path / "raw"
    sample = fetched("0", CODES[0], "x", url="http://a/0") | fetched(
        "1", CODES[1], "x", url="\ud800"
    )
    write_tar(raw / "train" / "00000.tar", sample | fetched("2", CODES[2], "x", url="http://a/2"))
    lines = ["Ein Bär\thttp://a/0", "no address", "\t", "a bear\thttp://a/2"]
    (raw / "Train_GCC-training.tsv").write_bytes("\n".join(lines).encode("latin-1"))
    manifest, records = prepared("cc3m", raw, tmp_path)
    assert [record["caption"] for record in records] == ["a bear"]
    assert manifest["skipped"]["train"] == {"row": 2}
    assert "row 1 of the list is not UTF-8" in manifest["errors"]["row"]
    # Three of the four rows have no record, and two of these say nothing.
    assert manifest["listed"] == {"train": {"rows": 4, "malformed": 2}}
    assert conceptual_captions._cells(b"\t\n", 1) == (b"", b"")


def test_alt_texts_with_a_byte_order_mark_and_ocr_without_alt_text(tmp_path):
    raw = tmp_path / "raw"
    read = json.dumps({"lang": "en", "ocr": [{"lang": "sw", "text": "duka"}]}).encode()
    files = {"0.jpg": jpeg(CODES[0]), "0.json": read, "0.txt": b"\xef\xbb\xbfa shop"}
    files |= {"1.jpg": jpeg(CODES[1]), "1.json": read}  # No alt text at all.
    write_tar(raw / "train" / "00000.tar", files)
    _, records = prepared("web", raw, tmp_path)
    assert [record["text"] for record in records] == ["a shop"]
    manifest, records = prepared("web_ocr", raw, tmp_path)
    assert manifest["skipped"]["train"] == {}
    assert [record["image"] for record in records] == [jpeg(CODES[0]), jpeg(CODES[1])]
    assert records[1]["image_key"] == "web/train/1"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mc4", "c4-sw.tfrecord-00000-of-00002.json.gz"),
        ("vq2a_cc3m", "vq2a_cc3m_train.jsonl"),
        ("cc3m_35l", "cc3m_mt_dev.jsonl.gz"),
    ],
)
def test_an_empty_file_is_no_file_without_records(tmp_path, name, file):
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{file} is empty"):
        find(name).parts(tmp_path)


def test_a_sparse_file_of_a_tar_is_not_unpacked(tmp_path):
    """Its header says a terabyte, which would be read into memory."""
    member = tarfile.TarInfo("0.jpg")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:398] = header[398:410] = b"00000000000\0"
    header[483:495] = b"\x80" + (10**12).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "0.tar"
    path.write_bytes(bytes(header) + bytes(1024))
    with tarfile.open(path) as tar:
        assert tar.getmembers()[0].issparse()
    assert list(webdataset.samples(path)) == []
