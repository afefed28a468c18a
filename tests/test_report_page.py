# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""report.html: what it holds, and how it looks in a browser, of a real run and of hostile texts."""

import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pali import evaluate, report_page, summary
from pali.best_and_worst import SIDE, BestAndWorst, Judged, Picture
from pali.image import Region
from tests import browser
from tests.test_best_and_worst import line

HOSTILE = (
    '</dd><script>console.error(1)</script><img src="https://example.org/x.png">\u2028& \u202eabc'
)


def record(metric="exact_match", variant="nfkc-space", score=50.0, **more):
    values = more.pop("per_language", {"en": score})
    return {
        **{"benchmark": "birds", "version": "1", "split": "test", "metric": metric},
        **{"variant": variant, "signature": f"{metric}|var:{variant}", "system": "model"},
        **{"score": score, "n": 12, "languages": len(values), "per_language": values, **more},
    }


def results(*scores, **more):
    model = {"folder": "models/<b>", "fingerprint": "0123456789abcdef"}
    about = {"model": model, "pali": "0.1", "limit": None, "skipped": {}, "official": []}
    return {**about, "scores": list(scores), **more}


def shown(*judged, worst=()):
    return BestAndWorst("birds", "test", "exact match", False, 12, judged, worst)


class Page(html.parser.HTMLParser):
    """Elements as (tag, attributes); texts; and the text of every element of a list."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.texts, self.items = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "li":
            self.items.append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.items:
            self.items[-1] += data

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


def widths(page: Page) -> list[float]:
    bars = [one["style"] for one in page.all("span") if one.get("class") == "bar"]
    return [float(re.fullmatch(r"width:([\d.]+)%", style)[1]) for style in bars]


def test_bars_are_sorted_best_first_and_as_long_as_their_scores():
    scores = {"sw": 25.0, "en": 80.5, "xx": 0.0, "ar": 25.0}
    page = Page(report_page.page(results(record(per_language=scores)), []))
    assert page.items == ["English en80.5\n", "Arabic ar25.0\n", "Swahili sw25.0\n", page.items[3]]
    assert page.items[3].startswith("xx0.0")
    assert widths(page) == [80.5, 25.0, 25.0, 0.0]


def test_bars_of_errors_begin_with_the_fewest_and_end_at_the_most():
    rates = {"en": 250.0, "sw": 50.0, "ar": 125.0}
    errors = record("cer", "levenshtein|nfkc|spaces", per_language=rates)
    page = Page(report_page.page(results(errors), []))
    assert [item.split()[0] for item in page.items] == ["Swahili", "Arabic", "English"]
    assert widths(page) == [20.0, 50.0, 100.0]


@pytest.mark.parametrize(
    ("metric", "variant", "scores", "end"),
    [
        ("exact_match", "nfkc-space", {"en": 3.0}, 100),
        ("cer", "levenshtein|nfkc|spaces", {"en": 300.0, "sw": 3.0}, 300),
        ("mine", "of.mine", {"en": 0.7, "sw": 0.1}, 0.7),
        ("mine", "of.mine", {"en": 0.0, "sw": -2.0}, 100),
    ],
)
def test_a_full_bar_is_the_largest_score_where_nothing_is_known_of_the_metric(
    metric, variant, scores, end
):
    assert report_page.scale(record(metric, variant, per_language=scores)) == end


def test_every_record_of_the_model_is_shown_with_its_signature():
    scores = [
        record(),
        record("chrf", "chrF2|nc:6|nw:0|space:no|nfkc", 61.5, interval=(60.0, 63.0)),
        record("new_rate", "as-yet-unknown", 7.25),
        record(system="majority", score=1.5),
    ]
    made = report_page.page(results(*scores), [])
    page = Page(made)
    text = "".join(page.texts)
    assert "chrF: 61.5 (95 %: 60.0–63.0)" in text
    assert "new_rate: 7.2" in text
    assert len(widths(page)) == 3, "a control has no bars"
    assert all(one["signature"] in text for one in scores)
    heads = re.findall('<th scope="col"[^>]*>([^<]*)', made)
    summarised, measured = heads[:6], heads[6:]
    assert summarised == ["split", "metric", "model", "majority", "n", "languages"], "none is empty"
    assert measured == ["metric", "model", "95 %", "majority", "n"]
    for header in page.all("th"):
        assert header["scope"] in ("col", "row", "rowgroup")
    assert page.all("html") == [{"lang": "en"}]
    places = [one["id"] for _, one in page.elements if "id" in one]
    assert sorted(one["href"] for one in page.all("a")) == ["#summary", "#task0"]
    assert sorted(places) == ["summary", "task0"]


def test_what_was_left_out_and_official_scores_are_told():
    handed_in = [
        {"benchmark": "b", "split": "val", "file": "f.json", "official": True, "metric": "acc"}
        | {"score": 0.5, "signature": "acc|bench:b"},
        {"benchmark": "c", "split": "val", "file": "g.jsonl", "official": False, "error": "no <k>"},
    ]
    skipped = {"birds/test": {"text": 3}}
    made = report_page.page(results(record(), official=handed_in, skipped=skipped, limit=5), [])
    text = "".join(Page(made).texts)
    for said in ("acc 0.5000", "acc|bench:b", "not scored", "no <k>", "g.jsonl", "at most 5 of"):
        assert said in text
    assert "left out of birds/test" in text
    assert "there is no text, or none that can be learned from: 3" in text


def test_an_example_has_its_texts_and_languages():
    arabic = line(1, "طائر", "مالك الحزين", "طائر", lang="ar", baseline="بومة")
    page = Page(report_page.page(results(record()), [shown(Judged(arabic, 100.0, 88.25))]))
    said = [one for one in page.all("dd") if one.get("lang") == "ar"]
    assert said == [{"dir": "auto", "lang": "ar"}] * 2, "the answer and the baseline"
    assert page.all("li")[-2:] == [{"dir": "auto", "lang": "ar"}] * 2, "the references"
    text = "".join(page.texts)
    for words in (
        "Best 1 of 12",
        "name it",
        "طائر",
        "مالك الحزين",
        "بومة",
        "exact match 100\nchrF",
    ):
        assert words in text
    assert "Worst" not in text
    assert not page.all("img"), "a task of texts"


def test_long_texts_and_many_references_are_cut():
    long = line(1, "a" * 10_000, *(f"reference {i}" for i in range(12)))
    made = report_page.page(results(record()), [shown(Judged(long, 0.0, 0.0))])
    text = "".join(Page(made).texts)
    assert "a" * report_page.CHARACTERS + "… (10,000 characters)" in text
    assert "a" * (report_page.CHARACTERS + 1) not in text
    assert "reference 4" in text
    assert "reference 5" not in text
    assert "and 7 more" in text


def test_a_picture_is_small_and_one_that_has_gone_is_said():
    pixels = np.zeros((100, SIDE, 3), np.uint8)
    boxes = line(2, "0 0 999 499 dog", "0 0 999 499 dog")
    there = Picture(pixels, Region(0, 50, 100, 150, 100, 200))
    dog = line(1, "dog", "dog")
    judged = [Judged(one, 1.0, 1.0, there) for one in (dog, boxes)]
    gone = Judged(line(3, "", "dog"), 0.0, 0.0, "x<y>.png is not there")
    page = Page(report_page.page(results(record()), [shown(*judged, worst=[gone])]))
    plain, drawn = page.all("img")
    assert plain["alt"] == "picture 1.png"
    assert (plain["width"], plain["height"]) == (str(SIDE), "100")
    text = "".join(page.texts)
    assert "The picture cannot be had any more: x<y>.png is not there" in text
    assert "nothing" in text, "the empty answer"
    assert plain["src"] != drawn["src"], "the boxes of an answer are drawn"
    assert "boxes: the answer’s, 1" in text


def test_hostile_texts_stay_texts():
    hostile = line(1, HOSTILE, HOSTILE, HOSTILE + "2", prompt=HOSTILE, image_key=HOSTILE)
    hostile["lang"] = '"><script>'
    picture = Picture(np.zeros((9, 9, 3), np.uint8), Region(0, 0, 9, 9, 9, 9))
    scores = record(HOSTILE, HOSTILE, per_language={HOSTILE: 1.0}, signature=HOSTILE)
    judged = Judged(hostile, 0.0, 0.0, picture)
    made = report_page.page(results(scores), [shown(judged, worst=[judged])])
    page = Page(made)
    assert not page.all("script")
    assert len(page.all("img")) == 2
    assert page.texts.count(HOSTILE) >= 2 * 3
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", made)
    half = line(1, "half \ud83d", "heron")
    report_page.page(results(record()), [shown(Judged(half, 0.0, 0.0))]).encode()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A workdir of the embedded model: questions in 36 languages, answers in English."""
    workdir = tmp_path_factory.mktemp("evaluated")
    console = Console(file=io.StringIO())
    evaluate.main(None, ["demo_vqa_colour"], workdir, limit=1, console=console)
    return workdir


