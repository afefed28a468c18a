# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Views are pure functions of their names, differ from each other, and hold the whole drawing."""

import builtins
import hashlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pali.data import drawing, rendering
from pali.data.demo_corpus import ALL_ART, FIRST_UNSEEN_VIEW, load_corpus
from pali.data.demo_flags import FLAG_ART
from pali.data.rendering import canonical, rasterise, render

ROOT = Path(__file__).parents[2]
WOLF, PIZZA, HUNDRED = "1f43a", "1f355", "1f4af"
CODES = [concept.code for concept in load_corpus().core_train][::40]


@pytest.fixture
def plain_views(monkeypatch):
    """Views in the drawings' own colours on white, sharp and without grain."""
    monkeypatch.setattr(drawing, "BACKGROUNDS", {"white": 1.0})
    for name in ("BLUR_SHARE", "GRAIN_SHARE"):
        monkeypatch.setattr(drawing, name, 0.0)
    for name in ("BRIGHTNESS", "CONTRAST", "SATURATION"):
        monkeypatch.setattr(rendering, name, (1.0, 1.0))
    monkeypatch.setattr(rendering, "HUE", 0.0)


@pytest.mark.parametrize("art", ALL_ART)
@pytest.mark.parametrize("size", [48, 72])
def test_shape_and_type(art, size):
    for picture in (render(art, WOLF, 3, size), canonical(art, WOLF, size)):
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8


def test_view_is_the_same_in_another_process():
    views = [(art, code, view) for art in ALL_ART for code in (WOLF, PIZZA) for view in (0, 10**6)]
    digest = hashlib.sha256(b"".join(render(*view, 72).tobytes() for view in views)).hexdigest()
    code = (
        "import hashlib; from pali.data.rendering import render\n"
        f"print(hashlib.sha256(b''.join(render(*v, 72).tobytes() for v in {views})).hexdigest())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert output.stdout.strip() == digest


def test_views_do_not_depend_on_what_was_drawn_before():
    first = render("noto", WOLF, 5, 72)
    render("noto", PIZZA, 6, 72)
    np.random.default_rng().random()
    np.testing.assert_array_equal(render("noto", WOLF, 5, 72), first)


def test_views_art_and_concepts_differ():
    names = [(art, code, view) for art in ALL_ART for code in (WOLF, PIZZA) for view in range(8)]
    names += [("noto", WOLF, FIRST_UNSEEN_VIEW + view) for view in range(8)]
    assert len({render(*name, 72).tobytes() for name in names}) == len(names)


def test_size_changes_sharpness_only(plain_views):
    small, large = render("noto", WOLF, 1, 48), render("noto", WOLF, 1, 96)
    shrunk = large.reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 6


@pytest.mark.parametrize("art", ALL_ART)
def test_nothing_of_a_drawing_is_cut_off(art):
    generator = np.random.default_rng(0)
    for code in CODES:
        drawn = rasterise(art, code, 108)
        for place in ((0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.5, 0.5)):
            degrees, scale = generator.uniform(-14, 14), generator.uniform(0.72, 1.0)
            mirror = bool(generator.integers(2))
            angle = math.radians(degrees)
            picture = drawing.place(drawn, 72, angle, scale, np.array(place), mirror)
            cover = np.asarray(picture)[..., 3] / 255
            # What is lost at an edge would be missing from the area.
            turn = np.array(
                [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            )
            outline = drawn.outline * ([-1, 1] if mirror else [1, 1]) @ turn.T
            zoom = scale * 70 / np.ptp(outline, axis=0).max()
            area = np.asarray(drawn.image)[..., 3].sum() / 255 * zoom**2
            assert cover.sum() == pytest.approx(area, rel=0.02, abs=3), (code, degrees, scale)
            edges = np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])
            assert edges.max() < 0.6, (code, degrees, scale)  # the margin takes half-covered pixels


def test_writing_is_not_mirrored(monkeypatch, plain_views):
    monkeypatch.setattr(rendering, "MIRROR_SHARE", 1.0)
    monkeypatch.setattr(rendering, "ROTATION", 0.0)
    monkeypatch.setattr(rendering, "SCALE", (0.9, 0.9))

    def difference(code, mirrored):
        plain = canonical("noto", code, 72).astype(float)
        view = render("noto", code, 0, 72).astype(float)
        ys, xs = np.nonzero(view.min(axis=2) < 250)
        view = np.roll(view, (36 - (ys.min() + ys.max() + 1) // 2), axis=0)
        view = np.roll(view, (36 - (xs.min() + xs.max() + 1) // 2), axis=1)
        return np.abs(view - (plain[:, ::-1] if mirrored else plain)).mean()

    assert difference(HUNDRED, mirrored=False) < difference(HUNDRED, mirrored=True)
    bicycle = "1f6b2"
    assert difference(bicycle, mirrored=True) < difference(bicycle, mirrored=False)


def test_flags_are_rendered_as_concepts_are_and_never_mirrored(monkeypatch, plain_views):
    for art in FLAG_ART:
        assert len({render(art, "NP", view, 72).tobytes() for view in range(8)}) == 8
    monkeypatch.setattr(rendering, "ROTATION", 0.0)
    for view in range(12):
        # Chile's white half of the upper band is at the right.
        picture = render("flag_icons", "CL", view, 72).astype(int)
        blue = np.argwhere((picture[..., 2] > 120) & (picture[..., 0] < 60))
        red = np.argwhere((picture[..., 0] > 180) & (picture[..., 2] < 90))
        assert blue[:, 1].mean() < red[:, 1].mean() - 5


def test_canonical_is_centred_on_white():
    for art in ALL_ART:
        for code in CODES:
            picture = canonical(art, code, 72)
            assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
            ink = picture.min(axis=2) < 200
            if ink.any():
                assert not ink[0].any()
                assert not ink[:, -1].any()
    ys, xs = np.nonzero(canonical("twemoji", WOLF, 72).min(axis=2) < 250)
    assert abs(ys.min() + ys.max() - 71) <= 1
    assert abs(xs.min() + xs.max() - 71) <= 1
    assert max(np.ptp(ys), np.ptp(xs)) + 1 == pytest.approx(0.9 * 70, abs=2)


def test_canonical_keeps_the_drawings_colours():
    heart = canonical("twemoji", "2764", 72)[36, 36]
    np.testing.assert_allclose(heart, [0xDD, 0x2E, 0x44], atol=2)


def test_every_kind_of_background_and_every_effect_occurs():
    corners = [render("noto", WOLF, view, 72)[:3, :3].reshape(-1, 3) for view in range(60)]
    white = [corner for corner in corners if (corner == 255).all()]
    flat = [corner for corner in corners if (corner == corner[0]).all()]
    assert 2 <= len(white) < len(flat) < 55


def test_unknown_art_is_an_error_that_names_the_near_one():
    with pytest.raises(ValueError, match=r"'notto'.*noto"):
        render("notto", WOLF, 0, 72)


def test_missing_resvg_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_resvg(name, *arguments, **options):
        if name == "resvg_py":
            raise ModuleNotFoundError("No module named 'resvg_py'", name="resvg_py")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_resvg)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'open-pali\[train\]'"):
        rasterise.__wrapped__("noto", WOLF, 33)
