# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A run's predictions -> score records: model, baseline and shuffled control, side by side.

In:  the lines of predictions.jsonl of one task and split (`Line`).
Out: score records, plain dicts for metrics.json:

    benchmark, version, split   what was measured
    metric, variant             how; a score without its variant means nothing
    signature                   all of the above in one line (signature.py)
    system                      "model", "baseline", "majority": the answer that is most often
                                right in a language, for all its examples; or "shuffled": the
                                model's own answers to other pictures of that split and language, or
                                of any language where it has too few
    score, n, languages         0..100, macro average over so many languages; examples behind it
    judged                      of the wrong language: those of the n that can be judged
    interval                    95 %, bootstrap over what the pictures show (aggregate.py)
    lead                        of the controls: model minus control and its paired interval
    chance                      of a choice: the score of a guess
    per_language                the score of each language
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np

from pali.languages import resolve
from pali.metrics import aggregate, choice, wrong_language
from pali.metrics.aggregate import (
    CER,
    CER_NO_SPACES,
    CHRF,
    DETECTION,
    EXACT_MATCH,
    RIGHT_SCRIPT,
    Metric,
    Table,
)
from pali.metrics.chrf import chrf
from pali.metrics.detection import detection
from pali.metrics.error_rates import cer, cer_no_spaces
from pali.metrics.exact_match import exact_match, normalise
from pali.metrics.signature import SPEC, Signature
from pali.metrics.wrong_language import Judge, installed_judge

MetricFn = Callable[[Sequence[Any], Sequence[str]], dict[str, float]]
"""What a task file names: (targets, predictions) of a split -> scores."""

Record = dict[str, Any]


class Line(TypedDict):
    """One line of predictions.jsonl."""

    id: str
    task: str
    split: str
    version: str
    """Of the benchmark (pali/data/benchmarks.py)."""
    lang: str
    """"" where a task has no languages."""
    group: str
    image_key: str
    prompt: str
    references: list[str]
    prediction: str
    log_prob: float
    num_tokens: int
    baseline: NotRequired[str]
    baseline_class_right: NotRequired[bool | None]
    """Whether the ViT's class is what the picture shows; None where that is no class of its."""
    item: NotRequired[int | str]
    """Of a public benchmark: its own id, as it writes it."""
    chosen: NotRequired[str]
    """Of a benchmark of classes: the number of the one whose name is the likeliest."""
    candidates: NotRequired[list[str]]
    right_candidate: NotRequired[int]
    log_likelihoods: NotRequired[list[float]]
    baseline_scores: NotRequired[list[float | None]]
    """The ViT's logits of the candidates; None for one that is no class of its."""


# Metric functions whose per-example statistics are known, and which so have an interval.
_KNOWN: dict[MetricFn, tuple[Metric, ...]] = {
    exact_match: (EXACT_MATCH,),
    chrf: (CHRF,),
    cer: (CER,),
    cer_no_spaces: (CER_NO_SPACES,),
    detection: DETECTION,
}


_ENGLISH = "en|"
"""Before the variant of the wrong language where answers are to be English."""


def score(
    lines: Sequence[Line],
    metric_fns: Sequence[MetricFn],
    english: bool = False,
    judge: Judge | None = None,
) -> list[Record]:
    """Scores one task and split.

    Args:
      lines: predictions, all of one task and split.
      metric_fns: what the task file names. A choice is measured wherever lines have candidates.
      english: answers are to be English, whatever the language of the question: one majority
        answer for all languages, and no script of its own to be in. Else the right script is
        measured, too. Either is, as the wrong language, where pali knows the lines' languages.
      judge: of the wrong language; by default with the detector that is installed.

    Raises:
      ValueError: no lines.
    """
    if not lines:
        raise ValueError("no predictions to score")
    # The order of lines depends on where a run was interrupted; draws and shuffles must not.
    lines = sorted(lines, key=lambda line: line["id"])
    texts = {"model": [line["prediction"] for line in lines]}
    if all("baseline" in line for line in lines):
        texts["baseline"] = [line.get("baseline", "") for line in lines]
    if (others := _others(lines)) is not None:
        texts["shuffled"] = [lines[i]["prediction"] for i in others]

    majority = {"majority": _majority(lines, english)}
    records = []
    for function in metric_fns:
        if function not in _KNOWN:
            records += _plain_records(lines, texts, function)
        for metric in _KNOWN.get(function, ()):
            records += _text_records(lines, texts | majority, metric)
    if _languages_known(lines):
        if not english:
            records += _text_records(lines, texts, RIGHT_SCRIPT)
        records += _wrong_language_records(lines, texts, english, judge or installed_judge())
    return [*records, *_choice_records(lines), *_classifier_records(lines)]


