# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a text is in the language that it should be in: by its script, and by a detector.

Scripts are always compared (pali/languages.py). Languages of one script are told apart by
py3langid, of the extras `check` and `train`: naive Bayes over bytes, 140 labels, its 5-MB model
inside the package, so that nothing is fetched. Without it, scripts alone are compared, and whoever
asks says so. How often either is mistaken: docs/evaluation.md.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Any

from pali.languages import LANGUAGES, in_script, resolve

MIN_LETTERS = 20
"""The detector is not asked about shorter texts: it would guess."""

LIKELY, UNLIKELY = 0.3, 0.01
"""A text is another language's when that has at least the first probability, and the one declared
less than the second."""

NEVER_TOLD = frozenset({"pcm"})
"""The detector is not asked about these: Nigerian Pidgin reads as English, whose words it has."""


def letters(text: str) -> int:
    """How many letters (Unicode category L*) a text has."""
    return sum(unicodedata.category(c)[0] == "L" for c in text)


def wrong_script(text: str, lang: str) -> bool:
    """Whether a text has letters, and half of them or more are in no script of the language."""
    return letters(text) > 0 and not in_script(text, lang)


class Detector:
    """py3langid, by our codes."""

    def __init__(self, identifier: Any, version: str):
        """See `load_detector`."""
        self._identifier = identifier
        self.name = f"py3langid {version}"
        self._codes = {label: _code(label) for label in identifier.labels}
        self.languages = frozenset(self._codes.values()) - NEVER_TOLD

    def other_language(self, text: str, lang: str) -> str | None:
        """The language that a text is in instead of `lang`; None if it may well be `lang`.

        None also for a text that is too short, and a language that the detector does not know.
        """
        if lang not in self.languages or letters(text) < MIN_LETTERS:
            return None
        ranked = self._identifier.rank(text[:2000])
        if self._codes[ranked[0][0]] == lang:  # The usual case, which need not be summed.
            return None
        shares: Counter[str] = Counter()
        for label, probability in ranked:
            shares[self._codes[label]] += probability
        best, share = shares.most_common(1)[0]
        return best if share >= LIKELY and shares[lang] < UNLIKELY and best != lang else None


def load_detector() -> Detector | None:
    """The detector, or None where it is not installed."""
    try:
        from py3langid import langid
    except ModuleNotFoundError:
        return None
    from importlib.metadata import version

    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
    return Detector(identifier, version("py3langid"))


def _code(label: str) -> str:
    """Our code of a label; the label itself where we have no name for the language."""
    try:
        code = resolve(label)
    except ValueError:
        return label
    assert code in LANGUAGES
    return code
