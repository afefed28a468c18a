# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every file in tasks/: found, registered under the names below, and fit for training."""

import pathlib
import sys
import warnings

import numpy as np
import pytest

import pali.tasks
from pali.checkpoints.pretrained import EMBEDDED, load_model
from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
from pali.data.demo_corpus import load_corpus
from pali.data.inputs import prompts_of
from pali.data.pipeline import Mixture, Task, apply, batch_dataset, mixture_dataset
from pali.data.sources import SPLITS
from pali.languages import XM3600, resolve
from pali.tokenizer import Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
    import seqio

    from pali.data.seqio_bridge import read_mixture, registered

SIZE = pali.tasks.DEMO_IMAGE_SIZE

# Task -> (file, what asks, the English answer to a dog). A new task is a new line.
GENERATING = {
    "demo_captions": ("demo_captions", "Generate the alt_text in EN at 0:", "dog"),
    "demo_captions_en": ("demo_captions", "Generate the alt_text in EN at 0:", "dog"),
    "demo_keywords": ("demo_keywords", "Generate the keywords in EN:", "pet"),
    "demo_group": ("demo_classification", "Generate the group in EN:", "Animals & Nature"),
    "demo_subgroup": ("demo_classification", "Generate the subgroup in EN:", "animal-mammal"),
}
CLASSIFYING = {"demo_concepts": "demo_concepts"}


def one(name: str, split: str = "train") -> Task:
    ((task, _),) = read_mixture(name, split)
    return task


def first_batch(mixture: Mixture, convert) -> dict:
    return batch_dataset(mixture_dataset(mixture, seed=0), convert, 16)[0]


def test_every_file_is_found_and_every_task_is_in_the_table():
    files = {*(file for file, *_ in GENERATING.values()), *CLASSIFYING.values(), "mixtures"}
    assert set(pali.tasks.available()) == files
    found = registered()
    ours = {name for name in found.tasks if name.startswith("demo_")}
    assert ours == {*GENERATING, *CLASSIFYING}
    folder = pathlib.Path(pali.tasks.__file__).parents[2] / "tasks"
    assert {path.stem for path in folder.glob("*.py")} == files


@pytest.mark.parametrize("name", GENERATING)
def test_generating_tasks_ask_and_answer(name):
    _, prompt, answer = GENERATING[name]
    tokenizer = Tokenizer(pali.tasks.DEMO_TOKENIZER)
    task = one(name, "validation")
    records = (task.source[i] for i in range(len(task.source)))
    dog = next(r for r in records if (r["code"], r["lang"]) == ("1f415", "en"))
    example = apply(task.functions, dog)
    assert tokenizer.decode(example["inputs"].tolist()).startswith(prompt)
    assert example["inputs"][-2:].tolist() == [tokenizer.sentinel(0), tokenizer.eos_id]
    assert example["targets"][-1] == tokenizer.eos_id
    assert example["image"].shape == (SIZE, SIZE, 3)
    assert answer in tokenizer.decode(example["targets"].tolist()).split(", ")


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", GENERATING)
def test_every_split_has_records_and_its_texts_fit_the_lengths_of_the_config(name, split):
    task = one(name, split)
    assert len(task.source) > 0
    convert = EncoderDecoderFeatures(16, 24, SIZE)
    for index in np.linspace(0, len(task.source) - 1, 7).astype(int):
        example = apply(task.functions, task.source[int(index)])
        assert len(example["inputs"]) <= 16, "a cut prompt would lose its blank"
        convert(example)


@pytest.mark.parametrize("name", [*GENERATING, *CLASSIFYING])
def test_seqio_reads_the_task_and_yields_the_same_first_example(name):
    dataset = seqio.get_mixture_or_task(name).get_dataset(split="validation", shuffle=False)
    task = one(name, "validation")
    example = apply(task.functions, task.source[0])
    (theirs,) = dataset.take(1).as_numpy_iterator()
    for key in ("image", "inputs", "targets", "label"):
        assert (key in example) == (key in theirs)
        if key in example:
            np.testing.assert_array_equal(example[key], theirs[key])


def test_captions_are_asked_in_the_languages_of_crossmodal_3600():
    task = one("demo_captions", "validation")
    asked = {task.source[i]["lang"] for i in range(len(task.source))}
    assert asked == {resolve(code) for code in XM3600}
    assert asked <= set(load_corpus().languages)


def test_the_mixture_of_stage_2_makes_batches():
    mixture = read_mixture("pali_demo_captions")
    rates = {task.name: rate for task, rate in mixture}
    assert set(rates) == set(GENERATING)
    assert max(rates, key=lambda name: rates[name]) == "demo_captions"
    # What a model trained on it says it was trained on, as the embedded one does.
    assert prompts_of(mixture) == load_model(EMBEDDED).metadata.prompts
    batch = first_batch(mixture, EncoderDecoderFeatures(16, 24, SIZE))
    assert batch["image"].shape == (16, SIZE, SIZE, 3)
    assert batch["image_mask"].all()
    assert (batch["decoder_loss_weights"].sum(axis=1) > 1).all()


def test_stage_1_makes_batches_of_all_the_classes():
    mixture = read_mixture("demo_concepts")
    batch = first_batch(mixture, ClassificationFeatures(SIZE))
    assert batch["image"].shape == (16, SIZE, SIZE, 3)
    classes = seqio.get_mixture_or_task("demo_concepts").output_features["label"].vocabulary
    assert classes.vocab_size == len(load_corpus().core_train)


OWN_TASK = """
import seqio
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.tasks import DEMO_TOKENIZER

def shout(example):
    return example | {"targets": example["text"].upper()}

seqio.TaskRegistry.add(
    "NAME",
    source=RecordSource({"train": [{"text": "a"}]}),
    preprocessors=[per_example(shout)],
    output_features=pali_features(DEMO_TOKENIZER),
)
"""


def test_own_task_file_by_path_is_imported_once_and_travels_whole(tmp_path):
    import cloudpickle

    path = tmp_path / "own_task.py"
    path.write_text(OWN_TASK.replace("NAME", "own_task_by_path"))
    for _ in range(2):  # The second time would register the name twice.
        ((task, _),) = read_mixture("own_task_by_path", task_modules=[str(path)])
    assert apply(task.functions, task.source[0])["targets"] == "A"
    # A worker process cannot import the file by a name.
    module = task.functions[0].__module__
    packed = cloudpickle.dumps(task.functions[0])
    original = sys.modules.pop(module)
    try:
        assert cloudpickle.loads(packed)({"text": "b"})["targets"] == "B"
    finally:
        sys.modules[module] = original


def test_own_task_file_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_tasks_by_name.py").write_text(OWN_TASK.replace("NAME", "own_task_by_name"))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert read_mixture("own_task_by_name", task_modules=["my_tasks_by_name"])


def test_mistakes_in_the_name_of_a_task_file_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"no task module 'pali.tasks.demo_caption'.*_captions"):
        pali.tasks.load(["pali.tasks.demo_caption"])
    with pytest.raises(ValueError, match="no task module 'nowhere.tasks': there is no 'nowhere'"):
        pali.tasks.load(["nowhere.tasks"])
    with pytest.raises(ValueError, match="no task file 'missing.py'"):
        pali.tasks.load(["missing.py"])


def test_an_error_inside_a_task_file_is_shown_and_the_file_can_be_mended(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import a_package_that_is_absent")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_absent"):
        pali.tasks.load([str(path)])
    path.write_text("mended = True")
    assert pali.tasks.load([str(path)])[-1].mended
