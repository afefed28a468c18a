# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Parquet files, written by pyarrow and pandas, as records."""

import io
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pali.data import parquet
from pali.data.parquet import Parquet
from pali.data.pipeline import Source, Task, task_dataset
from pali.data.preprocessors import DecodePicture, TextToText
from pali.data.skipping import RecordError


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (shade, 0, 255 - shade)).save(file, "PNG")
    return file.getvalue()


def rows(count, start=0):
    return {
        "image": [{"bytes": png(i), "path": f"{i}.png"} for i in range(start, start + count)],
        "caption": [f"ฝน\u2028ตก\x85{i}" for i in range(start, start + count)],
    }


def read_all(source):
    return [source[i] for i in range(len(source))]


@pytest.fixture
def folder(tmp_path):
    """Three shards, row groups of two rows: 5, 0 and 3 rows."""
    for name, count, start in (("c", 3, 5), ("a", 5, 0), ("b", 0, 5)):
        table = pa.table(rows(5) if not count else rows(count, start)).slice(0, count)
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=2)
    (tmp_path / "_SUCCESS").write_text("")
    return tmp_path


def test_a_folder_of_shards_is_read_in_the_order_of_names(folder):
    source = Parquet(str(folder))
    assert isinstance(source, Source)
    assert len(source) == 8
    records = read_all(source)
    assert [r["image"] for r in records] == [png(i) for i in range(8)]
    assert [r["caption"] for r in records] == rows(8)["caption"]
    assert records[6]["image_key"] == f"{folder}/c.parquet#1"
    assert len({r["image_key"] for r in records}) == 8
    copy = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 1000
    assert copy[3] == source[3] == records[3]
    for index in (-1, 8):
        with pytest.raises(IndexError):
            source[index]
    assert len(Parquet([str(folder / "c.parquet"), str(folder / "a.parquet")])) == 8


def test_threads_read_at_random_within_the_memory_allowed(folder, monkeypatch):
    monkeypatch.setattr(parquet, "CACHE_BYTES", 1)
    expected = [png(i % 8) for i in range(64)]
    source = Parquet(str(folder / "?.parquet"))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: source[i % 8]["image"], range(64)))
    assert found == expected
    assert len(parquet._GROUPS._tables) == 1
    monkeypatch.setattr(parquet, "CACHE_BYTES", 2**20)
    read_all(source)
    assert len(parquet._GROUPS._tables) == 5


def write(tmp_path, columns, name="t.parquet", **options):
    path = tmp_path / name
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def test_pictures_may_be_bytes_paths_or_either(tmp_path):
    data = png(3)
    path = write(tmp_path, {"photo": [data], "caption": ["a"]})
    expected = {"image": data, "image_key": f"{path}#0", "caption": "a"}
    assert Parquet(path, image="photo")[0] == expected
    assert Parquet(path, image="photo", columns=["caption"])[0] == expected
    path = write(tmp_path, {"image": ["x/a.png"], "n": [1]}, "paths.parquet")
    assert Parquet(path, image_folder="birds")[0] == {"image_key": "birds/x/a.png", "n": 1}
    assert Parquet(path)[0] == {"image_key": "x/a.png", "n": 1}
    path = write(
        tmp_path,
        {"image": [{"bytes": None, "path": "b.png"}, {"bytes": data, "path": None}]},
        "either.parquet",
    )
    assert read_all(Parquet(path, image_folder="f")) == [
        {"image_key": "f/b.png"},
        {"image": data, "image_key": f"{path}#1"},
    ]
    # A key of one's own: two captions of one picture then share its visual tokens.
    path = write(tmp_path, {"image": [data], "image_key": ["bird 7"]}, "keys.parquet")
    assert Parquet(path)[0] == {"image": data, "image_key": "bird 7"}


def test_texts_alone_and_a_choice_of_columns(tmp_path):
    path = write(tmp_path, {"image": [png(1)], "a": ["x"], "b": [2]})
    assert Parquet(path, image=None)[0] == {"a": "x", "b": 2}
    assert Parquet(path, image=None, columns=("b",))[0] == {"b": 2}
    path = write(tmp_path, {"a": ["x"]}, "text.parquet")
    assert Parquet(path)[0] == {"a": "x"}


def test_values_of_every_type(tmp_path):
    columns = {
        "int": pa.array([3], pa.int16()),
        "share": pa.array([0.5], pa.float32()),
        "flag": [True],
        "large": pa.array(["é"], pa.large_string()),
        "coded": pa.array(["a"]).dictionary_encode(),
        "bytes": [b"\xff"],
        "texts": [["a", "ب"]],
        "no_texts": pa.array([[]], pa.list_(pa.string())),
        "ids": pa.array([[1, 2]], pa.list_(pa.int32())),
        "no_ids": pa.array([[]], pa.list_(pa.int32())),
        "box": pa.array([[0.0, 0.5]], pa.list_(pa.float32(), 2)),
        "gaps": pa.array([[1, None]]),
        "nested": [{"a": [1]}],
        "null": pa.array([None], pa.string()),
        "nan": [math.nan],
    }
    record = Parquet(write(tmp_path, columns))[0]
    assert list(record) == list(columns)
    for name, dtype in (("ids", "int32"), ("no_ids", "int32"), ("box", "float32")):
        assert record.pop(name).dtype == dtype
    assert math.isnan(record.pop("nan"))
    assert record == {
        "int": 3,
        "share": 0.5,
        "flag": True,
        "large": "é",
        "coded": "a",
        "bytes": b"\xff",
        "texts": ["a", "ب"],
        "no_texts": [],
        "gaps": [1, None],
        "nested": {"a": [1]},
        "null": None,
    }


