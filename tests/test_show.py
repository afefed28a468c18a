# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali show` of a preset: sizes, published numbers, visual tokens, memory.

What it says of folders is tested in test_cli.py.
"""

import io
import re

import pytest

from pali.cli import main
from pali.commands import plan

SMALL = "siglip-b/16-224+mt5-small"


@pytest.fixture
def show(capsys):
    """Runs `pali show` and returns what it printed."""

    def run(*words):
        assert main(["show", *words]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def column(out, title):
    """{row: number} of one column of the memory table, whose rows end with the total."""
    rows = out[out.index("\nGiB ") + 1 :].splitlines()
    end = rows[0].index(title) + len(title)
    found = {}
    for row in rows[1:]:
        if match := re.search(r"([\d,.]+)$", row[:end]):
            found[row.split("  ")[0]] = float(match[1].replace(",", ""))
        if row.startswith("total "):
            return found
    raise AssertionError(out)


def test_a_pali_of_the_paper(show):
    out = show("--model", "PaLI-17B")
    assert out.startswith("pali-17b = vit-e/14 + mt5-xxl\n")
    assert re.search(r"^total +16,733,819,136\b", out, re.M)
    assert re.search(r"^vit-e/14 +3,926M +3,926,402,969  a pooling head and 29,593 cl", out, re.M)
    assert re.search(r"^pali-17b +16.9B +16,854,804,377 ", out, re.M)
    assert "visual tokens  256 at 224, 1,024 at 448, 1,764 at 588, 2,916 at 756 pixels\n" in out
    assert "memory on one device: a batch of 64, pictures of 224 x 224 pixels" in out
    # 64 answers of 64 tokens over 250,112 pieces, with their gradient; and in 8 parts.
    assert "0.95 GiB in parts, as here; 7.63 GiB if they were made at once\n" in out


@pytest.mark.parametrize("title", ["inference", "training", "with remat"])
def test_columns_add_up(show, title):
    numbers = column(show("--model", SMALL, "--batch", "256"), title)
    assert sum(numbers.values()) == pytest.approx(2 * numbers["total"], abs=0.05)


def test_half_a_pali_has_sizes_and_no_plan(show, capsys):
    vit, language = show("--model", "vit-22b/14"), show("--model", "umt5-small")
    assert re.search(r"^vit-22b/14 +21,743M +21,743,271,936  the matrices of the blocks", vit, re.M)
    assert "visual tokens" in vit
    assert "encoder" not in vit
    assert "visual tokens" not in language
    assert re.search(r"^total +306,601,984\b", language, re.M)
    assert "published      no number of parameters is known here" in language
    assert "GiB" not in vit + language
    assert main(["show", "--model", "vit-22b/14", "--memory", "80"]) == 2
    assert "half a PaLI, and a memory plan is for a whole one" in capsys.readouterr().err


def test_patches_that_do_not_fill_a_picture_are_not_counted(show):
    out = show("--model", "siglip-so400m/14-384")
    assert "visual tokens  256 at 224, 729 at 384, 1,024 at 448, " in out
    assert "384 x 384 pixels, patch 14: 729 visual tokens\n" in out
    assert "visual tokens  196 at 224, 256 at 256, 784 at 448 pixels" in show(
        "--model", "siglip2-b/16-256"
    )


def test_what_fits_is_said(show):
    command = ("--model", SMALL, "--batch", "256", "--memory")
    totals = {title: column(show(*command, "1"), title) for title in ("training", "with remat")}
    assert "inference does not fit in 1 GiB\ntraining does not fit" in show(*command, "1")
    between = totals["with remat"]["total"] + 0.1
    assert between < totals["training"]["total"]
    out = show(*command, f"{between:.2f}")
    assert f"training with remat fits in {between:.4g} GiB" in out
    assert "training does not fit" in out
    assert "\ntraining fits in 1000 GiB\n" in show(*command, "1000")


def test_a_mesh_and_a_picture_of_another_size(show):
    few = show("--model", SMALL, "--batch", "64")
    out = show(
        *("--model", SMALL, "--batch", "512", "--mesh", "data=4,fsdp=4"),
        *("--image-size", "448", "--inputs-length", "32", "--targets-length", "16"),
    )
    assert "memory on each of 16 devices (data 4, fsdp 4): a batch of 512, " in out
    assert "pictures of 448 x 448 pixels, prompts of 32 and answers of 16 tokens" in out
    part = column(out, "training")["parameters, trained"]
    assert part == pytest.approx(column(few, "training")["parameters, trained"] / 4, abs=0.01)
    assert column(out, "training")["gathered parameters"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model", "pali-17"],
            "there is no folder 'pali-17', and there is no model 'pali-17'; di",
        ),
        (["--model", f"{SMALL}x"], "did you mean mt5-small or"),
        (["--model", SMALL, "--batch", "10", "--mesh", "data=4"], "a batch of 10 cannot be divi"),
        (["--model", SMALL, "--mesh", "model=4"], "axis model is 4, which does not divide the 6 "),
        (["--model", SMALL, "--mesh", "fsdp=0"], "fsdp is 0; it must be at least 1"),
        (["--model", SMALL, "--mesh", "data=-1"], "data is -1; a plan needs the number"),
        (["--model", SMALL, "--mesh", "rows=2"], "--mesh has 'rows=2'; it is a list of axis=dev"),
        (["--model", SMALL, "--mesh", "fsdp=2,fsdp=4"], "--mesh has 'fsdp=4'; it is a list"),
        (["--model", SMALL, "--memory", "0"], "--memory is 0; give the GiB of one device"),
        (["--model", SMALL, "--image-size", "225"], "the nearest sizes are 224 and 240"),
    ],
)
def test_what_cannot_be_shown_is_refused(words, message, capsys):
    assert main(["show", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("pali show: ")
    assert message in err


def test_a_folder_has_a_plan_where_one_is_asked_for(show, tiny_model):
    assert "GiB" not in show("--model", str(tiny_model))
    out = show("--model", str(tiny_model), "--memory", "1")
    assert "training fits in 1 GiB" in out
    assert "pictures of 32 x 32 pixels" in out


def test_of_a_folder_no_number_is_read(show, tiny_model, monkeypatch):
    from pali.checkpoints.weights import Tensor

    monkeypatch.setattr(Tensor, "read_finite", None)
    out = show("--model", str(tiny_model))
    assert re.search(r"^weights +0\.1 MB in bfloat16, 0\.1 MB in memory$", out, re.M)


def test_a_folder_comes_before_a_preset(show, tiny_model, tmp_path, monkeypatch):
    (tmp_path / "pali-17b").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    assert "Random weights, for tests." in show("--model", "pali-17b")


def test_a_terminal_of_80_columns_is_kept_to(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert main(["show", "--model", "pali-vit-22b", "--memory", "80", "--mesh", "fsdp=8"]) == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    assert plan.footnote().split()[-1] in lines[-1]


def test_what_a_mesh_divides(show):
    out = show("--model", "pali-17b", "--mesh", "fsdp=8,model=4")
    table = out[out.index("parameter  ") : out.index("memory on each of 32 devices")].splitlines()
    assert max(map(len, table)) <= 80
    assert len(table) < 80
    rows = {line[2:].split()[0]: line.split()[1:] for line in table if line.startswith("  ")}
    assert rows["token_embedder/embedding"] == ["250112x4096", "model,fsdp", "62528x512"]
    assert rows["embedding/kernel"] == ["14x14x3x1792", "-,-,-,fsdp", "14x14x3x224"]
    assert rows["encoder_norm/scale"] == ["1792", "whole", "1792"]  # The last of two: of the ViT.
    layers = [line for line in table if line.startswith("vit/Transformer/encoderblock_{0..55}")]
    assert len(layers) == 3  # The block, its attention, its MLP.
    assert table[-1].startswith("16,733,819,136 parameters, 525,677,440 of them on each of 32 dev")
