# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What the README and docs/ say is true: snippets run, commands exist, paths lead somewhere."""

import argparse
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from pali import cli
from pali.checkpoints.pretrained import load_model
from pali.commands import train

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
PAGES.sort()

# Quick and without effects: run as they stand. Of the others the words are checked.
RUN = ("demo", "caption", "show", "doctor")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), re.M | re.S)


def command_lines(page: str) -> list[list[str]]:
    """The words of every `$ pali …` line, comments left out."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [
        shlex.split(line[2:], comments=True)[1:] for line in lines if line.startswith("$ pali ")
    ]


@pytest.fixture
def folder_with_pictures(tmp_path, monkeypatch):
    """A working directory with the files that the documents talk about."""
    for name in ("dog.png", "cat.png", "photos/1.jpg", "birds/pictures/kingfisher.jpg"):
        picture = Image.new("RGB", (90, 60), "white")
        ImageDraw.Draw(picture).ellipse((20, 10, 70, 50), fill="brown")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    (tmp_path / "catalogue.csv").write_text("sku,image\n1,dog.png\n2,photos/1.jpg\n")
    for line in blocks("docs/add_a_task.md", "json"):
        (tmp_path / "birds" / "train.jsonl").write_text(line)
        (tmp_path / "birds" / "test.jsonl").write_text(line)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_files(page: str, folder: Path) -> list[str]:
    """Makes the files of "Write `name.py` …:" and a snippet; returns the other snippets."""
    files = re.findall(r"Write `(\w+\.py)`[^`]*:\n\n```python\n(.*?)^```", read(page), re.M | re.S)
    for name, content in files:
        (folder / name).write_text(content)
    written = [content for _, content in files]
    return [block for block in blocks(page, "python") if block not in written]


def run_python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "snippets.py").write_text(program)
    return subprocess.run(
        [sys.executable, "snippets.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_snippets_run(page, folder_with_pictures):
    snippets = write_files(page, folder_with_pictures)
    run = run_python("\n".join(snippets), folder_with_pictures)
    assert run.returncode == 0, f"{page}\n{run.stderr}"


def test_your_own_lines_are_trained_on_as_the_page_says(folder_with_pictures):
    page = "docs/add_a_task.md"
    write_files(page, folder_with_pictures)
    lines = [
        # A shorter run than the page's, and otherwise its very words.
        [*words, "--steps", "2", "--eval-batches", "1", "--data.batch-size", "2"]
        if words[0] == "train"
        else words
        for words in command_lines(page)
    ]
    first, second = (words for words in lines if words[0] == "train")
    first += ["--data.prompts", "caption", "caption {lang}"]
    assert "--data.records" in second
    program = (
        f"import pali.cli\nfor line in {lines!r}:\n    assert pali.cli.main(line) == 0, line\n"
    )
    run = run_python(program, folder_with_pictures)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout.splitlines()[-1])["lang"] == "sw"
    runs = folder_with_pictures / "runs"
    kept = load_model(runs / "birds" / "model").metadata.templates
    assert kept == (("caption", "caption {lang}"),)
    assert not load_model(runs / "birds_again" / "model").metadata.templates


@pytest.mark.parametrize(
    "page", [page for page in PAGES if command_lines(page) and page != "docs/add_a_task.md"]
)
def test_commands_run(page, folder_with_pictures, capsys):
    for words in command_lines(page):
        assert words[0] in cli.COMMANDS, words
        if words[0] in RUN:
            assert cli.main(words) == 0, (words, capsys.readouterr().err)
            continue
        command = importlib.import_module(f"pali.commands.{words[0]}")
        parser = argparse.ArgumentParser(exit_on_error=False)
        command.add_arguments(parser)
        given, _ = parser.parse_known_args(words[1:])
        if words[0] == "train":
            train.parse(given)  # The fields that are changed exist, and take such values.


def test_the_readme_names_every_command():
    table = re.findall(r"^\| `pali (\w+)", read("README.md"), re.M)
    assert table == list(cli.COMMANDS)


def test_the_house_names_every_room():
    tree = next(b for b in blocks("README.md", "text") if b.startswith("pali/"))
    rooms = [*(ROOT / "pali").glob("*.py"), *(ROOT / "pali").glob("*/*.py")]
    listed_whole = ("commands", "metrics", "benchmarks", "tasks", "embedded")
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in rooms
        if not path.name.startswith("__")
        and path.parent.name not in listed_whole
        and not re.search(rf"\b{path.name}\b", tree)
    ]
    assert not missing, f"README.md, The house: add {missing}"
    gone = [
        name for name in re.findall(r"\b\w+\.py\b", tree) if not list((ROOT / "pali").rglob(name))
    ]
    assert not gone, f"README.md, The house: remove {gone}"


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page):
    text = read(page)
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    dead = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    paths = re.findall(r"`((?:pali|tasks|configs|tools|tests|docs|data)/[\w/.]+)`", text)
    dead += [path for path in paths if not (ROOT / path).exists()]
    assert not dead, f"{page}: {dead}"