def test_what_pandas_writes_from_mixed_dicts(tmp_path):
    path = str(tmp_path / "p.parquet")
    rows = [{"caption": "a", "lang": "en"}, {"lang": "sw"}, {"caption": None}, {"caption": "b"}]
    pandas.DataFrame(rows).to_parquet(path)
    assert [r["caption"] for r in read_all(Parquet(path))] == ["a", None, None, "b"]
    examples = list(task_dataset(Task("t", Parquet(path), (TextToText("caption", "caption"),))))
    assert [e.get("skipped") for e in examples] == [None, "text", "text", "row"]
    assert "'caption': None" in examples[1]["error"]


def test_a_row_without_its_picture_is_skipped(tmp_path):
    path = write(tmp_path, {"image": [png(5), None, b"no picture"], "caption": ["a", "b", "c"]})
    with pytest.raises(RecordError, match="t.parquet, row 1 has no picture: 'image' is null"):
        Parquet(path)[1]
    examples = list(task_dataset(Task("t", Parquet(path), (DecodePicture(8),))))
    np.testing.assert_array_equal(examples[0]["image"][0, 0], [5, 0, 250])
    assert [e.get("skipped") for e in examples] == [None, "picture", "picture"]
    assert f"{path}#2" in examples[2]["error"]


def test_a_damaged_row_group_costs_its_own_rows(tmp_path):
    columns = {"text": [f"{i} " * 200 for i in range(6)]}
    options = {"row_group_size": 2, "use_dictionary": False, "write_page_checksum": True}
    path = write(tmp_path, columns, **options)
    chunk = pq.read_metadata(path).row_group(1).column(0)
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 5] ^= 0xFF
    (tmp_path / "t.parquet").write_bytes(data)
    source = Parquet(path)
    assert [source[i]["text"] for i in (0, 1, 4, 5)] == [columns["text"][i] for i in (0, 1, 4, 5)]
    for index in (2, 3):
        with pytest.raises(RecordError, match=f"row {index}: its row group 1 cannot be read") as e:
            source[index]
        assert e.value.reason == "row"


@pytest.mark.parametrize("content", [b"", b"not a table", b"PAR1" + b"\0" * 50])
def test_what_is_no_parquet_file_is_said(tmp_path, content):
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="t.parquet is not a Parquet file, or is damaged"):
        len(Parquet(str(path)))


def test_a_file_that_is_cut_short_is_said(folder):
    path = folder / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="a.parquet is not a Parquet file, or is damaged"):
        len(Parquet(str(folder)))


def test_no_rows_is_an_empty_source(tmp_path):
    path = write(tmp_path, {"caption": pa.array([], pa.string())})
    assert len(Parquet(path)) == 0


def test_wrong_columns_and_files_are_named(tmp_path):
    path = write(tmp_path, {"pixels": [[1, 2]], "caption": ["a"]})
    other = write(tmp_path, {"caption": ["b"]}, "u.parquet")
    with pytest.raises(ValueError, match="no column picture; it has pixels, caption"):
        len(Parquet(path, image="picture"))
    with pytest.raises(ValueError, match="no column captions; it has"):
        len(Parquet(path, columns=["captions"]))
    with pytest.raises(ValueError, match="column 'pixels' is of type list.*a picture is binary"):
        len(Parquet(path, image="pixels"))
    with pytest.raises(ValueError, match="u.parquet has the columns caption, and .*t.parquet has"):
        len(Parquet(str(tmp_path)))
    both = Parquet([path, other], columns=["caption"])
    assert read_all(both) == [{"caption": "a"}, {"caption": "b"}]
    with pytest.raises(FileNotFoundError, match="gone.parquet: no such file"):
        len(Parquet("gone.parquet"))


def test_what_python_cannot_hold_is_no_value_and_no_crash(tmp_path):
    pictures = [{"bytes": png(0)}, {"bytes": png(1)}]
    dates = pa.array([2**62, 0], pa.timestamp("ms"))
    texts = pa.array([b"\xff", b"a"]).view(pa.string())
    path = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": pictures, "day": dates, "caption": texts}), path)
    first, second = read_all(Parquet(path))
    assert (first["day"], first["caption"]) == (None, None)
    assert (second["day"].year, second["caption"]) == (1970, "a")
    paths = pa.array([{"path": 5}, {"path": None}], pa.struct([("path", pa.int64())]))
    pq.write_table(pa.table({"image": paths}), tmp_path / "y.parquet")
    source = Parquet(str(tmp_path / "y.parquet"))
    with pytest.raises(RecordError, match="'image' has 5, neither bytes nor a path"):
        source[0]
    with pytest.raises(RecordError, match="is null"):
        source[1]


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["caption", "caption"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="x.parquet has several columns 'caption'"):
        len(Parquet(str(tmp_path / "x.parquet")))
