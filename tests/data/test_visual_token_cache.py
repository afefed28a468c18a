# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of visual tokens: each picture once, of this ViT, made as it is now, or nothing."""

import dataclasses
import io
import json
import pickle
import shutil
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from pali.config import PixelConfig
from pali.data import visual_token_cache
from pali.data.converter import EncoderDecoderFeatures
from pali.data.pipeline import Task, batch_dataset, mixture_dataset, task_dataset
from pali.data.preprocessors import DecodePicture, DecodeRandomCrop, RenderPicture
from pali.data.skipping import code
from pali.data.sources import DemoTexts, JsonLines
from pali.data.visual_token_cache import use_cache
from pali.data.visual_token_store import Origin

ORIGIN = Origin("params", "config", 2, 3, "bfloat16")
DECODE = DecodePicture(8)
TOKEN = np.array([2], np.int32)


class Encode:
    """Stands for a ViT: 2 visual tokens of width 3; counts the pictures that it was given."""

    def __init__(self, fail_after=None):
        self.batches, self.fail_after = [], fail_after

    def __call__(self, images):
        if len(self.batches) == self.fail_after:
            raise KeyboardInterrupt
        self.batches.append(images.shape)
        return tokens(images)


def tokens(images):
    means = images.reshape(len(images), -1).astype(np.float32).mean(1)
    return means[:, None, None] / 3 + np.arange(6, dtype=np.float32).reshape(2, 3)


