# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Folders that Hugging Face's `datasets` saved, as records."""

import io
import pickle
import subprocess
import sys
import textwrap

import datasets
import numpy as np
import pytest
from PIL import Image

from pali.data.huggingface_datasets import HuggingFaceFolder
from pali.data.pipeline import Source, Task, task_dataset
from pali.data.preprocessors import DecodePicture
from pali.data.skipping import RecordError


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (6, 4), (shade, 0, 9))


def read_all(source):
    return [source[i] for i in range(len(source))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A DatasetDict: "train" of 5 rows in two files, "test" of 2."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "caption": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["bird", "bat"]),
            "box": datasets.Sequence(datasets.Value("float32"), 4),
            "tags": datasets.Sequence(datasets.Value("string")),
        }
    )
    rows = [
        {
            "image": picture(i * 40) if i != 3 else None,
            "caption": f"ฝน\u2028{i}" if i != 2 else None,
            "kind": i % 2,
            "box": [0, 0, 0.5, i],
            "tags": ["a", "ب"][: i % 3],
        }
        for i in range(5)
    ]
    path = tmp_path_factory.mktemp("hf") / "birds"
    train = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": train, "test": train.select([4, 0])}).save_to_disk(
        str(path), num_shards={"train": 2, "test": 1}
    )
    return path


def test_rows_come_as_they_were_saved(folder):
    source = HuggingFaceFolder(str(folder), "train")
    assert isinstance(source, Source)
    assert len(source) == 5
    assert len(pickle.dumps(source)) < 1000
    record = pickle.loads(pickle.dumps(source))[1]
    decoded = Image.open(io.BytesIO(record.pop("image")))
    np.testing.assert_array_equal(np.array(decoded), np.array(picture(40)))
    box = record.pop("box")
    np.testing.assert_array_equal(box, np.array([0, 0, 0.5, 1], np.float32))
    assert box.dtype == np.float32
    assert record == {
        "image_key": f"{folder}/train#1",
        "caption": "ฝน\u20281",
        "kind": 1,
        "tags": ["a"],
    }
    assert source[2]["caption"] is None
    with pytest.raises(RecordError, match="train, row 3 has no picture: 'image' is null"):
        source[3]
    for index in (-1, 5):
        with pytest.raises(IndexError):
            source[index]
    # A selection is saved in its own order.
    assert [r["caption"] for r in read_all(HuggingFaceFolder(str(folder), "test"))] == [
        "ฝน\u20284",
        "ฝน\u20280",
    ]


def test_pictures_reach_the_pipeline(folder):
    task = Task("birds", HuggingFaceFolder(str(folder), "train"), (DecodePicture(4),))
    examples = list(task_dataset(task))
    assert [e.get("skipped") for e in examples] == [None, None, None, "picture", None]
    assert examples[4]["image"][0, 0].tolist() == [160, 0, 9]


def test_a_dataset_alone_of_text_and_one_with_paths(tmp_path):
    plain = datasets.Dataset.from_dict({"question": ["a", "b"], "n": [1.5, None]})
    plain.save_to_disk(str(tmp_path / "plain"))
    assert read_all(HuggingFaceFolder(str(tmp_path / "plain"))) == [
        {"question": "a", "n": 1.5},
        {"question": "b", "n": None},
    ]
    paths = datasets.Dataset.from_dict({"file": ["a.png"], "image": [b"x"]})
    paths.save_to_disk(str(tmp_path / "paths"))
    source = HuggingFaceFolder(str(tmp_path / "paths"), image="file", image_folder="birds")
    assert source[0] == {"image_key": "birds/a.png", "image": b"x"}
    assert HuggingFaceFolder(str(tmp_path / "paths"), image=None)[0] == {"file": "a.png"}
    empty = plain.select([])
    empty.save_to_disk(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="empty has no rows"):
        len(HuggingFaceFolder(str(tmp_path / "empty")))


def test_what_cannot_be_read_is_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone: no such folder; give one that save_to_disk"):
        len(HuggingFaceFolder("gone"))
    with pytest.raises(ValueError, match="has no state.json.*folder of Parquet files by"):
        len(HuggingFaceFolder(str(tmp_path)))
    with pytest.raises(ValueError, match="say which split is meant; it has train, test"):
        len(HuggingFaceFolder(str(folder)))
    with pytest.raises(ValueError, match="no split 'dev'; it has train, test"):
        len(HuggingFaceFolder(str(folder), "dev"))
    with pytest.raises(ValueError, match="has no splits: leave split='train' out"):
        len(HuggingFaceFolder(str(folder / "train"), "train"))
    with pytest.raises(ValueError, match="no column photo; it has image, caption"):
        len(HuggingFaceFolder(str(folder), "train", image="photo"))


@pytest.mark.parametrize("name", ["data-00000-of-00001.arrow", "state.json", "dataset_info.json"])
@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_folder_is_named(tmp_path, name, keep):
    path = tmp_path / "saved"
    datasets.Dataset.from_dict({"a": ["x" * 1000] * 3}).save_to_disk(str(path))
    (path / name).write_bytes((path / name).read_bytes()[:keep])
    with pytest.raises(ValueError, match="saved cannot be read.*save it again"):
        HuggingFaceFolder(str(path))[2]


def test_reading_imports_neither_tensorflow_nor_torch(folder):
    script = f"""
        import sys
        from pali.data.huggingface_datasets import HuggingFaceFolder
        source = HuggingFaceFolder({str(folder)!r}, "train")
        assert "datasets" not in sys.modules
        source[0]
        print([name for name in ("tensorflow", "torch", "jax") if name in sys.modules])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"
