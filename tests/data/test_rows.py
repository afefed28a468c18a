# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Rows by number: which files are meant, in which order, and which holds row i."""

import os

import pytest

from pali.data.rows import FileRows, checked, files_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.tar", "a.tar", "c.txt", "deep/d.tar", "s-008.tar", "s-010.tar", "s-009.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "folder.tar").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["b.tar"], ["b.tar"]),
        (["b.tar", "a.tar"], ["b.tar", "a.tar"]),
        (["?.tar"], ["a.tar", "b.tar"]),
        (["."], ["./a.tar", "./b.tar", "./s-008.tar", "./s-009.tar", "./s-010.tar"]),
        (["**/d.tar"], ["deep/d.tar"]),
        (["s-{008..010}.tar"], ["s-008.tar", "s-009.tar", "s-010.tar"]),
        (["s-{010..008}.tar"], ["s-010.tar", "s-009.tar", "s-008.tar"]),
        (["{b,a}.tar"], ["b.tar", "a.tar"]),
        (["s-0{10,0{8..9}}.tar"], ["s-010.tar", "s-008.tar", "s-009.tar"]),
        (["c.txt"], ["c.txt"]),
    ],
)
def test_files_come_in_a_stated_order(folder, paths, expected):
    assert list(files_of(paths, ("*.tar",))) == expected


def test_a_name_with_braces_or_stars_is_itself_when_it_exists(folder):
    for name in ("{a,b}.tar", "[1].tar"):
        (folder / name).write_text("")
        assert files_of([name], ("*.tar",)) == (name,)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.tar", r"gone.tar: no such file or folder.*working directory: /"),
        ("s-{008..011}.tar", "s-011.tar: no such file"),
        ("z*.tar", "z\\*.tar: no such file"),
        ("deep/../folder.tar", r"the folder deep/../folder.tar has no \*.tar; .* pattern such as"),
        ("https://example.com/a.tar", "is an address, .*download it"),
        ("pipe:curl -s https://example.com/a.tar", "is an address"),
        ("", "no such file"),
    ],
)
def test_what_is_not_there_is_named(folder, path, message):
    with pytest.raises(FileNotFoundError, match=message):
        files_of([path], ("*.tar",))
    with pytest.raises(FileNotFoundError, match="no path is given"):
        files_of([], ("*.tar",))


def test_home_is_understood(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert files_of(["~/a.tar"], ("*.tar",)) == (os.path.join(folder, "a.tar"),)


def test_rows_are_found_past_files_that_have_none():
    assert len(FileRows.of([], [])) == 0
    rows = FileRows.of(["a", "b", "c", "d"], [0, 2, 0, 1])
    assert len(rows) == 3
    assert [rows.find(i) for i in range(3)] == [(1, 0), (1, 1), (3, 0)]
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"record {index} of 3"):
            rows.find(index)
        with pytest.raises(IndexError):
            checked(index, 3)
