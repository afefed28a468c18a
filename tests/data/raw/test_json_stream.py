# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""JSON read element by element, wherever it is cut into pieces."""

import json

import pytest

from pali.data.raw import json_stream
from pali.data.raw.json_stream import elements


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_elements_are_those_of_the_whole_file(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    content = {
        "info": {"year": 2017, "a": [1, 2]},
        "numbers": [12, -3.5e2, 4567],
        "n": 123,
        "none": [],
        "things": [{"name": 'a "[{" \u00e9\\', "box": [1, 2.5]}, [1], None, "é"],
    }
    path = tmp_path / "x.json"
    path.write_text(f" {json.dumps(content, indent=indent)}\n")
    wanted = [(key, item) for key in ("numbers", "things") for item in content[key]]
    assert list(elements(path)) == wanted
    path.write_text(json.dumps(content["things"], indent=indent))
    assert list(elements(path)) == [("", item) for item in content["things"]]


@pytest.mark.parametrize(
    "text", ["", "3", "[1, 2", "[1 2]", '{"a": [1]', '{"a" [1]}', '{"a": [1]} 2', "[1,]", "[\x80"]
)
def test_damage_is_named(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"x.json is damaged"):
        list(elements(path))


def test_nothing_is_no_damage(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{ }")
    assert list(elements(path)) == []