def png(level, size=8):
    file = io.BytesIO()
    pixels = np.full((size, size, 3), level, np.uint8)
    pixels[: size // 2] //= 2
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def rows(*levels, langs=("en", "sw", "th"), **more):
    """Every picture in each language, as bytes; in another order than pictures would be."""
    return tuple(
        {"image": png(level), "lang": lang, "inputs": TOKEN, "targets": TOKEN + level} | more
        for lang in langs
        for level in levels
    )


def task(*levels, maker=DECODE, name="captions", **more):
    return Task(name, rows(*levels, **more), (maker,))


def cached(folder, *tasks, encode=None, origin=ORIGIN, **settings):
    encode = Encode(fail_after=0) if encode is None else encode
    mixture = [(task, 1.0) for task in tasks]
    return [task for task, _ in use_cache(mixture, folder, origin, encode, **settings)]


def home(folder):
    return folder / ORIGIN.name


def check(task, looked_up):
    """Every example has the tokens of what its own functions make of it."""
    examples, made = task_dataset(looked_up), task_dataset(task)
    for i in range(len(task.source)):
        expected = tokens(made[i]["image"][None])[0].astype(ml_dtypes.bfloat16)
        np.testing.assert_array_equal(examples[i]["visual_tokens"], expected)
        assert examples[i]["visual_tokens"].dtype == ml_dtypes.bfloat16
        assert examples[i].get("lang") == made[i].get("lang")


def test_a_picture_is_computed_once_for_all_languages_and_tasks(tmp_path, capsys):
    first, second = task(*range(0, 50, 10)), task(0, 70, name="questions", langs=("fr",))
    encode = Encode()
    looked_up = cached(tmp_path, first, second, encode=encode, batch_size=4)
    # Six different pictures; the last batch is filled up: one compilation.
    assert encode.batches == [(4, 8, 8, 3)] * 2
    for one, other in zip((first, second), looked_up, strict=True):
        check(one, other)
        assert pickle.loads(pickle.dumps(other)) == other
    said = capsys.readouterr().err
    # 12 bytes of bfloat16 and an entry of 36.
    assert "of 6 pictures" in said
    assert "48 bytes each, 288 bytes in all; 6 are to be" in said
    assert "kept as bfloat16: off by 0." in said
    # Nothing is computed again, not even for a part of the mixture.
    for again in (first, second):
        cached(tmp_path, again)
    assert "0 are to be computed" in capsys.readouterr().err


def test_what_is_surveyed_is_not_read_again(tmp_path):
    @dataclass(frozen=True)
    class Source:
        name: str
        read: ClassVar[list] = []

        def __len__(self):
            return 40

        def __getitem__(self, index):
            self.read.append(index)
            return {"image": png(index)}

    birds = Task("birds", Source("birds"), (DecodePicture(8),))
    cached(tmp_path, birds, encode=Encode())
    Source.read.clear()
    (looked_up,) = cached(tmp_path, birds)
    assert len(Source.read) == visual_token_cache.CHECKED
    # Of what was lost since, the rest is not taken for all.
    (path,) = home(tmp_path).glob("*.tokens")
    path.write_bytes(path.read_bytes()[:-1])
    encode = Encode()
    (looked_up,) = cached(tmp_path, birds, encode=encode, batch_size=1)
    assert len(encode.batches) == 1
    check(birds, looked_up)


def test_text_alone_stays_and_a_batch_hides_its_picture(tmp_path):
    text = Task("text", ({"inputs": TOKEN, "targets": TOKEN},))
    mixture = [(task(10, 20), 1.0), (text, 1.0)]
    read = use_cache(mixture, tmp_path, ORIGIN, Encode())
    assert read[1][0] is text
    pixels, visual = (
        batch_dataset(mixture_dataset(m, 0), EncoderDecoderFeatures(2, 3, 8, shape), 8)[3]
        for m, shape in ((mixture, None), (read, (2, 3)))
    )
    assert 0 < pixels["image_mask"].sum() < 8
    for name in pixels.keys() - {"image"}:
        np.testing.assert_array_equal(pixels[name], visual[name])
    assert not visual["visual_tokens"][~visual["image_mask"]].any()
    with pytest.raises(ValueError, match="no record has a picture"):
        cached(tmp_path / "none", text)


def test_pictures_in_files_drawn_and_of_unknown_functions_are_known_by_what_they_are(tmp_path):
    for name, level in (("a", 10), ("b", 200), ("c", 10)):
        (tmp_path / f"{name}.png").write_bytes(png(level))
    lines = [{"image": f"{name}.png"} for name in "abcab"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = JsonLines(str(tmp_path / "rows.jsonl"), str(tmp_path))
    files = Task("files", source, (DECODE,))
    texts = DemoTexts("train", ("en", "sw"), views=1)
    drawn = Task("drawn", (texts[0], texts[3], texts[0]), (RenderPicture(8),))
    bare = Task("bare", ({"level": 3}, {"level": 4}, {"level": 3}), (grey,))
    tasks, encode = (files, drawn, bare), Encode()
    looked_up = cached(tmp_path / "cache", *tasks, encode=encode, batch_size=1)
    # b and the two like a and c; two drawings; two levels.
    assert len(encode.batches) == 2 + 2 + 2
    for one, other in zip(tasks, looked_up, strict=True):
        check(one, other)
    # Another file under the same name is another picture, of which there are no tokens.
    (tmp_path / "b.png").write_bytes(png(77))
    with pytest.raises(ValueError, match=r"have no picture .*b\.png.* delete .*surveyed\.jsonl"):
        task_dataset(looked_up[0])[1]
    encode = Encode()
    (mended,) = cached(tmp_path / "cache", files, encode=encode, batch_size=1)
    assert len(encode.batches) == 1
    check(files, mended)


def grey(example):
    return example | {"image": np.full((8, 8, 3), example["level"], np.uint8)}


grey.makes_image = True


def test_a_function_without_a_name_is_refused(tmp_path):
    class Grey:
        makes_image = True

        def __call__(self, example):
            return grey(example)

    with pytest.raises(ValueError, match="cannot be told from others like it"):
        cached(tmp_path, Task("bare", ({"level": 3},), (Grey(),)), encode=Encode())


def test_other_preprocessing_and_other_weights_have_tokens_of_their_own(tmp_path):
    cached(tmp_path, task(10, 20), encode=Encode())
    others = [
        dict(maker=DecodePicture(8, PixelConfig(fit="crop"))),
        dict(maker=DecodePicture(4)),
    ]
    for other in others:
        encode = Encode()
        (looked_up,) = cached(tmp_path, task(10, 20, **other), encode=encode, batch_size=1)
        assert len(encode.batches) == 2
        check(task(10, 20, **other), looked_up)
    for change in (dict(params="b"), dict(config="{}"), dict(dtype="int8")):
        encode = Encode()
        origin = dataclasses.replace(ORIGIN, **change)
        cached(tmp_path, task(10, 20), encode=encode, origin=origin, batch_size=1)
        assert len(encode.batches) == 2
    # One ViT's folder in the place of another's says what it is.
    shutil.rmtree(home(tmp_path))
    shutil.copytree(tmp_path / origin.name, home(tmp_path))
    with pytest.raises(ValueError, match=r"of other visual tokens .* \(dtype\); delete the folder"):
        cached(tmp_path, task(10, 20))


def test_pictures_that_are_made_otherwise_than_before_are_noticed(tmp_path, monkeypatch):
    cached(tmp_path, task(10, 20), encode=Encode())
    real = DecodePicture.__call__

    def brighter(self, example):
        made = real(self, example)
        return made | {"image": made["image"] + 1}

    monkeypatch.setattr(DecodePicture, "__call__", brighter)
    with pytest.raises(ValueError, match=r"is stale: DecodePicture\(size=8.* makes other pixels"):
        cached(tmp_path, task(10, 20))


def test_a_build_that_is_killed_goes_on(tmp_path):
    levels = range(0, 210, 10)  # 21 pictures, in batches of 4
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, task(*levels), encode=Encode(fail_after=3), batch_size=4)
    # In the middle of the fourth batch: a part of its rows, and of an entry.
    for path in home(tmp_path).glob("*.[ti][on][kd]*"):
        with path.open("ab") as file:
            file.write(b"\1" * 13)
    rest = Encode()
    (looked_up,) = cached(tmp_path, task(*levels), encode=rest, batch_size=1)
    assert len(rest.batches) == 21 - 3 * 4
    check(task(*levels), looked_up)
    # Killed before anything was written.
    empty = home(tmp_path / "empty")
    empty.mkdir(parents=True)
    cached(tmp_path / "empty", task(10), encode=Encode())


def test_processes_share_the_work(tmp_path):
    """Two of them in one: where the first one waits at last, the second does all that it has to."""
    levels, encodes, waits = range(0, 200, 10), (Encode(), Encode()), []

    def wait():
        waits.append(len(encodes[0].batches))
        if len(waits) == 2:
            # This one alone does not see all.
            with pytest.raises(ValueError, match="all processes share"):
                cached(
                    *(tmp_path / "other", task(*levels)),
                    encode=Encode(),
                    batch_size=1,
                    share=(1, 2),
                )
            cached(tmp_path, task(*levels), encode=encodes[1], batch_size=1, share=(1, 2))

    (looked_up,) = cached(
        *(tmp_path, task(*levels)), encode=encodes[0], batch_size=1, share=(0, 2), wait=wait
    )
    check(task(*levels), looked_up)
    first, second = (len(encode.batches) for encode in encodes)
    assert first + second == 20
    assert waits == [0, first]
    assert 0 < first < 20


def test_a_picture_that_cannot_be_used_is_skipped_as_it_is_without_a_cache(tmp_path):
    whole = png(10)
    source = (
        *({"image": whole}, {"image": whole[:60]}, {"image": b"no picture"}, {"lang": "sw"}),
        {"image_key": str(tmp_path / "absent.png")},
    )
    broken = Task("broken", source, (DecodePicture(8),))
    (looked_up,) = cached(tmp_path / "cache", broken, encode=Encode())
    cached(tmp_path / "cache", broken)  # They are not tried again.
    pixels, visual = task_dataset(broken), task_dataset(looked_up)
    assert [code(pixels[i]) for i in range(5)] == [code(visual[i]) for i in range(5)]
    assert [code(visual[i]) for i in range(5)] == [0, 1, 1, 1, 1]
    assert "no picture" not in pixels[1]["error"]
    assert visual[1]["error"] == pixels[1]["error"]


def test_fixed_views_are_drawn_by_the_example(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "png")
    source = ({"image": file.getvalue(), "lang": "en"}, {"image": file.getvalue(), "lang": "sw"})
    crops = Task("crops", source, (DecodeRandomCrop(8),))
    plain = task(10, 20)
    encode = Encode()
    mixture = [(crops, 1.0), (plain, 1.0)]
    read = use_cache(mixture, tmp_path, ORIGIN, encode, views=3, batch_size=1)
    assert len(encode.batches) == 3 + 2  # One of what is the same every time.
    check(plain, read[1][0])

    def seen(seed):
        examples = mixture_dataset(read[:1], seed)
        return [examples[i]["visual_tokens"].tobytes() for i in range(16)]

    assert len(set(seen(0))) == 3
    assert seen(0) == seen(0) != seen(1)
    examples = mixture_dataset(read[:1], 0)
    shown = [(examples[i]["lang"], examples[i]["visual_tokens"].tobytes()) for i in range(16)]
    views = {lang: {tokens for other, tokens in shown if other == lang} for lang, _ in shown}
    assert views["en"] == views["sw"]

    with pytest.raises(ValueError, match="crops are drawn anew at every visit.*visual_token_views"):
        cached(tmp_path, crops, plain)
    with pytest.raises(ValueError, match="visual_token_views is 2, and no picture of captions is"):
        cached(tmp_path, plain, views=2)


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="3 are to be computed, 144 bytes, and 100 bytes are"):
        cached(tmp_path / "new" / "cache", task(1, 2, 3), encode=Encode(fail_after=0))
    assert not (tmp_path / "new").exists()
