# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of text: pure functions of their names, shaped, whole, and told from what is behind."""

import hashlib
import io
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pali.data import drawing, typesetting
from pali.data.demo_corpus import FIRST_UNSEEN_VIEW
from pali.data.demo_strings import faces, load_strings
from pali.data.typesetting import clusters, colours, ink, layout, luminance, typeset

ROOT = Path(__file__).parents[2]
strings = load_strings()
ONE_OF_EACH_SCRIPT = (
    *(
        "am",
        "ar",
        "bn",
        "chr",
        "el",
        "en",
        "gu",
        "he",
        "hi",
        "hy",
        "ja",
        "ka",
        "km",
        "kn",
        "ko",
        "lo",
    ),
    *("ml", "my", "or", "pa", "ru", "si", "ta", "te", "th", "ug", "ur", "vi", "yue", "zh"),
)


def some_texts(lang: str, count: int = 4) -> list[str]:
    texts = strings.texts(lang)
    return [max(texts, key=len), *texts[:: len(texts) // (count - 1) or 1][: count - 1]]


@pytest.mark.parametrize("size", [64, 96])
def test_shape_and_type(size):
    for lang in ("sw", "ur", "zh"):
        picture = typeset(strings.texts(lang)[0], lang, 0, size)
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8


def test_a_view_is_the_same_in_another_process_and_others_differ():
    views = [("Kenya", "sw", v) for v in (0, 1, 2, FIRST_UNSEEN_VIEW)]
    views += [("Kenya", "en", 0), ("सोमवार", "hi", 0), ("सोमवार", "hi", 1)]
    pictures = [typeset(*view, 96).tobytes() for view in views]
    assert len(set(pictures)) == len(pictures)
    code = (
        "import hashlib; from pali.data.typesetting import typeset\n"
        f"print(hashlib.sha256(b''.join(typeset(*v, 96).tobytes() for v in {views})).hexdigest())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert output.stdout.strip() == hashlib.sha256(b"".join(pictures)).hexdigest()


@pytest.mark.parametrize("lang", ONE_OF_EACH_SCRIPT)
def test_nothing_of_a_text_is_cut_off(lang):
    for text in some_texts(lang):
        for face in faces(lang):
            lines, _ = layout(text, lang, face)
            found = ink(lines, lang, face, 32, 0.5)
            alpha = np.asarray(found.image)[..., 3].astype(int)
            assert not alpha[[0, -1]].any()
            assert not alpha[:, [0, -1]].any()
            alone = sum(large_ink(line, lang, face, 32) for line in lines)
            assert alpha.sum() == pytest.approx(alone, rel=0.01), (text, face)
            for where in ((0.0, 0.0), (1.0, 1.0)):
                angle = math.radians(6)
                # As large as it is drawn, so that all the ink has to come back.
                size = math.ceil(np.ptp(turned(found.outline, angle), axis=0).max()) + 2
                placed = drawing.place(found, size, angle, 1.0, np.array(where))
                cover = np.asarray(placed)[..., 3].astype(int)
                assert cover.sum() == pytest.approx(alpha.sum(), rel=0.03), (text, face, where)
                edges = np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])
                assert edges.max() < 160, (text, face, where)


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return points @ np.array([[cosine, -sine], [sine, cosine]]).T


def large_ink(line: str, lang: str, face: str, pixels: int) -> int:
    """How much ink a line has in the middle of a canvas that nothing can leave."""
    side = 2 * pixels * (len(line) + 4)
    canvas = Image.new("L", (side, 8 * pixels))
    content = io.BytesIO(strings.font(face))
    font = ImageFont.truetype(content, pixels, layout_engine=ImageFont.Layout.RAQM)
    direction = "rtl" if lang in ("ar", "he", "ug", "ur") else "ltr"
    middle = (side // 2, 4 * pixels)
    ImageDraw.Draw(canvas).text(
        middle, line, fill=255, font=font, anchor="ms", direction=direction, language=lang
    )
    return int(np.asarray(canvas, np.int64).sum())


def ink_of(text: str, lang: str, face: str) -> np.ndarray:
    return np.asarray(ink((text,), lang, face, 48, 0.0).image)[..., 3].astype(int)


def test_letters_are_shaped():
    def width(text, lang, face):
        return ink_of(text, lang, face).shape[1]

    # Joined Arabic is narrower than its letters alone, a conjunct than its consonants.
    assert width("سلام", "ar", "NotoNaskhArabic") < 0.8 * width("س ل ا م", "ar", "NotoNaskhArabic")
    assert width("क्ष", "hi", "NotoSansDevanagari") < 0.8 * width("कष", "hi", "NotoSansDevanagari")
    assert width("ဣန္ဒ", "my", "NotoSansMyanmar") < 0.9 * width("ဣနဒ", "my", "NotoSansMyanmar")
    # Tamil's vowel sign E is written before the consonant that it follows.
    before, after = ink_of("கெ", "ta", "NotoSansTamil"), ink_of("க", "ta", "NotoSansTamil")
    assert (before[:, -after.shape[1] + 4 : -4] > 99).sum() == pytest.approx(
        (after[:, 4:-4] > 99).sum(), rel=0.1
    )


def test_right_to_left_begins_at_the_right():
    # Alef is a plain stroke; what follows it stands to its left.
    two, one = ink_of("اب", "ar", "NotoSansArabic"), ink_of("ا", "ar", "NotoSansArabic")
    np.testing.assert_allclose(two[:20, -one.shape[1] :].sum(), one[:20].sum(), rtol=0.2)
    hebrew, shin = ink_of("שי", "he", "NotoSansHebrew"), ink_of("ש", "he", "NotoSansHebrew")
    assert hebrew[:, -shin.shape[1] :].sum() == pytest.approx(shin.sum(), rel=0.1)


def test_lines_break_where_letters_become_larger():
    lines, side = layout("Papua New Guinea", "en", "NotoSans")
    assert lines == ("Papua", "New", "Guinea")
    assert side < layout("Papua-New-Guinea", "en", "NotoSans")[1] / 2
    assert layout("May", "en", "NotoSans")[0] == ("May",)
    # A word is not broken, a script without spaces is, where its letters would be small.
    assert layout("Liechtenstein", "en", "NotoSans")[0] == ("Liechtenstein",)
    assert layout("日本", "ja", "NotoSansCJKjp")[0] == ("日本",)
    lines, _ = layout("アメリカ合衆国", "ja", "NotoSansCJKjp")
    assert len(lines) > 1
    assert "".join(lines) == "アメリカ合衆国"


def test_lines_of_nastaliq_do_not_touch():
    lines = ("ریاست", "ہائے", "متحدہ")
    found = np.asarray(ink(lines, "ur", "NotoNastaliqUrdu", 48, 0.5).image)[..., 3]
    empty = ~found[1:-1].any(axis=1)
    gaps = np.flatnonzero(np.diff(empty.astype(int)) == 1)
    assert len(gaps) >= 2, "each line is apart from the next"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("น้ำเงิน", ["น้ำ", "เงิ", "น"]),
        ("ខ្មែរ", ["ខ្មែ", "រ"]),
        ("မြန်မာ", ["မြန်", "မာ"]),
        ("コーヒー", ["コー", "ヒー"]),
        ("北京", ["北", "京"]),
        ("a", ["a"]),
    ],
)
def test_clusters_stay_whole(text, expected):
    assert clusters(text) == expected
    assert "".join(clusters(text)) == text


