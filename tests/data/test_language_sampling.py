# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Language sampling: shares are shares, the cap holds, the limits are what they should be."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.data.language_sampling import temperature, unimax

COUNTS = st.dictionaries(st.text("abcdef", min_size=2), st.integers(1, 10**12), min_size=1)


def uneven(shares, counts):
    """Pairs of languages of which the larger one is drawn less often."""
    order = sorted(counts, key=counts.get)
    return [(a, b) for a, b in itertools.pairwise(order) if shares[a] > shares[b] + 1e-12]


@given(COUNTS, st.floats(0, 1))
def test_temperature_gives_shares_that_keep_the_order(counts, alpha):
    shares = temperature(counts, alpha)
    assert list(shares) == list(counts)
    assert math.isclose(sum(shares.values()), 1, rel_tol=1e-12)
    assert not uneven(shares, counts)
    a, b = min(counts, key=counts.get), max(counts, key=counts.get)
    assert shares[b] / shares[a] == pytest.approx((counts[b] / counts[a]) ** alpha)


@given(COUNTS)
def test_the_ends_of_temperature_are_in_proportion_and_alike(counts):
    total = sum(counts.values())
    assert temperature(counts, 1) == pytest.approx({k: n / total for k, n in counts.items()})
    assert temperature(counts, 0) == pytest.approx(dict.fromkeys(counts, 1 / len(counts)))


@given(COUNTS, st.floats(0.001, 1), st.floats(0.1, 50))
def test_unimax_spends_the_budget_and_keeps_the_cap(counts, part, epochs):
    budget = part * epochs * sum(counts.values())
    shares = unimax(counts, budget, epochs)
    assert list(shares) == list(counts)
    assert math.isclose(sum(shares.values()), 1, rel_tol=1e-12)
    assert not uneven(shares, counts)
    for lang, count in counts.items():
        assert shares[lang] * budget <= count * epochs * (1 + 1e-9)
    # Who is not at the cap has as much as anyone.
    most = max(shares.values())
    free = [lang for lang, n in counts.items() if shares[lang] * budget < n * epochs * (1 - 1e-9)]
    assert [shares[lang] for lang in free] == pytest.approx([most] * len(free))


@given(COUNTS, st.integers(1, 50))
def test_unimax_is_uniform_where_no_cap_binds_and_in_proportion_where_all_do(counts, epochs):
    alike = dict.fromkeys(counts, 1 / len(counts))
    assert unimax(counts, len(counts) * min(counts.values()) * epochs, epochs) == (
        pytest.approx(alike)
    )
    everything = sum(counts.values()) * epochs
    assert unimax(counts, everything, epochs) == pytest.approx(temperature(counts, 1))


def test_unimax_by_hand():
    """Of 90 examples each of three languages would get 30; 5 twice is 10, and 80 is left to two."""
    assert unimax({"en": 1000, "sw": 5, "fr": 1000}, 90, 2) == pytest.approx(
        {"en": 40 / 90, "sw": 10 / 90, "fr": 40 / 90}
    )


@pytest.mark.parametrize("sample", [lambda c: temperature(c, 0.3), lambda c: unimax(c, 1, 1)])
def test_counts_that_are_none_are_refused(sample):
    for count in (0, -3, math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"language 'sw' has a count of {count};"):
            sample({"en": 5, "sw": count})
    with pytest.raises(ValueError, match="the counts are empty"):
        sample({})


def test_settings_that_make_no_sense_are_refused():
    for alpha in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="alpha is"):
            temperature({"en": 1}, alpha)
    with pytest.raises(ValueError, match="budget is 0"):
        unimax({"en": 1}, 0, 1)
    with pytest.raises(ValueError, match="max_epochs is -1"):
        unimax({"en": 1}, 1, -1)
    with pytest.raises(ValueError, match="11 examples is more than the 10 that 2 epochs"):
        unimax({"en": 3, "sw": 2}, 11, 2)