def test_every_split_has_its_bars_and_pictures(evaluated):
    page = Page((evaluated / "report.html").read_text("utf-8"))
    scores = json.loads((evaluated / "metrics.json").read_text("utf-8"))["scores"]
    own = [one for one in scores if one["system"] == "model"]
    assert len(widths(page)) == sum(len(one["per_language"]) for one in own)
    text = "".join(page.texts)
    assert all(one["signature"] in text for one in own)
    for _, split, metric, *_ in summary.rows(scores):
        assert f"demo_vqa_colour: {split}" in text
        assert metric in text
    splits = {one["split"] for one in own}
    assert len(page.all("img")) == 2 * 4 * len(splits)
    assert not [one for one in page.all("dd") if one.get("lang") not in (None, "en")]
    size = (evaluated / "report.html").stat().st_size
    assert size < 40_000 * len(page.all("img")), "pictures are thumbnails"


def test_a_run_that_goes_on_makes_the_same_page(evaluated):
    before = (evaluated / "report.html").read_bytes()
    (evaluated / "report.html").unlink()
    console = Console(file=io.StringIO())
    evaluate.main(None, ["demo_vqa_colour"], evaluated, limit=1, console=console)
    assert (evaluated / "report.html").read_bytes() == before


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    program = browser.find()
    if program is None:
        pytest.skip("there is no browser; `python tools/get_browser.py` installs one")
    with browser.Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def look(tab, path, width: int, scheme: str = "light") -> None:
    size = dict(width=width, height=900, deviceScaleFactor=1, mobile=False)
    tab.call("Emulation.setDeviceMetricsOverride", **size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    tab.call("Emulation.setEmulatedMedia", features=features)
    tab.events.clear()
    tab.open(path.as_uri())


def assert_stands_alone(tab) -> None:
    asked = [p["request"]["url"] for name, p in tab.events if name == "Network.requestWillBeSent"]
    assert len([url for url in asked if not url.startswith("data:image/")]) == 1, "the page itself"
    trouble = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in tab.events if event[0] in trouble] == []
    assert tab.evaluate("document.scripts.length") == 0


