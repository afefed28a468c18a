# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Lists of tasks and mixtures, of registries that are made here: no SeqIO is needed."""

import argparse
from types import SimpleNamespace

import pytest

from pali.commands import task_tables, tasks
from pali.data.counting import Counted, Lengths


def task(source, missing="", languages=("en",), **splits):
    return SimpleNamespace(source=source, splits=splits, languages=languages, missing=missing)


def test_mixtures_say_their_languages_sizes_and_what_is_not_here():
    none = "there is no cc3m: pali data prepare cc3m"
    found = SimpleNamespace(
        tasks={
            "a": task("DemoTexts", train=1200, validation=None, languages=("en", "sw")),
            "b": task("Prepared cc3m", none, (), train=None, validation=None),
        },
        mixtures={
            "both": {"a": 1.0, "b": 3.0},
            "demo": {"a": 1.0},
            "public": {"b": None},
        },
    )
    text = task_tables.registry(found)
    assert "Prepared cc3m" in text
    lines = [line.strip() for line in text.splitlines()]
    assert "languages 2: en sw, train 1,200" in lines
    assert "none here (1)" in lines
    assert any(line.split("  ")[-2:] == ["its data tell", "not here (1)"] for line in lines)
    assert "languages 2: en sw and more, train 1,200, 1 of 2 tasks not here (1)" in lines
    assert f"(1) {none}" in lines
    assert max(map(len, lines)) <= task_tables.WIDTH


def test_a_count_warns_of_what_is_cut():
    scripts = {
        "Latn": Lengths(30, (20.0, 40.0, 61), (3.0, 4.0, 5), 0.5, 0.0),
        "Thai": Lengths(10, (20.0, 40.0, 50), (3.0, 4.0, 30), 1.0, 0.02),
    }
    found = Counted(40, {}, {}, {}, 0.0, scripts)
    said = task_tables.cut_warning(found, (16, 24))
    assert said.startswith("62.5% of the prompts are cut at 16 tokens, the longest has 61: set ")
    assert "data.inputs_length" in said
    assert "answers" not in said, "one in 200 is not worth a word"
    scripts["Latn"] = Lengths(30, (20.0, 40.0, 61), (3.0, 4.0, 5), 0.0, 0.3)
    scripts["Thai"] = Lengths(10, (20.0, 40.0, 50), (3.0, 4.0, 30), 0.0, 0.0)
    assert task_tables.cut_warning(found, (64, 24)).startswith("22.5% of the answers are cut at 24")
    assert task_tables.cut_warning(Counted(0, {}, {}, {}, 0.0, {}), (16, 24)) == ""


@pytest.mark.parametrize(
    ("words", "name", "lengths"),
    [
        ("", None, tasks.LENGTHS),
        ("--config mine.py", "mix", (50, 60)),
        ("--config mine.py --inputs-length 7", "mix", (7, 60)),
        ("--config mine.py --mixture other", "other", (50, 60)),
    ],
)
def test_lengths_and_mixture_follow_the_config(tmp_path, monkeypatch, words, name, lengths):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("""
from pali.config import Config, DataConfig
from pali.models.presets import DEMO_CAPTIONS

def get_config():
    data = DataConfig("mix", ("my.py",), inputs_length=50, targets_length=60, prompts=(("a", "b"),))
    return Config(model=DEMO_CAPTIONS, data=data)
""")
    parser = argparse.ArgumentParser()
    tasks.add_arguments(parser)
    arguments = parser.parse_args([*words.split(), "--module", "x.py"])
    prompts = tasks._follow_config(arguments)
    assert (arguments.mixture, arguments.inputs_length, arguments.targets_length) == (
        *(name,),
        *lengths,
    )
    assert (prompts, arguments.module) == (
        ((("a", "b"),), ["my.py", "x.py"]) if words else ((), ["x.py"])
    )


def test_what_examples_say_does_not_steer_a_terminal():
    example = {"inputs": "a\x1b[31m b", "targets": "c\x07"}
    assert "\x1b" not in tasks.describe(example)
    assert "c\ufffd" in tasks.describe(example)
    assert "\x1b" not in tasks.describe({"skipped": "row", "error": "\x1b"})
