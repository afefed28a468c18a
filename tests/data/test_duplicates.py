# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What counts as twice the same, against the plain way of comparing everything with everything."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from pali.data.duplicates import NEAR_BITS, fingerprint, near, normal_text, perceptual_hash, repeats


def scene(seed: int) -> Image.Image:
    """Blurred blocks of colour, as different as photographs are."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blocks).resize((320, 240), Image.Resampling.BICUBIC)


def look(image: Image.Image) -> int:
    return perceptual_hash(np.asarray(image.convert("RGB")))


def test_texts_differ_in_more_than_case_width_punctuation_and_spaces():
    copies = ["A Dog, running!", "a dog  running", "ａ ｄｏｇ ｒｕｎｎｉｎｇ", "A dog – running."]
    assert {normal_text(text) for text in copies} == {"a dog running"}
    assert normal_text("STRASSE") == normal_text("straße")
    assert normal_text("กำ") == normal_text("ก\u0e4d\u0e32"), "one mark or two, the same letter"
    assert normal_text("घर") != normal_text("घरि"), "a vowel sign is no punctuation"
    assert normal_text("?!") == "?!"


def test_fingerprints_are_never_nothing_and_take_any_text():
    assert fingerprint(b"") > 0
    assert fingerprint("\ud800") != fingerprint("\udbff")
    assert fingerprint("a") == fingerprint(b"a")


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_that_was_scaled_compressed_or_brightened_looks_alike(seed):
    image = scene(seed)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    copies = [
        image.resize((130, 100), Image.Resampling.LANCZOS),
        Image.open(file),
        ImageEnhance.Brightness(image).enhance(0.8),
        image.resize((1600, 1200), Image.Resampling.BICUBIC),
    ]
    distances = [(look(image) ^ look(copy)).bit_count() for copy in copies]
    assert max(distances) <= NEAR_BITS, distances
    others = [look(scene(seed + 1)), look(ImageOps.mirror(image)), look(ImageOps.invert(image))]
    assert min((look(image) ^ other).bit_count() for other in others) > 2 * NEAR_BITS


@pytest.mark.parametrize("size", [(1, 1), (300, 200), (1, 5000)])
def test_a_flat_picture_looks_like_nothing(size):
    assert look(Image.new("RGB", size, (90, 20, 30))) == 0


def groups(found) -> list[list[int]]:
    return [group.tolist() for group in found]


def test_repeats():
    hashes = np.array([7, 0, 9, 7, 0, 8, 9, 7], np.uint64)
    assert groups(repeats(hashes)) == [[0, 3, 7], [2, 6]]
    assert groups(repeats(hashes[:0])) == []


@pytest.mark.parametrize("distance", [0, 1, 4])
def test_near_finds_what_comparing_all_pairs_finds(distance):
    rng = np.random.default_rng(distance)
    centres = rng.integers(1, 2**64, 60, np.uint64)
    hashes = centres[rng.integers(0, 60, 400)]
    for _ in range(6):  # Of most about one bit changes.
        flip = rng.random(400) < 0.15
        hashes = hashes ^ (flip * (np.uint64(1) << rng.integers(0, 64, 400, np.uint64))).astype(
            np.uint64
        )
    hashes[::50] = 0
    close = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance
    close &= (hashes[:, None] != 0) & (hashes[None] != 0)
    label = np.arange(400)
    for _ in range(400):
        spread = np.where(close, label[None], 400).min(1)
        label, before = np.minimum(label, spread), label
        if (label == before).all():
            break
    expected = [np.flatnonzero(label == i).tolist() for i in range(400)]
    assert groups(near(hashes, distance)) == [group for group in expected if len(group) > 1]
    assert len(near(hashes, distance)) > 20


def test_many_that_share_two_blocks_take_no_time():
    hashes = np.arange(1, 3001, dtype=np.uint64)
    assert groups(near(hashes, 4)) == [list(range(3000))]
