# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a score is a score of: the line that stands beside every number, as sacrebleu's does.

    cider|bench:-|split:-|var:cider-d;n:4;sigma:6|tok:ptb-py@1|n:5000|spec:1

`bench` and `split` are "-" of a plain pair of files. `var` is the variant that the metric's module
names, `tok` what made the tokens and its version ("none": the text is split as it is), `n` the
number of items, `spec` the version of pali's rules, which rises when any of them changes a score.
A score of a part of the items has `partial` at its end. Where not every answer can be judged, such
as one without a letter by its language, `judged` says how many were: `…|n:5000|spec:1|judged:4990`.

Scores whose signatures differ answer different questions. `differences` says in what, and
`pali.summary.column` refuses to show them in one column without saying so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

SPEC = 1
"""Version of the rules in pali/metrics."""

_SHORT = {
    **{"benchmark": "bench", "split": "split", "variant": "var", "tokenizer": "tok"},
    **{"items": "n", "spec": "spec"},
}


@dataclass(frozen=True)
class Signature:
    """Everything that must be the same before two scores are compared."""

    metric: str
    variant: str
    items: int
    benchmark: str = "-"
    split: str = "-"
    tokenizer: str = "none"
    """With its version, such as "ptb-java@3.4.1"."""
    spec: str = str(SPEC)
    """Version of the rules; of a benchmark also that of its specification."""
    partial: bool = False
    """Whether items without a prediction were left out: no official score."""
    judged: int | None = field(default=None, compare=False)
    """Answers behind the score, where that is not all items. It follows from the answers, so that
    scores which differ in it alone are comparable."""

    def __str__(self) -> str:
        fields = [f"{short}:{_plain(getattr(self, name))}" for name, short in _SHORT.items()]
        judged = [] if self.judged is None else [f"judged:{self.judged}"]
        partial = ["partial"] if self.partial else []
        return "|".join([_plain(self.metric), *fields, *judged, *partial])


def parse(text: str) -> Signature:
    """The signature that `str` printed.

    Raises:
      ValueError: the text is none.
    """
    metric, *parts = text.split("|")
    partial = parts[-1:] == ["partial"]
    pieces = (part.partition(":") for part in parts[: len(parts) - partial])
    found = {short: value for short, _, value in pieces}
    judged = found.pop("judged", None)
    if (
        list(found) != list(_SHORT.values())
        or not found["n"].isdecimal()
        or not (judged is None or judged.isdecimal())
    ):
        fields = "|".join(f"{short}:…" for short in _SHORT.values())
        raise ValueError(f"{text!r} is no signature; one looks like metric|{fields}")
    variant, items, benchmark, split, tokenizer, spec = (
        found[short] for short in ("var", "n", "bench", "split", "tok", "spec")
    )
    return Signature(
        *(metric, variant, int(items), benchmark, split, tokenizer, spec, partial),
        judged=None if judged is None else int(judged),
    )


def differences(signatures: Sequence[Signature]) -> dict[str, list[str]]:
    """The fields in which signatures differ, with the values there are, in their order."""
    found = {}
    for part in dataclasses.fields(Signature):
        values = list(dict.fromkeys(_plain(getattr(s, part.name)) for s in signatures))
        if part.compare and len(values) > 1:
            found[part.name] = values
    return found


def _plain(value: object) -> str:
    """Without the bars that separate fields."""
    return str(value).replace("|", ";")
