# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pali
from pali import ranking
from pali.models.pali import PaLI

CANDIDATES = [
    ["a dog", "cat", "mbwa na paka", "कुत्ता"],
    ["a dog"],
    ["paka", "a dog and a cat and a dog and a cat"],
]
PROMPTS = ["Generate the alt_text in EN at 0:", "a", "Generate the alt_text in SW at 0: a cat"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return pali.load(tiny_model)


@pytest.fixture(scope="module")
def tokens(model):
    rng = np.random.default_rng(0)
    side = model.config.vit.image_size
    return model.look(list(rng.integers(0, 256, (3, side, side, 3), dtype=np.uint8)))


@pytest.fixture(scope="module")
def found(model, tokens):
    return model.rank(tokens, PROMPTS, CANDIDATES)


def test_equals_teacher_forcing_of_one_unpadded_answer(model, tokens, found):
    for row, column in ((0, 0), (0, 3), (1, 0), (2, 1)):
        targets = [*model.tokenizer.encode(CANDIDATES[row][column]), 1]
        batch = {
            "visual_tokens": jnp.asarray(tokens.array[row : row + 1]),
            "image_mask": jnp.ones(1, bool),
            "encoder_input_tokens": jnp.array([[*model.tokenizer.encode(PROMPTS[row]), 1]]),
            "decoder_input_tokens": jnp.array([[0, *targets[:-1]]]),
        }
        logits = jax.jit(PaLI(model.config).apply)({"params": model.params}, batch)
        log_probs = jax.nn.log_softmax(logits)[0]
        expected = sum(float(log_probs[i, token]) for i, token in enumerate(targets))
        assert found[row][column] == pytest.approx(expected, abs=1e-3)


def test_shapes_follow_the_candidates(found):
    assert [len(row) for row in found] == [4, 1, 2]


def test_what_runs_together_changes_nothing(model, tokens, found):
    rows = [0, 1, 2] * 30  # more rows and pairs than one batch holds
    many = model.rank(
        type(tokens)(tokens.array[rows]),
        [PROMPTS[row] for row in rows],
        [CANDIDATES[row] for row in rows],
    )
    for row, values in zip(rows, many, strict=True):
        np.testing.assert_allclose(values, found[row], atol=1e-3)


def test_every_probability_is_below_one(found):
    assert all((row < 0).all() for row in found)


def test_no_rows(model, tokens):
    assert model.rank(type(tokens)(tokens.array[:0]), [], []) == []


def test_numbers_that_differ_are_named(model, tokens):
    with pytest.raises(ValueError, match="3 pictures and 2 prompts"):
        model.rank(tokens, PROMPTS[:2], CANDIDATES[:2])
    with pytest.raises(ValueError, match="2 lists of candidates for 3 pairs"):
        model.rank(tokens, PROMPTS, CANDIDATES[:2])


@pytest.mark.parametrize("total", [1, 2, 3, 63, 64, 65, 200])
def test_filled_batches_hold_every_row_once(total):
    batches = list(ranking.filled_batches(total))
    assert len({len(rows) for rows, _ in batches}) == 1
    assert [row for rows, count in batches for row in rows[:count]] == list(range(total))
    assert all(row < total for rows, _ in batches for row in rows)
