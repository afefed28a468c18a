# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What patches show: letters where ink is, names where objects are, nothing elsewhere."""

import numpy as np
import pytest

from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
from pali.data import typesetting
from pali.data.demo_corpus import load_corpus
from pali.data.patch_words import WORDS, ShowPatchWords, assign
from pali.data.scenes import describe
from pali.data.typesetting import character_boxes, typeset
from pali.tokenizer import Tokenizer
from pali.types import NOTHING, UNKNOWN

PATH = str(EMBEDDED / TOKENIZER)
SIZE, GRID = 96, 8
TEXTS = [
    ("Gambia", "en"),
    ("Zaza Bengali", "en"),
    ("арманӣ", "tg"),
    ("ביסלמה", "he"),
    ("東京", "ja"),
]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(PATH)


@pytest.fixture(scope="module")
def show():
    return ShowPatchWords(SIZE, GRID, PATH)


def box(xmin, ymin, xmax, ymax):
    return np.array([xmin, ymin, xmax, ymax], np.float64)


def test_a_patch_shows_what_covers_enough_of_it_the_foremost_first():
    # On a grid of two: the left half; a strip over the lower edge; a speck at the lower right.
    found = [(7, box(0, 0, 0.5, 1)), (8, box(0, 0.75, 1, 1)), (9, box(0.5, 0.5, 0.6, 0.6))]
    shown = assign(found, 2).tolist()
    assert shown[0] == [7, *[UNKNOWN] * 3]
    assert shown[1] == [NOTHING, *[UNKNOWN] * 3]
    assert shown[2] == [7, 8, *[UNKNOWN] * 2]
    assert shown[3] == [8, *[UNKNOWN] * 3], "a speck is too little to be shown"
    speck = assign(found[2:], 2).tolist()
    assert speck[3] == [UNKNOWN] * 4, "and too much for nothing"
    assert assign([], 2).tolist() == [[NOTHING, *[UNKNOWN] * 3]] * 4


@pytest.mark.parametrize(("text", "lang"), TEXTS)
def test_patches_of_a_text_show_its_letters_and_the_others_nothing(show, tokenizer, text, lang):
    example = {"text": text, "lang": lang, "view": 3}
    words = show(example)["patch_words"]
    assert words.shape == (GRID**2, WORDS)
    letters = {tokenizer.letter(character) for character in text if character != " "}
    assert set(words[words > NOTHING].tolist()) == letters
    assert (words[:, 0] == NOTHING).any()


@pytest.mark.parametrize(("text", "lang"), TEXTS)
@pytest.mark.parametrize("view", [0, 1])
def test_characters_are_where_the_ink_is(monkeypatch, text, lang, view):
    # Black on white, without wear: what is left is ink.
    black = (np.zeros(3, np.float32), np.full((1, 1, 3), 255, np.float32))
    monkeypatch.setattr(typesetting, "colours", lambda generator, size: black)
    monkeypatch.setattr(
        typesetting, "worn", lambda generator, picture, unit: picture.astype(np.uint8)
    )
    ink = 255 - np.asarray(typeset(text, lang, view, SIZE))[..., 0]
    boxes = character_boxes(text, lang, view, SIZE)
    mask = np.zeros_like(ink, bool)
    for xmin, ymin, xmax, ymax in boxes[~np.isnan(boxes[:, 0])]:
        assert 0 <= ymin <= ymax <= SIZE
        rows, columns = slice(int(ymin), int(ymax) + 1), slice(int(max(xmin, 0)), int(xmax) + 1)
        mask[rows, columns] = True
        assert ink[rows, columns].max() > 60, "no letter is set where nothing is"
    assert ink[~mask].sum() < 0.05 * ink.sum()


def test_hebrew_runs_from_right_to_left():
    left = character_boxes("ביסלמה", "he", 0, SIZE)[:, 0]
    assert (np.diff(left) < 0).all()
    assert (np.diff(character_boxes("Gambia", "en", 0, SIZE)[:, 0]) > 0).all()


def test_patches_of_a_scene_show_the_names_of_its_objects(show, tokenizer):
    scene = describe("train", 5)
    words = show({"split": "train", "scene": 5})["patch_words"].reshape(GRID, GRID, WORDS)
    names = load_corpus().names("en")
    for thing in scene.objects:
        y, x = (int(GRID * share) for share in thing.extent.center)
        assert tokenizer.encode(names[thing.code])[0] in words[y, x], thing.code
    expected = {t for thing in scene.objects for t in tokenizer.encode(names[thing.code])[:WORDS]}
    assert set(words[words > NOTHING].tolist()) <= expected
    assert (words[..., 0] == NOTHING).any()


def test_of_other_pictures_nothing_is_known(show):
    words = show({"art": "noto", "code": "1f415", "view": 0, "label": 3})["patch_words"]
    assert (words == UNKNOWN).all()


def test_a_letter_has_a_piece_of_its_own_or_its_last_byte(tokenizer):
    for character in "aбसm":
        assert tokenizer.decode([tokenizer.letter(character)]).strip() == character
    assert tokenizer.letter("語") == tokenizer.encode("語")[-1]
