# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import contextlib
import csv
import gc
import importlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pali
from pali import cli, compilation_cache
from pali.checkpoints import pretrained
from pali.cli import COMMANDS, main, overview
from pali.commands import (
    CommandError,
    demo,
    doctor,
    install_command,
    interrupted_at_the_end,
    rows,
    task_tables,
    train,
)
from pali.commands import pictures as picture_rows
from pali.languages import LANGUAGES


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with a.png, b.jpg, c.gif, one that is hidden, and one that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (
        ("a.png", "red"),
        ("b.JPG", "blue"),
        ("c.gif", "green"),
        (".d.png", "red"),
    ):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / "deep").mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "deep" / "e.png")
    return folder


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# The command itself.


def test_help_names_every_command_and_every_command_exists(capsys):
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == overview() + "\n"
    for name, summary in COMMANDS.items():
        assert f"  {name:<10}{summary}" in overview()
        module = importlib.import_module(f"pali.commands.{name}")
        assert module.SUMMARY
        assert f"pali {name}" in module.EXAMPLE
        assert main([name, "--help"]) == 0
        assert f"pali {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    program = """
import sys
from pali.cli import COMMANDS, main
for words in [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]:
    assert main(words) == 0
heavy = {"jax", "flax", "seqio", "tensorflow", "tyro", "rich", "PIL", "sentencepiece"}
print(heavy & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "set()\n"
    assert "--langs LANGS" in done.stdout


def test_version_and_python_m():
    done = subprocess.run(
        [sys.executable, "-m", "pali", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"pali {pali.__version__}\n"


def test_unknown_command_names_the_near_one(capsys):
    assert main(["captoin"]) == 2
    assert capsys.readouterr().err == "pali: no command 'captoin'; did you mean `pali caption`?\n"
    assert main(["xyz"]) == 2
    assert "there are demo, caption" in capsys.readouterr().err


def test_unknown_option(capsys):
    assert main(["caption", "a.png", "--lang", "en"]) == 2
    assert "--lang" in capsys.readouterr().err


def test_a_refusal_shows_where_when_asked_to(monkeypatch):
    monkeypatch.setenv("PALI_TRACEBACK", "1")
    with pytest.raises(CommandError, match="unknown language"):
        main(["caption", "a.png", "--langs", "xyzzy"])


def test_a_reader_that_goes_away_is_no_error(monkeypatch, capfd):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["caption", "no1.png", "no2.png", "--format", "jsonl"]) == 141
    assert capfd.readouterr().err == ""


# pali caption.


def test_caption_writes_one_row_for_each_picture_and_language(tiny_model, pictures, capsys):
    model = pali.load(tiny_model)
    assert (
        main(
            ["caption", str(pictures / "a.png"), "--langs", "sw,Hindi", "--model", str(tiny_model)]
        )
        == 0
    )
    captured = capsys.readouterr()
    assert captured.err == ""
    expected = model.caption(pictures / "a.png", ["sw", "hi"])
    assert lines(captured.out) == [
        {
            "picture": str(pictures / "a.png"),
            "lang": lang,
            "caption": text,
            "log_prob": round(text.log_prob, 4),
        }
        for lang, text in expected.items()
    ]


def test_caption_as_csv_and_as_a_table(tiny_model, pictures, tmp_path, capsys):
    command = ["caption", str(pictures), "--langs", "all", "--model", str(tiny_model)]
    output = tmp_path / "out.csv"
    assert main([*command, "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    with output.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 3 * 7
    assert [Path(row["picture"]).name for row in found[::7]] == ["a.png", "b.JPG", "c.gif"]
    assert all(row["error"] == "" and float(row["log_prob"]) < 0 for row in found)
    assert main([*command, "--format", "table"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"a\.png +en +English", table)
    assert table.count("sw  Swahili") == 3


def test_caption_output_is_not_overwritten_by_accident(pictures, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    output.write_text("hours of work\n")
    command = ["caption", "missing.png", "--output", str(output)]
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert output.read_text() == "hours of work\n"
    assert main([*command, "--overwrite"]) == 1
    assert lines(output.read_text()) == [
        {"picture": "missing.png", "error": "missing.png: no such file"}
    ]
    assert main(["caption", "missing.png", "--output", str(tmp_path / "no" / "out.jsonl")]) == 2
    assert "cannot be written: there is no folder" in capsys.readouterr().err


def test_a_full_disk_is_said(capsys):
    if not Path("/dev/full").exists():
        pytest.fail("this test needs /dev/full, which Linux has")
    assert main(["caption", "no.png", "--output", "/dev/full", "--overwrite"]) == 2
    assert "/dev/full cannot be written further: No space left" in capsys.readouterr().err


def names(*arguments: object) -> list[str]:
    return [item.name for item in picture_rows.expand(map(str, arguments))]


def test_what_pictures_means(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    assert names("a.png", "notes.txt") == ["a.png", "notes.txt"]
    assert names(".") == ["./a.png", "./b.JPG", "./c.gif"]
    assert names("*.png") == ["a.png"]
    assert names("**/*.png") == ["a.png", "deep/e.png"]
    Path("f[1].png").write_bytes(b"")
    assert names("f[1].png") == ["f[1].png"], "a file that exists is no glob"


def test_what_leads_to_no_picture_is_an_error_of_its_own(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    Path("empty").mkdir()
    items = list(picture_rows.expand(["empty", "*.webp", "aa.png"]))
    assert [item.name for item in items] == ["empty", "*.webp", "aa.png"]
    assert "without pictures directly inside; try 'empty/**/*.jpg'" in items[0].error
    assert items[1].error == "*.webp matches no file"
    assert items[2].error == "aa.png: no such file; did you mean a.png?"


def standard_input(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_is_a_picture_or_a_list(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    content = Path("b.JPG").read_bytes()
    standard_input(monkeypatch, content)
    assert list(picture_rows.expand(["-"])) == [picture_rows.Item("standard input", content)]
    standard_input(monkeypatch, b"a.png\r\n\ndeep\n")
    assert names("-") == ["a.png", "deep/e.png"]
    standard_input(monkeypatch, b"")
    (item,) = picture_rows.expand(["-"])
    with pytest.raises(ValueError, match="standard input is not a picture but an empty file"):
        importlib.import_module("pali.image").decode_image(item.source, item.name)


def test_a_picture_on_standard_input_is_captioned_as_from_its_file(
    tiny_model, pictures, monkeypatch, capsys
):
    standard_input(monkeypatch, (pictures / "a.png").read_bytes())
    assert main(["caption", "-", str(pictures / "a.png"), "--model", str(tiny_model)]) == 0
    first, second = lines(capsys.readouterr().out)
    assert first["picture"] == "standard input"
    assert first["caption"] == second["caption"]


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_an_interruption_keeps_what_was_made(tiny_model, tmp_path, capsys):
    """The tenth picture is a pipe that nothing is written to: only Ctrl-C ends this."""
    for number in range(9):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / f"{number}.png")
    pipe, output = tmp_path / "9.png", tmp_path / "out.jsonl"
    os.mkfifo(pipe)

    def interrupt():
        while not output.exists() or output.read_text().count("\n") < 9 * 7:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        pipe.write_bytes(b"")

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    pictures = [str(tmp_path / f"{number}.png") for number in range(10)]
    command = ["caption", *pictures, "--langs", "all", "--model", str(tiny_model)]
    assert main([*command, "--output", str(output)]) == 130
    thread.join()
    assert len(lines(output.read_text())) == 9 * 7
    assert capsys.readouterr().err == "pali caption: interrupted\n"


def test_tables_cannot_steer_a_terminal():
    assert rows.printable("a\x1b[31m\nb\tc  d\x07") == "a\ufffd[31m b c d\ufffd"
    assert rows.printable("कुत्ता \u200dx") == "कुत्ता \u200dx"


# pali demo.


def test_demo_puts_what_people_wrote_beside_the_captions(tiny_model, tmp_path, monkeypatch, capsys):
    embedded = tmp_path / "embedded"
    shutil.copytree(tiny_model, embedded)
    (embedded / "examples").mkdir()
    Image.new("RGB", (40, 40), "red").save(embedded / "examples" / "1f436.png")
    expected = pali.load(tiny_model).caption(embedded / "examples" / "1f436.png", "all")
    # With random weights some captions are empty; one of a language that the demo shows is not.
    written = next(code for code in ("en", "ar", "zh", "th", "sw") if expected[code])
    references = {written: f" {expected[written].upper()} ", "hi": "कुत्ता"}
    example = {"file": "1f436.png", "code": "1f436", "art": "noto", "references": references}
    (embedded / "examples" / "index.json").write_text(json.dumps([example]))
    monkeypatch.setattr(pretrained, "EMBEDDED", embedded)
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "🐶  1f436.png" in out
    assert "कुत्ता" in out
    assert "1 picture, 6 languages, 5 scripts; 1 of 2 captions are word for word" in out, out
    assert f"pali caption {embedded / 'examples' / '1f436.png'} --langs" in out


def test_demo_shows_every_script_once():
    codes = demo.one_of_each_script(LANGUAGES)
    scripts = [LANGUAGES[code].scripts for code in codes if code != "sw"]
    assert len(scripts) == len(set(scripts)) == len({lang.scripts for lang in LANGUAGES.values()})
    assert codes[:3] == ["en", "sw", "ru"]
    assert demo.one_of_each_script(["fi", "sw"]) == ["fi", "sw"]


def test_demo_without_examples(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "EMBEDDED", tiny_model)
    assert main(["demo"]) == 2
    assert "the example pictures are missing" in capsys.readouterr().err


# pali show.


def test_show_counts_every_parameter(tiny_model, capsys):
    assert main(["show", "--model", str(tiny_model)]) == 0
    out = capsys.readouterr().out
    numbers = dict(re.findall(r"^([a-z ]+?) +([\d,]+)(?= |$)", out, re.MULTILINE))
    counts = {part.strip(): int(number.replace(",", "")) for part, number in numbers.items()}
    config = pretrained.load_model(tiny_model).config
    leaves = [np.size(leaf) for leaf in _leaves(pretrained.load_model(tiny_model).params)]
    assert counts["total"] == sum(leaves)
    parts = ("vit", "projection", "embedding", "encoder", "decoder", "output head")
    assert sum(counts[part] for part in parts) == sum(leaves)
    assert counts["embedding"] == config.mt5.vocab_size * config.mt5.width
    assert "16 visual tokens" in out
    assert "languages   7: en English, fr French" in out
    assert "Random weights, for tests." in out


def _leaves(tree):
    for value in tree.values():
        yield from _leaves(value) if isinstance(value, dict) else [value]


# pali doctor.


def distribution(folder: Path, name: str, version: str, *requires: str) -> None:
    """Installs a distribution that consists of its metadata."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    )
    (info / "RECORD").write_text("pali/__init__.py,,\n")


def test_doctor_says_what_is_missing_and_how_to_fix_it(tmp_path, monkeypatch, capsys):
    distribution(
        tmp_path,
        "open-pali",
        "9.9",
        *(
            "jax>=0.4",
            "not-there>=1",
            "no-seqio; extra == 'train'",
            "open-pali[train]; extra == 'test'",
        ),
    )
    distribution(tmp_path, "pali", "2.0")
    monkeypatch.syspath_prepend(tmp_path)
    status = main(["doctor"])
    out = capsys.readouterr().out
    assert status == 1
    assert re.search(r"^core +jax \d", out, re.MULTILINE)
    assert f"- not-there missing: {install_command('')}" in out
    assert f"missing: no-seqio   ({install_command('train')})" in out
    assert "- the distribution 'pali' takes the same import name: pip uninstall pali" in out
    assert "no-seqio" not in out.split("to fix:")[1], "an extra is a choice, no fault"
    assert f"Python      {sys.version.split()[0]}" in out
    assert f"{compilation_cache.folder()} cannot be written" in out


def test_what_installs_an_extra_is_run_as_it_stands(tmp_path, monkeypatch):
    """From the checkout where there is one: the package index may not have this distribution."""
    checkout = Path(__file__).parents[1]
    monkeypatch.chdir(checkout)
    python = sys.executable
    assert install_command("train") == f"{python} -m pip install -c constraints.txt -e '.[train]'"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(install_command(""))[5:] == [
        str(checkout / "constraints.txt"),
        "-e",
        str(checkout),
    ]
    monkeypatch.setattr("pali.__file__", str(tmp_path / "site-packages" / "pali" / "__init__.py"))
    assert install_command("train") == f"{python} -m pip install 'open-pali[train]'"


def test_requirements_by_extra():
    requirements = ["jax>=0.6", "seqio==1 ; extra == 'train'", 'seqio[a]; extra == "train"']
    assert doctor.by_extra([*requirements, "Open-PaLI[train]; extra == 'test'"]) == {
        "": ["jax"],
        "train": ["seqio"],
    }


# The compilation cache.


def test_compilation_cache_folder(monkeypatch, tmp_path):
    assert not compilation_cache.usable(), "tests must not fill anybody's cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache.folder() == tmp_path / "pali" / "xla"
    assert compilation_cache.usable()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere")
    assert compilation_cache.folder() == Path("/somewhere")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert compilation_cache.folder() == Path.home() / ".cache" / "pali" / "xla"


# pali tasks and pali train.


def test_tasks_lists_what_is_registered(capsys, monkeypatch):
    monkeypatch.setenv("PALI_DATA", "/data")
    assert main(["tasks"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^demo_captions +DemoTexts +36: ar .* train [\d,]+,", out, re.MULTILINE)
    assert re.search(r"^pali_demo_captions +mixture of demo_captions \d+\.\d%, ", out, re.MULTILINE)
    family = r"^multilingual_captions_\* .* 112: .* 112 tasks, together\s+train"
    assert re.search(family, out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 100


def test_tasks_says_what_is_not_here(capsys, monkeypatch):
    monkeypatch.setenv("PALI_DEMO_DATA", "/nowhere")
    assert main(["tasks"]) == 0
    out = capsys.readouterr().out
    found = re.search(r"^demo_captions .* not here \((\d+)\)", out, re.MULTILINE)
    assert found
    assert f"({found[1]}) No demo corpus in /nowhere" in out
    line = task_tables.mixture_line("mine  ", {"a": 1.0, "b": None})
    assert line == "mine  mixture of 2 tasks, by data that are not here"


def test_tasks_shows_examples_and_their_pictures(tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert main(["tasks", "demo_captions", "--examples", "3", "--sheet", str(sheet)]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"prompt  Generate the alt_text in [A-Z]+ at 0: <extra_id_0>", out)) == 3
    assert len(re.findall(r"answer  \S", out)) == 3
    assert len(re.findall(r"tokens  14 of the prompt; \d+ of the answer", out)) == 3
    assert re.search(r"image +uint8 +3 x 72 x 72 x 3\n", out)
    assert re.search(r"encoder_input_tokens +int32 +3 x 16\n", out)
    assert re.search(r"encoder_input_tokens +Generate the .* <extra_id_0> \+ 2 of padding\n", out)
    with Image.open(sheet) as image:
        assert image.size == (3 * (2 * 72 + 4) + 4, 2 * 72 + 8)


def test_tasks_of_text_alone_are_shown_with_their_spans(tmp_path, capsys):
    command = ["tasks", "demo_span_corruption", "--examples", "2", "--inputs-length", "9"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"prompt  .*<extra_id_0>.*\n   answer  <extra_id_0>", out)) == 2
    assert re.search(r"tokens  \d+ of the prompt, cut at 9; \d+ of the answer", out)
    assert re.search(r"image_mask +bool +2\n", out)
    assert main([*command, "--sheet", str(tmp_path / "sheet.html")]) == 2
    assert "no pictures: leave --sheet out" in capsys.readouterr().err


def test_tasks_counts_what_a_mixture_draws(capsys):
    assert main(["tasks", "--mixture", "pali_pretrain_demo", "--count", "3132"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^demo_split_captions +63.86% +63.86% +2,000$", out, re.MULTILINE)
    assert re.search(r"^object_aware +3.19% +3.19% +100$", out, re.MULTILINE)
    error = re.search(r"^largest \|count - n rate\| of a task: ([\d.]+)$", out, re.MULTILINE)
    assert error
    assert float(error[1]) == 0  # Rates are millions and halves of them; these are 1,566 twice.
    assert re.search(r"^Deva +\d+( +[\d.]+%?){8}$", out, re.MULTILINE)
    assert "prompts are cut at 16, answers at 24" in out
    assert "\n1  demo_" not in out  # No examples, unless they are asked for.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("demo_ocr --mixture demo_ocr", "give one of them"),
        ("--count 5", "--count needs the NAME"),
        ("demo_ocr --count 0", "--count is 0; give at least 1"),
        ("demo_ocr --inputs-length -1", "--inputs-length is -1; give at least 1"),
        ("demo_ocr --sheet sheet.gif", "sheet.gif must end in .png or .html"),
        ("demo_ocr --count 5 --sheet sheet.png", "--examples is 0; give at least 1"),
    ],
)
def test_tasks_refuses_what_makes_no_sense(words, said, capsys):
    assert main(["tasks", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_tasks_of_classes_show_their_label(capsys):
    assert main(["tasks", "demo_concepts", "--examples", "1"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"label +\d+", out)
    assert re.search(r"label +int32 +1\n", out)


def test_tasks_unknown(capsys):
    assert main(["tasks", "demo_caption"]) == 2
    assert "nearest: demo_captions" in capsys.readouterr().err


def test_train_finds_configs_by_name_and_by_path(tmp_path, capsys):
    path, _ = train.find_config("demo_vit")
    assert path.name == "demo_vit.py"
    assert train.find_config("configs/demo_vit.py")[0].name == "demo_vit.py"
    assert train.find_config(str(path)) == (path, "")
    forkme, variant = train.find_config("configs/forkme.py:full")
    assert (forkme.name, variant) == ("forkme.py", "full")
    assert main(["train", "forkme:most"]) == 2
    error = capsys.readouterr().err
    assert "no variant 'most'; it has lora, encoder_decoder, full" in error
    assert main(["train", "demo_vit:most"]) == 2
    assert "no variant 'most'; it has none" in capsys.readouterr().err
    assert main(["train", "demo_vitt"]) == 2
    assert "no config file 'demo_vitt'; did you mean demo_vit?" in capsys.readouterr().err


def test_every_field_of_a_config_can_be_changed(capsys):
    assert main(["train", "demo_vit", "--help"]) == 0
    assert "--optim.learning-rate" in capsys.readouterr().out
    assert main(["train", "demo_vit", "--optim.learning-rat", "1"]) == 2
    assert "--optim.learning-rate" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["x = 1\n", "def get_config():\n    return {}\n"])
def test_a_file_that_is_no_config(tmp_path, capsys, content):
    path = tmp_path / "a.py"
    path.write_text(content)
    assert main(["train", str(path)]) == 2
    assert "needs a function get_config() that returns" in capsys.readouterr().err


# pali evaluate.


def test_evaluate_needs_tasks_that_exist(tiny_model, tmp_path, capsys):
    assert main(["evaluate"]) == 2
    assert "--tasks" in capsys.readouterr().err
    assert main(["evaluate", "--tasks", " , "]) == 2
    assert "--tasks names no task" in capsys.readouterr().err
    command = ["evaluate", "--tasks", "demo_caption", "--workdir", str(tmp_path / "run")]
    assert main([*command, "--model", str(tiny_model)]) == 2
    assert "demo_captions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_ctrl_c_while_a_block_would_lose_it_is_kept_for_its_end():
    done = []

    def press():
        with interrupted_at_the_end():
            with contextlib.suppress(KeyboardInterrupt):  # As an import of others may.
                signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        press()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interrupted_at_the_end():
        pass


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_ctrl_c_within_a_callback_is_not_lost():
    """Real garbage collection, whose callbacks' exceptions Python drops."""

    def press(*_):
        gc.callbacks.remove(press)
        signal.raise_signal(signal.SIGINT)

    def collect():
        gc.callbacks.append(press)
        with cli._hearing_ctrl_c():
            gc.collect()
            for _ in range(500):
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        collect()


def test_what_a_module_makes_of_ctrl_c_is_an_interruption(monkeypatch, capsys):
    def run(_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as pressed:
            raise ImportError("numpy._core.multiarray failed to import") from pressed

    monkeypatch.setattr(doctor, "run", run)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "pali doctor: interrupted\n"


def test_a_crash_says_first_what_and_where(tmp_path, monkeypatch, capsys):
    """In a file of the user's, called by a library."""
    path = tmp_path / "mine.py"
    path.write_text("def length(row):\n    return len(row['caption'])\n")
    module = types.ModuleType("mine")
    exec(compile(path.read_text(), path, "exec"), module.__dict__)
    monkeypatch.setattr(doctor, "run", lambda _: np.apply_along_axis(module.length, 0, np.eye(2)))
    with pytest.raises(IndexError):
        main(["doctor"])
    first, where, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("pali doctor: stopped by an error that it does not know: IndexError:")
    assert f"{path}, line 2." in where
