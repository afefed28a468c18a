# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Wrong language: the share of answers that are shown to be in another language than asked for.

Formula: `wrong / judged` over the answers that can be judged. An answer is

    wrong      if half of its letters or more are in no script of the language; or if the detector
               (text_language.py) knows the language, the answer has at least 20 letters, and it
               reads as another language
    not judged if it has no letter: an empty answer, "12", "?!" are in no language
    else       not shown to be wrong, which does not say that it is right

The variant is "script" where no detector is installed, else "script|py3langid@0.4.0": two results
by different detectors are different measurements. Less is better. How often the verdict itself is
mistaken stands in docs/evaluation.md.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from pali.languages import resolve
from pali.metrics.text_language import Detector, letters, load_detector, wrong_script

NAME = "wrong_language"
BY_SCRIPT = "script"
"""The variant without a detector."""

ADVICE = (
    "wrong language: judged by script alone, so English in place of German passes; to tell "
    "languages of one script apart: pip install 'open-pali[check]'"
)

_REMEMBERED = 100_000
"""Verdicts that are kept: models give the same answer to many pictures."""


class Judge:
    """Says of answers whether they are in another language than they should be."""

    def __init__(self, detector: Detector | None):
        """By script alone where there is no detector."""
        self._detector = detector
        self.variant = BY_SCRIPT
        if detector is not None:
            self.variant = f"{BY_SCRIPT}|{detector.name.replace(' ', '@')}"
        self.verdict = functools.lru_cache(_REMEMBERED)(self._verdict)

    def verdicts(self, answers: Iterable[str], languages: Iterable[str]) -> list[bool | None]:
        """Of each answer: whether it is in another language than asked for; None if not judged.

        Args:
          answers: any texts.
          languages: of each answer, as `pali.languages.resolve` takes them.

        Raises:
          ValueError: a language is unknown, or the two differ in length.
        """
        pairs = zip(answers, languages, strict=True)
        return [self.verdict(answer, lang) for answer, lang in pairs]

    def _verdict(self, answer: str, lang: str) -> bool | None:
        if not letters(answer):
            return None
        code = resolve(lang)
        if wrong_script(answer, code):
            return True
        detector = self._detector
        return detector is not None and detector.other_language(answer, code) is not None


@functools.cache
def installed_judge() -> Judge:
    """The judge with the detector that is installed, loaded once; by script alone without one."""
    return Judge(load_detector())


def judge_of(variant: str) -> Judge | None:
    """The judge of a variant; None where that names a detector which is not installed."""
    if variant == BY_SCRIPT:
        return Judge(None)
    judge = installed_judge()
    return judge if judge.variant == variant else None


def share(verdicts: Sequence[bool | None]) -> float | None:
    """Share of the judged answers that are wrong, 0 to 1; None if none is judged."""
    judged = [verdict for verdict in verdicts if verdict is not None]
    return sum(judged) / len(judged) if judged else None
