# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CIDEr, BLEU and ROUGE-L against golden outputs of pycocoevalcap, and against itself on random
corpora.

tests/golden/official_metrics.json holds what the official scorers answered to invented inputs; its
"meta" names them and their versions.
"""

import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pali.metrics.bleu import bleu, bleu_per_item
from pali.metrics.cider import cider, cider_per_item
from pali.metrics.rouge_l import rouge_l, rouge_l_per_item

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "official_metrics.json").read_text("utf-8")
)
WORDS = [
    "a",
    "the",
    "dog",
    "cat",
    "red",
    "on",
    "in",
    "house",
    "猫",
    "ที่",
    "n't",
    "'s",
    ",",
    "é",
    "24",
]


def corpus(seed: int, pictures: int) -> tuple[list[list[str]], list[str]]:
    """Captions of a few words, some copied from a reference, some empty."""
    draw = random.Random(seed)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.choice([0, 1, 2, 5, 9, 14])))

    targets = [[text() for _ in range(draw.randint(1, 5))] for _ in range(pictures)]
    targets[0][0] = "a dog"  # Without any n-gram at all pycocoevalcap fails.
    said = [draw.choice([draw.choice(known), text()]) for known in targets]
    return targets, said


@pytest.mark.parametrize("case", GOLDEN["captions"], ids=lambda case: case["name"])
def test_golden(case):
    targets = [image["refs_tokenized"] for image in case["images"]]
    said = [image["hyp_tokenized"] for image in case["images"]]
    for name, value in {**cider(targets, said), **bleu(targets, said)}.items():
        key = name.replace("cider", "CIDEr").replace("bleu", "Bleu")
        assert value == pytest.approx(case["scores"][key], abs=1e-9), key
    assert rouge_l(targets, said)["rouge_l"] == pytest.approx(case["scores"]["ROUGE_L"], abs=1e-9)
    each = zip(
        case["images"],
        cider_per_item(targets, said),
        bleu_per_item(targets, said),
        rouge_l_per_item(targets, said),
        strict=True,
    )
    for image, c, b, r in each:
        expected = [image["scores"][f"Bleu_{k}"] for k in (1, 2, 3, 4)]
        expected += [image["scores"]["CIDEr"], image["scores"]["ROUGE_L"]]
        assert [*b, c, r] == pytest.approx(expected, abs=1e-9), image["image_id"]


def official(targets, said):
    """{name: (score of the corpus, of each picture)} by pycocoevalcap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `is` with a literal, in its own sources.
        scorers = {
            name: pytest.importorskip(f"pycocoevalcap.{module}")
            for name, module in {
                "Cider": "cider.cider",
                "Bleu": "bleu.bleu",
                "Rouge": "rouge.rouge",
            }.items()
        }
    known, captions = dict(enumerate(targets)), {i: [text] for i, text in enumerate(said)}
    return {
        "cider": scorers["Cider"].Cider().compute_score(known, captions),
        "bleu": scorers["Bleu"].Bleu().compute_score(known, captions, verbose=0),
        "rouge_l": scorers["Rouge"].Rouge().compute_score(known, captions),
    }


@pytest.mark.parametrize("pictures", [1, 2, 7, 60])
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**9))
def test_any_corpus_equals_pycocoevalcap(pictures, seed):
    targets, said = corpus(seed, pictures)
    expected = official(targets, said)
    score, each = expected["cider"]
    assert cider(targets, said)["cider"] == pytest.approx(score, abs=1e-9)
    assert cider_per_item(targets, said) == pytest.approx(each, abs=1e-9)
    score, each = expected["bleu"]
    assert list(bleu(targets, said).values()) == pytest.approx(score, abs=1e-9)
    assert pytest.approx(np.array(each), abs=1e-9) == bleu_per_item(targets, said).T
    score, each = expected["rouge_l"]
    assert rouge_l(targets, said)["rouge_l"] == pytest.approx(score, abs=1e-9)
    assert rouge_l_per_item(targets, said) == pytest.approx(each, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(8)))
def test_the_order_of_pictures_and_references_does_not_matter(seed, order):
    targets, said = corpus(seed, 8)
    moved = [targets[i][::-1] for i in order], [said[i] for i in order]
    for metric in (cider, bleu, rouge_l):
        assert metric(*moved) == pytest.approx(metric(targets, said), abs=1e-12)


def test_identical_captions():
    texts = ["a red dog on grass", "two boats at the pier", "old man reads a book"]
    targets = [[text] for text in texts]
    assert cider(targets, texts)["cider"] == pytest.approx(10)
    assert list(bleu(targets, texts).values()) == pytest.approx([1, 1, 1, 1], abs=1e-8)
    assert rouge_l(targets, texts)["rouge_l"] == 1


def test_nothing_said_earns_nothing():
    targets = [["a red dog"], ["two boats"]]
    for metric in (cider, bleu, rouge_l):
        assert max(metric(targets, ["", ""]).values()) < 1e-9


def test_a_single_picture_has_no_cider_and_neither_have_pictures_with_equal_references():
    assert cider([["a dog", "one dog"]], ["a dog"]) == {"cider": 0}
    assert cider([["a dog"], ["a dog"]], ["a dog", "a dog"]) == {"cider": 0}


def test_scores_of_parts_are_no_score_of_the_whole():
    targets, said = corpus(3, 20)
    parts = [cider(targets[i::2], said[i::2])["cider"] for i in range(2)]
    assert abs(np.mean(parts) - cider(targets, said)["cider"]) > 1e-3


@pytest.mark.parametrize("metric", [cider, bleu, rouge_l])
def test_what_cannot_be_scored_is_refused(metric):
    with pytest.raises(ValueError, match="picture 1 has no reference"):
        metric([["a"], []], ["a", "b"])
    with pytest.raises(ValueError, match="1 predictions for 2 targets"):
        metric([["a"], ["b"]], ["a"])
    with pytest.raises(ValueError, match="split is empty"):
        metric([], [])
