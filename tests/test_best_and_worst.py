# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Which predictions are shown: by which score, in which order, with which picture."""

import random

import numpy as np
import pytest
from PIL import Image

from pali.best_and_worst import SIDE, best_and_worst, ends, item_scores
from pali.config import PixelConfig
from pali.data import pipeline
from pali.data.benchmarks import Benchmark
from pali.data.evaluation import Example, Split
from pali.data.preprocessors import DecodePicture, RenderPicture
from pali.data.rendering import render
from pali.metrics import records
from pali.metrics.chrf import chrf
from pali.metrics.error_rates import cer
from pali.metrics.exact_match import exact_match
from pali.metrics.records import Line
from pali.official import Official


def line(id: int, prediction: str, *references: str, **more) -> Line:
    said: dict = {
        **{"id": f"birds/test/{id}", "task": "birds", "split": "test", "version": "1"},
        **{"lang": "en", "group": f"g{id}", "image_key": f"{id}.png", "prompt": "name it"},
        **{"references": list(references), "prediction": prediction, "log_prob": -1.0},
        "num_tokens": 3,
    }
    return said | more  # type: ignore[return-value]


LINES = [
    *(line(i, "heron", "heron") for i in range(6)),
    line(6, "grey heron", "heron"),
    line(7, "stork", "heron", "stork"),
    line(8, "egret", "heron"),
    line(9, "zzz", "heron"),
]


def ids(judged) -> list[int]:
    return [int(one.line["id"].rsplit("/", 1)[1]) for one in judged]


def test_wrong_answers_are_ordered_by_how_wrong_they_are():
    earned = item_scores(LINES, "exact_match", "nfkc-space")
    best, worst = ends(LINES, earned)
    assert [one.score for one in best] == [100.0] * 4
    assert ids(worst)[:3] == [9, 8, 6]
    assert worst[3].score == 100.0, "the fourth of ten is one of the seven that are right"
    assert worst[0].chrf == 0 < worst[1].chrf < worst[2].chrf < 100


def test_the_choice_does_not_depend_on_the_order_of_lines():
    earned = item_scores(LINES, "exact_match", "nfkc-space")
    expected = [ids(end) for end in ends(LINES, earned)]
    for seed in range(5):
        shuffled = random.Random(seed).sample(LINES, len(LINES))
        assert [ids(end) for end in ends(shuffled, earned)] == expected
    assert not set(expected[0]) & set(expected[1])


def test_of_few_predictions_none_is_shown_twice():
    for count in (1, 2, 3, 7):
        few = LINES[-count:]
        best, worst = ends(few, item_scores(few, "exact_match", "nfkc-space"))
        assert len(best) - len(worst) in (0, 1)
        assert len({*ids(best), *ids(worst)}) == count


def test_fewer_errors_are_better():
    rates = item_scores(LINES, "cer", "levenshtein|nfkc|spaces")
    assert rates["birds/test/9"] == 100.0
    best, worst = ends(LINES, rates, lower=True)
    assert {one.score for one in best} == {0.0}
    assert ids(worst)[0] == 9


def test_a_metric_of_many_predictions_scores_none_alone():
    assert item_scores(LINES, "cider", "cider-d") == {}
    assert item_scores(LINES, "choice", "sum-minus-prior") == {}


class Rows:
    """Records of picture files, or of drawings."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def split_of(rows, *functions, pixels=PixelConfig(), metric_fns=(exact_match,)) -> Split:
    examples = [
        Example(f"birds/test/{i}", "en", f"g{i}", f"{i}.png", "name it", ("heron",), i, {})
        for i in range(len(rows))
    ]
    drawn = pipeline.Drawn(pipeline.Task("birds", Rows(rows), functions), 0, shuffled=False)
    counts = ({}, drawn, functions, {}, 32, pixels, metric_fns)
    return Split("birds", "test", examples, *counts, Benchmark(), 64)


def found(split, lines, official=None):
    own = records.score(lines, split.metric_fns)
    return best_and_worst(split, lines, own, official)


def test_the_main_metric_ranks_and_is_named():
    for functions, name, lower in (
        ((exact_match, chrf), "exact match", False),
        ((cer, exact_match), "character errors", True),
        ((lambda targets, predictions: {"mine": 1.0},), "chrF", False),
    ):
        ranked = found(split_of([{}] * 10, metric_fns=functions), LINES)
        assert (ranked.metric, ranked.lower, ranked.count) == (name, lower, 10)
        assert ids(ranked.worst)[0] == 9
        assert ranked.worst[0].picture is None, "a task of texts has no pictures"


def test_a_benchmark_ranks_by_its_own_score():
    lines = [one | {"item": number} for number, one in enumerate(LINES)]
    per_item = {str(number): number / 10 for number in range(10)}
    split = split_of([{}] * 10)
    ranked = found(split, lines, Official({"metric": "vqa_accuracy"}, per_item))
    assert ranked.metric == "official vqa_accuracy"
    assert (ids(ranked.best), ids(ranked.worst)) == ([9, 8, 7, 6], [0, 1, 2, 3])
    del per_item["3"]  # Nobody knows where it would stand.
    ranked = found(split, lines, Official({"metric": "vqa_accuracy"}, per_item))
    assert ranked.metric == "exact match"


def test_files_are_shown_whole_and_what_the_model_saw_of_them_is_known(tmp_path):
    wide = np.zeros((200, 600, 3), np.uint8)
    wide[:, 300:] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    pixels = PixelConfig(fit="crop")
    rows = [{"image_key": str(tmp_path / "wide.png")}]
    split = split_of(rows, DecodePicture(32, pixels), pixels=pixels)
    assert split.picture(split.examples[0]).shape == (32, 32, 3)
    picture = found(split, LINES[:1]).best[0].picture
    assert picture.pixels.shape == (round(SIDE / 3), SIDE, 3)
    assert picture.pixels[0, 0, 0] == 0
    assert picture.pixels[-1, -1, 0] == 255
    assert picture.region.shares == pytest.approx((0, 1 / 3, 1, 2 / 3), abs=0.01)


def test_drawings_are_drawn_finer_than_the_model_reads_them():
    rows = [{"art": "noto", "code": "1f357", "view": 3}]
    split = split_of(rows, RenderPicture(32))
    picture = found(split, LINES[:1]).best[0].picture
    np.testing.assert_array_equal(picture.pixels, render("noto", "1f357", 3, SIDE))


def test_a_picture_that_has_gone_is_said(tmp_path):
    rows = [{"image_key": str(tmp_path / "gone.png")}, {"lang": "en"}]
    split = split_of(rows, DecodePicture(32))
    ranked = found(split, [LINES[0], line(1, "no", "heron")])
    assert "gone.png" in str(ranked.best[0].picture)
    assert "has no picture" in str(ranked.worst[0].picture)
