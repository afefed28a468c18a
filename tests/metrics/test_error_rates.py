# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Error rates against jiwer, an independent implementation, and against cases worked by hand."""

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pali.metrics import error_rates
from pali.metrics.error_rates import cer, cer_no_spaces, wer
from pali.metrics.exact_match import normalise

# NFKC text only: that is what both sides score (the variants say so).
TEXTS = st.text(st.sampled_from("ab cdé. ไทยक्ष漢字"), max_size=14).map(normalise)
PAIRS = st.lists(st.tuples(TEXTS.filter(bool), TEXTS), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_any_corpus_equals_jiwer(pairs):
    targets, predictions = map(list, zip(*pairs, strict=True))
    assert cer(targets, predictions)["cer"] == pytest.approx(100 * jiwer.cer(targets, predictions))
    assert wer(targets, predictions)["wer"] == pytest.approx(100 * jiwer.wer(targets, predictions))
    squeezed = [["".join(text.split()) for text in side] for side in (targets, predictions)]
    expected = 100 * jiwer.cer(*squeezed)
    assert cer_no_spaces(targets, predictions)["cer_no_spaces"] == pytest.approx(expected)


def test_by_hand():
    # mbwa -> mbva: one of four; Dar es Salaam -> Dar Salaam: three of thirteen, one word of three.
    targets, predictions = ["mbwa", "Dar es Salaam"], ["mbva", "Dar Salaam"]
    assert cer(targets, predictions) == {"cer": pytest.approx(100 * 4 / 17)}
    assert cer_no_spaces(targets, predictions)["cer_no_spaces"] == pytest.approx(100 * 3 / 15)
    assert wer(targets, predictions)["wer"] == pytest.approx(100 * 2 / 4)


def test_more_than_everything_can_be_wrong():
    assert cer(["a"], ["bcd"])["cer"] == 300.0


def test_spelling_of_the_same_characters_is_no_error():
    assert cer(["\u0e33 e\u0301"], ["\u0e4d\u0e32  \u00e9 "])["cer"] == 0.0


def test_the_nearest_reference_counts():
    assert cer([["casa", "cabana"]], ["cabaña"])["cer"] == pytest.approx(100 / 6)


def test_an_empty_reference_is_left_out():
    assert error_rates.statistics("abc", [" "], error_rates.characters) == (0, 0)
    assert cer(["ab", ""], ["ab", "xyz"])["cer"] == 0.0
    assert cer([["", "ab"]], ["xb"])["cer"] == 50.0


def test_a_split_without_text_is_refused():
    with pytest.raises(ValueError, match="every reference is empty"):
        cer(["", " "], ["a", "b"])
    with pytest.raises(ValueError, match="1 predictions for 2 targets"):
        wer(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="split is empty"):
        cer([], [])
