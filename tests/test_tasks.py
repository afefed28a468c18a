# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every file in tasks/: found, registered under the names below, and fit for training."""

import pathlib
import sys
import warnings
from collections import Counter

import numpy as np
import pytest

import pali.tasks
from pali.checkpoints.pretrained import EMBEDDED, load_model
from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
from pali.data.counting import objective_of
from pali.data.demo_corpus import load_corpus
from pali.data.inputs import prompts_of
from pali.data.pipeline import (
    MAX_RECORDS,
    Mixture,
    Task,
    apply,
    batch_dataset,
    mixture_dataset,
    replace_image_function,
    task_dataset,
)
from pali.data.sources import SPLITS
from pali.data.text_sources import FLAG_SPLITS, OCR_SPLITS
from pali.languages import XM3600, resolve
from pali.tokenizer import Tokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
    import seqio

    from pali.data.seqio_bridge import read_mixture, registered

SIZE = pali.tasks.DEMO_IMAGE_SIZE

DOG = {"code": "1f415", "lang": "en"}
# Task -> (file, an English record, what asks about it, an answer). A new task is a new line.
GENERATING = {
    "demo_captions": ("demo_captions", DOG, "Generate the alt_text in EN at 0:", "dog"),
    "demo_captions_en": ("demo_captions", DOG, "Generate the alt_text in EN at 0:", "dog"),
    "demo_captions_more": (
        "demo_captions",
        {"code": "1f415", "lang": "af"},
        "Generate the alt_text in AF at 0:",
        "hond",
    ),
    "demo_keywords": ("demo_keywords", DOG, "Generate the keywords in EN:", "pet"),
    "demo_group": ("demo_classification", DOG, "Generate the group in EN:", "Animals & Nature"),
    "demo_subgroup": ("demo_classification", DOG, "Generate the subgroup in EN:", "animal-mammal"),
    "demo_ocr": ("demo_ocr", {"lang": "en"}, "Generate the ocr_text in EN:", None),
    "demo_ocr_short": ("demo_ocr", {"lang": "en"}, "Generate the ocr_text in EN:", None),
    "demo_flags": (
        "demo_flags",
        {"code": "IN", "lang": "en"},
        "Generate the alt_text in EN at 0:",
        "India",
    ),
    "demo_vqa_flag": (
        "demo_flags",
        {"code": "IN", "lang": "en"},
        "Answer in EN: Whose flag is this?",
        "India",
    ),
}
SPLITS_OF = {
    "demo_ocr": OCR_SPLITS,
    "demo_ocr_short": OCR_SPLITS,
    "demo_flags": FLAG_SPLITS,
    "demo_vqa_flag": [split for split in FLAG_SPLITS if split != "held_out_pairs"],
}
IN_MIXTURE = set(GENERATING) - set(SPLITS_OF) - {"demo_captions_more"}
"""What the mixture of captions is made of."""
GENERATING["demo_split_captions"] = (
    "demo_split_captions",
    DOG,
    "Generate the alt_text in EN at ",
    None,
)

