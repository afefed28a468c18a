# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""configs/: fine-tuning on a JSONL of one's own, text alone, and the models of the paper."""

import dataclasses
import json
import runpy
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from pali import lora, optim, sharding, train
from pali.checkpoints import merge, pretrained
from pali.checkpoints.store import CheckpointStore
from pali.commands.train import find_config, load_config
from pali.config import DataConfig, InitConfig, LoRAConfig, OptimConfig
from pali.predict import load_model
from pali.training import forgetting
from pali.training.forgetting import Row

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
TASK = """
import seqio
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import JsonLines
from pali.metrics.chrf import chrf
from pali.tasks import DEMO_TOKENIZER

LINES = JsonLines("{folder}/birds.jsonl", image_folder="{folder}")
seqio.TaskRegistry.add(
    "forkme_birds",
    source=RecordSource({{"train": LINES, "validation": LINES}}),
    preprocessors=[
        per_example(
            DecodePicture(size=32),
            TextToText(prompt="caption", answer="caption"),
            Tokenize(DEMO_TOKENIZER),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[chrf],
    shuffle_buffer_size=None,
)
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("birds")
    lines = []
    for number, (lang, caption) in enumerate([("en", "a dog"), ("sw", "mbwa"), ("en", "a cat")]):
        Image.new("RGB", (40, 30), (number * 90, 20, 60)).save(folder / f"{number}.png")
        lines.append({"image": f"{number}.png", "lang": lang, "caption": caption})
    (folder / "birds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "birds.py").write_text(TASK.format(folder=folder))
    return folder / "birds.py"


@pytest.fixture(scope="module")
def tuned(task, tiny_model, tmp_path_factory):
    """Workdir and config of configs/forkme.py:lora on these pictures, with a tiny model."""
    config = load_config(*find_config("configs/forkme.py:lora"))
    base = pretrained.load_model(tiny_model)
    config = dataclasses.replace(
        config,
        model=base.config,
        init=InitConfig(models=(str(tiny_model),)),
        tokenizer=str(base.tokenizer_path),
        data=dataclasses.replace(
            config.data,
            mixture="forkme_birds",
            task_modules=(str(task),),
            replay="demo_span_corruption",
            replay_rate=0.25,
            batch_size=4,
            inputs_length=48,
            targets_length=8,
        ),
        lora=LoRAConfig(rank=4, targets=(r"mt5/.*attention/(query|value)/kernel",)),
        steps=4,
        eval_every=2,
        keep_best="validation/loss",
        eval_batches=1,
        checkpoint_every=2,
        forgetting_tasks=("forkme_birds",),
        languages=("en", "sw"),
    )
    workdir = tmp_path_factory.mktemp("forkme")
    train.main(config, workdir)
    return workdir, config


def test_adapters_are_all_that_a_fine_tuning_keeps_and_changes(tuned, tiny_model):
    workdir, config = tuned
    with CheckpointStore(workdir, read_only=True) as store:
        state, _ = store.restore_params()
    kept = merge.flatten(state)
    assert all(name.endswith(("lora_a", "lora_b")) for name in kept)
    pretrained.load_model(workdir / "best_model")
    base = merge.flatten(merge.unstack_layers(pretrained.load_model(tiny_model).params))
    after = merge.flatten(merge.unstack_layers(pretrained.load_model(workdir / "model").params))
    assert base.keys() == after.keys()
    changed = {name for name in base if np.any(base[name] != after[name])}
    assert changed
    assert all(name.endswith(("query/kernel", "value/kernel")) for name in changed)
    assert all(name.startswith("mt5/") for name in changed)
    # What is exported is base plus update, rounded once.
    adapters = merge.flatten(merge.unstack_layers(state))
    params = lora.merged(config.lora, merge.unflatten(base | adapters))
    for name, leaf in merge.flatten(params).items():
        expected = np.asarray(jax.numpy.asarray(leaf, jax.numpy.bfloat16), np.float32)
        np.testing.assert_array_equal(after[name], expected, err_msg=name)


def test_the_exported_model_is_an_ordinary_one(tuned, task):
    model = load_model(tuned[0] / "model")
    captions = model.caption([str(task.parent / "0.png")], langs=["en", "sw"])
    assert len(captions[0]) == 2
    assert not any("lora" in name for name in merge.flatten(model.params))


def test_what_was_forgotten_is_told_by_language_and_only_once(tuned, capsys):
    workdir, config = tuned
    text = (workdir / "forgetting.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if "forkme_birds" in line]
    assert [row[3] for row in rows] == ["all", "en", "sw"]
    before = workdir / "forgetting/0/metrics.json"
    stamp = before.stat().st_mtime_ns
    train.main(config, workdir)  # finished already: nothing is asked again
    assert before.stat().st_mtime_ns == stamp
    assert (workdir / "forgetting.md").read_text() == text
    assert "what it can do now" not in capsys.readouterr().err


def test_what_was_asked_otherwise_is_asked_again(tuned, tmp_path, capsys):
    workdir = shutil.copytree(tuned[0], tmp_path / "copy")
    asked = "what the model can do before it is trained"
    config = dataclasses.replace(tuned[1], eval_limit=1)  # there are two English examples
    train.main(config, workdir)
    assert asked in capsys.readouterr().err
    scores = json.loads((workdir / "forgetting/0/metrics.json").read_text())["scores"]
    assert scores[0]["n"] == 2
    train.main(config, workdir)
    assert asked not in capsys.readouterr().err


def test_a_best_score_that_there_is_not_ends_the_run_after_a_save(tuned, tmp_path):
    """What a task scores is known after its first evaluation: nothing of the run is lost."""
    task = "forkme_birds"
    config = dataclasses.replace(
        tuned[1],
        forgetting_tasks=(),
        eval_tasks=(task,),
        keep_best=f"{task}/validation/exact",
        checkpoint_every=100,
    )
    with pytest.raises(ValueError, match=f"no score of this run: it has {task}/validation/chrf, "):
        train.main(config, tmp_path)
    with CheckpointStore(tmp_path, read_only=True) as store:
        assert store.steps() == [2]


def test_a_run_of_adapters_is_no_source_of_parameters(tuned):
    workdir, config = tuned
    again = dataclasses.replace(config, init=InitConfig(models=(str(workdir),)))
    with pytest.raises(ValueError, match=r"hold adapters .* name .*/model, where both are merged"):
        train.start_from(again)


def test_text_alone_trains_with_its_pictures_masked(tmp_path, tiny_model):
    config = load_config(*find_config("configs/text_only.py"))
    base = pretrained.load_model(tiny_model)
    model = dataclasses.replace(
        base.config, mt5=dataclasses.replace(base.config.mt5, encoder_layers=1, decoder_layers=1)
    )
    config = dataclasses.replace(
        config,
        model=model,
        tokenizer=str(base.tokenizer_path),
        data=DataConfig("demo_span_corruption", batch_size=8, inputs_length=64, targets_length=32),
        optim=OptimConfig(learning_rate=1e-2, warmup_steps=2, freeze=config.optim.freeze),
        steps=20,
        log_every=1,
        eval_every=20,
        eval_batches=1,
    )
    train.main(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["split"] == "train"]
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


def variants_of(path):
    names = runpy.run_path(str(path)).get("VARIANTS", [""])
    return [load_config(path, name) for name in names]


def test_every_config_names_a_mixture_that_there_is():
    import seqio

    import pali.tasks

    pali.tasks.load()
    known = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
    for path in CONFIGS:
        for config in variants_of(path):
            mine = path.stem == "forkme"  # whose task is the reader's
            assert mine or config.data.mixture in known, path
            assert known.issuperset(config.forgetting_tasks), path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_has_parameters_that_the_mesh_divides_and_patterns_that_match(path):
    for config in variants_of(path):
        shapes = jax.eval_shape(
            lambda tree, config=config: lora.added(config.lora, tree, 0),
            pretrained.expected_params(config.model),
        )
        mesh = config.mesh if config.mesh.data > 0 else dataclasses.replace(config.mesh, data=2)
        sharding.check(mesh, shapes)
        sharding.check_batch(mesh, config.data.batch_size)
        trained, _ = lora.partition(config, shapes)
        assert ("vit" in trained) == ("vit/.*" not in config.optim.freeze)
        slots = jax.eval_shape(optim.optimizer(config.optim, config.steps).init, trained)
        names = {jax.tree_util.keystr(key) for key, _ in jax.tree.leaves_with_path(slots)}
        assert not any("'vit'" in name for name in names) or "vit" in trained


def test_the_phases_of_the_paper():
    first, second = (load_config(*find_config(f"pali:17b-{side}")) for side in (224, 588))
    assert first.steps == 382_324  # one epoch of 1,566M examples at 4,096
    assert second.steps * second.data.batch_size == 10_240_000
    assert second.model.vit.num_visual_tokens == 42**2
    assert first.model.mt5 == second.model.mt5
    assert first.optim.freeze == ("vit/.*",)
    assert second.optim.freeze == ()
    assert second.init.models == ("runs/pali_17b-224",)  # where the first leaves its own


def test_the_table_shows_whose_language_lost_most():
    def records(**scores):
        return [
            {"benchmark": "t", "split": "s", "metric": metric, "system": system, **own}
            for (system, metric), own in {
                ("majority", "cer"): {"score": 0.0, "per_language": {}},
                ("model", "cer"): {"score": scores["mean"], "per_language": scores["each"]},
                ("model", "chrf"): {"score": 1.0, "per_language": {}},
            }.items()
        ]

    before = records(mean=20.0, each={"en": 10.0, "sw": 30.0})
    after = records(mean=21.0, each={"en": 7.0, "sw": 35.0})
    found = forgetting.rows(before, after)
    assert found == [
        Row("t", "s", "cer", "all", 20.0, 21.0),
        Row("t", "s", "cer", "en", 10.0, 7.0),
        Row("t", "s", "cer", "sw", 30.0, 35.0),
    ]
    assert [line.split()[-1] for line in forgetting.lines(found)] == ["change", "+1.0", "+5.0"]
    assert "| t | s | cer ↓ | en | 10.0 | 7.0 | -3.0 |" in forgetting.markdown(found)
