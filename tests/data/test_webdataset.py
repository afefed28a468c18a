# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""WebDataset tars, written by Python's tarfile, as records."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import tarfile

import numpy as np
import pytest
from PIL import Image

from pali.data.pipeline import Source, Task, task_dataset
from pali.data.preprocessors import DecodePicture, TextToText
from pali.data.skipping import RecordError
from pali.data.webdataset import WebDataset


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (shade, 0, 9)).save(file, "PNG")
    return file.getvalue()


def write_tar(path, files, form=tarfile.PAX_FORMAT) -> str:
    """`files`: (name, content) in order; content None is a folder."""
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return str(path)


def samples(count, start=0):
    for i in range(start, start + count):
        yield f"{i:04}.json", json.dumps({"caption": f"ฝน\u2028{i}", "lang": "th"}).encode()
        yield f"{i:04}.png", png(i)


def read_all(source):
    return [source[i] for i in range(len(source))]


def test_shards_are_read_at_random(tmp_path):
    for name, count, start in (("b-009", 3, 0), ("b-010", 0, 0), ("b-011", 2, 0)):
        write_tar(tmp_path / f"{name}.tar", samples(count, start))
    source = WebDataset(f"{tmp_path}/b-{{009..011}}.tar")
    assert isinstance(source, Source)
    assert len(source) == 5
    assert len(pickle.dumps(source)) < 1000
    order = list(range(5))
    random.Random(0).shuffle(order)
    copy = pickle.loads(pickle.dumps(source))
    records = {i: copy[i] for i in order}
    for i in range(5):
        shard, number = (9, i) if i < 3 else (11, i - 3)
        assert records[i] == {
            "image_key": f"{tmp_path}/b-{shard:03}.tar#{number:04}",
            "__key__": f"{number:04}",
            "caption": f"ฝน\u2028{number}",
            "lang": "th",
            "image": png(number),
        }
    for index in (-1, 5):
        with pytest.raises(IndexError):
            source[index]
    assert read_all(WebDataset(str(tmp_path))) == [records[i] for i in range(5)]
    assert len(WebDataset([f"{tmp_path}/b-011.tar"])) == 2


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_files_become_fields_by_their_endings(tmp_path, form):
    files = [
        ("./", None),
        ("./README", b"no ending: no sample"),
        ("./a.b/x.JPG", b"picture"),
        ("./a.b/x.txt", b"\xef\xbb\xbfein Haus\nam See"),
        ("./a.b/x.cls", b"17\n"),
        ("./a.b", None),
        ("./a.b/x.seg.png", b"mask"),
        ("./a.b/._x.jpg", b"what macOS adds"),
        ("./a.b/x.json", b'{"text": "no", "image": "no", "__key__": "no", "n": [1], "none": null}'),
        # Too long for one header, and beyond ASCII where the format has a place for it.
        ("./" + ("d" * 60 + "/") * (4 if form != tarfile.USTAR_FORMAT else 2) + "y.webp", b"p2"),
        ("./" + "ฝ" * (60 if form != tarfile.USTAR_FORMAT else 9) + ".jpg", b"p3"),
    ]
    source = WebDataset(write_tar(tmp_path / "t.tar", files, form))
    assert len(source) == 3
    assert source[0] == {
        "image_key": f"{tmp_path}/t.tar#./a.b/x",
        "__key__": "./a.b/x",
        "image": b"picture",
        "text": "ein Haus\nam See",
        "label": 17,
        "seg.png": b"mask",
        "n": [1],
        "none": None,
    }
    assert source[1]["image"] == b"p2"
    assert source[1]["__key__"].startswith("./ddd")
    assert source[2]["__key__"].strip("./") == "ฝ" * (60 if form != tarfile.USTAR_FORMAT else 9)


def test_which_file_is_the_picture(tmp_path):
    files = [("1.left.jpg", b"l"), ("1.png", b"p"), ("1.jpg", b"j"), ("2.txt", b"t")]
    path = write_tar(tmp_path / "t.tar", files)
    assert WebDataset(path)[0]["image"] == b"j"
    assert WebDataset(path)[0]["png"] == b"p"
    assert WebDataset(path, images=["left.jpg"])[0]["image"] == b"l"
    with pytest.raises(RecordError, match=r"t.tar, sample '2' has no jpg or .*, only txt") as error:
        WebDataset(path)[1]
    assert error.value.reason == "picture"
    assert WebDataset(path, images=())[1] == {
        "image_key": f"{path}#2",
        "__key__": "2",
        "text": "t",
    }