# Task -> (file, how its prompts begin, how long its prompts and answers are at most, in tokens).
SCENES = {
    "demo_vqa_count": ("demo_vqa", "Answer in EN: ", 48, 4),
    "demo_vqa_presence": ("demo_vqa", "Answer in EN: ", 48, 4),
    "demo_vqa_colour": ("demo_vqa", "Answer in EN: ", 32, 6),
    "demo_vqa_direction": ("demo_vqa", "Answer in EN: ", 88, 6),
    "demo_vqa_corner": ("demo_vqa", "Answer in EN: ", 48, 8),
    "demo_vqg": ("demo_vqg", "Generate a question in ", 24, 88),
    "demo_list_objects": ("demo_objects", "Answer in EN: List the objects present:", 16, 40),
    "demo_object_presence": ("demo_objects", "Answer in EN: Is ", 24, 4),
    "demo_all_objects": ("demo_objects", "Answer in EN: Is ", 40, 4),
    "demo_which_objects": ("demo_objects", "Answer in EN: Which of ", 48, 32),
    "demo_detection": ("demo_detection", "detect ", 40, 112),
}
CLASSIFYING = {"demo_concepts": "demo_concepts"}
# Tasks on public datasets -> file. Their data are not here: tests/test_prepared_tasks.py.
PREPARED = {
    "cc3m_captions": "cc3m",
    "cc12m_captions": "cc12m",
    "cc3m_35l_captions": "captions_35l",
    "coco_35l_captions": "captions_35l",
    "vq2a_cc3m_vqa": "vq2a",
    "vq2a_cc3m_vqg": "vq2a",
    "vq2a_coco_vqa": "vq2a",
    "vq2a_coco_vqg": "vq2a",
    "web_split_captions": "web",
    "web_ocr": "web",
    "mc4_span_corruption": "mc4",
}
# The same of those with boxes: tests/data/raw and tests/data/test_ask_objects.py.
BOXED = {
    f"{dataset}_{form}": file
    for dataset, file in (
        ("coco", "coco_objects"),
        ("objects365", "objects365"),
        ("open_images", "open_images"),
        ("visual_genome", "visual_genome"),
    )
    for form in ("list_objects", "object_presence", "all_objects", "which_objects", "detection")
}
# Tasks on benchmarks, which read their raw files: tests/test_benchmark_tasks.py.
BENCHMARKS = {
    name: f"{file}_benchmarks"
    for file, names in {
        "answer": ("ai2d", "chartqa", "gqa", "maxm", "tallyqa", "xgqa"),
        "box": ("coco_instances", "refcoco", "refcoco_plus", "refcocog"),
        "caption": (
            *("coco_35l", "coco_captions", "nocaps"),
            *("textcaps", "vizwiz_captions", "xm3600"),
        ),
        "class": (
            *("imagenet", "imagenet_a", "imagenet_r", "imagenet_sketch", "imagenet_v2"),
            "objectnet",
        ),
        "language": ("xnli", "xquad"),
        "reading": ("docvqa", "infovqa", "mlt2019", "ocrbench", "stvqa"),
        "vqa": ("okvqa", "textvqa", "vizwiz_vqa", "vqav2"),
    }.items()
    for name in names
}
TEXT_ALONE = {"demo_span_corruption": "demo_span_corruption"}
MULTILINGUAL = "multilingual_captions"


def one(name: str, split: str = "train") -> Task:
    ((task, _),) = read_mixture(name, split)
    return task


def first_batch(mixture: Mixture, convert) -> dict:
    return batch_dataset(mixture_dataset(mixture, seed=0), convert, 16)[0]


def test_every_file_is_found_and_every_task_is_in_the_table():
    files = {file for file, *_ in (*GENERATING.values(), *SCENES.values())}
    generating = {*GENERATING, *SCENES, *CLASSIFYING, *TEXT_ALONE}
    files |= {*CLASSIFYING.values(), *TEXT_ALONE.values(), *PREPARED.values(), *BOXED.values()}
    files |= {MULTILINGUAL, "mixtures", *BENCHMARKS.values()}
    assert set(pali.tasks.available()) == files
    found = registered()
    assert {name for name in found.tasks if name.startswith("demo_")} == generating
    assert {name for name, task in found.tasks.items() if task.missing} == {
        *PREPARED,
        *BOXED,
        *BENCHMARKS,
    }
    assert found.tasks["cc3m_captions"].source == "Prepared cc3m"
    folder = pathlib.Path(pali.tasks.__file__).parents[2] / "tasks"
    assert {path.stem for path in folder.glob("*.py")} == files


@pytest.mark.parametrize("name", GENERATING)
def test_generating_tasks_ask_and_answer(name):
    _, wanted, prompt, answer = GENERATING[name]
    tokenizer = Tokenizer(pali.tasks.DEMO_TOKENIZER)
    task = one(name, "validation")
    records = (task.source[i] for i in range(len(task.source)))
    record = next(r for r in records if wanted.items() <= r.items())
    example = apply(task.functions, record)
    assert tokenizer.decode(example["inputs"].tolist()).startswith(prompt)
    assert example["inputs"][-2:].tolist() == [tokenizer.sentinel(0), tokenizer.eos_id]
    assert example["targets"][-1] == tokenizer.eos_id
    assert example["image"].shape == (SIZE, SIZE, 3)
    answers = tokenizer.decode(example["targets"].tolist()).split(", ")
    if name == "demo_split_captions":
        assert set(answers) <= set(load_corpus().keywords("en")["1f415"])
    else:
        assert (answer or record["text"]) in answers


