# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Score records of made-up predictions whose scores are known beforehand."""

import random

import numpy as np
import pytest

from pali.metrics import records
from pali.metrics.chrf import chrf
from pali.metrics.detection import SCORES, VARIANT, detection
from pali.metrics.error_rates import cer, cer_no_spaces
from pali.metrics.exact_match import exact_match

NAMES = {
    "en": ["dog", "cat", "owl", "bee"],
    "hi": ["कुत्ता", "बिल्ली", "उल्लू", "मधुमक्खी"],
}


def line(lang, number, prediction, **more):
    return {
        "id": f"toy/validation/{lang}{number}",
        "task": "toy",
        "split": "validation",
        "version": "1",
        "lang": lang,
        "group": str(number),
        "image_key": f"art/{number}/0",
        "prompt": "Generate",
        "references": [NAMES.get(lang, NAMES["en"])[number]],
        "prediction": prediction,
        "log_prob": -1.0,
        "num_tokens": 2,
    } | more


def scores_of(lines, metric_fns=(exact_match, chrf)):
    found = records.score(lines, metric_fns)
    return {(r["metric"], r["variant"], r["system"]): r for r in found}


@pytest.fixture
def perfect():
    """A model that is always right, a classifier that always says "dog", 4-way choices."""
    return [
        line(
            lang,
            number,
            name,
            baseline=names[0],
            baseline_class_right=number == 0,
            candidates=names,
            right_candidate=number,
            # "dog" is likely whatever the picture shows; the right name gains 1.
            log_likelihoods=[(-1.0 if j == 0 else -9.0) + (j == number) for j in range(4)],
            baseline_scores=[1.0, 0.0, 0.0, 0.0],
        )
        for lang, names in NAMES.items()
        for number, name in enumerate(names)
    ]


def test_every_record_says_what_it_is(perfect):
    for record in records.score(perfect, (exact_match, chrf)):
        assert {"benchmark", "version", "split", "metric", "variant", "system"} <= record.keys()
        assert record["variant"]
        assert (record["n"], record["languages"]) == (8, 2)
        assert record["score"] == pytest.approx(np.mean(list(record["per_language"].values())))
        low, high = record["interval"]
        assert low <= record["score"] + 1e-9
        assert high >= record["score"] - 1e-9


def test_perfect_model_and_its_controls(perfect):
    scores = scores_of(perfect)
    em = ("exact_match", "nfkc-space")
    assert scores[*em, "model"]["score"] == 100
    assert scores[*em, "baseline"]["score"] == 25
    assert scores[*em, "shuffled"]["score"] == 0
    assert scores[*em, "baseline"]["lead"]["score"] == 75
    assert scores[*em, "shuffled"]["lead"] == {"score": 100, "interval": (100, 100)}
    assert scores["right_script", "most-letters", "model"]["score"] == 100
    assert scores["right_script", "most-letters", "shuffled"]["score"] == 100
    assert scores["vit_top_1", "argmax", "baseline"]["score"] == 25


def test_choice_with_and_without_prior(perfect):
    scores = scores_of(perfect)
    assert scores["choice", "sum-minus-prior", "model"]["score"] == 100
    assert scores["choice", "sum", "model"]["score"] == 25  # always "dog"
    assert scores["choice", "sum-minus-prior", "shuffled"]["score"] == 0
    # A classifier that does not look is at chance once its prior is gone.
    assert scores["choice", "sum-minus-prior", "baseline"]["score"] == pytest.approx(25)
    assert scores["choice", "sum", "model"]["chance"] == 25


def test_order_of_the_lines_changes_nothing(perfect):
    shuffled = perfect[:]
    random.Random(0).shuffle(shuffled)
    assert records.score(shuffled, (exact_match, chrf)) == records.score(
        perfect, (exact_match, chrf)
    )


@pytest.mark.parametrize("lang", ["", "klingon"])
def test_without_a_known_language_there_is_no_script(lang):
    lines = [line(lang, number, "dog") for number in range(4)]
    assert {key[0] for key in scores_of(lines)} == {"exact_match", "chrf"}


def test_without_classifier_there_is_no_baseline():
    lines = [line("en", number, "dog") for number in range(4)]
    assert {key[2] for key in scores_of(lines)} == {"model", "majority", "shuffled"}


