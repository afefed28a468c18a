# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A folder is there whole or not at all, whatever happens, and what cannot be one is said first."""

import os
import signal
import threading
from pathlib import Path

import pytest

from pali.checkpoints import folders


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory, with a file and a link to nothing in it."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("nowhere").symlink_to("gone")


def make(dest, work=lambda folder: None):
    with folders.made(Path(dest)) as folder:
        work(folder)


def left():
    return {path.name for path in Path().iterdir()} - {"file", "nowhere"}


@pytest.mark.parametrize("dest", ["out", "p/q/out", "é" * 127, "x" * 255, "p/../out"])
def test_a_folder_appears_whole(dest):
    with folders.made(Path(dest)) as folder:
        (folder / "a").touch()
        assert not Path(dest).exists()
        assert folder.parent == Path(dest).parent
    assert [path.name for path in Path(dest).iterdir()] == ["a"]
    assert Path(dest).stat().st_mode == Path(dest).parent.stat().st_mode


@pytest.mark.parametrize("dest", ["out", "p/q/out", "p/../q/out"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError(), OSError("full")])
def test_nothing_is_left_of_what_failed_nor_of_the_folders_above_it(dest, error):
    with pytest.raises(type(error)), folders.made(Path(dest)):
        raise error
    assert not left()


def test_folders_that_were_there_or_are_in_use_stay():
    def work(folder):
        Path("p/q/somebody else's").touch()
        raise ValueError("no")

    Path("p").mkdir()
    with pytest.raises(ValueError, match="no"):
        make("p/q/r/out", work)
    assert [str(path) for path in Path("p").rglob("*")] == ["p/q", "p/q/somebody else's"]


@pytest.mark.parametrize(
    ("dest", "message"),
    [
        ("file", "file is there already"),
        (".", "is there already"),
        ("nowhere", "nowhere is a link to something that is not there; give another folder"),
        ("nn/..", r"nn/\.\. is no name for a new folder"),
        ("file/out", "file/out cannot be made: file is a file; give another folder"),
        ("file/p/out", "file/p/out cannot be made: file is a file"),
        ("nowhere/out", "nowhere/out cannot be made: nowhere is a link to something that"),
        ("x" * 256, "x cannot be made: File name too long; give another folder"),
        ("p/" + "x" * 256, "x cannot be made: File name too long"),
        ("x" * 256 + "/p", "x/p cannot be made: File name too long"),
        ("p/" * 3000 + "q", "q cannot be made: File name too long"),
        ("a\0b", "a\0b cannot be made: embedded null byte"),
        ("/proc/out", "/proc/out cannot be made: "),  # for whatever reason this system has
        ("/proc/a/out", "/proc/a/out cannot be made: "),
    ],
)
def test_what_can_be_no_new_folder_is_said_before_the_work(dest, message):
    with pytest.raises(OSError, match=message) as error, folders.made(Path(dest)):
        pytest.fail("the work was begun")
    assert error.value.errno is None  # a sentence, not a number
    assert not left()


def test_a_folder_that_nothing_may_be_written_into_is_said(monkeypatch):
    Path("p").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "p")  # root may everything
    with pytest.raises(PermissionError, match="p/q/out cannot be made: nothing may be written in"):
        folders.check(Path("p/q/out"))


def test_a_full_disk_names_the_folder():
    with (
        pytest.raises(OSError, match=r"^p/out cannot be written: No space left on device$"),
        folders.made(Path("p/out")),
        open("/dev/full", "w") as full,
    ):
        full.write("x")
    assert not left()


def test_a_folder_that_was_made_meanwhile_stays():
    def work(folder):
        Path("out").mkdir()
        Path("out/a").touch()

    with pytest.raises(OSError, match="out cannot be made: .* not empty; was it made mean"):
        make("out", work)
    assert [str(path) for path in Path("out").rglob("*")] == ["out/a"]
    assert left() == {"out"}


def other(number, frame):
    """A handler of the program that uses this."""


@pytest.fixture
def handlers():
    """Of a program that has none, as these tests leave them."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("before", [signal.SIG_DFL, other])
@pytest.mark.parametrize("inner", [False, True])
def test_what_ends_a_program_leaves_nothing(number, before, inner, handlers):
    def end(folder):
        os.kill(os.getpid(), number)

    signal.signal(number, before)
    with pytest.raises(SystemExit) as error:
        make("p/out", (lambda folder: make(folder / "inner", end)) if inner else end)
    assert error.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert not left()


def test_a_second_signal_does_not_cut_the_cleaning_short(monkeypatch, handlers):
    remove = folders.shutil.rmtree

    def slow(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGHUP)
        remove(*args, **kwargs)

    monkeypatch.setattr(folders.shutil, "rmtree", slow)
    with pytest.raises(SystemExit, match="143"), folders.made(Path("out")):
        os.kill(os.getpid(), signal.SIGTERM)
    assert not left()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_a_signal_that_was_ignored_stays_so(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
    with folders.made(Path("out")):
        os.kill(os.getpid(), signal.SIGHUP)
    assert Path("out").exists()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_other_threads_make_folders_too():
    thread = threading.Thread(target=make, args=["out"])
    thread.start()
    thread.join()
    assert Path("out").is_dir()
