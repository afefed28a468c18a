# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Span corruption: nothing is lost, the shares are T5's, the draw decides."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pali.data.skipping import RecordError
from pali.data.span_corruption import CorruptSpans, fill, noise_mask
from pali.tokenizer import EOS_ID, NUM_SENTINELS, Tokenizer

SENTINELS = list(range(999, 999 - NUM_SENTINELS, -1))


def restored(inputs, targets):
    """What was corrupted, told from the two texts alone."""
    spans, current = {}, None
    for token in targets:
        if token in SENTINELS:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    return [t for token in inputs for t in spans.get(token, [token])]


@given(st.integers(2, 1500), st.floats(0.01, 0.99), st.floats(1, 20), st.integers(0, 99))
def test_the_text_can_be_put_together_again(length, density, mean_span, seed):
    mask = noise_mask(length, density, mean_span, np.random.default_rng(seed))
    tokens = np.arange(length) + 1000
    inputs, targets = fill(tokens, mask, SENTINELS), fill(tokens, ~mask, SENTINELS)
    assert restored(inputs, targets) == tokens.tolist()
    assert not mask[0]
    assert mask[-1]
    assert mask.sum() == np.clip(round(length * density), 1, length - 1)
    used = [token for token in inputs if token in SENTINELS]
    assert used == SENTINELS[: len(used)] == [token for token in targets if token in SENTINELS]


def test_a_share_of_the_tokens_is_taken_out_in_spans_of_three():
    mask = noise_mask(400, 0.15, 3.0, np.random.default_rng(0))
    starts = mask & ~np.roll(mask, 1)
    assert (mask.sum(), starts.sum()) == (60, 20)


def test_every_place_is_taken_out_about_as_often():
    """Of 12 tokens 4 in 2 spans: 3 x 7 ways to cut them, of which each is as likely."""
    generator = np.random.default_rng(0)
    drawn = Counter(tuple(noise_mask(12, 1 / 3, 2.0, generator).tolist()) for _ in range(8400))
    assert len(drawn) == 21
    # 400 of each are expected, with a deviation of 20.
    assert max(abs(count - 400) for count in drawn.values()) < 90


@pytest.fixture
def corrupt(tiny_tokenizer):
    return CorruptSpans(str(tiny_tokenizer), length=20)


def test_prompt_and_answer_are_ids_that_end(corrupt, tiny_tokenizer):
    tokenizer = Tokenizer(tiny_tokenizer)
    text = "mbwa anakimbia kando ya mto"
    example = corrupt({"text": text, "draw": "0/mine/3/0"})
    inputs, targets = example["inputs"].tolist(), example["targets"].tolist()
    assert inputs[-1] == targets[-1] == EOS_ID
    assert example["inputs"].dtype == example["targets"].dtype == np.int32
    assert tokenizer.sentinel(0) in inputs
    assert targets[0] == tokenizer.sentinel(0)
    assert example["text"] == text


def test_the_draw_decides(corrupt):
    def at(draw):
        return corrupt({"text": "abcdefgh" * 9, "draw": draw})["targets"].tolist()

    assert at("0/mine/3/0") == at("0/mine/3/0")
    assert len({tuple(at(f"0/mine/3/{epoch}")) for epoch in range(9)}) > 3


def test_a_long_text_is_read_in_windows_from_its_first_token_to_its_last(corrupt, tiny_tokenizer):
    tokenizer = Tokenizer(tiny_tokenizer)
    text = "".join(chr(ord("a") + i % 26) for i in range(26))
    tokens = tokenizer.encode(text)
    assert len(tokens) > 20
    seen = set()
    for epoch in range(200):
        example = corrupt({"text": text, "draw": f"0/mine/0/{epoch}"})
        found = [*example["inputs"].tolist(), *example["targets"].tolist()]
        kept = [token for token in found if token in tokens]
        assert len(kept) == 20
        seen |= set(kept)
    assert seen == set(tokens)


def test_a_text_of_one_token_is_skipped(corrupt):
    with pytest.raises(RecordError, match=r"has [01] tokens, and needs two") as error:
        corrupt({"text": "", "draw": "0/mine/0/0"})
    assert error.value.reason == "text"
