# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a run writes while it trains."""

import dataclasses
import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from pali.config import Config, DataConfig, MT5Config, PaLIConfig, ViTConfig
from pali.training import logs

CONFIG = Config(
    model=PaLIConfig(ViTConfig(8, 1, 8, 1, 4, 8), MT5Config(64, 8, 8, 1, 8, 1, 1)),
    data=DataConfig("any"),
    steps=10,
)


def sums(loss=6.0, *, unusable=0, usable=True):
    found = {"loss": loss, "count": 4, "correct": 2, "examples": 2, "exact": 1, "grad_norm": 3.0}
    found |= {"usable": usable, "unusable": unusable}
    return {name: jnp.asarray(value) for name, value in found.items()}


def batch(tokens):
    """Two rows, one with a picture; of the prompt so many tokens, of the target two."""
    prompt = np.zeros((2, 8), np.int32)
    prompt[0, :tokens] = 5
    weights = np.zeros((2, 4), np.float32)
    weights[0, :2] = 0.5
    image_mask = np.array([True, False])
    return {
        "encoder_input_tokens": prompt,
        "decoder_loss_weights": weights,
        "image_mask": image_mask,
    }


def lines(workdir):
    return [json.loads(line) for line in (workdir / logs.FILE).read_text().splitlines()]


def test_a_report_has_means_and_speeds(tmp_path, monkeypatch, capsys):
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with logs.Logs(tmp_path, CONFIG, 0) as log:
        log.operations = 0.25
        log.add(1, sums(6.0), [batch(3)])
        log.add(2, sums(10.0), [batch(5)])
        log.train(2, 1e-3, {"picture": 7})
    (entry,) = lines(tmp_path)
    assert (entry["loss"], entry["accuracy"], entry["exact"]) == (2.0, 0.5, 0.5)
    # 3 + 2 and 5 + 2 tokens, a picture in each batch, 2 + 2 examples, in two seconds.
    assert entry["tokens_per_second"] == 6.0
    assert entry["images_per_second"] == 1.0
    assert entry["examples_per_second"] == 2.0
    assert entry["mfu"] == 0.25
    assert (entry["grad_norm"], entry["skipped_picture"]) == (3.0, 7)
    said = capsys.readouterr().err
    assert said.startswith("step 2/10  loss 2  accuracy 0.5")
    assert "6 tokens/s  1 images/s  MFU 25%  about 8 s left" in said


def test_a_run_that_goes_on_forgets_what_it_does_again(tmp_path):
    old = [{"step": step, "split": "train", "loss": 1.0} for step in (1, 2, 3)]
    text = "".join(json.dumps(entry) + "\n" for entry in old) + '{"step": 4, "spl'
    (tmp_path / logs.FILE).write_text(text)
    with logs.Logs(tmp_path, CONFIG, 2) as log:
        log.evaluation(3, "validation", [sums()])
    assert [(e["step"], e["split"]) for e in lines(tmp_path)] == [
        (1, "train"),
        (2, "train"),
        (3, "validation"),
    ]


def test_of_an_evaluation_that_was_given_up_nothing_stays(tmp_path):
    """Also of a split that is named as what is said of training."""
    with logs.Logs(tmp_path, CONFIG, 0) as log:
        for step in (1, 2):
            log.add(step, sums(), [batch(3)])
            log.train(step, 1e-3, {})
            log.evaluation(step, "train", [sums()])
            log.evaluation(step, "validation", [sums()])
    with logs.Logs(tmp_path, CONFIG, 2):
        assert [entry["step"] for entry in lines(tmp_path)] == [1, 1, 1, 2, 2, 2]
    with logs.Logs(tmp_path, CONFIG, 2, evaluated=False):
        assert [entry["step"] for entry in lines(tmp_path)] == [1, 1, 1, 2]


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\x00", b"[1]", b"{}", b"null", b'{"step": "x"}', b"\0" * 99]
)
def test_a_damaged_line_is_left_out_and_the_others_stay(tmp_path, line):
    good = b'{"step": 1, "split": "train", "loss": 1.0}'
    (tmp_path / logs.FILE).write_bytes(b"\n".join([good, line, good, b""]))
    with logs.Logs(tmp_path, CONFIG, 2):
        pass
    assert (tmp_path / logs.FILE).read_bytes() == (good + b"\n") * 2


@pytest.mark.parametrize("name", ["validation/lss", "loss", "test/loss", "t/validation/exact"])
def test_a_score_that_no_evaluation_has_is_refused(name):
    config = dataclasses.replace(CONFIG, keep_best=name)
    with pytest.raises(ValueError, match=f"'{name}', which is no score .* validation/loss, "):
        logs.check_score(config)


@pytest.mark.parametrize("name", ["contrast", "class_accuracy", "patches"])
def test_a_score_is_known_with_its_objective_alone(name):
    config = dataclasses.replace(CONFIG, keep_best=f"validation/{name}")
    with pytest.raises(ValueError, match="it has validation/loss, [a-z/]*y, validation/exact$"):
        logs.check_score(config)


@pytest.mark.parametrize("name", [None, "validation/loss", "t/validation/exact"])
def test_a_score_that_an_evaluation_may_have_is_taken(name):
    logs.check_score(dataclasses.replace(CONFIG, keep_best=name, eval_tasks=("t",)))


def test_a_score_that_the_first_evaluation_lacks_is_refused_with_those_it_has():
    config = dataclasses.replace(CONFIG, keep_best="t/validation/exact", eval_tasks=("t",))
    logs.check_score(config, {"t/validation/exact": 1.0})
    with pytest.raises(ValueError, match="it has t/validation/cer, validation/loss$"):
        logs.check_score(config, {"validation/loss": 2.0, "t/validation/cer": 1.0})


def test_a_loss_that_is_no_number_is_null(tmp_path):
    with logs.Logs(tmp_path, CONFIG, 0) as log:
        log.evaluation(1, "validation", [sums(float("nan"))])
    assert lines(tmp_path)[0]["loss"] is None


def test_unusable_steps_are_counted_over_the_whole_run(tmp_path):
    with logs.Logs(tmp_path, dataclasses.replace(CONFIG, max_unusable_steps=2), 0) as log:
        log.add(5, sums(unusable=2, usable=False), [])
        log.train(5, 1e-3, {})
        log.add(6, sums(unusable=2), [])
        log.add(7, sums(unusable=3, usable=False), [])
        with pytest.raises(logs.UnusableStep) as error:
            log.check()
    assert error.value.steps == [7]
    assert lines(tmp_path)[0]["unusable_steps"] == 2


def test_summaries_are_read_by_tensorflow(tmp_path):
    import tensorflow as tf

    with logs.Logs(tmp_path, CONFIG, 0) as log:
        log.add(1, sums(), [batch(3)])
        log.train(1, 1e-3, {})
        log.answers(1, {"captions/validation": {"exact_match": 41.0}})
    (file,) = (tmp_path / logs.TENSORBOARD).iterdir()
    found = {
        value.tag: (event.step, value.simple_value)
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert found["train/loss"] == (1, 1.5)
    assert found["captions/validation/exact_match"] == (1, 41.0)