@pytest.mark.parametrize("width", [1200, 390])
def test_in_a_browser_bars_are_proportional_and_pictures_load(tab, evaluated, width):
    look(tab, evaluated / "report.html", width)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    scores = json.loads((evaluated / "metrics.json").read_text("utf-8"))["scores"]
    wanted = [
        value / report_page.scale(one)
        for one in scores
        if one["system"] == "model"
        for value in sorted(one["per_language"].values(), reverse=True)
    ]
    shares = tab.evaluate(
        "[...document.querySelectorAll('.bar')].map(bar => bar.getBoundingClientRect().width"
        " / bar.parentElement.getBoundingClientRect().width)"
    )
    assert {0.0, 1.0} <= set(wanted)
    np.testing.assert_allclose(shares, wanted, atol=0.005)
    tracks = "[...document.querySelectorAll('.track')].map(t => t.getBoundingClientRect().width)"
    assert min(tab.evaluate(tracks)) > 80, "there must be room for bars"
    loaded = "[...document.images].map(i => i.complete && i.naturalWidth)"
    assert set(tab.evaluate(loaded)) == {SIDE}
    assert tab.evaluate("document.documentElement.scrollWidth") == width, "no scrolling sideways"
    assert_stands_alone(tab)


def test_in_a_browser_hostile_texts_are_shown(tab, tmp_path):
    hostile = line(1, HOSTILE, HOSTILE, HOSTILE, "other", prompt=HOSTILE, lang="ar")
    made = report_page.page(results(record()), [shown(Judged(hostile, 0.0, 0.0))])
    (tmp_path / "report.html").write_text(made, encoding="utf-8")
    look(tab, tmp_path / "report.html", 390)
    texts = tab.evaluate("[...document.querySelectorAll('.examples dd')].map(d => d.textContent)")
    assert texts[:3] == [HOSTILE, HOSTILE, f"{HOSTILE} ×2other"]
    styles = "[...document.querySelectorAll('.examples li')].map(i => getComputedStyle(i).border)"
    assert [border.startswith("0px") for border in tab.evaluate(styles)] == [False, True, True]
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert_stands_alone(tab)


def test_in_a_browser_arabic_stands_on_the_right(tab, tmp_path):
    arabic = line(1, "طائر", "طائر", lang="ar")
    made = report_page.page(results(record()), [shown(Judged(arabic, 0.0, 0.0))])
    (tmp_path / "report.html").write_text(made, encoding="utf-8")
    look(tab, tmp_path / "report.html", 1200)
    directions = "[...document.querySelectorAll('.examples dd')].map(d => d.matches(':dir(rtl)'))"
    assert tab.evaluate(directions) == [False, True, True, False]


def test_in_a_browser_texts_and_bars_keep_apart_from_their_ground(tab, evaluated):
    """WCAG 2's contrast: 4.5 of text, 3 of what is drawn."""
    for scheme, dark in (("light", False), ("dark", True)):
        look(tab, evaluated / "report.html", 1200, scheme)
        ground = pixels(tab)[2, 2]
        assert (luminance(ground) < 0.05) == dark
        for selector, kind, least in (
            ("h1", "color", 4.5),
            (".soft", "color", 4.5),
            ("a", "color", 4.5),
            (".bar", "backgroundColor", 3.0),
        ):
            told = f"getComputedStyle(document.querySelector('{selector}')).{kind}"
            colour = [int(part) for part in re.findall(r"\d+", tab.evaluate(told))[:3]]
            assert contrast(colour, ground) >= least, (scheme, selector, colour)


def pixels(tab) -> np.ndarray:
    with Image.open(io.BytesIO(tab.screenshot())) as image:
        return np.asarray(image.convert("RGB"))


def luminance(colour) -> float:
    shares = np.asarray(colour) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one, other) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
