# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files -> records: whole, once, in order, resumed where they were interrupted."""

import dataclasses
import gzip
import io
import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from pali.commands import CommandError, data_prepare
from pali.data import preparing
from pali.data.prepared import Prepared, read_manifest, read_places
from pali.data.preparing import count_warnings, prepare
from pali.data.raw import DATASETS, find
from pali.data.raw.dataset import Dataset, Part
from pali.data.skipping import RecordError


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def parts(folder):
    return [Part("train", f"{i}.txt") for i in range(3)] + [Part("validation", "v.txt")]


def read(folder, part):
    for line in (folder / part.file).read_text().split():
        if line == "bad":
            yield RecordError("row", f"{part.file} has a bad row")
        else:
            image = b"" if line == "empty" else png(int(line) % 256)
            yield {"id": line, "image": image, "caption": f"number {line}"}


NUMBERS = Dataset(
    name="numbers",
    about="numbers",
    documented="",
    licence="CC0",
    files="",
    parts=parts,
    read=read,
    sizes={"train": 9},
)


def read_about(folder, part):
    for line in (folder / part.file).read_text().split():
        yield {"id": f"q{line}", "picture": line, "question": f"is it {line}?"}


QUESTIONS = dataclasses.replace(
    NUMBERS, name="questions", read=read_about, pictures="numbers", sizes={}
)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "0.txt").write_text("0 1 bad 2")
    (folder / "1.txt").write_text("10 empty 11")
    (folder / "2.txt").write_text("")
    (folder / "v.txt").write_text("100 101")
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_every_usable_row_becomes_a_record_and_the_others_are_counted(raw, tmp_path, workers):
    manifest = prepare(NUMBERS, raw, tmp_path / "to", workers=workers)
    assert manifest["splits"] == {"train": 5, "validation": 2}
    assert manifest["skipped"] == {"train": {"row": 1, "picture": 1}, "validation": {}}
    assert "0.txt has a bad row" in manifest["errors"]["row"]
    assert "an empty file" in manifest["errors"]["picture"]
    train = Prepared("numbers", "train", str(tmp_path / "to"))
    assert [record["id"] for record in (train[i] for i in range(len(train)))] == [
        *("0", "1", "2", "10", "11")
    ]
    assert train[3]["image"] == png(10)
    assert train[3]["image_key"] == "numbers/10"
    assert pickle.loads(pickle.dumps(train))[4] == train[4]
    assert count_warnings(NUMBERS, manifest) == ["train has 7 rows; 9 are published"]


