# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Mixing: every place has one example, every example one place, and rates hold for ever."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.data.mixing import Interleaved, largest_error, together

PALI = (100.0, 1000.0, 100.0, 100.0, 100.0, 100.0, 12.5, 12.5, 12.5, 12.5, 16.0)
"""Millions of examples of the tasks that PaLI was trained on; the object-aware ones in four forms.
(arXiv 2209.06794, Table 1 as recalled.)"""


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12), st.integers(1, 400))
def test_each_task_is_read_from_its_first_example_on_without_gaps(rates, count):
    places = Interleaved(tuple(rates))
    following = Counter()
    for index in range(count):
        task, place = places[index]
        assert place == following[task]
        following[task] += 1


@given(
    st.lists(st.sampled_from([0.1, 0.3, 1.0, 2.5, 16.0, 1000.0]), min_size=2, max_size=12),
    st.integers(0, 10**15),
)
def test_far_away_the_counts_are_still_those_of_the_rates(rates, index):
    task, place = Interleaved(tuple(rates))[index]
    share = Fraction(str(rates[task])) / sum(Fraction(str(rate)) for rate in rates)
    assert abs(place - index * share) < len(rates)


def test_rates_of_pali_are_exact_over_a_period():
    period = 2 * 1566  # Millions and halves of them.
    for start in (0, period, 10**9 * period):
        places = Interleaved(PALI)
        counts = Counter(places[start + i][0] for i in range(period))
        assert counts == {task: 2 * rate for task, rate in enumerate(PALI)}


def test_the_largest_error_is_small_at_every_moment():
    places, counts = Interleaved(PALI), Counter()
    worst = 0.0
    for index in range(20_000):
        counts[places[index][0]] += 1
        worst = max(worst, largest_error(counts, PALI))
    assert worst < 2


def test_the_largest_error_is_what_it_says():
    assert largest_error({0: 3, 1: 1}, (1.0, 1.0)) == 1.0
    assert largest_error({0: 6, 1: 2}, (3.0, 1.0)) == 0.0
    assert largest_error({0: 1}, (3.0, 1.0)) == pytest.approx(0.25)


class Named:
    """Two of the same name are one task, read twice."""

    def __init__(self, name):
        self.name = name


def test_a_mixture_that_is_replayed_has_its_share():
    own = [(Named("birds"), 4.0), (Named("captions"), 1.0)]
    other = [(Named("captions"), 30.0), (Named("ocr"), 10.0)]
    mixed = together(own, other, 0.1)
    assert {task.name: rate for task, rate in mixed} == {
        "birds": pytest.approx(0.72),
        "captions": pytest.approx(0.18 + 0.075),
        "ocr": pytest.approx(0.025),
    }
    rates = tuple(rate for _, rate in mixed)
    drawn = Counter(Interleaved(rates)[i][0] for i in range(1000))
    assert drawn == {0: 720, 1: 255, 2: 25}
