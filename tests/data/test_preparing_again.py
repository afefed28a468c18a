# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Preparing a second time: raw files are known again, finished work is kept, one process writes."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from pali.data import journal, preparing
from pali.data.prepared import Prepared, read_manifest
from pali.data.preparing import prepare
from pali.data.raw.dataset import Part
from pali.data.raw_prints import WHOLE, prints
from tests.data.test_preparing import NUMBERS, QUESTIONS, png, raw  # noqa: F401


def ids(folder):
    source = Prepared("numbers", "train", str(folder))
    return [source[i]["id"] for i in range(len(source))]


def test_an_edit_that_keeps_the_size_of_a_part_is_seen(raw, tmp_path):  # noqa: F811
    prepare(NUMBERS, raw, tmp_path)
    (raw / "0.txt").write_text("0 1 bad 7")
    with pytest.raises(FileExistsError, match=r"of 4 parts 1 new or changed, 1 gone or changed"):
        prepare(NUMBERS, raw, tmp_path)
    prepare(NUMBERS, raw, tmp_path, update=True)
    assert ids(tmp_path) == ["0", "1", "7", "10", "11"]
    manifest = read_manifest(tmp_path / "numbers")
    kept = {file["name"] for file in manifest["files"]}
    assert {path.name for path in (tmp_path / "numbers").glob("*.array_record")} == kept
    assert not {"lock", "journal.jsonl"} & {path.name for path in (tmp_path / "numbers").iterdir()}


def test_large_files_and_folders_are_known_again_by_pieces_and_names(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.jpg").write_bytes(b"1")
    large = tmp_path / "large"
    large.write_bytes(bytes(3 * WHOLE))
    parts = [Part("train", "part"), Part("train", "large", 0, 9), Part("train", "large", 9)]
    first = prints(tmp_path, parts)
    assert len(set(first)) == 3
    (tmp_path / ".DS_Store").write_text("x")
    assert prints(tmp_path, parts) == first
    (tmp_path / "part" / "b.jpg").write_bytes(b"1")
    with large.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"1")
    assert not set(prints(tmp_path, parts)) & set(first)


def test_a_part_that_came_meanwhile_leaves_what_is_finished(raw, tmp_path, monkeypatch):  # noqa: F811
    written = []

    def counted(dataset, source, path, part, write=preparing._write):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(part.file)
        return write(dataset, source, path, part)

    monkeypatch.setattr(preparing, "_write", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(NUMBERS, raw, tmp_path)
    (raw / "1.txt").write_text("12 13")
    written.append("")
    prepare(NUMBERS, raw, tmp_path)
    assert written == ["0.txt", "1.txt", "", "1.txt", "2.txt", "v.txt"]
    assert ids(tmp_path) == ["0", "1", "2", "12", "13"]
    assert len(list((tmp_path / "numbers").glob("*.array_record"))) == 4


def test_what_was_begun_of_other_files_is_not_gone_on_with(raw, tmp_path, monkeypatch):  # noqa: F811
    def stop(*job):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "_manifest", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(NUMBERS, raw, tmp_path)
    for file in raw.iterdir():
        file.write_text("5 6")
    with pytest.raises(FileExistsError, match="was begun from other raw files"):
        prepare(NUMBERS, raw, tmp_path)


def test_two_processes_do_not_write_one_dataset(raw, tmp_path):  # noqa: F811
    (tmp_path / "numbers").mkdir()
    with (
        journal.alone(tmp_path / "numbers"),
        pytest.raises(FileExistsError, match="is being written by another process"),
    ):
        prepare(NUMBERS, raw, tmp_path)
    prepare(NUMBERS, raw, tmp_path)
    with journal.alone(tmp_path / "numbers"):  # What is there is read without writing.
        prepare(NUMBERS, raw, tmp_path)


def test_a_picture_that_the_other_dataset_left_out_comes_along(raw, tmp_path):  # noqa: F811
    def read_with_picture(folder, part):
        for line in (folder / part.file).read_text().split():
            image = png(int(line)) if line.isdigit() else b""
            yield {"id": f"q{line}", "picture": line, "image": image, "question": "?"}

    (raw / "0.txt").write_text("0 1")
    prepare(NUMBERS, raw, tmp_path)
    (raw / "0.txt").write_text("0 3 bad")
    questions = type(QUESTIONS)(**{**vars(QUESTIONS), "read": read_with_picture})
    manifest = prepare(questions, raw, tmp_path)
    source = Prepared("questions", "train", str(tmp_path))
    assert [source[i]["image_key"] for i in range(2)] == ["numbers/0", "numbers/3"]
    assert [source[i]["image"] for i in range(2)] == [png(0), png(3)]
    assert manifest["skipped"]["train"] == {"picture": 2}  # "bad", and "empty" of another file.


@pytest.mark.parametrize("file", ["ids.npy", "journal.jsonl"])
def test_a_full_disk_is_said_with_the_name_of_the_file(raw, tmp_path, monkeypatch, file):  # noqa: F811
    def full(*anything, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if file == "ids.npy":
        monkeypatch.setattr(preparing.np, "save", full)
    else:
        monkeypatch.setattr(journal.Path, "write_text", full)
    with pytest.raises(OSError, match=r"numbers/.* cannot be written: No space left"):
        prepare(NUMBERS, raw, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    """As `_run` starts them; the parent is killed in a way that it cannot answer."""
    told = tmp_path / "pid"
    (tmp_path / "main.py").write_text(f"""
import multiprocessing, os, time

def work():
    from pali.data.preparing import _in_worker
    _in_worker()
    with open({str(told)!r}, "w") as file:
        file.write(f"{{os.getpid()}}.")
    time.sleep(100)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
    time.sleep(100)
""")
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")])
    try:
        until(lambda: told.exists() and told.read_text().endswith("."))
    finally:
        parent.kill()
        parent.wait()
    worker = int(told.read_text()[:-1])
    try:
        until(lambda: not runs(worker))
    finally:
        if runs(worker):
            os.kill(worker, signal.SIGKILL)


def until(is_so):
    for _ in range(6000):
        if is_so():
            return
        time.sleep(0.01)
    pytest.fail("waited for a minute")


def runs(process):
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