def test_the_manifest_has_the_checksum_of_every_file(raw, tmp_path):
    import hashlib

    prepare(NUMBERS, raw, tmp_path)
    for file in read_manifest(tmp_path / "numbers")["files"]:
        content = (tmp_path / "numbers" / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert len(content) == file["bytes"]


def test_records_about_others_pictures_find_them(raw, tmp_path):
    with pytest.raises(FileNotFoundError, match="pali data prepare numbers"):
        prepare(QUESTIONS, raw, tmp_path)
    prepare(NUMBERS, raw, tmp_path)
    manifest = prepare(QUESTIONS, raw, tmp_path)
    assert manifest["splits"] == {"train": 5, "validation": 2}
    # "bad" and "empty" have no record among the numbers.
    assert manifest["skipped"]["train"] == {"picture": 2}
    record = Prepared("questions", "train", str(tmp_path))[4]
    assert record == {
        "id": "q11",
        "question": "is it 11?",
        "image": png(11),
        "image_key": "numbers/11",
    }


def test_who_is_interrupted_goes_on_and_nothing_is_written_twice(raw, tmp_path, monkeypatch):
    calls = []

    def stop_at_the_third(job_dataset, source, path, part, write=preparing._write):
        calls.append(path.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(job_dataset, source, path, part)

    monkeypatch.setattr(preparing, "_write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(NUMBERS, raw, tmp_path)
    with pytest.raises(FileNotFoundError, match="has no prepared dataset"):
        len(Prepared("numbers", "train", str(tmp_path)))
    with (tmp_path / "numbers" / "journal.jsonl").open("a") as journal:
        journal.write('{"name": "cut sho')  # Power went while the line was written.
    manifest = prepare(NUMBERS, raw, tmp_path)
    assert len(calls) == 5  # Two were whole, the third is written again, and the fourth.
    assert calls[2] == calls[3]
    straight = prepare(NUMBERS, raw, tmp_path / "straight")
    assert manifest == straight
    assert not list((tmp_path / "numbers").glob("*.tmp"))
    assert not (tmp_path / "numbers" / "journal.jsonl").exists()


def read_half(folder, part):
    yield {"id": "1", "text": "nusu \ud83d"}
    yield {"id": "2", "text": "nzima"}


def test_half_a_character_costs_one_record(raw, tmp_path):
    halves = dataclasses.replace(NUMBERS, read=read_half, pictures="none")
    manifest = prepare(halves, raw, tmp_path)
    assert manifest["skipped"]["train"] == {"text": 3}
    assert "0.txt, record 1, has half a character" in manifest["errors"]["text"]
    assert manifest["splits"] == {"train": 3, "validation": 1}


@pytest.mark.parametrize("left", ["", '{"format": 1, "data'])
def test_a_journal_that_was_not_begun_to_its_end_is_none(raw, tmp_path, left):
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "journal.jsonl").write_text(left)
    assert prepare(NUMBERS, raw, tmp_path)["splits"] == {"train": 5, "validation": 2}


@pytest.mark.parametrize("damage", ["[]", "null", "{}", "", '{"format": 1'])
def test_a_damaged_manifest_is_named(raw, tmp_path, damage):
    prepare(NUMBERS, raw, tmp_path)
    (tmp_path / "numbers" / "manifest.json").write_text(damage)
    with pytest.raises(ValueError, match="manifest.json is damaged .* prepare it again"):
        len(Prepared("numbers", "train", str(tmp_path)))


def test_files_that_are_gone_or_cut_are_not_said_to_be_there(raw, tmp_path):
    name = prepare(NUMBERS, raw, tmp_path)["files"][0]["name"]
    (tmp_path / "numbers" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name} is gone or was changed"):
        prepare(NUMBERS, raw, tmp_path)


def test_other_pictures_are_not_taken_for_those_that_were_meant(raw, tmp_path):
    prepare(NUMBERS, raw, tmp_path)
    prepare(QUESTIONS, raw, tmp_path)
    questions = Prepared("questions", "train", str(tmp_path))
    assert questions[1]["image"] == png(1)
    shutil.rmtree(tmp_path / "numbers")
    (raw / "0.txt").write_text("7 0 1 2")
    prepare(NUMBERS, raw, tmp_path)
    assert Prepared("numbers", "train", str(tmp_path))[1]["image"] == png(0)  # It is read anew.
    with pytest.raises(ValueError, match="numbers was prepared again since questions was"):
        questions[1]


def test_a_list_beside_the_parts_is_known_again(raw, tmp_path):
    (raw / "list.tsv").write_text("one")
    prepare(NUMBERS, raw, tmp_path)
    (raw / "list.tsv").write_text("two")
    with pytest.raises(FileExistsError, match="prepared from other raw files"):
        prepare(NUMBERS, raw, tmp_path)


def test_other_raw_files_are_not_mixed_with_those_before(raw, tmp_path):
    first = prepare(NUMBERS, raw, tmp_path)
    assert prepare(NUMBERS, raw, tmp_path) == first
    (raw / "1.txt").write_text("10 11 12 13 14")
    with pytest.raises(FileExistsError, match="prepared from other raw files"):
        prepare(NUMBERS, raw, tmp_path)


def test_an_id_that_comes_twice_is_counted_and_means_the_first(raw, tmp_path):
    (raw / "2.txt").write_text("1 7")
    manifest = prepare(NUMBERS, raw, tmp_path)
    assert manifest["same_id"] == {"train": 1, "validation": 0}
    assert read_places(tmp_path / "numbers")["1"] == ("numbers", "train", 1)
    with pytest.raises(KeyError):
        read_places(tmp_path / "numbers")["5"]


def test_mc4(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = [{"text": "habari ya leo", "url": "x"}, {"text": " "}, {"url": "y"}]
    with gzip.open(raw / "c4-sw.tfrecord-00000-of-00002.json.gz", "wt") as file:
        file.write("\n".join([*map(json.dumps, lines), "{broken", "[]"]))
    with gzip.open(raw / "c4-iw-validation.tfrecord-00000-of-00001.json.gz", "wt") as file:
        file.write(json.dumps({"text": "a\u2028b"}) + "\n")
    manifest = prepare(find("mc4"), raw, tmp_path)
    assert manifest["splits"] == {"validation": 1, "train": 1}
    assert manifest["skipped"]["train"] == {"text": 1, "row": 3}
    assert Prepared("mc4", "train", str(tmp_path))[0] == {
        "id": "sw/00000/0",
        "lang": "sw",
        "text": "habari ya leo",
    }
    assert Prepared("mc4", "validation", str(tmp_path))[0]["lang"] == "he"


def test_a_damaged_shard_is_named(tmp_path):
    path = tmp_path / "c4-sw.tfrecord-00000-of-00002.json.gz"
    path.write_bytes(gzip.compress(b'{"text": "x"}\n' * 1000)[:-20])
    with pytest.raises(ValueError, match="c4-sw.* is damaged"):
        prepare(find("mc4"), tmp_path, tmp_path / "to")


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_says_what_it_needs(name, tmp_path):
    dataset = DATASETS[name]
    assert dataset.documented.startswith("https://")
    assert dataset.licence
    assert "DIR" in dataset.files
    with pytest.raises((FileNotFoundError, ValueError), match=str(tmp_path)):
        dataset.parts(tmp_path)
    assert pickle.loads(pickle.dumps(dataset)).name == name  # Other processes read it.


def test_hashes_of_ids_are_kept_in_order(raw, tmp_path):
    prepare(NUMBERS, raw, tmp_path)
    places = read_places(tmp_path / "numbers")
    assert np.all(places.hashes[:-1] <= places.hashes[1:])
    assert places["101"] == ("numbers", "validation", 1)


def arguments(*words):
    import argparse

    parser = argparse.ArgumentParser()
    data_prepare.add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_lists_describes_and_prepares(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PALI_DATA", str(tmp_path / "data"))
    assert data_prepare.run(arguments()) == 0
    assert "mc4" in capsys.readouterr().out
    assert data_prepare.run(arguments("mc4")) == 0
    assert "pali data prepare mc4 --from DIR" in capsys.readouterr().out
    with gzip.open(tmp_path / "c4-sw.tfrecord-00000-of-00001.json.gz", "wt") as file:
        file.write('{"text": "habari"}\n{"text": ""}\n')
    with pytest.raises(CommandError, match="--to needs --from"):
        data_prepare.run(arguments("mc4", "--to", str(tmp_path)))
    with pytest.raises(CommandError, match="which dataset"):
        data_prepare.run(arguments("--from", str(tmp_path)))
    assert data_prepare.run(arguments("mc4", "--from", str(tmp_path))) == 0
    said, warned = capsys.readouterr()
    assert warned == "", "no bar, nor its empty line, outside a terminal"
    assert "train                      1 records" in said
    assert "1 rows left out: there is no text" in said
    assert f"prepared in {tmp_path}" in said
    assert Prepared("mc4", "train")[0]["text"] == "habari"
    assert data_prepare.run(arguments("mc4", "--from", str(tmp_path))) == 0
    assert f"is there already, in {tmp_path}" in capsys.readouterr().out
    assert data_prepare.run(arguments()) == 0
    assert "mc4            train 1  web text" in capsys.readouterr().out
    assert data_prepare.run(arguments("mc4")) == 0
    assert f"in {tmp_path / 'data'}: train 1" in capsys.readouterr().out
    with gzip.open(tmp_path / "c4-en.tfrecord-00000-of-00001.json.gz", "wt") as file:
        file.write('{"text": "\\u001b[31m"}\n["\\u001b"]\n')
    with pytest.raises(CommandError, match="let --update write what is new"):
        data_prepare.run(arguments("mc4", "--from", str(tmp_path)))
    assert data_prepare.run(arguments("mc4", "--from", str(tmp_path), "--update")) == 0
    assert "train                      2 records" in capsys.readouterr().out
    with pytest.raises(CommandError, match="did you mean 'mc4'"):
        data_prepare.run(arguments("mc5"))
    with pytest.raises(CommandError, match="is no folder"):
        data_prepare.run(arguments("mc4", "--from", str(tmp_path / "nowhere")))