def _text_records(
    lines: Sequence[Line], texts: dict[str, list[str]], metric: Metric
) -> list[Record]:
    tables = {system: text_table(lines, said, metric) for system, said in texts.items()}
    return _records(lines, metric.name, metric.variant, tables)


def text_table(lines: Sequence[Line], predictions: Sequence[str], metric: Metric) -> Table:
    """What answers to some lines earn, which need not be those of the lines themselves."""
    statistics = [
        metric.statistics(prediction, line["references"], line["lang"])
        for line, prediction in zip(lines, predictions, strict=True)
    ]
    return _table(lines, np.array(statistics, np.float64), metric.finish)


def _wrong_language_records(
    lines: Sequence[Line], texts: dict[str, list[str]], english: bool, judge: Judge
) -> list[Record]:
    """None of a system whose answers cannot be judged, such as bare numbers."""
    name, variant = wrong_language.NAME, _ENGLISH * english + judge.variant
    found = {
        system: _wrong_language_table(lines, said, variant, judge) for system, said in texts.items()
    }
    tables = {system: table for system, table in found.items() if table is not None}
    return [
        record | _about(lines, name, variant, system, judged=int(tables[system].counts.sum()))
        for record in _records(lines, name, variant, tables)
        for system in (record["system"],)
    ]


def _wrong_language_table(
    lines: Sequence[Line], said: Sequence[str], variant: str, judge: Judge
) -> Table | None:
    english = variant.startswith(_ENGLISH)
    verdicts = judge.verdicts(said, ["en" if english else line["lang"] for line in lines])
    counted = [verdict is not None for verdict in verdicts]
    if not any(counted):
        return None
    statistics = np.array([(verdict or 0, verdict is not None) for verdict in verdicts], np.float64)
    return _table(lines, statistics, aggregate.mean_of, counted)


def _majority(lines: Sequence[Line], english: bool) -> list[str]:
    """For each line the reference that most lines (of its language) have; of several the first."""
    answers = [""] * len(lines)
    for rows in [range(len(lines))] if english else _by_language(lines).values():
        counts = Counter(text for i in rows for text in map(normalise, lines[i]["references"]))
        most = max(sorted(counts), key=lambda text: counts[text])
        for i in rows:
            answers[i] = most
    return answers


def _plain_records(
    lines: Sequence[Line], texts: dict[str, list[str]], function: MetricFn
) -> list[Record]:
    """Of a metric that is only known as a function: language by language, without interval."""
    records: list[Record] = []
    for system, predictions in texts.items():
        found: dict[str, dict[str, float]] = {}
        for lang, rows in _by_language(lines).items():
            targets = [lines[i]["references"] for i in rows]
            targets = [t[0] if len(t) == 1 else t for t in targets]
            for name, value in function(targets, [predictions[i] for i in rows]).items():
                found.setdefault(name, {})[lang] = float(value)
        variant = f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', function)}"
        for name, per_language in found.items():
            records.append(
                _about(lines, name, variant, system)
                | {"score": float(np.mean(list(per_language.values()))), "n": len(lines)}
                | {"languages": len(per_language), "per_language": per_language}
            )
    return records


def _choice_records(lines: Sequence[Line]) -> list[Record]:
    """The right one of the candidates by log-likelihood; see pali/metrics/choice.py."""
    asked = [line for line in lines if "log_likelihoods" in line]
    by_language = _by_language(asked)
    if not asked or any(len(rows) < 2 for rows in by_language.values()):
        return []
    scores: dict[str, Sequence] = {"model": [line.get("log_likelihoods") for line in asked]}
    baseline = [line.get("baseline_scores") for line in asked]
    if all(row and None not in row for row in baseline):
        scores["baseline"] = baseline
    others = _others(asked)
    if others and all(asked[i]["lang"] == asked[j]["lang"] for i, j in enumerate(others)):
        scores["shuffled"] = [scores["model"][i] for i in others]
    records = []
    for variant in choice.VARIANTS:
        tables = {system: choice_table(asked, rows, variant) for system, rows in scores.items()}
        chance = 100 * float(np.mean([1 / len(line.get("candidates", [])) for line in asked]))
        records += [
            record | {"chance": chance} for record in _records(asked, "choice", variant, tables)
        ]
    return records


