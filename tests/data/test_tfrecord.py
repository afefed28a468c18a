# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""TFRecord files of Examples, written by TensorFlow, as records, read without it."""

import pickle
import random
import struct
import warnings

import google_crc32c
import numpy as np
import pytest

from pali.data.pipeline import Source, Task, task_dataset
from pali.data.preprocessors import TextToText
from pali.data.skipping import RecordError
from pali.data.tfrecord import TFRecord, find_records

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
    import tensorflow as tf


def example(**features) -> bytes:
    """A serialised Example; bytes, int or float, or a list of one of these."""
    kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    lists = {"bytes_list": tf.train.BytesList, "int64_list": tf.train.Int64List}
    made = {}
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        kind = kinds[type(values[0])] if values else None
        content = {kind: lists.get(kind, tf.train.FloatList)(value=values)} if kind else {}
        made[name.replace("__", "/")] = tf.train.Feature(**content)
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def write(path, records, compression=None) -> str:
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def bird(number: int) -> bytes:
    return example(
        image__encoded=bytes([255, number]) * 50,
        caption=f"ฝน\u2028{number}".encode(),
        lang=b"th",
    )


def read_all(source):
    return [source[i] for i in range(len(source))]


def test_shards_are_read_at_random(tmp_path):
    for name, numbers in (("00001-of-00003", [3]), ("00000-of-00003", [0, 1, 2])):
        write(tmp_path / f"t.tfrecord-{name}", map(bird, numbers))
    write(tmp_path / "t.tfrecord-00002-of-00003", [])  # TensorFlow leaves it empty: no bytes.
    source = TFRecord(str(tmp_path), image="image/encoded")
    assert isinstance(source, Source)
    assert len(source) == 4
    assert len(pickle.dumps(source)) < 1000
    copy = pickle.loads(pickle.dumps(source))
    order = [2, 0, 3, 1]
    random.Random(0).shuffle(order)
    for i in order:
        shard, number = divmod(i, 3)
        assert copy[i] == {
            "image_key": f"{tmp_path}/t.tfrecord-0000{shard}-of-00003#{number}",
            "image": bytes([255, i]) * 50,
            "caption": f"ฝน\u2028{i}",
            "lang": "th",
        }
    for index in (-1, 4):
        with pytest.raises(IndexError):
            source[index]
    assert read_all(TFRecord(f"{tmp_path}/t.tfrecord-*", "image/encoded")) == read_all(source)


def test_features_of_every_kind(tmp_path):
    features = {
        "text": "ฝนตก".encode(),
        "texts": [b"a", b"b"],
        "one": [b"a"],
        "none": [],
        "mask": b"\xff\x00",
        "masks": [b"\xff", b"\x00"],
        "number": -(2**62),
        "numbers": [1, 2**40],
        "one_number": [7],
        "share": 0.1,
        "box": [0.0, 0.1, 0.5, 1.0],
    }
    path = write(tmp_path / "t", [example(**features)])
    lists = ("one", "one_number", "none")
    source = TFRecord(path, None, binary=["mask", "masks"], lists=lists)
    record = source[0]
    for name in ("numbers", "one_number"):
        assert record[name].dtype == np.int64
        assert record.pop(name).tolist() == features[name]
    box = record.pop("box")
    assert box.dtype == np.float32
    np.testing.assert_array_equal(box, np.array(features["box"], np.float32))
    assert record == {
        "text": "ฝนตก",
        "texts": ["a", "b"],
        "one": ["a"],
        "none": [],
        "mask": b"\xff\x00",
        "masks": [b"\xff", b"\x00"],
        "number": -(2**62),
        "share": np.float32(0.1).item(),
    }
    assert TFRecord(path, None, binary=["mask", "masks"])[0]["none"] is None
    with pytest.raises(
        RecordError, match="record 0: the feature 'mask' is not UTF-8.*binary="
    ) as e:
        TFRecord(path, None)[0]
    assert e.value.reason == "text"


def test_features_equal_those_that_tensorflow_parses(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"i": rng.integers(-(2**60), 2**60, 3).tolist(), "f": rng.normal(size=4).tolist()}
        for _ in range(20)
    ]
    path = write(tmp_path / "t", [example(**row) for row in rows])
    spec = {"i": tf.io.FixedLenFeature([3], tf.int64), "f": tf.io.FixedLenFeature([4], tf.float32)}
    theirs = [tf.io.parse_single_example(r, spec) for r in tf.data.TFRecordDataset(path)]
    ours = read_all(TFRecord(path, None))
    for mine, reference in zip(ours, theirs, strict=True):
        for name in spec:
            np.testing.assert_array_equal(mine[name], reference[name].numpy())


