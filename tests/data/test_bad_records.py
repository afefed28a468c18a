# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The table of docs/your_data.md: what becomes of each bad record, in training and in the check.

Every row of one file goes through the real source, functions and converter, and through
`pali data check`; both must say what the table here says.
"""

import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pali.cli import main
from pali.data.converter import EncoderDecoderFeatures
from pali.data.pipeline import Task, mixture_dataset, task_dataset
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.skipping import REASONS
from pali.data.sources import JsonLines

LENGTHS = EncoderDecoderFeatures(inputs=40, targets=8, image_size=8)


def scene() -> Image.Image:
    """A picture without symmetry."""
    image = Image.new("RGB", (60, 40), (30, 80, 200))
    image.paste((220, 40, 20), (0, 0, 30, 15))
    image.paste((240, 230, 90), (40, 20, 60, 40))
    return image


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def header_alone(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds no pixel: decoding it would fail otherwise."""

    def chunk(name: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def pictures() -> dict[str, bytes]:
    plain, exif = scene(), Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)
    grey = np.asarray(plain.convert("L")).astype(np.uint16) * 257
    palette = plain.quantize(8)
    black = Image.new("RGB", plain.size)
    return {
        "plain.png": saved(plain),
        "truncated.jpg": saved(Image.fromarray(noise), "JPEG")[:4000],
        "16bit.png": saved(Image.fromarray(grey)),
        "cmyk.jpg": saved(plain.convert("CMYK"), "JPEG", quality=100),
        "palette.png": saved(palette, transparency=palette.getpixel((0, 0))),
        "animated.gif": saved(plain, "GIF", save_all=True, append_images=[black]),
        "rotated.png": saved(plain.transpose(Image.Transpose.ROTATE_90), exif=exif),
        "1x1.png": saved(Image.new("RGB", (1, 1), (9, 200, 30))),
        "huge.png": header_alone(30_000, 30_000),
        "empty.png": b"",
        "text.png": b"I am a text\n",
    }


def row(image: object, caption: object = "a dog", lang: object = "en", **more) -> dict:
    return {"image": image, "caption": caption, "lang": lang} | more


