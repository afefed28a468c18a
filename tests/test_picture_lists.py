# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Lists of pictures in JSON lines and CSV, and how far a command says it has come."""

import os

import pytest
from PIL import Image

from pali.cli import main
from pali.commands import CommandError, progress
from pali.commands.pictures import expand


def write(folder, name, text):
    (folder / "lists").mkdir(exist_ok=True)
    path = folder / "lists" / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def found(path):
    """Names from the folder of the list, and errors."""
    folder = os.path.dirname(path)
    return [
        item.error.removeprefix(folder) or os.path.relpath(item.name, folder)
        for item in path_items(path)
    ]


def path_items(path):
    return list(expand([path]))


def test_a_path_counts_from_the_folder_of_the_list(tmp_path):
    text = '\ufeff{"id": 1, "image": "a.png"}\n\n{"picture": "../b.png", "image": "c.png"}\r\n'
    items = path_items(write(tmp_path, "a.jsonl", text))
    assert [item.source for item in items] == [
        str(tmp_path / "lists" / "a.png"),
        f"{tmp_path}/lists/../b.png",
    ]
    absolute = path_items(write(tmp_path, "b.jsonl", '{"image": "/somewhere/a.png"}'))
    assert [item.name for item in absolute] == ["/somewhere/a.png"]


def test_a_cell_of_csv_may_hold_commas_and_line_ends(tmp_path):
    text = 'sku,image,note\n1,"a, b.png","two\nlines"\n2,c.png,\n'
    assert found(write(tmp_path, "a.CSV", text)) == ["a, b.png", "c.png"]


def test_a_picture_named_twice_is_done_once(tmp_path):
    text = "".join(f'{{"image": "{name}.png"}}\n' for name in "abacab")
    path = write(tmp_path, "a.jsonl", text)
    assert found(path) == ["a.png", "b.png", "c.png"]
    assert len(list(expand([path, str(tmp_path / "lists"), path]))) == 4  # and the empty folder


def test_a_bad_line_is_a_row_of_its_own(tmp_path):
    text = '{"image": "a.png"}\nno json\n{"image": 5}\n{"picture": ""}\n[1]\n{"image": "b.png"}\n'
    path = write(tmp_path, "a.jsonl", text)
    bad = [f"/a.jsonl, line {line} names no picture" for line in (2, 3, 4, 5)]
    assert found(path) == ["a.png", *bad, "b.png"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_an_empty_list_is_an_error_row(tmp_path, name, capsys):
    path = write(tmp_path, name, "")
    assert main(["caption", path]) == 1
    assert f"{path} names no picture" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "sku,file\n1,a.png\n", 'line 2 has no field "picture" or "image" with the path'),
        ("a.csv", "sku,file\n1,a.png\n", "it has sku, file"),
        ("a.jsonl", '{"url": "a.png"}\n', "it has url"),
        ("a.jsonl", "a.png\nb.png\n", "line 1 has no field"),
    ],
)
def test_a_list_without_the_field_is_refused(tmp_path, name, text, says):
    with pytest.raises(CommandError, match=says):
        path_items(write(tmp_path, name, text))


def test_a_list_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("image\ncaf\xe9.png\n".encode("latin-1"))
    with pytest.raises(CommandError, match="is not a text file in UTF-8"):
        path_items(str(path))


def test_a_list_is_never_written_over(tmp_path, capsys):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    path = write(tmp_path, "a.jsonl", '{"image": "../a.png"}\n')
    assert main(["caption", path, "--output", path, "--overwrite"]) == 2
    assert "is one of the pictures" in capsys.readouterr().err
    assert os.path.getsize(path)


def test_how_far_it_has_come_is_a_line_a_minute(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.shown("pali caption", 1_000, 100_000, True) as show:
        for pictures in (1_500, 2_000, 3_000, 100_000):
            now[0] += 40
            show(pictures)
    assert capsys.readouterr().err == (
        "pali caption: 2,000 of 100,000 pictures, 12.5 a second, 2:10:40 left\n"
    )
