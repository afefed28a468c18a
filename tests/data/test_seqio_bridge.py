# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One definition, two engines: SeqIO and Grain yield the same examples, array by array."""

import io
import os
import pathlib
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pali
from pali.data.converter import EncoderDecoderFeatures
from pali.data.parquet import Parquet
from pali.data.pipeline import mixture_dataset, task_dataset
from pali.data.preprocessors import DecodePicture, RenderPicture, TextToText, Tokenize
from pali.data.sources import DemoTexts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
    import seqio
    import tensorflow as tf

    from pali.data.seqio_bridge import (
        RecordSource,
        RegisteredTask,
        pali_features,
        per_example,
        read_mixture,
        registered,
    )

PAIRS = DemoTexts("held_out_pairs", ("en", "th"))


@pytest.fixture(scope="module", autouse=True)
def tasks(tiny_tokenizer):
    """Two tasks and their 3:1 mixture."""
    tokenizer = str(tiny_tokenizer)

    def add(name, *functions):
        source = RecordSource({"train": PAIRS, "validation": PAIRS})
        return seqio.TaskRegistry.add(
            name,
            source=source,
            preprocessors=[per_example(*functions)],
            output_features=pali_features(tokenizer),
            shuffle_buffer_size=None,
        )

    add(
        "bridge_captions",
        *(RenderPicture(8), TextToText("caption", "name"), Tokenize(tokenizer)),
    )
    add("bridge_text", TextToText("group", "group"), Tokenize(tokenizer))
    seqio.MixtureRegistry.add("bridge_mixture", [("bridge_captions", 3), ("bridge_text", 1)])
    yield
    seqio.MixtureRegistry.remove("bridge_mixture")
    for name in ("bridge_captions", "bridge_text"):
        seqio.TaskRegistry.remove(name)


def to_python(value):
    """What TensorFlow yields, as our functions make it."""
    if isinstance(value, bytes):
        return value.decode()
    if value.dtype == object:
        return [item.decode() for item in value]
    return value


def read(dataset):
    return [
        {key: to_python(value) for key, value in example.items()}
        for example in dataset.as_numpy_iterator()
    ]


