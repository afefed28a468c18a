# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.metrics import exact_match as em

TEXTS = st.text(max_size=12)


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        ("cat", ["cat"], True),
        (" red  apple\n", ["red apple"], True),
        ("Cat", ["cat"], False),
        ("café", ["cafe"], False),
        ("cafe\u0301", ["caf\u00e9"], True),  # decomposed against composed
        ("\u0e19\u0e49\u0e33", ["\u0e19\u0e49\u0e4d\u0e32"], True),  # Thai SARA AM and its NFKC
        ("dog", ["cat", "dog"], True),
        ("", ["cat"], False),
        ("cat", [], False),
    ],
)
def test_is_match_by_hand(prediction, references, expected):
    assert em.is_match(prediction, references) is expected


def test_exact_match_is_the_percentage_over_the_split():
    scores = em.exact_match(["cat", ["dog", "hound"], "owl", "bee"], ["cat", "hound", "ant", ""])
    assert scores == {"exact_match": 50.0}


def test_lengths_that_differ_are_named():
    with pytest.raises(ValueError, match="1 predictions for 2 targets"):
        em.exact_match(["a", "b"], ["a"])


def test_an_empty_split_is_an_error_not_a_score():
    with pytest.raises(ValueError, match="empty"):
        em.exact_match([], [])


@given(TEXTS)
def test_every_text_matches_itself_however_it_is_spaced(text):
    assert em.is_match(f" {text} \n", [text])


@given(TEXTS)
def test_normalise_twice_is_normalise_once(text):
    once = em.normalise(text)
    assert em.normalise(once) == once


@given(TEXTS, TEXTS)
def test_match_is_symmetric(one, other):
    assert em.is_match(one, [other]) == em.is_match(other, [one])
