# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Bad and unusual input through the real `pali caption`: what becomes of each, and no traceback."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import pali
from pali.checkpoints import pretrained
from pali.cli import main
from pali.predict import VisualTokens


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def huge_png(side: int) -> bytes:
    """A whole PNG of side x side black pixels, a hundred kilobytes small."""
    packer, row = zlib.compressobj(), bytes(1 + (side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def scene() -> Image.Image:
    """A picture without symmetry."""
    image = Image.new("RGB", (60, 40), (30, 80, 200))
    image.paste((220, 40, 20), (0, 0, 30, 15))
    image.paste((240, 230, 90), (40, 20, 60, 40))
    return image


@pytest.fixture(scope="module")
def outcome(tiny_model, tmp_path_factory):
    """Every strange picture in one command: its exit status, and the row of each file name."""
    folder = tmp_path_factory.mktemp("strange")
    image = scene()
    image.save(folder / "plain.png")
    (folder / "text.png").write_text("I am a text file\n")
    (folder / "empty.png").write_bytes(b"")
    whole = (folder / "plain.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "truncated.jpg")
    cut = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(cut[: len(cut) // 2])
    (folder / "huge.png").write_bytes(huge_png(30_000))
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=100)
    image.quantize(8).save(folder / "palette.png")
    image.convert("RGBA").save(folder / "alpha.png")
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(folder / "16bit.png")
    image.convert("L").save(folder / "8bit.png")
    image.save(folder / "animated.png", save_all=True, append_images=[Image.new("RGB", image.size)])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "rotated.png", exif=exif)
    files = sorted(path.name for path in folder.iterdir())
    output = folder.parent / "rows.jsonl"
    command = ["caption", *(str(folder / name) for name in files), str(folder / "missing.png")]
    status = main([*command, "--langs", "sw", "--model", str(tiny_model), "--output", str(output)])
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return status, {os.path.basename(row["picture"]): row for row in rows}, [*files, "missing.png"]


def test_every_picture_has_one_row_and_the_failed_ones_show_in_the_status(outcome):
    status, rows, files = outcome
    assert status == 1
    assert list(rows) == files


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.png", "is not a picture but a text file; expected JPEG, PNG"),
        ("empty.png", "is not a picture but an empty file"),
        ("truncated.png", "cannot be decoded"),
        ("truncated.jpg", "cannot be decoded"),
        ("huge.png", "is too large (900 megapixels; the limit is 178); make it smaller first"),
        ("missing.png", "no such file"),
    ],
)
def test_bad_pictures_are_error_rows(outcome, name, says):
    row = outcome[1][name]
    assert set(row) == {"picture", "error"}
    assert says in row["error"]
    assert name in row["error"]


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("rotated.png", "plain.png"),
        ("animated.png", "plain.png"),
        ("palette.png", "plain.png"),
        ("alpha.png", "plain.png"),
        ("16bit.png", "8bit.png"),
    ],
)
def test_unusual_pictures_are_captioned_as_the_plain_one(outcome, name, same_as):
    rows = outcome[1]
    assert rows[name]["caption"] == rows[same_as]["caption"]
    assert rows[name]["log_prob"] == pytest.approx(rows[same_as]["log_prob"], abs=1e-3)


def test_cmyk_is_captioned(outcome):
    assert set(outcome[1]["cmyk.jpg"]) == {"picture", "lang", "caption", "log_prob"}


def test_a_folder_of_ten_thousand_with_a_few_that_are_broken(tiny_model, tmp_path, capsys):
    folder, broken = tmp_path / "catalogue", {"00000.jpg", "05003.jpg", "09999.jpg"}
    folder.mkdir()
    originals = [tmp_path / f"{number}.jpg" for number in range(16)]
    for number, original in enumerate(originals):
        Image.new("RGB", (24, 16), (16 * number, 0, 255 - 16 * number)).save(original)
    (tmp_path / "broken.jpg").write_bytes(originals[0].read_bytes()[:300])
    names = [f"{number:05}.jpg" for number in range(10_000)]
    for number, name in enumerate(names):
        whole = originals[number % len(originals)]
        os.link(tmp_path / "broken.jpg" if name in broken else whole, folder / name)
    output = tmp_path / "rows.jsonl"
    command = [
        "caption",
        str(folder),
        "--langs",
        "sw",
        "--max-length",
        "8",
        "--output",
        str(output),
    ]
    assert main([*command, "--model", str(tiny_model)]) == 1
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [os.path.basename(row["picture"]) for row in rows] == names
    assert {os.path.basename(row["picture"]) for row in rows if "error" in row} == broken
    said = capsys.readouterr().err
    assert "9,997 rows of 9,997 pictures" in said
    assert "3 of 10,000 pictures could not be captioned" in said


