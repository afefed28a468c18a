# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Exact match by rules, OCRBench and SQuAD: cases worked by hand."""

import pytest

from pali.metrics.answer_match import RULES, answer_match, answer_match_per_item
from pali.metrics.exact_match import exact_match
from pali.metrics.ocrbench import contains, ocrbench_per_item
from pali.metrics.squad import squad, squad_per_item


@pytest.mark.parametrize(
    ("answer", "said", "right"),
    [
        ("cat", "cat", ["nfkc-space", "raw", "tally", "maxm", "maxm-joined"]),
        ("cat", "Cat", ["maxm", "maxm-joined"]),
        ("cat", " cat", ["nfkc-space", "maxm", "maxm-joined"]),
        ("cat", "cat.", ["maxm", "maxm-joined"]),
        ("two cats", "two  cats", ["nfkc-space", "maxm", "maxm-joined"]),
        ("สองตัว", "สอง ตัว", ["maxm-joined"]),
        ("三只猫", "三 只 猫。", ["maxm-joined"]),
        ("2", "Two", ["tally"]),
        ("none", "0", ["tally"]),
        ("20", "twenty", ["tally"]),
        ("21", "twenty-one", []),
    ],
)
def test_rules(answer, said, right):
    found = [rule for rule in RULES if answer_match([answer], [said], rule)["exact_match"]]
    assert found == right


def test_one_of_several_answers_is_enough_and_the_default_is_that_of_exact_match():
    answers, said = [["dog", "hound"], "a", ["b"], "ﬁsh"], ["hound", "b", "b", "fish"]
    assert answer_match_per_item(answers, said).tolist() == [1, 0, 1, 1]
    percent = exact_match(answers, said)["exact_match"]
    assert 100 * answer_match(answers, said)["exact_match"] == percent
    with pytest.raises(ValueError, match="no rule 'best'"):
        answer_match(answers, said, "best")


def test_ocrbench_looks_for_the_answer_in_what_was_said():
    assert contains(["Open"], "The sign says OPEN\nuntil nine")
    assert contains(["says open"], "the sign says\nopen")
    assert not contains(["closed", "shut"], "open")
    assert contains(["x ^ 2 + A"], "y = x^2+A", "HME100k")
    assert not contains(["x ^ 2 + A"], "y = x^2+a", "HME100k")
    assert ocrbench_per_item(["a", ["b", "c"]], ["xay", "d"], ["", "HME100k"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="1 predictions for 2 targets"):
        ocrbench_per_item(["a", "b"], ["a", "b"], ["HME100k"])


def test_squad_by_hand():
    answers = [["the Blue Whale", "whale"], ["in 1066"], ["x"]]
    said = ["A blue whale!", "1066 or 1067", ""]
    each = squad_per_item(answers, said)
    assert each[:, 0].tolist() == [1, 0, 0]
    # One of two and one of three words are common: 2 * 1/3 * 1/2 / (1/3 + 1/2).
    assert each[:, 1].tolist() == pytest.approx([1, 0.4, 0])
    assert squad(answers, said) == pytest.approx({"em": 100 / 3, "f1": 140 / 3})
