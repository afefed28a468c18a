# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.metrics import aggregate, chrf


def accuracy_table(rows):
    languages, groups, hits = zip(*rows, strict=True)
    return aggregate.table(languages, groups, np.array([(hit, 1) for hit in hits], float))


def test_languages_weigh_the_same_whatever_their_size():
    rows = [("en", i, 1) for i in range(9)] + [("sw", 0, 0)]
    table = accuracy_table(rows)
    assert table.per_language() == {"en": 100.0, "sw": 0.0}
    assert table.macro() == 50.0


def test_chrf_table_equals_the_corpus_score_of_each_language():
    examples = [("en", 0, "cat", "cats"), ("en", 1, "red dog", "dog"), ("fr", 0, "chien", "chat")]
    table = aggregate.table(
        [e[0] for e in examples],
        [e[1] for e in examples],
        np.array([aggregate.CHRF.statistics(p, [r], lang) for lang, _, p, r in examples]),
        aggregate.CHRF.finish,
    )
    for lang in ("en", "fr"):
        own = [(p, r) for where, _, p, r in examples if where == lang]
        expected = chrf.chrf([r for _, r in own], [p for p, _ in own])["chrf"]
        assert table.per_language()[lang] == pytest.approx(expected)


def test_interval_of_a_mean_matches_theory():
    hits = np.random.default_rng(1).random(400) < 0.3
    table = accuracy_table([("en", i, hit) for i, hit in enumerate(hits)])
    low, high = aggregate.interval(table.draws(4000))
    half = 1.96 * 100 * np.sqrt(hits.mean() * (1 - hits.mean()) / 400)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert low < table.macro() < high


def test_examples_of_one_concept_are_drawn_together():
    # 36 languages that all succeed or all fail with the picture carry one picture's information:
    # drawing examples one by one would make this interval six times too narrow.
    hits = np.random.default_rng(1).random(100) < 0.5
    one = accuracy_table([("en", i, hit) for i, hit in enumerate(hits)])
    many = accuracy_table([(f"l{k}", i, hit) for k in range(36) for i, hit in enumerate(hits)])
    widths = [np.diff(aggregate.interval(t.draws())) for t in (one, many)]
    assert widths[1] == pytest.approx(widths[0])


def test_paired_draws_of_equal_systems_do_not_differ():
    rows = [("en", i, i % 3 == 0) for i in range(30)]
    assert not (accuracy_table(rows).draws() - accuracy_table(rows).draws()).any()


def test_a_language_missing_from_a_sample_is_left_out_of_it():
    table = accuracy_table([("en", 0, 1), ("sw", 1, 1)])
    assert (table.draws(200) == 100.0).all()


def test_examples_that_do_not_count_change_no_score_and_no_draw():
    rows = [("en", i, i % 2) for i in range(10)] + [("sw", i, 1) for i in range(10)]
    languages, groups, hits = zip(*rows, strict=True)
    counted = [lang == "en" for lang in languages]
    statistics = np.array([(h and c, c) for h, c in zip(hits, counted, strict=True)], float)
    table = aggregate.table(languages, groups, statistics, counted=counted)
    assert table.per_language() == {"en": 50}
    assert table.macro() == 50
    assert (table.draws() == accuracy_table(rows[:10]).draws()).all()
    with pytest.raises(ValueError, match="no examples"):
        aggregate.table(["en"], [0], np.zeros((1, 2)), counted=[False])


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 3))
def test_other_picture_is_a_permutation_without_own_group(groups, seed):
    order = aggregate.other_picture(groups, seed)
    largest = max((groups.count(g) for g in groups), default=0)
    if not groups or 2 * largest > len(groups):
        assert order is None
        return
    assert sorted(order) == list(range(len(groups)))
    assert all(groups[i] != groups[j] for i, j in enumerate(order))


def test_other_picture_depends_on_the_seed_only():
    groups = list(range(50))
    assert aggregate.other_picture(groups, 1) == aggregate.other_picture(groups, 1)
    assert aggregate.other_picture(groups, 1) != aggregate.other_picture(groups, 2)


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        aggregate.table([], [], np.zeros((0, 2)))