def test_what_cannot_be_used_is_skipped(tmp_path):
    rows = [
        example(caption=b"a dog", lang=b"en"),
        example(caption=[], lang=b"en"),
        example(caption=b"\xff", lang=b"en"),
        b"\xff\xff no message",
        b"",
        example(lang=b"en"),  # A feature may be absent.
        example(caption=b"a cat", lang=b"en"),
    ]
    source = TFRecord(write(tmp_path / "t", rows), image=None)
    assert source[5] == {"lang": "en"}
    examples = list(task_dataset(Task("t", source, (TextToText("caption", "caption"),))))
    skipped = [example.get("skipped") for example in examples]
    assert skipped == [None, "text", "text", "row", "row", "text", None]
    assert "t, record 3 is not a tf.train.Example" in examples[3]["error"]
    assert "t, record 4 has no features" in examples[4]["error"]
    with pytest.raises(
        RecordError, match="record 0 has no picture in its feature 'image'"
    ) as error:
        TFRecord(source.paths)[0]
    assert error.value.reason == "picture"


def test_a_damaged_record_costs_itself_alone(tmp_path):
    path = tmp_path / "t"
    write(path, map(bird, range(3)))
    begins = find_records(str(path))
    data = bytearray(path.read_bytes())
    data[begins[1] + 30] ^= 1
    path.write_bytes(data)
    source = TFRecord(str(path), "image/encoded")
    with pytest.raises(RecordError, match="t, record 1 is damaged: its checksum") as error:
        source[1]
    assert error.value.reason == "row"
    assert [source[i]["caption"] for i in (0, 2)] == ["ฝน\u20280", "ฝน\u20282"]
    path.write_bytes(data[: begins[2] + 5])  # While it is read.
    with pytest.raises(RecordError, match="t, record 2 is damaged"):
        source[2]


def test_damaged_lengths_stop_at_once(tmp_path):
    path = tmp_path / "t"
    write(path, map(bird, range(3)))
    begins = find_records(str(path))
    for byte in (0, 7, 9):
        data = bytearray(path.read_bytes())
        data[begins[2] + byte] ^= 1
        (tmp_path / f"{byte}").write_bytes(data)
        with pytest.raises(ValueError, match=f"damaged at byte {begins[2]}, where record 2 begins"):
            len(TFRecord(str(tmp_path / f"{byte}")))


def test_a_file_that_is_cut_short_stops_at_once(tmp_path):
    path = tmp_path / "t"
    write(path, map(bird, range(2)))
    whole, second = path.read_bytes(), int(find_records(str(path))[1])
    assert len(find_records(str(path))) == 2
    for size in (1, 11, 12, second - 1, second + 1, second + 12, len(whole) - 1):
        (tmp_path / f"{size}").write_bytes(whole[:size])
        number, begin = (0, 0) if size < second else (1, second)
        message = f"{size} is cut short: record {number} begins at byte {begin}, and .* at {size}"
        with pytest.raises(ValueError, match=message):
            len(TFRecord(str(tmp_path / f"{size}")))


@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
def test_compressed_files_are_refused_with_advice(tmp_path, compression):
    path = write(tmp_path / "t", map(bird, range(2)), compression)
    with pytest.raises(ValueError, match="t is compressed, .*write it without compression"):
        len(TFRecord(path))


def test_other_files_and_missing_ones(tmp_path):
    (tmp_path / "t").write_text('{"caption": "a dog"}\n')
    with pytest.raises(ValueError, match="t is not a TFRecord file: its first checksum"):
        len(TFRecord(str(tmp_path / "t")))
    with pytest.raises(FileNotFoundError, match=r"has no \*.tfrecord\* or \*.tfrec"):
        len(TFRecord(str(tmp_path)))
    (tmp_path / "empty.tfrecord").write_text("")
    assert len(TFRecord(str(tmp_path))) == 0


def test_lengths_beyond_the_file_are_not_believed(tmp_path):
    head = struct.pack("<Q", 2**60)
    crc = google_crc32c.value(head)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    (tmp_path / "t").write_bytes(head + struct.pack("<I", masked) + b"x" * 100)
    with pytest.raises(ValueError, match="t is cut short: record 0"):
        len(TFRecord(str(tmp_path / "t")))
