# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""chrF against sacrebleu, an independent implementation, and against cases worked by hand."""

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from pali.metrics import chrf as chrf_
from pali.metrics.exact_match import normalise

CORPUS = [
    # prediction, references
    ("red apple", ["red apple"]),
    ("green apple", ["red apple"]),
    ("manzana", ["manzana roja", "manzana"]),
    ("", ["chat"]),
    ("ऊँट", ["ऊंट"]),
    ("赤いりんご", ["赤リンゴ"]),
    ("pomme", [""]),
    ("тыква-фонарь", ["фонарь из тыквы", "тыква"]),
    ("a", ["a"]),
    ("aaaaaaaaaaaaaa", ["aaa"]),
]
# NFKC text only: that is what both sides score (the variant says so).
LETTERS = st.sampled_from("ab cdé. ไทยक्ष漢字\n")
TEXTS = st.text(LETTERS, max_size=14).map(normalise)


def sacrebleu_corpus(predictions, references):
    most = max(map(len, references))
    # sacrebleu wants one stream per reference position; None marks a missing one.
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    return sacrebleu.corpus_chrf(predictions, streams).score


def test_corpus_equals_sacrebleu():
    predictions, references = map(list, zip(*CORPUS, strict=True))
    ours = chrf_.chrf(references, predictions)["chrf"]
    assert ours == pytest.approx(sacrebleu_corpus(predictions, references), abs=1e-9)


def test_signature_is_the_one_sacrebleu_prints():
    scorer = sacrebleu.CHRF()
    scorer.corpus_score(["cat"], [["cat"]])
    signature = str(scorer.get_signature())
    for setting in ("nc:6", "nw:0", "space:no"):
        assert setting in signature
        assert setting in chrf_.VARIANT


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_sentence_equals_sacrebleu(prediction, references):
    ours = float(chrf_.from_statistics(chrf_.statistics(prediction, references)))
    assert ours == pytest.approx(sacrebleu.sentence_chrf(prediction, references).score, abs=1e-9)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_any_corpus_equals_sacrebleu(pairs):
    predictions, references = map(list, zip(*pairs, strict=True))
    ours = chrf_.chrf(references, predictions)["chrf"]
    theirs = sacrebleu.corpus_chrf(predictions, [references]).score
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_by_hand():
    # "ab" against "ac": one of two unigrams, none of one bigram.
    # P = R = (1/2 + 0/1) / 2 = 1/4, so F = 1/4 for any beta.
    assert chrf_.chrf(["ac"], ["ab"])["chrf"] == pytest.approx(25.0)
    # "abc" against "ab": P = (2/3 + 1/2) / 2 (no trigram in the reference), R = 1.
    precision, recall = 7 / 12, 1.0
    expected = 100 * 5 * precision * recall / (4 * precision + recall)
    assert chrf_.chrf(["ab"], ["abc"])["chrf"] == pytest.approx(expected)


def test_corpus_score_sums_counts_before_dividing():
    # Mean of the sentence scores would be 50.
    score = chrf_.chrf(["abcdefgh", "x"], ["abcdefgh", "y"])["chrf"]
    assert score > 90


def test_extra_reference_never_hurts_a_sentence():
    alone = chrf_.from_statistics(chrf_.statistics("green apple", ["red apple"]))
    more = chrf_.from_statistics(chrf_.statistics("green apple", ["red apple", "greens"]))
    assert more >= alone


def test_leading_axes_are_kept():
    counts = np.stack([chrf_.statistics(p, r) for p, r in CORPUS])
    scores = chrf_.from_statistics(counts)
    assert scores.shape == (len(CORPUS),)
    assert scores[0] == 100.0
    assert scores[3] == 0.0
