# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets that TFDS prepared, in each of its formats, as records, read without TensorFlow."""

import io
import json
import pickle
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from pali.data.pipeline import Source, Task, task_dataset
from pali.data.preprocessors import DecodePicture
from pali.data.skipping import RecordError
from pali.data.tfds import Tfds
from pali.data.tfrecord import find_records

FORMATS = ("array_record", "parquet", "tfrecord")

BUILD = """
    import io, json, sys
    import numpy as np
    import tensorflow_datasets as tfds
    from PIL import Image

    features = tfds.features

    def png(shade):
        file = io.BytesIO()
        Image.new("RGB", (6, 4), (shade, 0, 9)).save(file, "PNG")
        return file.getvalue()

    class Birds(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features.FeaturesDict({
                "image": features.Image(),
                "caption": features.Text(),
                "id": np.int64,
                "share": np.float32,
                "label": features.ClassLabel(names=["bird", "bat"]),
                "box": features.BBoxFeature(),
                "tags": features.Sequence(features.Text()),
                "ids": features.Sequence(np.int32),
                "objects": features.Sequence({"name": features.Text(), "size": np.int32}),
                "raw": features.Tensor(shape=(), dtype=np.object_),
                "more": {"mask": features.Image(), "note": features.Text()},
            }))

        def _split_generators(self, manager):
            return {"train": self._generate_examples(7), "test": self._generate_examples(3)}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {
                    "image": io.BytesIO(png(i)), "caption": f"ฝน\\u2028{i}", "id": i, "share": 0.5,
                    "label": i % 2, "box": features.BBox(0.0, 0.25, 0.5, 1.0),
                    "tags": ["a", "ب"][: i % 3], "ids": list(range(i)),
                    "objects": [{"name": f"o{j}", "size": j} for j in range(i % 3)],
                    "raw": b"\\xff", "more": {"mask": io.BytesIO(png(99)), "note": "n"},
                }

    for file_format in sys.argv[2:]:
        builder = Birds(data_dir=f"{sys.argv[1]}/{file_format}", file_format=file_format)
        builder.download_and_prepare()
        train = builder.as_dataset(split="train[2:]") if file_format == "tfrecord" else ()
        print(json.dumps([int(row["id"]) for row in train]))
"""


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small data set in every format, and its order as TensorFlow reads train[2:]."""
    folder = tmp_path_factory.mktemp("tfds")
    order = json.loads(python(BUILD, str(folder), *FORMATS).splitlines()[-1])
    assert len(order) == 5
    return {name: str(folder / name / "birds" / "1.0.0") for name in FORMATS}, order


def read_all(source):
    return [source[i] for i in range(len(source))]


@pytest.mark.parametrize("name", FORMATS)
def test_examples_of_every_format(built, name):
    folder = built[0][name]
    source = Tfds(folder, "train", binary=("raw",))
    assert isinstance(source, Source)
    assert len(source) == 7
    assert len(pickle.dumps(source)) < 1000
    records = {r["id"]: r for r in map(pickle.loads(pickle.dumps(source)).__getitem__, range(7))}
    assert sorted(records) == list(range(7))
    assert len({r["image_key"] for r in records.values()}) == 7
    for i, record in records.items():
        assert record.pop("image_key").startswith(f"{folder}/train#")
        pixels = np.array(Image.open(io.BytesIO(record.pop("image"))))
        assert pixels[0, 0].tolist() == [i, 0, 9]
        mask = Image.open(io.BytesIO(record.pop("more/mask")))
        assert mask.getpixel((0, 0)) == (99, 0, 9)
        np.testing.assert_array_equal(record.pop("box"), [0.0, 0.25, 0.5, 1.0])
        np.testing.assert_array_equal(record.pop("ids"), np.arange(i))
        np.testing.assert_array_equal(record.pop("objects/size"), np.arange(i % 3))
        assert record == {
            "caption": f"ฝน\u2028{i}",
            "id": i,
            "share": 0.5,
            "label": i % 2,
            "tags": ["a", "ب"][: i % 3],
            "objects/name": [f"o{j}" for j in range(i % 3)],
            "raw": b"\xff",
            "more/note": "n",
        }
    for index in (-1, 7):
        with pytest.raises(IndexError):
            source[index]


@pytest.mark.parametrize("name", ["array_record", "tfrecord"])
def test_parts_of_splits_are_those_of_tensorflow(built, name):
    folders, order = built
    source = Tfds(folders[name], "train[2:]", binary=("raw",))
    assert [r["id"] for r in read_all(source)] == order
    both = Tfds(folders[name], "test+train[2:]", binary=("raw",))
    assert [r["id"] for r in read_all(both)][3:] == order
    assert len(Tfds(folders[name], "train[:0]")) == 0


def test_parts_of_parquet_are_refused_because_tfds_reads_it_whole(built):
    with pytest.raises(ValueError, match="have 7 examples, and it should have 5. Parquet files"):
        len(Tfds(built[0]["parquet"], "train[2:]"))


def test_pictures_reach_the_pipeline_or_are_left_out(built):
    source = Tfds(built[0]["tfrecord"], "test", image="more/mask", binary=["raw"])
    (example, *_) = task_dataset(Task("birds", source, (DecodePicture(4),)))
    assert example["image"][0, 0].tolist() == [99, 0, 9]
    record = Tfds(built[0]["array_record"], "test", image=None, binary=["raw"])[0]
    assert not {"image", "image_key", "more/mask"} & record.keys()
    with pytest.raises(RecordError, match="example 0: the feature 'raw' is not UTF-8 text"):
        Tfds(built[0]["array_record"], "test")[0]


def test_what_cannot_be_read_is_said(built, tmp_path):
    folder = built[0]["tfrecord"]
    with pytest.raises(FileNotFoundError, match="give the folder of a version: .*birds/1.0.0"):
        len(Tfds(folder.removesuffix("/1.0.0"), "train"))
    with pytest.raises(FileNotFoundError, match="gone is not a data set that TFDS prepared"):
        len(Tfds("gone", "train"))
    with pytest.raises(ValueError, match="has no split 'dev'; it has .*t.*, and parts of these"):
        len(Tfds(folder, "dev"))
    with pytest.raises(ValueError, match="no feature 'photo'; it has .*caption"):
        Tfds(folder, "test", image="photo", binary=["raw"])[0]
    with pytest.raises(ValueError, match="the feature 'id' is no picture"):
        Tfds(folder, "test", image="id", binary=["raw"])[0]
    copy = tmp_path / "riegeli"
    shutil.copytree(folder, copy)
    info = (copy / "dataset_info.json").read_text().replace('"tfrecord"', '"riegeli"')
    (copy / "dataset_info.json").write_text(info)
    with pytest.raises(ValueError, match="format riegeli cannot .*tfds convert_format --dataset_v"):
        len(Tfds(str(copy), "train"))


@pytest.mark.parametrize("name", FORMATS)
def test_missing_and_damaged_files_are_named(built, tmp_path, name):
    copy = tmp_path / "missing"
    shutil.copytree(built[0][name], copy)
    (file,) = copy.glob("birds-train*")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=f"{file.name}.* prepare the data set again"):
        len(Tfds(str(copy), "train"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_emptied(built, tmp_path, name):
    copy = tmp_path / "emptied"
    shutil.copytree(built[0][name], copy)
    (file,) = copy.glob("birds-train*")
    file.write_bytes(b"")
    error, message = {
        "array_record": (RecordError, "example 6 is damaged"),
        "parquet": (ValueError, "emptied cannot be read"),
        "tfrecord": (ValueError, "has 0 examples, .* says 7: prepare the data set again"),
    }[name]
    with pytest.raises(error, match=message):
        Tfds(str(copy), "train")[6]


def test_a_damaged_example_costs_itself_alone(built, tmp_path):
    copy = tmp_path / "damaged"
    shutil.copytree(built[0]["tfrecord"], copy)
    (file,) = copy.glob("birds-train*")
    data = bytearray(file.read_bytes())
    begin = find_records(str(file))[3]
    data[begin + 40] ^= 1
    file.write_bytes(data)
    source = Tfds(str(copy), "train[2:]", binary=["raw"])
    with pytest.raises(RecordError, match=f"the record at byte {begin} is damaged: its"):
        source[1]
    assert len([source[i] for i in (0, 2, 3, 4)]) == 4


def test_no_format_needs_tensorflow(built):
    script = f"""
        import sys
        from pali.data.tfds import Tfds
        from pali.data.tfrecord import TFRecord
        assert "tensorflow_datasets" not in sys.modules
        for folder in {list(built[0].values())!r}:
            Tfds(folder, "train", binary=("raw",))[1]
        source = TFRecord({built[0]["tfrecord"]!r}, binary=("raw", "more/mask"))
        assert source[0]["caption"]
        print([name for name in ("tensorflow", "jax", "torch") if name in sys.modules])
    """
    assert python(script).splitlines()[-1] == "[]"
