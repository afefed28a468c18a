# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CC3M and CC12M: the published lists, joined to what img2dataset fetched."""

import pytest

from pali.data.prepared import Prepared, read_places
from pali.data.preparing import count_warnings, prepare
from pali.data.raw import conceptual_captions, find
from tests.data.raw.fixtures import CODES, fetched, jpeg, name, write_tar

URLS = {code: f"http://pictures.example/{code}?size=2&x='a'" for code in CODES}


def sample(key, code, **changes):
    about = {"url": URLS[code], "caption": "what img2dataset read"} | changes
    return fetched(key, code, "what img2dataset read", **about)


def write_cc3m(raw, header=""):
    raw.mkdir(exist_ok=True)
    rows = [f"{name(code)}\t{URLS[code]}" for code in CODES]
    rows[3] = f"\t{URLS[CODES[3]]}"  # No caption.
    rows.append(f"said again\t{URLS[CODES[0]]}")
    (raw / "Train_GCC-training.tsv").write_text(header + "\n".join(rows) + "\n")
    rows = [f"{name(CODES[0])}\t{URLS[CODES[0]]}", f"a\ttab\t{URLS[CODES[1]]}"]
    (raw / "Validation_GCC-1.1.0-Validation.tsv").write_text("\n".join(rows))
    broken = sample("000000005", CODES[4])
    write_tar(
        raw / "train" / "00000.tar",
        sample("000000002", CODES[2])
        | sample("000000000", CODES[0])
        | sample("000000003", CODES[3])
        | sample("000000004", CODES[5], url="http://elsewhere.example/")
        | broken
        | {"000000005.jpg": b""},
    )
    (raw / "train" / "00000.parquet").write_bytes(b"PAR1")
    (raw / "train" / "00000_stats.json").write_text("{}")
    write_tar(
        raw / "train" / "00001.tar",
        sample("000010000", CODES[1])
        | {"000010001.jpg": jpeg(CODES[4])}
        | {"000010002.jpg": jpeg(CODES[4]), "000010002.json": b"{"}
        | {"000010003.jpg": jpeg(CODES[4]), "000010003.json": b"[]"}
        | {"000010004.jpg": jpeg(CODES[4]), "000010004.json": b'{"url": null}'}
        | sample("000010005", CODES[5])
        | {"000010005.jpg": b"<html>gone</html>"},
    )
    for file, content in sample("000000001", CODES[1]).items():
        folder = raw / "validation" / "00000"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)


@pytest.mark.parametrize("header", ["", "caption\turl\n"])
def test_cc3m(tmp_path, header):
    write_cc3m(tmp_path / "raw", header)
    cc3m = find("cc3m")
    manifest = prepare(cc3m, tmp_path / "raw", tmp_path)
    assert manifest["splits"] == {"train": 3, "validation": 1}
    assert manifest["skipped"] == {
        # Not in the list, and four with no or another .json; no caption; empty, and no picture.
        "train": {"row": 5, "text": 1, "picture": 2},
        "validation": {},
    }
    assert "http://elsewhere.example/, which the list does not have" in manifest["errors"]["row"]
    assert "row 4" in manifest["errors"]["text"]
    train = Prepared("cc3m", "train", str(tmp_path))
    # In the order of the tar; the first row of an address counts, and the list's caption.
    assert [(train[i]["id"], train[i]["caption"]) for i in range(3)] == [
        ("train/3", name(CODES[2])),
        ("train/1", name(CODES[0])),
        ("train/2", name(CODES[1])),
    ]
    assert train[1] == {
        "id": "train/1",
        "lang": "en",
        "caption": name(CODES[0]),
        "image": jpeg(CODES[0]),
        "image_key": "cc3m/train/1",
    }
    validation = Prepared("cc3m", "validation", str(tmp_path))[0]
    assert (validation["id"], validation["caption"]) == ("validation/2", "a\ttab")
    # The rows of both lists are numbered from 1, and still told apart.
    assert read_places(tmp_path / "cc3m")["validation/2"] == ("cc3m", "validation", 0)
    assert manifest["listed"]["train"] == {"rows": 7, "malformed": 0}
    assert "train has 7 rows in its list; 3,318,333 are" in count_warnings(cc3m, manifest)[0]


def test_cc12m(tmp_path):
    raw = tmp_path / "raw"
    write_tar(raw / "train" / "00000.tar", sample("000000000", CODES[0]))
    write_tar(raw / "validation" / "00000.tar", sample("000000000", CODES[0]))
    rows = [f"{URLS[CODES[1]]}\tx", f"{URLS[CODES[0]]}\t a\tdog "]
    (raw / "cc12m.tsv").write_bytes("\r\n".join(rows).encode())
    manifest = prepare(find("cc12m"), raw, tmp_path)
    assert manifest["splits"] == {"train": 1}
    record = Prepared("cc12m", "train", str(tmp_path))[0]
    assert (record["id"], record["caption"]) == ("train/2", "a\tdog")


def test_rows_are_found_by_address_even_where_hashes_are_equal(tmp_path, monkeypatch):
    path = tmp_path / "cc12m.tsv"
    path.write_text("".join(f"http://x/{i}\tpicture {i}\n" for i in range(50)))
    monkeypatch.setattr(conceptual_captions, "_digest", lambda url: bytes([len(url) % 2] * 8))
    rows = conceptual_captions._open(str(path), 0, 0)
    for i in range(50):
        assert rows.find(f"http://x/{i}") == (i + 1, f"picture {i}")
    assert rows.find("http://x/50") is None


def test_what_is_missing_is_said(tmp_path):
    cc3m = find("cc3m")
    with pytest.raises(FileNotFoundError, match=r"img2dataset"):
        cc3m.parts(tmp_path)
    write_tar(tmp_path / "train" / "00000.tar", sample("000000000", CODES[0]))
    with pytest.raises(FileNotFoundError, match=r"no Train_GCC-training.tsv"):
        cc3m.parts(tmp_path)
    (tmp_path / "Train_GCC-training.tsv").write_text("")
    with pytest.raises(ValueError, match=r"training.tsv is empty"):
        prepare(cc3m, tmp_path, tmp_path / "to")


def test_a_damaged_tar_is_named(tmp_path):
    raw = tmp_path / "raw"
    write_cc3m(raw)
    path = raw / "train" / "00001.tar"
    whole = path.read_bytes()
    second = whole.index(b"000010000.json")
    damaged = [
        b"",
        whole[: second + 100],  # In a header,
        whole[: second - 200],  # in a file,
        whole[:second],  # between two.
        whole[:second] + b"x" * 512 + whole[second + 512 :],
    ]
    for i, content in enumerate(damaged):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"00001.tar is damaged"):
            prepare(find("cc3m"), raw, tmp_path / str(i))
