# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Texts in another language than they say."""

import sys

import pytest

from pali.metrics.text_language import load_detector, wrong_script


@pytest.fixture(scope="module")
def detector():
    found = load_detector()
    assert found is not None, "the extra `check` belongs to `make test`"
    return found


def test_scripts_are_judged_by_letters():
    assert wrong_script("a dog in the snow", "hi")
    assert not wrong_script("बर्फ में iPhone के साथ कुत्ता", "hi")
    assert not wrong_script("3 × 4 = 12", "hi"), "there is no letter to judge by"


@pytest.mark.parametrize(
    ("text", "declared", "found"),
    [
        ("A brown dog is running over the green meadow in summer", "de", "en"),
        ("Ein brauner Hund läuft im Sommer über die grüne Wiese", "de", None),
        ("Ein brauner Hund läuft im Sommer über die grüne Wiese", "en", "de"),
        ("Коричневая собака бежит по зелёному лугу летом", "kk", "ru"),
        ("Un perro marrón corre por el prado verde en verano", "es", None),
        ("a dog", "de", None),  # too short
        ("A brown dog is running over the green meadow in summer", "chr", None),  # not known
    ],
)
def test_languages_of_one_script(detector, text, declared, found):
    assert detector.other_language(text, declared) == found


def test_without_the_package_there_is_no_detector(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid", None)
    assert load_detector() is None
