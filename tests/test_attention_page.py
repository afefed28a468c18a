# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali caption --explain`: the page, what it holds, its errors, and how it works in a browser."""

import base64
import html.parser
import io
import json

import numpy as np
import pytest
from PIL import Image

from pali import attention_page
from pali.attention import Word
from pali.attention_page import HEAD, picture_section
from pali.cli import main
from pali.commands import caption, pictures
from pali.image import Region
from pali.web_page import TAIL
from tests import browser


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with two pictures."""
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.png")
    Image.new("RGB", (30, 60), "blue").save(tmp_path / "b<i>.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(tiny_model, folder, capsys):
    """Captions on the tiny model; (status, rows, what stderr says)."""

    def command(*words: str):
        status = main(["caption", *words, "--model", str(tiny_model), "--format", "jsonl"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, [json.loads(line) for line in out.splitlines()], err

    return command


class Page(html.parser.HTMLParser):
    """Elements as (tag, attributes), and the text in front of every map."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "input":
            self.words.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


def test_the_page_has_the_captions_that_are_printed_and_nothing_from_elsewhere(run, folder):
    words = ("a.png", "none.png", "b<i>.png", "--langs", "sw,ar")
    expected = run(*words)[1]
    status, rows, err = run(*words, "--explain", "out.html")
    assert (status, rows) == (1, expected)
    assert err.endswith("pali caption: 2 pictures in out.html\n")
    text = (folder / "out.html").read_text("utf-8")
    assert text.startswith(HEAD)
    assert text.endswith(TAIL)
    page = Page(text)
    assert not page.all("script")
    assert not page.all("i"), "names must be escaped"
    assert {"lang": "ar", "dir": "auto"} in page.all("dd")
    sources = [image["src"] for image in page.all("img")]
    assert all(source.startswith("data:image/") for source in sources)
    assert len({button["name"] for button in page.all("input")}) == 2
    captions = ["".join(row["caption"].split()) for row in rows if "caption" in row]
    shown = "".join("".join(page.words).split()).split("thepicturealone")[1:]
    assert shown == ["".join(captions[:2]), "".join(captions[2:])]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--explain", "a.png", "--overwrite"], "a.png is one of the pictures; give another --exp"),
        (["--explain", "a.png"], "a.png is there already; give another --explain, or --overwrite"),
        (["--explain", "."], "--explain . is a folder: give the name of a file"),
        (["--explain", ""], "--explain is empty: give the name of a file"),
        (["--explain", "no/out.html"], "no/out.html cannot be written: there is no folder no"),
        (["--explain", "x", "--output", "./x"], "x is --output too; give another --explain"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_the_model_is_loaded(folder, capsys, words, says):
    before = sorted(folder.iterdir())
    assert main(["caption", "a.png", *words, "--model", "no model"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"pali caption: {says}" in err
    assert sorted(folder.iterdir()) == before


def test_captions_go_on_when_the_page_cannot_be_written(run, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(attention_page, "picture_section", refuse)
    status, rows, err = run("a.png", "b<i>.png", "--explain", "out.html")
    assert (status, len(rows)) == (2, 2)
    says = "out.html cannot be written: No space left on device; the captions are complete"
    assert says in err


def test_of_a_picture_that_went_away_the_page_shows_what_the_model_saw(folder):
    pixels, middle = np.zeros((4, 4, 3), np.uint8), Region(0, 10, 20, 30, 20, 40)
    gone = pictures.Seen(pictures.Item("gone.png", "gone.png"), pixels, middle)
    shown, region = caption._shown(gone)
    assert shown is pixels
    assert region == (0, 0, 4, 4, 4, 4)
    there = pictures.Seen(pictures.Item("a.png", "a.png"), pixels, middle)
    shown, region = caption._shown(there)
    assert shown.shape == (20, 40, 3)
    assert region == middle


def places_of_maps(page: Page) -> list[str]:
    """What the page says of the maps' size and margins, for each picture."""
    styles = [attrs["style"] for attrs in page.all("div") if "style" in attrs]
    return [style.partition(";--map-")[2] for style in styles]


def test_maps_lie_over_the_part_of_the_picture_that_the_model_saw(model_variant, folder):
    words = ["caption", "a.png", "b<i>.png", "--format", "jsonl", "--explain", "out.html"]
    assert main([*words, "--model", str(model_variant())]) == 0
    whole = places_of_maps(Page((folder / "out.html").read_text("utf-8")))
    # The pictures are 40 x 20 and 30 x 60 pixels, on the page 360 x 180 and 180 x 360.
    assert whole == [
        "w:360.00px;--map-h:180.00px;--map-m:0.00px 0.00px 0.00px 0.00px",
        "w:180.00px;--map-h:360.00px;--map-m:0.00px 0.00px 0.00px 0.00px",
    ]
    cropping = model_variant(pixels={"fit": "crop"})
    assert main([*words, "--model", str(cropping), "--overwrite"]) == 0
    middle = places_of_maps(Page((folder / "out.html").read_text("utf-8")))
    assert middle == [
        "w:180.00px;--map-h:180.00px;--map-m:0.00px 90.00px 0.00px 90.00px",
        "w:180.00px;--map-h:180.00px;--map-m:90.00px 0.00px 90.00px 0.00px",
    ]


def decoded(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_a_map_grows_lighter_with_the_share(folder):
    patches = np.arange(36, dtype=np.float32).reshape(6, 6) / 700
    picture = np.zeros((20, 40, 3), np.uint8)
    words = {"en": [Word("dog", ("▁dog",), patches), Word("x", ("▁x",), patches * 0)]}
    page = Page(picture_section(1, "a", picture, words))
    shown, empty = (decoded(img["src"]) for img in page.all("img") if img["class"] == "map")
    light = shown.astype(float).sum(-1)
    assert light.shape == (6, 6)
    assert (np.diff(light.ravel()) >= 0).all()
    assert light[0, 0] < 30 < 600 < light[5, 5]
    assert (empty == shown[0, 0]).all(), "what looked nowhere is dark"
    assert page.all("img")[1]["alt"] == "most in row 6, column 6 of 6 by 6 patches"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A page with a picture, a long list of words and a hostile name, in a real browser."""
    program = browser.find()
    if program is None:
        pytest.skip("there is no browser; `python tools/get_browser.py` installs one")
    rng = np.random.default_rng(0)

    def words(*texts):
        return [Word(text, (f"▁{text}",), rng.random((4, 4), np.float32) / 20) for text in texts]

    answers = {code: words("nyeusi", "paka") for code in ("sw", "fr", "de", "it", "es", "pt")}
    answers |= {"he": words("קערה", "מהבילה"), "en": words("</span><script>throw 1</script>")}
    hostile = '"><img src="https://example.org/"><script>console.error(1)</script>'
    picture = np.full((200, 400, 3), 128, np.uint8)
    path = tmp_path_factory.mktemp("page") / "out.html"
    sections = [picture_section(number, hostile, picture, answers) for number in (1, 2)]
    path.write_text(HEAD + "".join(sections) + TAIL, "utf-8")
    with browser.Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        size = dict(width=1000, height=800, deviceScaleFactor=1, mobile=False)
        opened.call("Emulation.setDeviceMetricsOverride", **size)
        opened.open(path.as_uri())
        yield opened


def box(tab, selector: str, place: int = 0) -> list[float]:
    """Left, top, width, height in the window."""
    element = f"document.querySelectorAll({json.dumps(selector)})[{place}]"
    return tab.evaluate(f"(r => [r.x, r.y, r.width, r.height])({element}.getBoundingClientRect())")


def centre(tab, selector: str, place: int = 0) -> tuple[float, float]:
    left, top, width, height = box(tab, selector, place)
    return left + width / 2, top + height / 2


def overlays(tab) -> list[int]:
    """Which maps are seen, by their number on the page."""
    shown = "[...document.querySelectorAll('.map')].map(m => m.checkVisibility())"
    return [number for number, visible in enumerate(tab.evaluate(shown)) if visible]


def colours(tab) -> np.ndarray:
    """What stands on the screen where the first picture is, a colour for each of 4 x 4 patches."""
    left, top, width, height = box(tab, ".picture")
    with Image.open(io.BytesIO(tab.screenshot())) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    rows = [round(top + height * (i + 0.5) / 4) for i in range(4)]
    columns = [round(left + width * (i + 0.5) / 4) for i in range(4)]
    return pixels[np.ix_(rows, columns)]


def test_a_word_that_is_chosen_lays_its_map_over_the_picture(tab):
    tab.mouse(1, 1)
    assert overlays(tab) == []
    plain = colours(tab)
    assert np.abs(plain - 128).max() <= 3
    tab.mouse(*centre(tab, "dd[lang=sw] label", 1), press=True)
    tab.mouse(1, 1)
    assert overlays(tab) == [1]
    assert box(tab, ".map", 1) == box(tab, ".picture")
    chosen = colours(tab)
    assert np.abs(chosen - plain).max(-1).min() > 10, "the map must cover every patch"
    light = decoded(tab.evaluate("document.querySelectorAll('.map')[1].src")).sum(-1)
    assert (np.argsort(light, axis=None)[-1]) == chosen.sum(-1).argmax()
    # Another word that is pointed at takes its place for as long; the first comes back.
    tab.mouse(*centre(tab, "dd[lang=he] label"))
    assert overlays(tab) == [12]
    assert np.abs(colours(tab) - chosen).max() > 10
    tab.mouse(1, 1)
    assert overlays(tab) == [1]
    np.testing.assert_array_equal(colours(tab), chosen)
    # The keyboard goes on from the word that was chosen.
    tab.key("ArrowRight")
    assert overlays(tab) == [2]
    tab.mouse(*centre(tab, ".words > label"), press=True)
    tab.mouse(1, 1)
    assert overlays(tab) == []


def test_hebrew_stands_right_to_left(tab):
    first, second = (box(tab, "dd[lang=he] label", place)[0] for place in (0, 1))
    assert first > second


def test_both_colour_schemes_keep_text_apart_from_its_ground(tab):
    for scheme, dark in (("light", False), ("dark", True)):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        tab.call("Emulation.setEmulatedMedia", features=features)
        with Image.open(io.BytesIO(tab.screenshot())) as image:
            ground = np.asarray(image.convert("L")).astype(int)
        assert (ground[2, 2] < 64) == dark
        text = ground[: round(box(tab, "h2")[1])]
        assert abs(text - ground[2, 2]).max() > 150


def test_nothing_is_said_or_fetched_and_no_script_runs(tab):
    asked = [p["request"]["url"] for name, p in tab.events if name == "Network.requestWillBeSent"]
    assert len([url for url in asked if not url.startswith("data:image/")]) == 1, "the page itself"
    trouble = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in tab.events if event[0] in trouble] == []
    assert tab.evaluate("document.scripts.length") == 0