def test_pictures_reach_the_pipeline_and_bad_samples_are_skipped(tmp_path):
    row = b'{"lang": "en", "caption": "a dog"}'
    files = [
        *samples(1),
        *(("json.json", b'{"caption": '), ("json.png", png(1))),
        *(("list.json", b"[1]"), ("list.png", png(1))),
        *(("text.txt", b"\xff"), ("text.png", png(1))),
        *(("cls.cls", b"dog"), ("cls.png", png(1))),
        *(("none.json", row), ("none.txt", b"")),
        *(("broken.json", row), ("broken.png", png(1)[:30])),
        *(("twice.png", png(1)), ("twice.png", png(2))),
        *(("last.json", row), ("last.png", png(200))),
    ]
    source = WebDataset(write_tar(tmp_path / "t.tar", files))
    functions = (DecodePicture(4), TextToText("caption", "caption"))
    examples = list(task_dataset(Task("t", source, functions)))
    skipped = [example.get("skipped") for example in examples]
    expected = [None, "row", "row", "text", "row", "picture", "picture", "row", None]
    assert skipped == expected
    for name, example in zip(("json", "list", "text", "cls"), examples[1:], strict=False):
        assert f"t.tar, sample '{name}'" in example["error"]
    assert "has two files twice.png" in examples[7]["error"]
    assert examples[-1]["image"][0, 0].tolist() == [200, 0, 9]


@pytest.mark.parametrize(
    "files",
    [
        [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.txt", b"1"), ("b.txt", b"2")],
        [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.jpg", b"3")],
    ],
)
def test_samples_must_stand_together(tmp_path, files):
    with pytest.raises(ValueError, match="sample 'a' do not stand together.*tar --sort=name"):
        len(WebDataset(write_tar(tmp_path / "t.tar", files)))


def test_a_tar_that_is_cut_short_stops_at_once_wherever_it_is_cut(tmp_path):
    path = tmp_path / "t.tar"
    files = [("a.txt", b"x" * 700), ("b.txt", b"y" * 30)]
    write_tar(path, files)
    whole = path.read_bytes()
    end = 512 + 1024 + 512 + 512
    for size in (*range(0, end + 512, 64), 1, 511, end - 1, end + 511):
        path = tmp_path / f"{size}.tar"
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{size}.tar is (not a tar, or is )?damaged or cut"):
            len(WebDataset(str(path), images=()))
    path.write_bytes(whole[: end + 512])
    assert len(WebDataset(str(path), images=())) == 2


def test_damage_in_the_middle_is_no_end(tmp_path):
    path = tmp_path / "t.tar"
    write_tar(path, [(f"{i}.txt", b"x" * 600) for i in range(3)])
    data = bytearray(path.read_bytes())
    data[1536 + 20] ^= 0xFF  # In the header of the second file.
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged or cut short: after 1 samples, at byte 1536 of"):
        len(WebDataset(str(path)))


def test_a_tar_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "t.tar"
    source = WebDataset(write_tar(path, samples(3)))
    assert source[2]["image"] == png(2)
    path.write_bytes(b"")
    with pytest.raises(RecordError, match="sample 2 is damaged, or the tar was changed") as error:
        source[2]
    assert error.value.reason == "row"


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", lambda data: b"\x28\xb5\x2f\xfd" + data),
    ],
)
def test_compressed_tars_are_refused_with_advice(tmp_path, name, pack):
    path = tmp_path / "t.tar"
    write_tar(path, samples(2))
    path.write_bytes(pack(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"is compressed \({name}\).*unpack it to a plain .tar"):
        len(WebDataset(str(path)))


def test_other_files_and_missing_ones(tmp_path):
    path = tmp_path / "t.tar"
    path.write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(ValueError, match="is not a tar, or is damaged or cut short"):
        len(WebDataset(str(path)))
    with pytest.raises(FileNotFoundError, match="t-001.tar: no such file"):
        len(WebDataset(str(tmp_path / "t-{001..002}.tar")))
    assert len(WebDataset(write_tar(tmp_path / "empty.tar", []))) == 0


def test_json_of_a_sample_neither_renames_its_picture_nor_crashes(tmp_path):
    files = [("0.jpg", png(1)), ("0.json", b'{"image_key": "elsewhere", "__key__": 7}')]
    files += [("1.jpg", png(1)), ("1.json", b"[" * 100_000), ("2.jpg", png(1)), ("2.json", b"[1]")]
    path = write_tar(tmp_path / "t.tar", files)
    source = WebDataset(path)
    assert (source[0]["image_key"], source[0]["__key__"]) == (f"{path}#0", "0")
    for i, said in ((1, "cannot be read"), (2, "not an object but a list")):
        with pytest.raises(RecordError, match=said):
            source[i]
