# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from pali.metrics import script


@pytest.mark.parametrize(
    ("text", "lang", "expected"),
    [
        ("कुत्ता", "hi", True),
        ("kutta", "hi", False),
        ("赤いりんご", "ja", True),
        ("赤いりんご", "zh", False),  # most letters are hiragana
        ("개", "ko", True),
        ("TV में कुत्ता", "hi", True),  # a foreign word inside does no harm
        ("mbwa", "sw", True),
        ("собака", "sw", False),
        ("", "en", False),
        ("123 !", "en", False),
    ],
)
def test_is_right_script_by_hand(text, lang, expected):
    assert script.is_right_script(text, lang) is expected


def test_share_by_hand():
    share = script.right_script_share(["dog", "कुत्ता", "dog", "หมา"], ["en", "hi", "hi", "th"])
    assert share == 75.0


def test_share_needs_one_language_each():
    with pytest.raises(ValueError, match="2 predictions in 1 languages"):
        script.right_script_share(["a", "b"], ["en"])
    with pytest.raises(ValueError, match="0 predictions"):
        script.right_script_share([], [])