def choice_table(asked: Sequence[Line], scores: Sequence, variant: str) -> Table:
    """What the scores of each line's candidates earn; at least two lines of every language."""
    earned = np.zeros((len(asked), 2))
    for rows in _by_language(asked).values():
        matrix = np.array([scores[i] for i in rows], np.float64)
        if variant == "sum-minus-prior":
            matrix = choice.minus_prior(matrix)
        truth = np.array([asked[i].get("right_candidate") for i in rows])
        earned[rows, 0] = choice.credit(matrix, truth)
        earned[rows, 1] = 1
    return _table(asked, earned, aggregate.mean_of)


def model_table(lines: Sequence[Line], metric: str, variant: str) -> Table | None:
    """The table behind a record of the model.

    None of a metric that is only known as a function, and of the wrong language, which another
    detector than the one installed may have judged. Lines are sorted by id, so that two models'
    tables have the same groups in the same order, and their draws are paired.
    """
    lines = sorted(lines, key=lambda line: line["id"])
    if metric == "choice":
        asked = [line for line in lines if "log_likelihoods" in line]
        return choice_table(asked, [line.get("log_likelihoods") for line in asked], variant)
    if metric == wrong_language.NAME:
        judge = wrong_language.judge_of(variant.removeprefix(_ENGLISH))
        said = [line["prediction"] for line in lines]
        return None if judge is None else _wrong_language_table(lines, said, variant, judge)
    for known in (*(one for group in _KNOWN.values() for one in group), RIGHT_SCRIPT):
        if (known.name, known.variant) == (metric, variant):
            return text_table(lines, [line["prediction"] for line in lines], known)
    return None


def _classifier_records(lines: Sequence[Line]) -> list[Record]:
    """Top-1 accuracy of the ViT's own classifier, which limits the baseline."""
    right = [line.get("baseline_class_right") for line in lines]
    if any(value is None for value in right):
        return []
    table = _table(lines, np.array([(value, 1) for value in right], np.float64), aggregate.mean_of)
    return _records(lines, "vit_top_1", "argmax", {"baseline": table})


def _records(
    lines: Sequence[Line], metric: str, variant: str, tables: dict[str, Table]
) -> list[Record]:
    draws = {system: table.draws() for system, table in tables.items()}
    records = []
    for system, table in tables.items():
        record = _about(lines, metric, variant, system)
        record |= {"score": table.macro(), "interval": aggregate.interval(draws[system])}
        if system != "model" and "model" in tables:
            record["lead"] = {
                "score": tables["model"].macro() - table.macro(),
                "interval": aggregate.interval(draws["model"] - draws[system]),
            }
        per_language = table.per_language()
        record |= {"n": len(lines), "languages": len(per_language)}
        records.append(record | {"per_language": per_language})
    return records


def _about(
    lines: Sequence[Line], metric: str, variant: str, system: str, judged: int | None = None
) -> Record:
    benchmark, version, split = (lines[0][key] for key in ("task", "version", "split"))
    spec = f"{SPEC}.{version}"
    signature = Signature(metric, variant, len(lines), benchmark, split, spec=spec, judged=judged)
    record = {"benchmark": benchmark, "version": version, "split": split, "metric": metric}
    record |= {"variant": variant, "signature": str(signature), "system": system}
    return record if judged is None else record | {"judged": judged}


def _table(
    lines: Sequence[Line],
    statistics: np.ndarray,
    finish: Callable[[np.ndarray], np.ndarray],
    counted: Sequence[bool] | None = None,
) -> Table:
    languages = [line["lang"] for line in lines]
    groups = [line["group"] for line in lines]
    return aggregate.table(languages, groups, statistics, finish, counted)


def _languages_known(lines: Sequence[Line]) -> bool:
    try:
        return all(resolve(lang) for lang in {line["lang"] for line in lines})
    except ValueError:
        return False


def _by_language(lines: Sequence[Line]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        rows.setdefault(line["lang"], []).append(i)
    return rows


def _others(lines: Sequence[Line]) -> list[int] | None:
    """For each line one with another picture, of its language where that has enough; None if none.

    A language whose strings are few may have a single picture, which has no other.
    """

    def permuted(rows: Sequence[int], seed: str) -> dict[int, int] | None:
        digest = hashlib.sha256(seed.encode()).digest()
        order = aggregate.other_picture(
            [lines[i]["group"] for i in rows], seed=int.from_bytes(digest[:4], "big")
        )
        if order is None:
            return None
        return {i: rows[other] for i, other in zip(rows, order, strict=True)}

    split = lines[0]["split"]
    if (others := permuted(range(len(lines)), split)) is None:
        return None
    for lang, rows in _by_language(lines).items():
        others |= permuted(rows, f"{split}/{lang}") or {}
    return [others[i] for i in range(len(lines))]
