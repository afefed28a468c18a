# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that are gone on with after a kill, Ctrl-C or a full disk, and what refuses to go on."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from pali.cli import main
from pali.commands.resuming import model_print
from tests.checkpoints.full_disk import files_end_at

PICTURES = 43
BROKEN = (5, 16, 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures that differ, a few of them broken, and a list of them."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "pictures").mkdir()
    names = [f"pictures/{number:02}.png" for number in range(PICTURES)]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (6 * number, 255 - 6 * number, 90)).save(folder / name)
    for number in BROKEN:
        (folder / names[number]).write_bytes(b"no picture")
    lines = [json.dumps({"id": number, "image": name}) for number, name in enumerate(names)]
    (folder / "list.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def command(tiny_model, folder, tmp_path):
    """Words of a command that writes to a new file."""

    def words(output: str, *more: str, pictures: str = "list.jsonl") -> list[str]:
        asked = ["caption", str(folder / pictures), "--langs", "all", "--model", str(tiny_model)]
        return [*asked, "--output", str(tmp_path / output), *more]

    return words


@pytest.fixture(scope="module")
def whole(tiny_model, folder, tmp_path_factory) -> dict[str, bytes]:
    """What a start that nothing interrupts writes, by format."""
    made = {}
    for kind in ("jsonl", "csv"):
        output = tmp_path_factory.mktemp("whole") / f"out.{kind}"
        words = ["caption", str(folder / "list.jsonl"), "--langs", "all"]
        assert main([*words, "--model", str(tiny_model), "--output", str(output)]) == 1
        assert os.listdir(output.parent) == [output.name]
        made[kind] = output.read_bytes()
    return made


def test_every_picture_of_a_list_has_its_rows(whole, folder):
    rows = [json.loads(line) for line in whole["jsonl"].splitlines()]
    assert len(rows) == 7 * (PICTURES - len(BROKEN)) + len(BROKEN)
    assert [Path(row["picture"]).stem for row in rows if "error" in row] == ["05", "16", "40"]
    assert rows[0]["picture"] == str(folder / "pictures" / "00.png")


@pytest.mark.parametrize(("kind", "kills"), [("jsonl", 3), ("csv", 1)])
def test_a_process_that_is_killed_again_and_again_ends_with_the_same_file(
    kind, kills, command, whole, tmp_path
):
    """Killed with SIGKILL, when the file has the lengths that a seed draws."""
    draw = random.Random(kind)
    output = tmp_path / f"out.{kind}"
    words = [sys.executable, "-m", "pali", *command(output.name, "--resume")]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla")}
    lengths = [0]
    for _ in range(kills):
        process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        # Between none and a few batches of pictures after it began to write.
        until = lengths[-1] + draw.randrange(1, len(whole[kind]) // 3)
        while process.poll() is None and (
            not output.exists() or os.path.getsize(output) < min(until, len(whole[kind]))
        ):
            time.sleep(0.0005)
        process.kill()
        process.wait()
        lengths.append(os.path.getsize(output))
    assert lengths[1] < len(whole[kind]), "it was killed too late to be a test"
    # What a kill inside a write leaves, and a line of the journal that was cut short.
    output.write_bytes(output.read_bytes() + b'{"picture": "pict')
    with open(f"{output}.resume", "a") as file:
        file.write('{"pictures": 4')
    assert main(command(output.name, "--resume")) == 1
    assert output.read_bytes() == whole[kind]


def test_a_finished_file_is_not_done_again(command, tmp_path, whole, capsys):
    assert main(command("out.jsonl", "--resume")) == 1
    before = os.stat(tmp_path / "out.jsonl").st_mtime_ns
    capsys.readouterr()
    assert main(command("out.jsonl", "--resume")) == 1
    assert os.stat(tmp_path / "out.jsonl").st_mtime_ns == before
    assert (tmp_path / "out.jsonl").read_bytes() == whole["jsonl"]
    assert "43 of 43 pictures are in" in capsys.readouterr().err


def test_pictures_that_were_added_at_the_end_are_done(command, folder, tmp_path, whole):
    lines = (folder / "list.jsonl").read_text().splitlines(keepends=True)
    short = folder / "short.jsonl"
    short.write_text("".join(lines[:13]))
    assert main(command("out.jsonl", "--resume", pictures="short.jsonl")) == 1
    assert main(command("out.jsonl", "--resume")) == 1
    assert (tmp_path / "out.jsonl").read_bytes() == whole["jsonl"]


def test_a_full_disk_leaves_whole_rows_that_can_be_gone_on_with(command, tmp_path, whole, capsys):
    output = tmp_path / "out.jsonl"
    with files_end_at(len(whole["jsonl"]) // 2):
        assert main(command(output.name)) == 2
    assert f"{output} cannot be written further: File too large" in capsys.readouterr().err
    found = output.read_bytes()
    assert found
    assert found.endswith(b"\n")
    assert whole["jsonl"].startswith(found)
    assert main(command(output.name)) == 2
    assert "or --resume to go on with it" in capsys.readouterr().err
    assert main(command(output.name, "--resume")) == 1
    assert output.read_bytes() == whole["jsonl"]
    rows = 7 * (PICTURES - len(BROKEN))
    said = capsys.readouterr().err.splitlines()
    assert said[-2] == f"pali caption: {rows} rows of 40 pictures in {output}"
    assert said[-1] == "pali caption: 3 of 43 pictures could not be captioned"


@pytest.fixture
def interrupted(command, tmp_path, whole):
    """A file that was begun and not finished."""
    with files_end_at(len(whole["jsonl"]) // 2):
        assert main(command("out.jsonl")) == 2
    return tmp_path / "out.jsonl"


def test_other_settings_are_refused_and_named(interrupted, command, tiny_model, tmp_path, capsys):
    before = interrupted.read_bytes()

    def refused(words: list[str]) -> str:
        capsys.readouterr()
        assert main(words) == 2
        assert interrupted.read_bytes() == before
        return capsys.readouterr().err

    words = command("out.jsonl", "--resume")
    words[words.index("all")] = "sw,en"
    assert 'was begun with langs = "all", and here it is "sw,en"' in refused(words)

    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    assert model_print(str(copy)) == model_print(str(tiny_model))
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    words = command("out.jsonl", "--resume")
    words[words.index(str(tiny_model))] = str(copy)
    assert "was begun with another model" in refused(words)

    words = command("out.jsonl", "--resume", pictures="pictures/07.png")
    assert "pictures in" in refused(words)
    assert 'rows = "jsonl"' in refused(command("out.jsonl", "--resume", "--format", "csv"))
    assert "give one" in refused(command("out.jsonl", "--resume", "--overwrite"))


def test_a_file_that_was_edited_is_refused(interrupted, command, capsys):
    edited = interrupted.read_bytes().replace(b"00.png", b"xx.png", 1)
    interrupted.write_bytes(edited)
    assert main(command("out.jsonl", "--resume")) == 2
    assert "was changed since it was written" in capsys.readouterr().err
    assert interrupted.read_bytes() == edited


def test_a_file_of_another_program_is_refused(command, tmp_path, capsys):
    (tmp_path / "out.jsonl").write_text("hours of work\n")
    assert main(command("out.jsonl", "--resume")) == 2
    assert "out.jsonl.resume is not there" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == "hours of work\n"


@pytest.mark.parametrize("more", [["--format", "table"], ["--explain", "page.html"]])
def test_what_cannot_be_gone_on_with_is_refused(more, command, tmp_path, capsys):
    assert main(command("out", "--resume", *more)) == 2
    assert "--resume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_resume_needs_a_file(capsys):
    assert main(["caption", "a.png", "--resume"]) == 2
    assert "give its --output" in capsys.readouterr().err


def test_two_processes_do_not_write_one_file(interrupted, command, capsys):
    fcntl = pytest.importorskip("fcntl")
    before = interrupted.read_bytes()
    with open(f"{interrupted}.resume") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(command("out.jsonl", "--resume")) == 2
    assert "is being written by another process" in capsys.readouterr().err
    assert interrupted.read_bytes() == before


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_ctrl_c_leaves_whole_rows_that_can_be_gone_on_with(command, tmp_path, whole):
    output = tmp_path / "out.csv"
    words = [sys.executable, "-m", "pali", *command(output.name)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (not output.exists() or not os.path.getsize(output)):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert said.endswith("pali caption: interrupted\n")
    found = output.read_bytes()
    assert whole["csv"].startswith(found)
    assert all(row["error"] or row["lang"] for row in csv.DictReader(found.decode().splitlines()))
    assert main(command(output.name, "--resume")) == 1
    assert output.read_bytes() == whole["csv"]


def test_detect_goes_on_with_rows_of_any_number(folder, tiny_model, tmp_path):
    words = ["detect", str(folder / "list.jsonl"), "--classes", "dog,cat"]
    words += ["--model", str(tiny_model), "--output"]
    assert main([*words, str(tmp_path / "whole.csv")]) == 1
    size = os.path.getsize(tmp_path / "whole.csv")
    with files_end_at(size // 2):
        assert main([*words, str(tmp_path / "out.csv")]) == 2
    assert main([*words, str(tmp_path / "out.csv"), "--resume"]) == 1
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