LONG_PROMPTS = {"demo_split_captions": 64, "demo_vqa_flag": 32}
"""Others fit the 16 tokens of the config."""


@pytest.mark.parametrize(
    ("name", "split"), [(n, split) for n in GENERATING for split in SPLITS_OF.get(n, SPLITS)]
)
def test_every_split_has_records_and_its_texts_fit_the_lengths_of_the_config(name, split):
    task = one(name, split)
    assert len(task.source) > 0
    longest = LONG_PROMPTS.get(name, 16)
    convert = EncoderDecoderFeatures(longest, 24, SIZE)
    for index in np.linspace(0, len(task.source) - 1, 7).astype(int):
        example = apply(task.functions, task.source[int(index)])
        assert len(example["inputs"]) <= longest, "a cut prompt would lose its blank"
        convert(example)


@pytest.mark.parametrize("name", SCENES)
def test_tasks_on_scenes_ask_and_answer(name):
    _, prompt, inputs, targets = SCENES[name]
    tokenizer = Tokenizer(pali.tasks.DEMO_TOKENIZER)
    for split in seqio.TaskRegistry.get(name).splits:
        task = one(name, split)
        for index in np.linspace(0, len(task.source) - 1, 9).astype(int):
            example = apply(task.functions, task.source[int(index)])
            assert tokenizer.decode(example["inputs"].tolist()).startswith(prompt)
            assert (example["inputs"][-2] == tokenizer.sentinel(0)) == (name != "demo_detection")
            assert len(example["inputs"]) <= inputs
            assert 2 <= len(example["targets"]) <= targets
            assert example["image"].shape == (SIZE, SIZE, 3)
            assert example["split"] == split


@pytest.mark.parametrize("name", [*GENERATING, *SCENES, *CLASSIFYING])
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


@pytest.mark.parametrize("name", ["pali_pretrain", "pali_pretrain_demo"])
def test_pretraining_has_every_objective_as_often_as_the_paper(name):
    rates = Counter()
    for task, rate in read_mixture(name):
        rates[objective_of(task)] += rate
    # Millions of examples.
    assert rates == {
        "span_corruption": 100,
        "split_caption": 1000,
        "ocr": 100,
        "caption": 100,
        "vqa": 100,
        "vqg": 100,
        "object_aware": 50,
        "detect": 16,
    }


def test_half_of_the_phase_at_high_resolution_is_small():
    small = ("ocr", "detect", "object_aware")
    shares = {task.name: (objective_of(task), rate) for task, rate in read_mixture("pali_highres")}
    total = sum(rate for _, rate in shares.values())
    assert sum(rate for objective, rate in shares.values() if objective in small) == total / 2


def test_the_mixture_of_captions_makes_batches():
    mixture = read_mixture("pali_demo_captions")
    rates = {task.name: rate for task, rate in mixture}
    assert set(rates) == IN_MIXTURE
    assert max(rates, key=lambda name: rates[name]) == "demo_captions"
    assert set(prompts_of(mixture)) == {"caption", "keywords", "group", "subgroup"}
    batch = first_batch(mixture, EncoderDecoderFeatures(16, 24, SIZE))
    assert batch["image"].shape == (16, SIZE, SIZE, 3)
    assert batch["image_mask"].all()
    assert (batch["decoder_loss_weights"].sum(axis=1) > 1).all()


def test_the_mixture_of_everything_holds_every_generating_task_once():
    mixture = read_mixture("pali_demo")
    names = [task.name for task, _ in mixture]
    assert sorted(names) == sorted({*GENERATING, *SCENES} - {"demo_ocr_short"})
    to_begin_with = [task.name for task, _ in read_mixture("pali_demo_joint")]
    assert sorted(to_begin_with) == sorted({*GENERATING, *SCENES})
    assert all(rate > 0 for _, rate in mixture)
    # What a model trained on it says it was trained on, as the embedded one does.
    assert set(prompts_of(mixture)) == set(load_model(EMBEDDED).metadata.prompts)
    splits = {name: set(seqio.TaskRegistry.get(name).splits) for name in names}
    assert all(found > {"train"} for found in splits.values()), "each can be evaluated"