USED = None
# A row, its fate in training, and what the check finds in it beside that.
ROWS: list[tuple[str | dict, str | None, tuple[str, ...]]] = [
    (row("plain.png"), USED, ()),
    (row("truncated.jpg"), "picture", ()),
    (row("16bit.png"), USED, ("deep",)),
    (row("cmyk.jpg"), USED, ("cmyk",)),
    (row("palette.png"), USED, ("palette", "transparent")),
    (row("animated.gif"), USED, ("animated", "palette")),
    (row("rotated.png"), USED, ("rotated",)),
    (row("1x1.png"), USED, ("small_picture",)),
    (row("huge.png"), "picture", ()),
    (row("empty.png"), "picture", ()),
    (row("text.png"), "picture", ()),
    (row("missing.png"), "picture", ()),
    (row("a\0b.png"), "picture", ()),
    (row("\ud800.png"), "picture", ()),
    (row("https://example.org/a.png"), "picture", ()),
    (row("."), "picture", ()),
    (row("pipe.png"), "picture", ()),  # Read, it would wait for ever,
    (row("/dev/zero"), "picture", ()),  # and this fill the memory.
    (row(None), "row", ()),
    (row(7), "row", ()),
    ('{"caption": "a dog", "lang": "en"}', "row", ()),
    (row("plain.png", "one\u2028two"), USED, ("line_separator",)),
    (row("plain.png", "x " * 50_000), USED, ("long_text", "cut_targets")),
    (row("plain.png", "a \ufffd\x07 cat"), USED, ("damaged_text",)),
    (row("plain.png", ["a cat", "a bed"]), USED, ()),
    (row("plain.png", ""), "text", ()),
    (row("plain.png", " \n"), "text", ()),
    (row("plain.png", None), "text", ()),
    (row("plain.png", 5), "text", ()),
    (row("plain.png", "half \ud83d"), "text", ()),
    ('{"image": "plain.png", "lang": "en"}', "text", ()),
    (row("plain.png", "the cat", None), "row", ()),
    (row("plain.png", "the cat", "Klingon"), "row", ()),
    ('{"image": "plain.png", "caption": "the cat"}', "row", ()),
    (row("plain.png", "the cat", id=1), USED, ()),
    (row("plain.png", "a bed", id=1), USED, ("repeated_id",)),
    (row("plain.png", "A dog."), USED, ("repeated_row",)),
    ("[1, 2]", "row", ()),
    ('{"image": "plain', "row", ()),
    ("[" * 100_000, "row", ()),
    ('{"image": "plain.png", "caption": "paka", "lang": "sw", "x": ' + "9" * 5000 + "}", "row", ()),
]
SAME_AS_PLAIN = ("16bit.png", "cmyk.jpg", "animated.gif", "rotated.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name, content in pictures().items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.png")
    lines = [line if isinstance(line, str) else json.dumps(line) for line, _, _ in ROWS]
    # As some editors write it: a byte-order mark, line ends of two characters, an empty line.
    (folder / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n\r\n")
    return folder


@pytest.fixture(scope="module")
def task(folder, tiny_tokenizer):
    functions = (DecodePicture(8), TextToText("caption", "caption"), Tokenize(str(tiny_tokenizer)))
    return Task("bad", JsonLines(str(folder / "rows.jsonl"), str(folder)), functions)


def test_training_uses_or_skips_each_as_the_table_says(task):
    examples = list(task_dataset(task))
    assert [example.get("skipped") for example in examples] == [fate for _, fate, _ in ROWS]
    for example, (_, fate, _) in zip(examples, ROWS, strict=True):
        features = LENGTHS(example)
        assert (features["skipped"] == 0) == (fate is USED)
        assert bool(features["decoder_loss_weights"].any()) == (fate is USED)
        if fate is not USED:
            assert len(example["error"]) < 500, "a message is to be read"
            example["error"].encode()


def test_unusual_pictures_are_seen_as_the_plain_one(task):
    images = {
        line["image"]: example["image"].astype(int)
        for (line, fate, _), example in zip(ROWS, task_dataset(task), strict=True)
        if fate is USED and isinstance(line, dict)
    }
    plain = images["plain.png"]
    for name in SAME_AS_PLAIN:
        expected = plain.mean(-1) if name == "16bit.png" else plain
        found = images[name].mean(-1) if name == "16bit.png" else images[name]
        # Grey is not the mean of colours; GIF has 8 of them here, JPEG its losses.
        assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.9, name
        assert np.corrcoef(expected.ravel(), found[:, ::-1].ravel())[0, 1] < 0.9, name
    assert (images["1x1.png"] == (9, 200, 30)).all()


def test_the_check_finds_what_the_table_says(folder, tiny_tokenizer, capsys):
    output = folder.parent / "bad.json"
    page = folder.parent / "bad.html"
    words = ["data", "check", str(folder / "rows.jsonl"), "--tokenizer", str(tiny_tokenizer)]
    words += ["--targets", "8", "--examples", "99", "--json", str(output), "--html", str(page)]
    assert main([*words, "--overwrite"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    report = json.loads(output.read_text("utf-8"))
    assert report["rows"] == len(ROWS)
    found: dict[str, set[str]] = {f"line {i}": set() for i in range(1, len(ROWS) + 1)}
    for kind, examples in report["examples"].items():
        for example in examples:
            # Of what is there twice the first is no mistake.
            twice = kind.startswith("repeated")
            for line in example["rows"][1:] if twice else example["rows"]:
                found[line["where"]].add(kind)
    for i, (line, fate, kinds) in enumerate(ROWS, 1):
        # All show one scene in a few words, which the tiny tokenizer spells in many pieces.
        found[f"line {i}"] -= {"near_picture", "repeated_text"}
        if "cut_targets" not in kinds:
            found[f"line {i}"].discard("cut_targets")
        assert found[f"line {i}"] == {fate, *kinds} - {None}, str(line)[:80]
    assert page.read_text("utf-8").count("<img") > 5


def test_every_reason_of_the_page_is_one_of_the_code():
    text = (Path(__file__).parents[2] / "docs" / "your_data.md").read_text("utf-8")
    assert all(f"`{reason}`" in text for reason in REASONS)


def test_a_file_that_is_no_utf8_or_has_no_row_is_refused(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"image": "a.png", "caption": "caf\xe9"}\n')
    source = JsonLines(str(path), str(tmp_path))
    with pytest.raises(ValueError, match="a.jsonl is not UTF-8"):
        len(source)
    assert main(["data", "check", str(path)]) == 2
    assert "a.jsonl is not UTF-8" in capsys.readouterr().err
    empty = tmp_path / "b.jsonl"
    empty.write_text("\n")
    with pytest.raises(ValueError, match="has 0 records"):
        mixture_dataset([(Task("b", JsonLines(str(empty), str(tmp_path))), 1.0)], seed=0)
    assert main(["data", "check", str(empty)]) == 2
    assert "has no line with a JSON object" in capsys.readouterr().err
