# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`--profile` writes a trace; what stands in its way is said before a step is lost."""

import dataclasses

import pytest

from pali import train
from pali.training import trace


def test_a_run_writes_a_trace(config, tmp_path, capsys):
    config = dataclasses.replace(config, steps=6, eval_splits=(), checkpoint_every=6)
    train.main(config, tmp_path, profile=True)
    (written,) = (tmp_path / trace.FOLDER).rglob("*.xplane.pb")
    assert b"train_step" in written.read_bytes()
    assert f"a trace of steps is in {tmp_path / trace.FOLDER}" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path):
    (tmp_path / "profile").write_text("a file")
    wanted = r"--profile cannot be written to .*profile: File exists\. Remove what is there"
    with (
        pytest.raises(OSError, match=wanted),
        trace.Trace(tmp_path, 0, 100, wanted=True),
    ):
        pass
    with trace.Trace(tmp_path, 0, 100, wanted=False):
        pass


@pytest.mark.parametrize(("last", "told"), [(13, True), (14, False)])
def test_a_run_that_ends_before_the_first_traced_step_says_so(tmp_path, capsys, last, told):
    with trace.Trace(tmp_path, 9, last, wanted=True):
        assert ("--profile writes nothing" in capsys.readouterr().err) == told


def test_a_trace_that_cannot_be_written_does_not_end_the_run(tmp_path, capsys):
    with trace.Trace(tmp_path, 0, 100, wanted=True) as found:
        found.before(trace.FIRST + 1)
        (tmp_path / "profile").rmdir()
        (tmp_path / "profile").write_text("a file")
        found.before(trace.FIRST + 1 + trace.STEPS)
    said = capsys.readouterr().err
    assert "the trace cannot be written" in said
    assert "tensorboard" not in said
