# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenised records: the same batches as from the tasks, where SeqIO and TensorFlow are absent."""

import json
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap

import ml_dtypes
import numpy as np
import pytest

import pali
from pali.data.converter import EncoderDecoderFeatures
from pali.data.pipeline import Task, batch_dataset, mixture_dataset
from pali.data.preprocessors import DecodePicture, RenderPicture, TextToText, Tokenize
from pali.data.records import file_hash, pack, read_records, unpack, write_records
from pali.data.sources import DemoTexts
from pali.data.visual_token_cache import use_cache
from pali.data.visual_token_store import Origin

STEPS = (0, 3, 10**6)
ORIGIN = Origin("params", "config", 4, 5, "bfloat16")


def encode(images):
    """Stands for a ViT."""
    return images.reshape(len(images), 4, -1)[:, :, :5].astype(np.float32)


@pytest.fixture(scope="module")
def mixture(tiny_tokenizer):
    def functions(prompt, answer):
        tokenize = Tokenize(str(tiny_tokenizer))
        return (RenderPicture(8), TextToText(prompt, answer), tokenize)

    pairs = DemoTexts("held_out_pairs", ("en", "th"))
    text = ({"inputs": "a", "targets": "b"}, {"inputs": "c", "targets": "d"})
    return [
        (Task("captions", pairs, functions("caption", "name")), 3.0),
        (Task("groups", pairs, functions("group", "group")), 1.0),
        (Task("text_only", text, (Tokenize(str(tiny_tokenizer)),)), 1.0),
    ]


def batches(mixture, visual=None):
    convert = EncoderDecoderFeatures(12, 12, 8, visual)
    return batch_dataset(mixture_dataset(mixture, seed=5), convert, 8)


def assert_equal_batches(first, second):
    for step in STEPS:
        assert first[step].keys() == second[step].keys()
        for name, value in first[step].items():
            assert value.dtype == second[step][name].dtype
            np.testing.assert_array_equal(value, second[step][name])


def test_records_give_the_batches_of_the_mixture(mixture, tmp_path):
    write_records(mixture, tmp_path, "train")
    assert_equal_batches(batches(mixture), batches(read_records(tmp_path, "train")))


def test_files_of_pictures_that_are_left_out_are_not_stored(tiny_tokenizer, tmp_path):
    record = {"image": b"the bytes of a file", "image_key": "a", "lang": "sw", "name": "mbwa"}
    functions = (DecodePicture(8), TextToText("caption", "name"), Tokenize(str(tiny_tokenizer)))
    task = Task("captions", (record, record), functions)
    write_records([(task, 1.0)], tmp_path, "train", pictures=False)
    ((read, _),) = read_records(tmp_path, "train")
    assert "image" not in read.source[1]
    assert read.source[1]["image_key"] == "a"


def test_records_without_pictures_train_on_visual_tokens(mixture, tmp_path):
    write_records(mixture, tmp_path, "train", pictures=False)
    read = read_records(tmp_path, "train")
    with pytest.raises(ValueError, match="hold no pictures: train on a visual-token cache"):
        batches(read)[0]

    def cached(mixture):
        return use_cache(mixture, tmp_path / "cache", ORIGIN, encode)

    with pytest.raises(ValueError, match="hold no pictures: train on a visual-token cache"):
        cached(read)
    with_tokens = cached(mixture)
    assert_equal_batches(*(batches(m, visual=(4, 5)) for m in (with_tokens, cached(read))))


def test_stored_pictures_have_the_tokens_of_those_that_are_made(mixture, tmp_path):
    write_records(mixture, tmp_path / "records", "train")
    read = read_records(tmp_path / "records", "train")
    use_cache(read, tmp_path / "cache", ORIGIN, encode)

    def fail(images):
        raise AssertionError("nothing is lacking")

    use_cache(mixture, tmp_path / "cache", ORIGIN, fail)


def test_what_stands_for_an_image_function_has_its_name(mixture, tmp_path):
    # Or the key of a picture in a visual-token cache would change with where examples come from.
    for pictures in (True, False):
        write_records(mixture, tmp_path, f"{pictures}", pictures=pictures)
        (task, rate), _, (text_only, _) = read_records(tmp_path, f"{pictures}")
        assert (task.name, rate) == ("captions", 3.0)
        assert [repr(f) for f in task.functions] == [repr(RenderPicture(8))]
        assert text_only.functions == ()


def test_values_come_back_as_they_were():
    example = {
        "text": "ฝนตก",
        "bytes": b"\x00\xff",
        "number": 3,
        "share": 0.5,
        "list": ["a", "ب"],
        "tokens": np.array([1, 2], np.int32),
        "image": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        "visual": np.array([[1.5, -2]], ml_dtypes.bfloat16),
        "label": np.int32(4),
    }
    again = unpack(pack(example))
    assert again.keys() == example.keys()
    for key, value in example.items():
        np.testing.assert_array_equal(again[key], value)
        if isinstance(value, np.ndarray):
            assert again[key].dtype == value.dtype
    assert type(again["text"]) is str
    assert type(again["bytes"]) is bytes
    with pytest.raises(TypeError, match="a set cannot be written"):
        pack({"a": {1}})


def test_unfinished_missing_and_foreign_records_are_refused(mixture, tmp_path, tiny_tokenizer):
    with pytest.raises(ValueError, match="it has none, or unfinished ones"):
        read_records(tmp_path, "train")
    write_records(mixture, tmp_path, "train")
    with pytest.raises(FileExistsError, match="has records already"):
        write_records(mixture, tmp_path, "train")
    with pytest.raises(ValueError, match=r"no records of split 'test' in .* \(it has train\)"):
        read_records(tmp_path, "test")
    assert len(read_records(tmp_path, "train", tiny_tokenizer)) == 3
    with pytest.raises(ValueError, match="tokenised by another tokenizer"):
        read_records(tmp_path, "train", __file__)
    meta = tmp_path / "train" / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="records of format 99"):
        read_records(tmp_path, "train")


def test_file_hash_is_of_the_content(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"x")
    second.write_bytes(b"x")
    assert file_hash(first) == file_hash(second)
    second.write_bytes(b"y")
    assert file_hash(first) != file_hash(second)


def test_record_sources_travel_as_paths(mixture, tmp_path):
    write_records(mixture, tmp_path, "train")
    ((task, _), *_) = read_records(tmp_path, "train")
    assert len(task.source) == 40
    copy = pickle.loads(pickle.dumps(task.source))
    assert copy == task.source
    assert copy[7]["image_key"] == task.source[7]["image_key"]


def test_reading_records_imports_neither_seqio_nor_tensorflow(mixture, tmp_path):
    write_records(mixture, tmp_path, "train")
    script = f"""
        import sys
        from pali.data.converter import EncoderDecoderFeatures
        from pali.data.pipeline import batch_dataset, iterate, mixture_dataset
        from pali.data.records import read_records

        mixture = read_records({str(tmp_path)!r}, "train")
        examples = mixture_dataset(mixture, seed=5)
        iterator = iterate(batch_dataset(examples, EncoderDecoderFeatures(12, 12, 8), 8))
        print(next(iterator)["encoder_input_tokens"].shape)
        iterator.close()
        print(*sorted({{"tensorflow", "seqio", "torch", "transformers"}} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(pali.__file__).parents[1])},
    )
    assert done.stdout.splitlines() == ["(8, 12)", ""]
