# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Top-1 from scored names, worked by hand."""

import numpy as np
import pytest

from pali.metrics.label_names import class_scores, name_scores, top_1

# Names of two classes: "cat", "pussycat" and "dog".
SCORES = np.array([[-3.0, -4.0, -3.5], [-3.0, -9.0, -1.0]])
CLASSES = np.array([0, 0, 1])


def test_the_variants_of_a_score():
    assert name_scores(SCORES) is SCORES
    mean = name_scores(SCORES, "mean", lengths=np.array([1, 4, 1]))
    assert mean.tolist() == [[-3, -1, -3.5], [-3, -2.25, -1]]
    prior = name_scores(SCORES, "sum-minus-prior", prior=np.array([-3.0, -9.0, -1.0]))
    assert prior.tolist() == [[0, 5, -2.5], [0, 0, 0]]


def test_the_best_synonym_speaks_for_its_class():
    found = class_scores(name_scores(SCORES, "mean", lengths=np.array([1, 4, 1])), CLASSES)
    assert found.tolist() == [[-1, -3.5], [-2.25, -1]]
    assert top_1(found, [[0], [1]]) == 100
    assert top_1(found, [[1], [1]]) == 50
    assert top_1(found, [[], [0, 1]]) == 100  # The first picture has no right class.
    assert top_1(np.zeros((3, 4)), [[0], [1], [2]]) == 25  # Who does not look guesses.


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no variant 'best'"):
        name_scores(SCORES, "best")
    with pytest.raises(ValueError, match="number of tokens"):
        name_scores(SCORES, "mean", lengths=np.array([1, 0, 1]))
    with pytest.raises(ValueError, match="score without picture"):
        name_scores(SCORES, "sum-minus-prior")
    with pytest.raises(ValueError, match=r"1 classes have no name, such as \[1\]"):
        class_scores(SCORES, np.array([0, 0, 2]))
    with pytest.raises(ValueError, match="picture 1: class 3 is not in 0..2"):
        top_1(SCORES, [[0], [3]])
    with pytest.raises(ValueError, match="picture 1 has a score that is NaN"):
        top_1(np.array([[0, 1], [0, np.nan]]), [[0], [0]])
    with pytest.raises(ValueError, match="no picture has a right class"):
        top_1(SCORES, [[], []])
    with pytest.raises(ValueError, match="2 rows of scores for 1 pictures"):
        top_1(SCORES, [[0]])
