# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The loop on tokenised records of the real demo corpus, with a very small model."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import jax
import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from pali import train
from pali.checkpoints import merge, pretrained
from pali.checkpoints.store import CheckpointStore
from pali.config import (
    DataConfig,
    InitConfig,
    OptimConfig,
    PaLIConfig,
    to_json,
)
from pali.training import interruption, logs
from pali.training import workdir as workdirs


def initial_params(config):
    return jax.device_put(train.start_from(config)[0])


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The workdir of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    train.main(config, workdir)
    return workdir


def state_of(workdir, step=None):
    with CheckpointStore(workdir, read_only=True) as store:
        return store.restore_params(step)[0]


def stop_after_a_step(config, workdir):
    real = logs.Logs.add

    def add_and_stop(log, *arguments):
        real(log, *arguments)
        signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs.Logs, "add", add_and_stop)
        with pytest.raises(interruption.Interrupted, match="stopped after step 1;"):
            train.main(config, workdir)


def test_a_run_that_was_stopped_and_goes_on_ends_where_a_whole_one_does(config, whole, tmp_path):
    stop_after_a_step(config, tmp_path)
    train.main(config, tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    trained = [e["step"] for e in map(json.loads, lines) if e["split"] == "train"]
    assert trained == [1, 2, 3, 4]
    equal_trees(state_of(whole), state_of(tmp_path))


def test_killed_between_checkpoints_it_repeats_the_lost_steps_bit_for_bit(config, tmp_path):
    """Killed for good, in the middle of what was not saved; in processes without TensorFlow."""
    config = dataclasses.replace(config, steps=40, checkpoint_every=15, eval_every=40)
    (tmp_path / "config.json").write_text(to_json(config))
    code = """
        import pathlib, sys
        from pali import train
        from pali.config import Config, from_json

        config = from_json(Config, pathlib.Path(sys.argv[1]).read_text())
        train.main(config, sys.argv[2])
        unwanted = {"tensorflow", "seqio", "torch", "transformers"} & set(sys.modules)
        assert not unwanted, unwanted
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "config.json")]
    # The three processes compile the same program: once.
    quick = {"env": os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, str(whole)], check=True, **quick)

    process = subprocess.Popen([*command, str(killed)], stderr=subprocess.DEVNULL, **quick)
    log = killed / "metrics.jsonl"
    while not (log.exists() and len(log.read_text().splitlines()) > 20):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (killed / "model").exists()
    subprocess.run([*command, str(killed)], check=True, **quick)
    equal_trees(state_of(whole), state_of(killed))


def test_the_frozen_vit_is_bit_identical_and_the_rest_moved(config, whole):
    before = merge.flatten(merge.unstack_layers(initial_params(config)))
    after = merge.flatten(state_of(whole))
    moved = {name for name, leaf in after.items() if np.any(leaf != before[name])}
    assert {"projection/kernel", "mt5/decoder/layers_0/mlp/wo/kernel"} <= moved
    # The frozen half is not in the training state; the exported folder has it, bit for bit.
    assert not any(name.startswith("vit/") for name in after)
    exported = pretrained.load_model(whole / "model")
    # Tokenised records do not say which prompts they were made of.
    expected = pretrained.Metadata(languages=("en", "sw"), prompt_length=config.data.inputs_length)
    assert exported.metadata == expected
    equal_trees(vit_of(exported.params), rounded(vit_of(before)))


def test_the_gradient_of_a_step_has_no_frozen_part(config):
    from pali import objectives, optim
    from pali.data.inputs import Inputs

    params = initial_params(config)
    trained, frozen = optim.partition(params, config.optim.freeze)
    objective = objectives.generate(config)
    with Inputs(config, params) as data:
        parts = jax.device_put(next(data.train(0)))
    jaxpr = jax.make_jaxpr(
        jax.grad(lambda t: objective(optim.join(t, frozen), parts, None)["loss"])
    )(trained)
    assert len(jaxpr.out_avals) == len(jax.tree.leaves(trained))
    # No backward product has the shape of the ViT's patch kernel.
    shapes = {
        v.aval.shape for eqn in jaxpr.eqns for v in eqn.outvars if "dot" in eqn.primitive.name
    }
    patch = merge.flatten(params)["vit/embedding/kernel"].shape
    assert (np.prod(patch[:3]), patch[3]) not in shapes


def test_stage_one_feeds_stage_two(config, records, tmp_path):
    stage1 = dataclasses.replace(
        config,
        objective="classify",
        data=DataConfig("concepts", records=str(records / "concepts"), batch_size=8),
        optim=OptimConfig(name="muon", warmup_steps=1),
    )
    train.main(stage1, tmp_path / "vit")
    vit = merge.flatten(state_of(tmp_path / "vit"))
    assert all(name.startswith("vit/") for name in vit)
    stage2 = dataclasses.replace(config, init=InitConfig(models=(str(tmp_path / "vit"),)), steps=1)
    folder = train.main(stage2, tmp_path / "pali")
    equal_trees(vit_of(pretrained.load_model(folder).params), rounded(vit))

    # Another first stage in its place: the finished model keeps the ViT that it was trained on.
    shutil.rmtree(tmp_path / "vit")
    train.main(dataclasses.replace(stage1, seed=1), tmp_path / "vit")
    with pytest.raises(ValueError, match=r"other frozen parameters than those in .*vit now"):
        train.main(stage2, tmp_path / "pali")
    equal_trees(vit_of(pretrained.load_model(folder).params), rounded(vit))


def without_dropout(config):
    """It would fall on the ViT as well when that is in the step."""
    return PaLIConfig(
        *(dataclasses.replace(half, dropout=0.0) for half in (config.model.vit, config.model.mt5))
    )


def test_cached_visual_tokens_train_as_pixels_do(config, tmp_path):
    config = dataclasses.replace(config, model=without_dropout(config))
    train.main(config, tmp_path / "pixels")
    cached = dataclasses.replace(config.data, visual_token_cache=str(tmp_path / "cache"))
    train.main(dataclasses.replace(config, data=cached), tmp_path / "tokens")
    left, right = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("pixels", "tokens")
    )
    # Tokens are stored in bfloat16, so the losses agree to its rounding.
    np.testing.assert_allclose([e["loss"] for e in left], [e["loss"] for e in right], rtol=2e-3)
    # The page shows the pictures, whatever the model reads.
    page = (tmp_path / "pixels/first_batch.html").read_text()
    assert page.count("<img") == config.data.batch_size
    assert (tmp_path / "tokens/first_batch.html").read_text() == page


@pytest.fixture(scope="module")
def everything(config, records):
    """The ViT is trained as well, with its classes and the contrast; batches in two parts."""
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            config.data, records=str(records / "two"), targets_length=40, short=((16, 16),)
        ),
        optim=OptimConfig(warmup_steps=2),
        class_weight=0.5,
        contrast_weight=0.2,
        patch_weight=0.1,
        weigh="targets",
    )


@pytest.fixture(scope="module")
def trained_on_everything(everything, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("everything")
    train.main(everything, workdir)
    return workdir


def test_a_run_with_everything_beside_goes_on_where_it_stopped(
    everything, trained_on_everything, tmp_path
):
    stop_after_a_step(everything, tmp_path)
    train.main(everything, tmp_path)
    equal_trees(state_of(trained_on_everything), state_of(tmp_path))


def test_what_is_learned_beside_the_model_is_trained_and_not_exported(
    everything, trained_on_everything
):
    before = merge.flatten(merge.unstack_layers(initial_params(everything)))
    after = merge.flatten(state_of(trained_on_everything))
    assert after.keys() == before.keys()
    for name in ("auxiliary/temperature", "vit/head/kernel", "projection/kernel"):
        assert np.any(after[name] != before[name]), name
    exported = merge.flatten(pretrained.load_model(trained_on_everything / "model").params)
    assert exported.keys() == {name for name in after if not name.startswith("auxiliary/")}
    lines = (trained_on_everything / "metrics.jsonl").read_text().splitlines()
    for entry in map(json.loads, lines):
        assert {"loss", "accuracy", "exact", "class_accuracy", "contrast"} <= entry.keys()


def test_what_was_learned_beside_a_model_is_not_taken_over(
    everything, config, trained_on_everything
):
    source = (str(trained_on_everything),)
    taken = initial_params(dataclasses.replace(everything, init=InitConfig(models=source)))
    equal_trees(taken["auxiliary"], initial_params(everything)["auxiliary"])
    equal_trees(vit_of(taken), vit_of(state_of(trained_on_everything)))
    assert "auxiliary" not in initial_params(
        dataclasses.replace(config, init=InitConfig(models=source))
    )


def test_a_run_of_an_earlier_pali_goes_on(config, whole, tmp_path):
    """Its config.json lacks what a config had not then: that is as if it said the default."""
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    before = json.loads(path.read_text())
    for name in ("weigh", "class_weight", "contrast_weight", "patch_weight"):
        del before[name]
    del before["data"]["short"]
    path.write_text(json.dumps(before))
    train.main(config, tmp_path / "run")
    with pytest.raises(ValueError, match='weigh "tokens", now "targets"'):
        train.main(dataclasses.replace(config, weigh="targets"), tmp_path / "run")


def test_a_workdir_of_another_config_is_refused_and_untouched(config, whole):
    before = (whole / "config.json").read_text()
    with pytest.raises(ValueError, match=r"seed 0, now 1\n  steps 4, now 5"):
        train.main(dataclasses.replace(config, seed=1, steps=5), whole)
    assert (whole / "config.json").read_text() == before


def test_what_only_looks_at_a_run_may_change(config, whole):
    assert train.main(dataclasses.replace(config, log_every=7, eval_batches=2), whole).is_dir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(eval_splits=("validaton",)), "no records of split 'validaton'"),
        (dict(languages=("klingonn",)), "unknown language 'klingonn'"),
        (dict(optim=OptimConfig(freeze=("vit/(",))), "no regular expression: missing"),
        (dict(optim=OptimConfig(freeze=(".*",))), "leaves nothing to train"),
    ],
)
def test_a_start_that_fails_claims_nothing(config, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train.main(dataclasses.replace(config, **change), tmp_path)
    workdirs.check(dataclasses.replace(config, seed=5), tmp_path)  # Free for any other run.


def test_a_jsonl_file_is_trained_on_without_a_task(config, tmp_path):
    rows = []
    for number in range(8):
        Image.new("RGB", (30, 20), (30 * number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append(json.dumps({"image": f"{number}.png", "lang": "sw", "caption": "ndege"}))
    (tmp_path / "train.jsonl").write_text("\n".join([*rows[:7], '{"image": ']))
    (tmp_path / "validation.jsonl").write_text("\n".join(rows))
    data = DataConfig(str(tmp_path / "train.jsonl"), batch_size=8, max_skipped=0.5)
    model = train.main(dataclasses.replace(config, data=data), tmp_path / "run")
    assert pretrained.load_model(model).metadata.prompts == ("caption",)
    lines = (tmp_path / "run" / logs.FILE).read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["split"] for entry in entries].count("validation") == 2
    newest = [entry for entry in entries if entry["split"] == "train"][-1]
    assert newest["skipped_row"] == 4  # Once in each of four steps.
    assert newest["exact"] == 0


def test_cached_tokens_need_a_frozen_vit_without_dropout(config, tmp_path):
    data = dataclasses.replace(config.data, visual_token_cache=str(tmp_path / "cache"))
    config = dataclasses.replace(config, data=data)
    with pytest.raises(ValueError, match="vit.dropout is 0.1, and cached visual tokens have none"):
        train.main(config, tmp_path)
    config = dataclasses.replace(config, optim=OptimConfig(freeze=("projection/.*",)))
    with pytest.raises(ValueError, match=r"add 'vit/\.\*' to optim.freeze"):
        train.main(config, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_foreign_checkpoints_are_left_alone(config, tmp_path):
    theirs = tmp_path / "checkpoints" / "1000" / "default" / "weights.bin"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(ValueError, match="does not say of which run: .*No such file"):
        train.main(config, tmp_path)
    assert theirs.read_bytes() == b"theirs"


def test_a_loss_that_is_no_number_ends_the_run_and_is_not_saved(config, tmp_path):
    optim = OptimConfig(learning_rate=1e38, warmup_steps=0, clip_norm=1e38, freeze=("vit/.*",))
    with pytest.raises(FloatingPointError, match="lower optim.learning_rate"):
        train.main(dataclasses.replace(config, optim=optim, log_every=4), tmp_path)
    assert not (tmp_path / "model").exists()
    with CheckpointStore(tmp_path) as store:
        assert store.latest_step() is None


def test_exact_is_what_greedy_decoding_would_write(config):
    """Overfits one batch, then decodes it: the count under teacher forcing is that of decoding."""
    from pali import decoding, objectives, optim
    from pali.data.inputs import Inputs
    from pali.models.pali import PaLI

    config = dataclasses.replace(config, optim=OptimConfig(learning_rate=1e-2, warmup_steps=5))
    params = initial_params(config)
    with Inputs(config, params) as data:
        parts = jax.device_put(next(data.train(0)))
    (batch,) = parts
    update, objective = optim.optimizer(config.optim, 200), objectives.generate(config)
    state = train.first_state(update, params)
    step = jax.jit(lambda state: train.train_step(objective, update, config, state, {}, parts))
    for _ in range(60):
        state, _ = step(state)
    counted = int(objective(state["params"], parts, None)["exact"])
    model, variables = PaLI(config.model), {"params": state["params"]}
    tokens = model.apply(variables, batch["image"], method="look")
    encoded, mask = model.apply(
        variables, tokens, batch["image_mask"], batch["encoder_input_tokens"], method="encode"
    )
    length = batch["decoder_target_tokens"].shape[1]
    cache = model.apply(variables, encoded, mask, length, method="init_cache")
    decoded = decoding.greedy(
        lambda cache, tokens, index: model.apply(
            variables, cache, tokens, index, method="decode_step"
        ),
        cache,
        batch_size=8,
        max_length=length,
    )
    written = (np.asarray(decoded.tokens) == batch["decoder_target_tokens"]).all(-1).sum()
    assert counted == written
    assert counted > 0  # else the comparison says little


def vit_of(params):
    flat = merge.flatten(params)
    return {name: leaf for name, leaf in flat.items() if name.startswith("vit/")}


def rounded(flat):
    """As a model folder stores it."""
    return {k: np.asarray(v).astype(ml_dtypes.bfloat16).astype(np.float32) for k, v in flat.items()}


def equal_trees(left, right):
    left, right = merge.flatten(left), merge.flatten(right)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