def assert_equal_examples(first, second):
    assert len(first) == len(second)
    for ours, theirs in zip(first, second, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            np.testing.assert_array_equal(value, theirs[key])
            if isinstance(value, np.ndarray):
                assert value.dtype == theirs[key].dtype


@pytest.mark.parametrize("name", ["bridge_captions", "bridge_text"])
def test_both_engines_yield_the_same_examples(name):
    dataset = seqio.get_mixture_or_task(name).get_dataset(split="train", shuffle=False)
    ((task, rate),) = read_mixture(name)
    assert rate == 1.0
    assert_equal_examples(list(task_dataset(task)), read(dataset))


def test_pictures_as_bytes_go_through_both_engines(tmp_path, tiny_tokenizer):
    pictures = []
    for shade in range(5):
        file = io.BytesIO()
        Image.new("RGB", (9, 7), (shade * 40, 0, 9)).save(file, "JPEG")
        pictures.append({"bytes": file.getvalue(), "path": None})
    captions = ["mbwa", "ฝน\u2028ตก", "a dog", "ndege", "paka"]
    table = pa.table({"image": pictures, "caption": captions, "lang": ["sw", "th"] * 2 + ["sw"]})
    pq.write_table(table, tmp_path / "birds.parquet", row_group_size=2)
    tokenizer = str(tiny_tokenizer)
    functions = (DecodePicture(8), TextToText("caption", "caption"), Tokenize(tokenizer))

    def add(name, **options):
        return seqio.TaskRegistry.add(
            name,
            source=RecordSource({"train": Parquet(str(tmp_path))}),
            preprocessors=[per_example(*functions, **options)],
            output_features=pali_features(tokenizer),
            shuffle_buffer_size=None,
        )

    try:
        dataset = add("bytes", binary=("image",)).get_dataset(split="train", shuffle=False)
        ((task, _),) = read_mixture("bytes")
        ours = list(task_dataset(task))
        assert len(ours) == 5
        assert ours[4]["image"].shape == (8, 8, 3)
        assert_equal_examples(ours, read(dataset))
        with pytest.raises(ValueError, match=r"field 'image' is not text; .*binary=\('image',\)"):
            add("bytes_unsaid").get_dataset(split="train", shuffle=False)
    finally:
        seqio.TaskRegistry.remove("bytes")
        seqio.TaskRegistry.remove("bytes_unsaid")


def test_seqio_shuffles_the_whole_split_by_seed():
    task = seqio.get_mixture_or_task("bridge_captions")

    def keys(seed):
        shuffled = task.get_dataset(split="train", shuffle=True, seed=seed)
        return [(e["image_key"], e["lang"]) for e in read(shuffled)]

    in_order = [(r["image_key"], r["lang"]) for r in map(PAIRS.__getitem__, range(len(PAIRS)))]
    first = keys(1)
    assert first == keys(1)
    assert first != keys(2)
    assert sorted(first) == sorted(in_order)
    assert first != in_order
    assert sorted(keys(None)) == sorted(in_order)
    ours = mixture_dataset(read_mixture("bridge_captions"), seed=1)
    assert first == [(e["image_key"], e["lang"]) for e in map(ours.__getitem__, range(len(PAIRS)))]


def test_shards_of_seqio_cover_the_split_once():
    task = seqio.get_mixture_or_task("bridge_captions")
    shards = [
        read(task.get_dataset(split="train", shuffle=False, shard_info=seqio.ShardInfo(i, 3)))
        for i in range(3)
    ]
    assert [len(shard) for shard in shards] == [14, 13, 13]
    whole = read(task.get_dataset(split="train", shuffle=False))
    for i, shard in enumerate(shards):
        assert_equal_examples(shard, whole[i::3])


def test_a_mixture_keeps_its_rates():
    mixture = read_mixture("bridge_mixture")
    assert {task.name: rate for task, rate in mixture} == {"bridge_captions": 3, "bridge_text": 1}
    examples = mixture_dataset(mixture, seed=0)
    with_picture = sum("image" in examples[i] for i in range(40))
    assert with_picture == 30


def test_model_features_equal_those_of_seqio():
    lengths = {"inputs": 9, "targets": 5}  # Short enough to cut some texts.
    task = seqio.get_mixture_or_task("bridge_text")
    convert = seqio.EncDecFeatureConverter(pack=False)
    text = task.get_dataset(lengths, split="train", shuffle=False)
    theirs = read(convert(text.map(lambda e: {k: e[k] for k in lengths}), lengths))
    ((task, _),) = read_mixture("bridge_text")
    ours = [EncoderDecoderFeatures(9, 5, 8)(example) for example in task_dataset(task)]
    assert len(ours) == len(theirs) == len(PAIRS)
    for mine, reference in zip(ours, theirs, strict=True):
        for key, value in reference.items():
            np.testing.assert_array_equal(mine[key], value)


def test_values_of_every_kind_survive_tensorflow():
    records = [
        {
            "text": text,
            "bytes": b"\xff\x00",
            "number": 3 + i,
            "share": 0.25,
            "texts": ["a", "ب"][: i + 1],
            "none": [],
            "array": np.arange(i + 2, dtype=np.int16),
        }
        for i, text in enumerate(["ฝนตก", ""])
    ]
    seen = []

    def note(example):
        seen.append(example)
        return example

    dataset = RecordSource({"train": records}).get_dataset("train", shuffle=False)
    assert len(list(per_example(note, binary=("bytes",))(dataset).as_numpy_iterator())) == 2
    # TensorFlow maps in parallel: whichever came first was noted first.
    for example, record in zip(sorted(seen[-2:], key=lambda e: e["number"]), records, strict=True):
        assert example.keys() == {*record, "draw"}
        for key, value in record.items():
            assert type(example[key]) is type(value)
            np.testing.assert_array_equal(example[key], value)


def test_examples_that_differ_in_keys_or_carry_objects_are_refused():
    records = [{"a": 1}, {"b": 1}]
    dataset = RecordSource({"train": records}).get_dataset("train", shuffle=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has the keys"):
        list(dataset)
    with pytest.raises(ValueError, match="field 'a' is a dict; SeqIO can carry"):
        RecordSource({"train": [{"a": {}}]}).get_dataset("train", shuffle=False)
    with pytest.raises(ValueError, match="has no record"):
        RecordSource({"train": []}).get_dataset("train")


def test_unknown_names_and_splits_list_what_there_is():
    with pytest.raises(ValueError, match="named 'bridge_caption'; nearest: bridge_captions"):
        read_mixture("bridge_caption")
    with pytest.raises(ValueError, match="'bridge_text' has no split 'test'; it has train, valid"):
        read_mixture("bridge_text", "test")


def test_tasks_that_only_tensorflow_can_read_are_refused(tiny_tokenizer):
    features = pali_features(str(tiny_tokenizer))
    foreign = seqio.FunctionDataSource(lambda split, shuffle_files: None, splits=["train"])
    ours = RecordSource({"train": PAIRS})
    seqio.TaskRegistry.add("foreign_source", source=foreign, output_features=features)
    seqio.TaskRegistry.add(
        "foreign_function", source=ours, preprocessors=[str], output_features=features
    )
    try:
        with pytest.raises(ValueError, match="'foreign_source' reads from FunctionDataSource"):
            read_mixture("foreign_source")
        with pytest.raises(ValueError, match="'foreign_function' has the preprocessor"):
            read_mixture("foreign_function")
    finally:
        seqio.TaskRegistry.remove("foreign_source")
        seqio.TaskRegistry.remove("foreign_function")


def test_registries_can_be_looked_at():
    found = registered()
    splits = {"train": len(PAIRS), "validation": len(PAIRS)}
    assert found.tasks["bridge_captions"] == RegisteredTask("DemoTexts", splits, ("en", "th"), "")
    assert found.mixtures["bridge_mixture"] == {"bridge_captions": 3, "bridge_text": 1}


def test_the_interpreter_ends_though_a_dataset_was_not_read_to_its_end():
    script = """
        import warnings
        warnings.simplefilter("ignore")
        import pali.tasks, seqio
        pali.tasks.load()
        mixture = seqio.get_mixture_or_task("pali_demo_captions")
        lengths = {"inputs": 16, "targets": 24}
        dataset = mixture.get_dataset(lengths, split="train", shuffle=True, seed=0)
        iterator = iter(dataset)
        print(sorted(next(iterator)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=600,  # A hang, not slowness, is what fails here.
        check=True,
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(pali.__file__).parents[1])},
    )
    assert done.stdout.strip() == "['image', 'inputs', 'label', 'targets']"
