# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Signatures: printed, read again, compared."""

import pytest

from pali.metrics.signature import Signature, differences, parse

CIDER = Signature("cider", "cider-d|n:4", 5000, "coco", "test", "ptb-java@3.4.1", "1.2")


def test_printed_and_read_again():
    assert (
        str(CIDER)
        == "cider|bench:coco|split:test|var:cider-d;n:4|tok:ptb-java@3.4.1|n:5000|spec:1.2"
    )
    partial = Signature("anls", "rrc", 3, partial=True)
    assert str(partial) == "anls|bench:-|split:-|var:rrc|tok:none|n:3|spec:1|partial"
    for signature in (CIDER, partial):
        assert str(parse(str(signature))) == str(signature)


def test_what_differs_is_named():
    assert differences([]) == differences([CIDER, parse(str(CIDER))]) == {}
    other = Signature("cider", "cider-d|n:4", 4999, "coco", "test", "ptb-py@1", "1.2", partial=True)
    assert differences([CIDER, other]) == {
        "items": ["5000", "4999"],
        "tokenizer": ["ptb-java@3.4.1", "ptb-py@1"],
        "partial": ["False", "True"],
    }


@pytest.mark.parametrize("text", ["", "cider", "cider|n:5", str(CIDER).replace("n:5000", "n:many")])
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="is no signature"):
        parse(text)


def test_how_many_were_judged_is_said_and_is_no_difference():
    judged = Signature("wrong_language", "script", 9, "toy", "validation", judged=6)
    assert str(judged).endswith("|n:9|spec:1|judged:6")
    assert parse(str(judged)).judged == 6
    part = Signature("wrong_language", "script", 9, partial=True, judged=6)
    assert str(parse(str(part))) == str(part)
    other = Signature("wrong_language", "script", 9, "toy", "validation", judged=7)
    assert differences([judged, other]) == {}
    with pytest.raises(ValueError, match="is no signature"):
        parse(str(judged).replace("judged:6", "judged:many"))
