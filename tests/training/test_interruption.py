# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Asked to stop where there is nothing to save: it ends at once, and the same command goes on."""

import dataclasses
import json
import signal

import pytest

from pali import train
from pali.checkpoints import pretrained
from pali.data.visual_token_store import Writer
from pali.training import interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_visual_tokens_are_computed_those_that_are_done_stay(
    config, tmp_path, monkeypatch, number, capsys
):
    vit = dataclasses.replace(config.model.vit, dropout=0.0)
    data = dataclasses.replace(config.data, visual_token_cache=str(tmp_path / "cache"))
    model = dataclasses.replace(config.model, vit=vit)
    config = dataclasses.replace(config, model=model, data=data, steps=1)
    add = Writer.add

    def add_and_stop(writer, *arguments):
        add(writer, *arguments)
        signal.raise_signal(number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "add", add_and_stop)
        patch.setattr("pali.data.inputs.ENCODED", 4 * vit.num_visual_tokens)
        with pytest.raises(interruption.Interrupted, match="nothing to save; the same command"):
            train.main(config, tmp_path / "run")
    assert signal.getsignal(number) is before
    capsys.readouterr()
    train.main(config, tmp_path / "run")
    said = next(line for line in capsys.readouterr().err.splitlines() if "to be computed" in line)
    words = said.replace(",", "").split()
    total, lacking = int(words[words.index("of") + 1]), int(words[words.index("all;") + 1])
    assert total - lacking == 4


def test_while_the_model_is_written_it_is_written_the_next_time(config, tmp_path, monkeypatch):
    def stop(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "save_model", stop)
        with pytest.raises(interruption.Interrupted):
            train.main(config, tmp_path)
    assert not (tmp_path / "model").exists()
    done = (tmp_path / "metrics.jsonl").read_text()
    pretrained.load_model(train.main(config, tmp_path))
    assert (tmp_path / "metrics.jsonl").read_text() == done
    assert json.loads(done.splitlines()[-1])["step"] == config.steps


def test_an_error_that_no_signal_led_to_stays_itself():
    with pytest.raises(KeyboardInterrupt, match="mine"), interruption.at_once():
        raise KeyboardInterrupt("mine")
