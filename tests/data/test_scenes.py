# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes are functions of their numbers, and what they say of themselves is in their pixels."""

import hashlib
import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pali.data import drawing, scenes
from pali.data.demo_corpus import FIRST_UNSEEN_VIEW, TRAIN_ART, UNSEEN_ART, load_corpus
from pali.data.scenes import COLOURS, SCENE_SPLITS, Extent, describe, has_repeats, render_scene

ROOT = Path(__file__).parents[2]
SIZE = 96


@pytest.fixture(scope="module")
def described():
    return {
        split: [
            describe(split, number)
            for number in range(240)
            if split != "held_out_counts" or has_repeats(number)
        ]
        for split in SCENE_SPLITS
    }


@pytest.fixture(scope="module")
def everything(described):
    return [scene for part in described.values() for scene in part]


@pytest.fixture
def sharp(monkeypatch):
    """Pictures without grain and blur."""
    for name in ("BLUR_SHARE", "GRAIN_SHARE"):
        monkeypatch.setattr(drawing, name, 0.0)


def test_scenes_are_the_same_in_another_process():
    numbers = [("train", 0), ("validation", 1), ("unseen_art", 2), ("held_out_counts", 3)]
    pixels = b"".join(render_scene(describe(*which), SIZE).tobytes() for which in numbers)
    code = (
        "import hashlib; from pali.data.scenes import describe, render_scene\n"
        f"data = b''.join(render_scene(describe(*n), {SIZE}).tobytes() for n in {numbers})\n"
        "print(hashlib.sha256(data).hexdigest())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert output.stdout.strip() == hashlib.sha256(pixels).hexdigest()


def test_boxes_are_tight_on_the_pixels_that_an_object_changes(described, sharp):
    checked = 0
    for scene in (*described["train"][:24], *described["unseen_art"][:8]):
        empty = render_scene(replace(scene, objects=()), SIZE).astype(int)
        for thing in scene.objects:
            alone = render_scene(replace(scene, objects=(thing,)), SIZE).astype(int)
            rows, columns = np.nonzero(np.abs(alone - empty).max(axis=2) > 0)
            drawn = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
            difference = drawn - SIZE * np.array(thing.extent)
            # Drawings in the background's colour change fewer pixels, none changes more.
            assert (difference[:2] > -2).all(), (scene.key, thing)
            assert (difference[2:] < 2).all(), (scene.key, thing)
            checked += np.abs(difference).max() < 2
    objects = sum(len(scene.objects) for scene in described["train"][:24])
    assert checked > 0.9 * objects


def test_what_an_object_covers_does_not_reach_beyond_its_box(described, sharp):
    scene = next(s for s in described["train"] if len(s.objects) == 4)
    empty = render_scene(replace(scene, objects=()), SIZE)
    full = render_scene(scene, SIZE)
    inside = np.zeros((SIZE, SIZE), bool)
    for thing in scene.objects:
        top, left, bottom, right = (SIZE * share for share in thing.extent)
        inside[int(top) - 1 : int(bottom) + 2, int(left) - 1 : int(right) + 2] = True
    np.testing.assert_array_equal(full[~inside], empty[~inside])
    assert (full[inside] != empty[inside]).any()


def test_sizes_places_and_overlaps_keep_their_rules(everything):
    for scene in everything:
        assert 1 <= len(scene.objects) <= scenes.MAX_OBJECTS
        assert list(scene.objects) == sorted(scene.objects, key=lambda thing: thing.extent)
        for ymin, xmin, ymax, xmax in (thing.extent for thing in scene.objects):
            assert min(ymin, xmin) >= 0.02
            assert max(ymax, xmax) <= 0.98
            assert 1 / 5 <= max(ymax - ymin, xmax - xmin) + 1e-9 <= 1 / 2 + 2e-9
        for one, other in itertools.combinations([t.extent for t in scene.objects], 2):
            grid = np.zeros((2, 500, 500), bool)
            for mask, extent in zip(grid, (one, other), strict=True):
                top, left, bottom, right = (round(500 * share) for share in extent)
                mask[top:bottom, left:right] = True
            assert grid.all(axis=0).sum() <= 0.12 * grid.sum(axis=(1, 2)).min()


def test_training_shows_nothing_that_is_held_out(described):
    corpus = load_corpus()
    trainable = {c.code for c in corpus.core_train} - corpus.held_out("en")
    for scene in described["train"]:
        for thing in scene.objects:
            assert thing.code in trainable
            assert thing.art in TRAIN_ART
            assert thing.view < FIRST_UNSEEN_VIEW
        for code, count in scene.counts.items():
            assert not scenes.is_count_held_out(code, count)


def test_the_other_splits_show_what_they_say(described):
    for split in ("validation", "unseen_art", "held_out_counts"):
        arts = {thing.art for scene in described[split] for thing in scene.objects}
        assert arts == ({UNSEEN_ART} if split == "unseen_art" else set(TRAIN_ART))
        views = [thing.view for scene in described[split] for thing in scene.objects]
        assert min(views) >= FIRST_UNSEEN_VIEW
    for scene in described["held_out_counts"]:
        ((code, count),) = scene.counts.most_common(1)
        assert scenes.is_count_held_out(code, count)
    held_out = [scenes.is_count_held_out(c, 2) for c in scenes.scene_codes(load_corpus())]
    assert 0.06 < np.mean(held_out) < 0.2


def test_counts_are_balanced_and_concepts_in_a_scene_unlike(described):
    repeated = [scene for scene in described["train"] if has_repeats(scene.number)]
    most = Counter(max(scene.counts.values()) for scene in repeated)
    assert set(most) == {1, 2, 3, 4}
    assert max(most.values()) < 0.4 * len(repeated)
    for scene in described["train"]:
        for one, other in itertools.combinations(scene.counts, 2):
            assert not scenes.are_alike(one, other)
        if not has_repeats(scene.number):
            assert set(scene.counts.values()) == {1}


def test_a_horse_face_is_like_a_horse_and_unlike_a_dog():
    codes = {concept.name: concept.code for concept in load_corpus().core_train}
    assert scenes.are_alike(codes["horse"], codes["horse face"])
    assert scenes.are_alike(codes["books"], codes["open book"])
    assert not scenes.are_alike(codes["horse"], codes["dog"])


def test_named_backgrounds_have_their_colour(described, sharp):
    seen = set()
    for scene in described["train"][:60]:
        assert (scene.colour is not None) == (scene.number % 2 == 0)
        if scene.colour is None or scene.rgb is None:
            continue
        seen.add(scene.colour)
        assert np.abs(np.array(scene.rgb) - COLOURS[scene.colour]).max() <= scenes.COLOUR_SPREAD
        empty = render_scene(replace(scene, objects=()), 16)
        assert (empty == scene.rgb).all()
    assert len(seen) >= 8


def test_the_ranges_of_two_colours_are_far_apart():
    for one, other in itertools.combinations(COLOURS.values(), 2):
        gap = np.abs(np.subtract(one, other)).max() - 2 * scenes.COLOUR_SPREAD
        assert gap >= 32
    assert all(16 <= value <= 239 for colour in COLOURS.values() for value in colour)


def test_backgrounds_without_a_name_vary(described, sharp):
    pictures = [
        render_scene(replace(scene, objects=()), 24)
        for scene in described["train"][:40]
        if scene.colour is None
    ]
    assert sum(np.ptp(picture, axis=(0, 1)).max() > 20 for picture in pictures) > 5
    assert len({picture.tobytes() for picture in pictures}) > 12


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0.4, 0.1, 0.6, 0.3), (0.4, 0.6, 0.6, 0.9), "left"),
        ((0.4, 0.6, 0.6, 0.9), (0.5, 0.1, 0.6, 0.3), "right"),
        ((0.0, 0.4, 0.2, 0.6), (0.7, 0.4, 0.9, 0.6), "above"),
        ((0.7, 0.4, 0.9, 0.6), (0.0, 0.5, 0.2, 0.6), "below"),
        ((0.0, 0.0, 0.2, 0.2), (0.5, 0.5, 0.7, 0.7), None),  # As far across as down.
        ((0.4, 0.40, 0.6, 0.5), (0.4, 0.5, 0.6, 0.6), None),  # Too near.
    ],
)
def test_directions(first, second, expected):
    assert scenes.direction(Extent(*first), Extent(*second)) == expected


@pytest.mark.parametrize(
    ("extent", "expected"),
    [
        ((0.0, 0.0, 0.5, 0.5), "top left"),
        ((0.1, 0.6, 0.3, 0.9), "top right"),
        ((0.6, 0.1, 0.9, 0.3), "bottom left"),
        ((0.7, 0.7, 0.9, 0.9), "bottom right"),
        ((0.4, 0.0, 0.6, 0.2), None),
    ],
)
def test_corners(extent, expected):
    assert scenes.corner(Extent(*extent)) == expected


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (("test", 0), "unknown split 'test' of scenes; known: train, validation"),
        (("train", -1), "scene -1: numbers start at 0"),
        (("held_out_counts", 0), "only scenes with repeats"),
    ],
)
def test_mistakes_are_named(which, message):
    with pytest.raises(ValueError, match=message):
        describe(*which)
