# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Running text: paragraphs of a file, and those of the demo corpus."""

import pickle

import pytest

from pali.data.demo_corpus import load_corpus
from pali.data.pipeline import Source
from pali.data.prose import DemoProse, Paragraphs


def test_paragraphs_stand_between_empty_lines(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffOne,\n  two.\n\n \t\n\u3000三。\r\n四。\n\n\n".encode())
    source = Paragraphs(str(path), "zh")
    assert isinstance(source, Source)
    texts = [source[i]["text"] for i in range(len(source))]
    assert texts == ["One, two.", "三。 四。"]
    assert source[1]["lang"] == "zh"
    assert source.per_language == {"zh": 2}
    for index in (-1, 2):
        with pytest.raises(IndexError):
            source[index]


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match=r"text.txt is not UTF-8 \(byte 2\)"):
        len(Paragraphs(str(tmp_path / "text.txt"), "en"))
    with pytest.raises(FileNotFoundError):
        len(Paragraphs(str(tmp_path / "none.txt"), "en"))


def test_the_documents_are_running_text_without_marks():
    found = {split: DemoProse(split) for split in ("train", "validation")}
    texts = {split: {s[i]["text"] for i in range(len(s))} for split, s in found.items()}
    assert len(texts["train"]) > 100
    assert len(texts["validation"]) > 10
    assert not texts["train"] & texts["validation"]
    for text in texts["train"] | texts["validation"]:
        assert len(text) >= 80
        assert not any(mark in text for mark in ("`", "**", "](", "<extra_id_", "\n", " | "))
    assert found["train"].per_language == {"en": len(found["train"])}
    copy = pickle.loads(pickle.dumps(found["train"]))
    assert copy[3] == found["train"][3]
    assert (load_corpus().folder / "prose.train.jsonl").is_file()
