# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Right script: the share of answers that are written in a script of the language asked for.

Formula: `100 * mean over examples of [more than half of the letters belong to the language]`, by
the rule and the table of pali/languages.py. An answer without a letter, also an empty one, is in no
script. A model that passes may still write another language of the same script: this finds the
gross failure of answering Hindi in English, no more.
"""

from collections.abc import Sequence

from pali.languages import in_script

VARIANT = "most-letters"


def is_right_script(prediction: str, lang: str) -> bool:
    """Whether most letters of the prediction belong to a script of the language."""
    return in_script(prediction, lang)


def right_script_share(predictions: Sequence[str], languages: Sequence[str]) -> float:
    """Percentage of predictions in the script of their language.

    Raises:
      ValueError: the two differ in length, or are empty.
    """
    if len(predictions) != len(languages) or not predictions:
        raise ValueError(
            f"{len(predictions)} predictions in {len(languages)} languages: one language for each "
            "prediction is needed, and at least one"
        )
    pairs = zip(predictions, languages, strict=True)
    return 100.0 * sum(is_right_script(text, lang) for text, lang in pairs) / len(predictions)