def test_the_majority_answer_is_that_of_each_language():
    answers = {"en": ["2", "2", "2", "1"], "hi": ["1", "1", "2", "1"]}
    lines = [
        line(lang, number, "2", references=[answer])
        for lang, each in answers.items()
        for number, answer in enumerate(each)
    ]
    found = scores_of(lines)["exact_match", "nfkc-space", "majority"]
    assert found["per_language"] == {"en": 75, "hi": 75}
    assert found["lead"]["score"] == (75 + 25) / 2 - 75
    # For a metric of edits it is the same answer.
    edits = records.score(lines, (cer,))
    (found,) = [record for record in edits if record["system"] == "majority"]
    assert found["metric"] == "cer"
    assert found["per_language"] == {"en": 25, "hi": 25}
    english = records.score(lines, (exact_match,), english=True)
    (found,) = [record for record in english if record["system"] == "majority"]
    assert found["per_language"] == {"en": 25, "hi": 75}  # "1", of which there are four.


def test_a_language_with_one_picture_is_shuffled_with_the_others():
    lines = [line("en", number, str(number), references=[str(number)]) for number in range(4)]
    lines.append(line("hi", 3, "4", references=["4"], group="other"))
    found = scores_of(lines)["exact_match", "nfkc-space", "shuffled"]
    assert found["per_language"] == {"en": 0, "hi": 0}


def test_boxes_are_scored_by_their_own_metrics():
    cat = "100 100 300 300 cat"
    lines = [line("en", number, cat, references=[cat]) for number in range(3)]
    lines.append(line("en", 3, "nothing", references=[cat]))
    scores = scores_of(lines, (detection,))
    found = {metric: scores[metric, VARIANT, "model"]["score"] for metric in SCORES}
    assert found == {"recall": 75, "precision": 75, "unparsed": 25}


def test_the_script_is_measured_only_where_it_can_be_wrong():
    lines = [line("hi", number, "2", references=["2"]) for number in range(2)]
    found = {record["metric"] for record in records.score(lines, (exact_match,), english=True)}
    assert found == {"exact_match"}


def test_one_picture_has_no_controls_and_no_choice(perfect):
    alone = [each for each in perfect if each["group"] == "0"]
    found = {(metric, system) for metric, _, system in scores_of(alone)}
    assert ("exact_match", "shuffled") not in found
    assert not any(metric == "choice" for metric, _ in found)


def test_candidates_that_are_no_class_have_no_baseline(perfect):
    for each in perfect:
        each["baseline_scores"][-1] = None
    assert ("choice", "sum", "baseline") not in scores_of(perfect)
    assert ("choice", "sum", "model") in scores_of(perfect)


def share_of_short(targets, predictions):
    assert all(isinstance(target, str) for target in targets)
    return {"short": 100 * sum(len(p) < 4 for p in predictions) / len(predictions)}


def test_a_metric_of_the_task_file_that_pali_does_not_know(perfect):
    scores = scores_of(perfect, (share_of_short,))
    (key,) = [key for key in scores if key[0] == "short" and key[2] == "model"]
    assert key[1].endswith(".share_of_short")
    assert scores[key]["per_language"] == {"en": 100, "hi": 0}
    assert scores[key]["score"] == 50
    assert scores["short", key[1], "baseline"]["score"] == 50


def test_nothing_to_score():
    with pytest.raises(ValueError, match="no predictions"):
        records.score([], (exact_match,))


def test_character_errors_are_summed_per_language_and_have_an_interval(perfect):
    said = [row | {"prediction": row["prediction"] + " x"} for row in perfect]
    found = scores_of(said, (cer, cer_no_spaces))
    spaced = found["cer", "levenshtein|nfkc|spaces", "model"]
    # Two letters too many in each of 4 names of 3 letters.
    assert spaced["per_language"]["en"] == pytest.approx(100 * 8 / 12)
    assert spaced["score"] == pytest.approx(np.mean(list(spaced["per_language"].values())))
    assert spaced["interval"][0] <= spaced["score"] <= spaced["interval"][1]
    without = found["cer_no_spaces", "levenshtein|nfkc|no-spaces", "model"]
    assert without["per_language"]["en"] == pytest.approx(100 * 4 / 12)
    targets = [row["references"][0] for row in said if row["lang"] == "hi"]
    predictions = [row["prediction"] for row in said if row["lang"] == "hi"]
    assert spaced["per_language"]["hi"] == pytest.approx(cer(targets, predictions)["cer"])
