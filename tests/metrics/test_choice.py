# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pali.metrics import choice

MATRICES = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 6), st.integers(2, 6)), elements=st.floats(-50, 0)
)


def test_prior_is_the_mean_over_the_other_pictures():
    log_likelihoods = np.array([[-1.0, -9.0], [-3.0, -4.0], [-5.0, -2.0]])
    expected = [
        [-1 - (-3 - 5) / 2, -9 - (-4 - 2) / 2],
        [-3 - (-1 - 5) / 2, -4 - (-9 - 2) / 2],
        [-5 - (-1 - 3) / 2, -2 - (-9 - 4) / 2],
    ]
    np.testing.assert_allclose(choice.minus_prior(log_likelihoods), expected)


def test_prior_finds_the_picture_behind_a_frequent_name():
    # Name 0 is short and likely everywhere; each picture still makes its own name likelier.
    log_likelihoods = np.array([[-1.0, -9.0, -9.0], [-2.0, -6.0, -9.0], [-2.0, -9.0, -6.0]])
    truth = np.arange(3)
    assert choice.credit(log_likelihoods, truth).tolist() == [1, 0, 0]
    assert choice.credit(choice.minus_prior(log_likelihoods), truth).tolist() == [1, 1, 1]


@given(MATRICES, st.data())
def test_prior_removes_whatever_a_name_earns_without_looking(log_likelihoods, data):
    _, m = log_likelihoods.shape
    bias = data.draw(hnp.arrays(np.float64, m, elements=st.floats(-50, 0)))
    np.testing.assert_allclose(
        choice.minus_prior(log_likelihoods + bias), choice.minus_prior(log_likelihoods), atol=1e-9
    )


@given(hnp.arrays(np.float64, st.integers(2, 8), elements=st.floats(-50, 0)))
def test_a_model_that_does_not_look_scores_chance(scores):
    n = len(scores)
    blind = np.tile(scores, (n, 1))
    earned = choice.credit(choice.minus_prior(blind), np.arange(n))
    np.testing.assert_allclose(earned, 1 / n)


@given(MATRICES)
def test_credit_of_all_candidates_sums_to_one(scores):
    n, m = scores.shape
    total = sum(choice.credit(scores, np.full(n, j)) for j in range(m))
    np.testing.assert_allclose(total, 1)


def test_ties_share_the_credit_and_rounding_does_not_break_them():
    scores = np.array([[-1.0, -1.0 - 1e-5, -7.0], [-1.0, -2.0, -7.0]])
    assert choice.credit(scores, np.array([0, 1])).tolist() == [0.5, 0.0]


def test_credit_with_several_right_candidates():
    scores = np.array([[-1.0, -2.0, -3.0]])
    assert choice.credit(scores, np.array([[True, False, True]])).tolist() == [1.0]
    assert choice.credit(scores, np.array([[False, True, True]])).tolist() == [0.0]


def test_one_picture_has_no_prior():
    with pytest.raises(ValueError, match=r"shape \(1, 3\)"):
        choice.minus_prior(np.zeros((1, 3)))


def test_top_k_by_hand():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    truth = np.array([2, 0, 0])
    assert choice.top_k_accuracy(scores, truth) == pytest.approx(100 / 3)
    assert choice.top_k_accuracy(scores, truth, k=2) == pytest.approx(200 / 3)
    assert choice.top_k_accuracy(scores, truth, k=3) == 100.0


def test_a_constant_classifier_earns_nothing():
    assert choice.top_k_accuracy(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == 0.0


def test_top_k_bad_input():
    with pytest.raises(ValueError, match="top-0"):
        choice.top_k_accuracy(np.zeros((2, 2)), np.array([0, 1]), k=0)