def test_one_missing_file_among_ten(tiny_model, tmp_path, capsys):
    for number in range(10):
        Image.new("RGB", (20, 20), (25 * number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "4.png").unlink()
    command = ["caption", *(str(tmp_path / f"{number}.png") for number in range(10))]
    assert main([*command, "--model", str(tiny_model), "--format", "table"]) == 1
    out, err = capsys.readouterr()
    rows = out.splitlines()[1:]
    assert sum("en  English" in row for row in rows) == 9
    (error,) = (row for row in rows if "no such file" in row)
    assert error.startswith(str(tmp_path / "4.png"))
    assert err == "pali caption: 1 of 10 pictures could not be captioned\n"


@pytest.mark.parametrize(
    ("langs", "says"),
    [
        ("swahilli", "unknown language 'swahilli'; did you mean Swahili (sw)"),
        ("en,klingonn", "unknown language 'klingonn'"),
        ("", "names no language"),
    ],
)
def test_unknown_languages(langs, says, capsys):
    """Found before any picture or model is looked at."""
    assert main(["caption", "a.png", "--langs", langs]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pali caption: ")
    assert says in err
    assert "Traceback" not in err


def test_a_language_that_the_model_does_not_write(tiny_model, tmp_path, capsys):
    scene().save(tmp_path / "a.png")
    assert (
        main(["caption", str(tmp_path / "a.png"), "--langs", "qu", "--model", str(tiny_model)]) == 2
    )
    err = capsys.readouterr().err
    assert "Quechua (qu) is not among the languages here" in err
    assert "en, fr, hi, sw, th, zh, ar" in err


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "damaged config", "damaged weights"])
@pytest.mark.parametrize("command", ["caption", "show"])
def test_a_model_folder_that_is_not_one(kind, command, tiny_model, tmp_path, capsys):
    scene().save(tmp_path / "a.png")
    folder = tmp_path / "model"
    if kind == "file":
        folder.write_text("weights")
    elif kind != "missing":
        folder.mkdir()
    if kind.startswith("damaged"):
        for path in tiny_model.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        broken = folder / ("config.json" if kind == "damaged config" else "model.safetensors")
        broken.write_bytes(broken.read_bytes()[:50])
    pictures = [str(tmp_path / "a.png")] if command == "caption" else []
    assert main([command, *pictures, "--model", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"pali {command}: ")
    assert str(folder) in err
    assert "Traceback" not in err


def test_a_failed_start_leaves_no_output_file(tmp_path, capsys):
    scene().save(tmp_path / "a.png")
    output = tmp_path / "out.jsonl"
    command = ["caption", str(tmp_path / "a.png"), "--output", str(output)]
    assert main([*command, "--model", str(tmp_path / "no")]) == 2
    assert not output.exists()
    assert "Traceback" not in capsys.readouterr().err


def test_a_name_that_is_no_utf8(tiny_model, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    scene().save(path)
    assert main(["caption", path, "--model", str(tiny_model)]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["picture"].endswith("caf\\xe9.png")


def test_a_name_that_looks_like_markup(tiny_model, tmp_path, capsys):
    path = tmp_path / "[red]dog.png"
    scene().save(path)
    assert main(["caption", str(path), "--model", str(tiny_model), "--format", "table"]) == 0
    assert "[red]dog.png" in capsys.readouterr().out


def test_the_library_names_what_is_wrong(tiny_model, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a model folder"):
        pali.load(tmp_path)
    with pytest.raises(ValueError, match="did you mean Swahili"):
        pali.load(tiny_model).caption(scene(), "swahilli")


def test_a_picture_is_never_written_over(tmp_path, capsys):
    path = tmp_path / "a.png"
    scene().save(path)
    before = path.read_bytes()
    assert main(["caption", str(path), "--output", str(path), "--overwrite"]) == 2
    assert "is one of the pictures" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_pictures_may_follow_the_languages(tiny_model, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        scene().save(tmp_path / name)
    first, second = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    assert main(["caption", first, "--model", str(tiny_model), "--langs", "sw", second]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["picture"] for row in rows] == [first, second]


def test_languages_given_twice_are_refused(capsys):
    assert main(["caption", "a.png", "--langs", "en,sw", "--langs", "hi"]) == 2
    assert "--langs is given twice" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_an_error_row(tiny_model, tmp_path, monkeypatch, capsys):
    scene().save(tmp_path / "a.png")
    (tmp_path / "secret").mkdir()

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)  # Whoever runs this may be allowed everything.
    pictures = [str(tmp_path / "secret"), str(tmp_path / "a.png")]
    assert main(["caption", *pictures, "--model", str(tiny_model)]) == 1
    bad, good = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert bad["error"].endswith("secret cannot be read: Permission denied")
    assert "caption" in good


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "standard input is empty"),
        (b"\n\n", "standard input is empty"),
        (b"<!DOCTYPE html>\n<html>\n<body>Not found</body>\n</html>\n", "but a web page"),
    ],
)
def test_standard_input_that_is_neither_picture_nor_list(content, says, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["caption", "-"]) == 1
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert says in row["error"]


def test_a_plain_ppm_on_standard_input_is_a_picture(tiny_model, monkeypatch, capsys):
    content = b"P3\n2 2\n255\n" + b"255 0 0\n" * 4
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["caption", "-", "--model", str(tiny_model)]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row["picture"] == "standard input"


def test_calls_of_wrong_types_are_refused_not_reinterpreted(tiny_model):
    """In an interpreter of its own: here a checker of types would be faster."""
    program = f"""
        import pali
        from pali.predict import Decoding

        model = pali.load({str(tiny_model)!r})
        for call in (
            lambda: Decoding(method="gready"),
            lambda: Decoding(seed=-1),
            lambda: Decoding(n_best=2),
            lambda: Decoding("beam", beam_size=3, n_best=4),
            lambda: Decoding(min_length=-1),
            lambda: Decoding(min_chars=9, max_chars=8),
            lambda: Decoding(length_penalty=0.6),
            lambda: model.caption(None),
            lambda: model.caption(5),
            lambda: model.caption(b"", langs=[3]),
            lambda: model.generate(b"", "", max_length=0),
        ):
            try:
                call()
            except (TypeError, ValueError) as error:
                print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert run.stdout.splitlines() == [
        "method is 'gready'; it must be one of greedy, sample, beam",
        "seed is -1; it must be at least 0 and below 2**32",
        'n_best is 2; with method "greedy" it must be between 1 and 1',
        'n_best is 4; with method "beam" it must be between 1 and 3',
        "min_length is -1; it must be at least 0",
        "max_chars is 8; it must be at least 1 and min_chars, 9",
        "length_penalty is 0.6; it must be a pali.decoding.LengthPenalty, which says by name whose "
        "formula it is",
        "expected a picture or a list of pictures, not None",
        "expected a picture or a list of pictures, not 5",
        "a language is given as text, a code or a name, not as 3",
        "max_length is 0; it must be at least 1 token",
    ]


def test_weights_and_tokenizer_that_cannot_be_right(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    shutil.copyfile(pretrained.EMBEDDED / pretrained.TOKENIZER, folder / pretrained.TOKENIZER)
    with pytest.raises(ValueError, match=r"the tokenizer has 8192 pieces and the model a vocab"):
        pali.load(folder)
    weights = safetensors.numpy.load_file(tiny_model / pretrained.WEIGHTS)
    weights["projection/bias"][0] = np.nan
    safetensors.numpy.save_file(weights, folder / pretrained.WEIGHTS)
    with pytest.raises(ValueError, match="infinite numbers or NaN, first in projection/bias"):
        pali.load(folder)


def test_a_model_of_languages_that_are_none(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    description = json.loads((folder / "config.json").read_text())
    for languages, says in (("en", "must be a list"), (["klingonn"], "unknown language")):
        (folder / "config.json").write_text(json.dumps(description | {"languages": languages}))
        with pytest.raises(ValueError, match=says):
            pali.load(folder)


def test_a_model_that_names_no_language_writes_any(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    description = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(description | {"languages": []}))
    assert list(pali.load(folder).caption(scene(), "Swahili,cy")) == ["sw", "cy"]


def test_visual_tokens_of_another_model(tiny_model):
    tokens = VisualTokens(np.zeros((1, 3, 5), np.float32))
    with pytest.raises(
        ValueError, match=r"of another model: VisualTokens\(1x3x5\); this one makes"
    ):
        pali.load(tiny_model).caption(tokens)