def test_the_colour_of_letters_differs_from_all_of_the_background():
    dark = 0
    for seed in range(600):
        colour, ground = colours(np.random.default_rng(seed), 24)
        own, other = float(luminance(colour)), luminance(ground)
        low, high = np.minimum(own, other), np.maximum(own, other)
        assert ((high + 0.05) / (low + 0.05)).min() >= 3.0 - 1e-9, seed
        assert (other > own).all() or (other < own).all()
        dark += bool((other > own).all())
    assert 150 < dark < 450  # light on dark as well as dark on light


def test_luminance_is_that_of_wcag():
    assert luminance(np.array([255.0, 255, 255])) == pytest.approx(1)
    assert luminance(np.array([0.0, 0, 0])) == 0
    # 4.5:1 on white, the textbook's grey.
    assert 1.05 / (luminance(np.array([118.0, 118, 118])) + 0.05) == pytest.approx(4.54, abs=0.01)


def test_text_is_as_large_as_said(monkeypatch):
    monkeypatch.setattr(drawing, "BACKGROUNDS", {"white": 1.0})
    for name in ("BLUR_SHARE", "GRAIN_SHARE"):
        monkeypatch.setattr(drawing, name, 0.0)
    sides = []
    for view in range(60):
        apart = typeset("May", "en", view, 96).min(axis=2) < 200
        ys, xs = np.nonzero(apart)
        sides.append(max(np.ptp(ys), np.ptp(xs)) + 1)
    assert 44 <= min(sides) < 56
    assert 86 < max(sides) <= 96


def test_without_raqm_nothing_is_set(monkeypatch):
    monkeypatch.setattr(typesetting.features, "check", lambda name: name != "raqm")
    with pytest.raises(RuntimeError, match=r"cannot shape text.*apt install libfribidi0"):
        typesetting._font.__wrapped__("NotoSans", 17)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_is_refused(text):
    with pytest.raises(ValueError, match="empty text"):
        typeset(text, "en", 0, 96)


def test_a_language_without_faces_is_refused():
    with pytest.raises(KeyError):
        typeset("x", "tlh", 0, 96)