@pytest.mark.parametrize("name", [*GENERATING, *SCENES, *CLASSIFYING])
def test_the_training_split_can_be_shuffled(name):
    task = one(name)
    assert 0 < len(task.source) <= MAX_RECORDS
    without_pictures = replace_image_function([(task, 1.0)], lambda example: example)
    examples = mixture_dataset(without_pictures, seed=0)
    # Different ones, from all over the source.
    keys = {examples[i]["image_key"] for i in range(20)}
    assert len(keys) > 15


def test_span_corruption_is_text_alone_and_the_same_in_seqio():
    task, convert = one("demo_span_corruption"), EncoderDecoderFeatures(64, 32, SIZE)
    dataset = seqio.get_mixture_or_task(task.name).get_dataset(split="train", shuffle=False)
    examples = [task_dataset(task)[i] for i in range(9)]
    for example, theirs in zip(examples, dataset.take(9).as_numpy_iterator(), strict=True):
        for key in ("inputs", "targets"):
            np.testing.assert_array_equal(example[key], theirs[key])
        assert "image" not in theirs
        features = convert(example)
        assert not features["image_mask"]
        assert not features["image"].any()
        assert features["decoder_loss_weights"].sum() == len(example["targets"]) <= 32
        assert len(example["inputs"]) <= 64


@pytest.fixture(scope="module")
def sampled():
    names = (MULTILINGUAL, f"{MULTILINGUAL}_t03", f"{MULTILINGUAL}_unimax")
    return {name: {task.name: rate for task, rate in read_mixture(name)} for name in names}


def test_languages_are_sampled_in_three_ways(sampled):
    tasks = [f"{MULTILINGUAL}_{lang}" for lang in load_corpus().languages]
    english, swahili, shan = (f"{MULTILINGUAL}_{lang}" for lang in ("en", "sw", "shn"))
    ratios = {}
    for name, rates in sampled.items():
        assert sorted(rates) == sorted(tasks)
        assert sum(rates.values()) == pytest.approx(1)
        ratios[name] = rates[english] / rates[shan]
    sizes = {name: len(one(name).source) for name in (english, swahili, shan)}
    assert ratios[MULTILINGUAL] == pytest.approx(sizes[english] / sizes[shan])
    assert ratios[f"{MULTILINGUAL}_t03"] == pytest.approx((sizes[english] / sizes[shan]) ** 0.3)
    unimax = sampled[f"{MULTILINGUAL}_unimax"]
    assert unimax[english] == pytest.approx(unimax[swahili])
    assert unimax[shan] == pytest.approx(sizes[shan] / 1_000_000)  # One epoch of the budget.


def test_a_task_of_one_language_has_the_records_of_that_language():
    task = one(f"{MULTILINGUAL}_sw", "validation")
    found = {task.source[i]["lang"] for i in range(len(task.source))}
    assert found == {"sw"}
    batch = first_batch(read_mixture(MULTILINGUAL), EncoderDecoderFeatures(16, 24, SIZE))
    assert batch["image_mask"].all()


def test_flags_are_asked_about_in_the_languages_of_crossmodal_3600_and_answered_in_english():
    task = one("demo_vqa_flag", "validation")
    asked = {task.source[i]["lang"] for i in range(len(task.source))}
    assert asked == {resolve(code) for code in XM3600}
    tokenizer = Tokenizer(pali.tasks.DEMO_TOKENIZER)
    records = (task.source[i] for i in range(len(task.source)))
    record = next(r for r in records if (r["code"], r["lang"]) == ("IN", "th"))
    example = apply(task.functions, record)
    prompt = tokenizer.decode(example["inputs"].tolist())
    assert prompt.startswith("Answer in EN: นี่คือธงของประเทศใด")
    assert tokenizer.decode(example["targets"].tolist()) == "India"


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
