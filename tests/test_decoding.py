# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""pali.decoding against Hugging Face's `generate` and T5X's beam search, and against itself."""

import functools
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from pali import decoding
from pali.constraints import constraint
from pali.decoding import LengthPenalty
from pali.models.mt5 import MT5
from tests.models import parity

EOS = 1
MAX_LENGTH = 12
ROWS = 6


def their_model(config):
    """Hugging Face's, made to answer with changing tokens and to end some rows early."""
    model = parity.hugging_face_mt5(config, seed=3)
    with torch.no_grad():
        model.shared.weight *= 0.3
        for block in model.decoder.block:
            block.layer[0].SelfAttention.o.weight *= 3.0
            block.layer[1].EncDecAttention.o.weight *= 3.0
        model.lm_head.weight[EOS] *= 2.0
        model.lm_head.weight[0] *= 0.0
    return model


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    lengths = np.array([[9], [5], [9], [2], [7], [4]])
    return np.where(np.arange(9) < lengths, rng.integers(2, parity.MT5.vocab_size, (ROWS, 9)), 0)


def searched(config, params, source, how, settings):
    model, mask = MT5(config), source > 0
    apply = functools.partial(model.apply, {"params": params})
    encoded = apply(apply(source, method="embed"), mask, method="encode")
    cache = apply(encoded, mask, MAX_LENGTH, method="init_cache")
    step_fn = functools.partial(apply, method="decode_step")
    found = how(step_fn, cache, len(mask), MAX_LENGTH, EOS, **dict(settings))
    return found, functools.partial(apply, encoded, mask, method="decode")


@functools.partial(jax.jit, static_argnames=("config", "how", "settings"))
def run(config, params, source, *, how, settings=()):
    """Decodes, and says how likely the model itself holds each answer to be, teacher-forced."""
    found, decode = searched(config, params, source, how, settings)
    logits = decode(jnp.pad(found.tokens, ((0, 0), (1, 0)))[:, :-1])
    return found, decoding.score(logits, found.tokens)


@functools.partial(jax.jit, static_argnames=("config", "settings"))
def run_beam(config, params, source, settings):
    """Several answers for each row."""
    return searched(config, params, source, decoding.beam, settings)[0]


def generate(theirs, source, **settings):
    tokens = theirs.generate(
        torch.tensor(source),
        attention_mask=torch.tensor(source > 0),
        max_new_tokens=MAX_LENGTH,
        do_sample=False,
        **settings,
    )[:, 1:].numpy()
    tokens = np.pad(tokens, ((0, 0), (0, MAX_LENGTH - tokens.shape[1])))
    # Its beam search fills what follows the end with the end's id when padding is 0.
    ended = np.cumsum(tokens == EOS, axis=1) - (tokens == EOS)
    return np.where(ended, 0, tokens)


@pytest.mark.parametrize("config", [parity.MT5, parity.UMT5], ids=["mt5", "umt5"])
def test_greedy_ids_equal_hugging_face(source, config):
    theirs = their_model(config)
    ours, log_prob = run(config, parity.mt5_params(theirs), source, how=decoding.greedy)
    expected = generate(theirs, source, num_beams=1)
    np.testing.assert_array_equal(ours.tokens, expected)
    np.testing.assert_array_equal(ours.lengths, (expected > 0).sum(axis=1))
    np.testing.assert_allclose(ours.log_prob, log_prob, rtol=1e-5)
    # The case is worth something: rows end early, later and never, on many different tokens.
    assert len(set(ours.lengths.tolist())) == 3
    assert len(np.unique(expected)) > 10


@pytest.mark.parametrize(
    ("config", "beam_size", "alpha"),
    [
        *((parity.MT5, *how) for how in [(2, 0.0), (2, 1.0), (4, -1.0), (4, 0.6), (4, 1.0)]),
        *((parity.MT5, 3, 2.5), (parity.UMT5, 4, 1.0)),
    ],
)
def test_beam_ids_equal_hugging_face(source, config, beam_size, alpha):
    theirs = their_model(config)
    penalty = LengthPenalty("huggingface", alpha)
    settings = (("beam_size", beam_size), ("length_penalty", penalty))
    ours, log_prob = run(
        config, parity.mt5_params(theirs), source, how=decoding.beam, settings=settings
    )
    expected = generate(
        theirs, source, num_beams=beam_size, length_penalty=alpha, early_stopping=False
    )
    np.testing.assert_array_equal(ours.tokens, expected)
    np.testing.assert_array_equal(ours.lengths, (expected > 0).sum(axis=1))
    np.testing.assert_allclose(ours.log_prob, log_prob, rtol=1e-5)


CONSTRAINTS = {
    "min_length": ({"min_length": 7}, {"min_new_tokens": 7}),
    "no_repeat": ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
    "both": (
        {"min_length": 9, "no_repeat_ngram": 1},
        {"min_new_tokens": 9, "no_repeat_ngram_size": 1},
    ),
}


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constrained_ids_equal_hugging_face(source, name, beam_size):
    own, their_words = CONSTRAINTS[name]
    theirs, settings = their_model(parity.MT5), [("constrain", constraint(**own))]
    free = [], {}
    if beam_size > 1:
        settings += [("beam_size", 4), ("length_penalty", LengthPenalty("huggingface", 1.0))]
        free = settings[1:], {"early_stopping": False}
    how = decoding.beam if beam_size > 1 else decoding.greedy
    params = parity.mt5_params(theirs)
    ours, log_prob = run(parity.MT5, params, source, how=how, settings=tuple(settings))
    expected = generate(theirs, source, num_beams=beam_size, **free[1], **their_words)
    np.testing.assert_array_equal(ours.tokens, expected)
    # Nothing is renormalised.
    np.testing.assert_allclose(ours.log_prob, log_prob, rtol=1e-5)
    without, _ = run(parity.MT5, params, source, how=how, settings=tuple(free[0]))
    assert (without.tokens != ours.tokens).any()


def test_the_best_of_a_beam_equal_hugging_face(source):
    theirs, penalty = their_model(parity.MT5), LengthPenalty("huggingface", 1.0)
    settings = (("beam_size", 4), ("length_penalty", penalty), ("best", 3))
    ours = run_beam(parity.MT5, parity.mt5_params(theirs), source, settings)
    expected = generate(
        theirs, source, num_beams=4, num_return_sequences=3, early_stopping=False
    ).reshape(ROWS, 3, -1)
    np.testing.assert_array_equal(ours.tokens, expected)
    scores = np.asarray(ours.log_prob) / np.asarray(penalty(ours.lengths))
    assert (np.diff(scores) <= 0).all()


GOLDEN = json.loads((Path(__file__).parent / "golden" / "t5x_beam.json").read_text())


@functools.partial(jax.jit, static_argnames=("how", "settings"))
def run_recurrent(bias, *, how, settings=(), **arrays):
    """Decodes with the golden file's model: `bias` says how each row differs."""
    embedding, out = (jnp.array(GOLDEN[name]) for name in ("embedding", "out"))

    def step_fn(cache, tokens, index):
        state = jnp.tanh(embedding[tokens] - cache["self_state"][0])
        hypotheses = len(tokens) // cache["cross_bias"].shape[1]
        logits = state @ out + cache["cross_bias"][0].repeat(hypotheses, axis=0)
        return logits, cache | {"self_state": state[None]}

    rows, length = len(bias), GOLDEN["max_length"]
    cache = {"self_state": jnp.zeros((1, rows, out.shape[0])), "cross_bias": bias[None]}
    return how(step_fn, cache, rows, length, GOLDEN["eos_id"], **dict(settings), **arrays)


def golden_bias():
    return jnp.array(GOLDEN["bias"])


@pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda case: f"beam{case['beam_size']}-alpha{case['alpha']}"
)
def test_beam_equals_t5x(case):
    penalty = LengthPenalty("t5x", case["alpha"])
    settings = (("beam_size", case["beam_size"]), ("length_penalty", penalty))
    ours = run_recurrent(golden_bias(), how=decoding.beam, settings=settings)
    np.testing.assert_array_equal(ours.tokens, case["tokens"])
    ended = (ours.tokens == EOS).any(axis=1)
    # T5X divides by the penalty only what has ended.
    scores = ours.log_prob / np.where(ended, penalty(ours.lengths), 1.0)
    np.testing.assert_allclose(scores, case["scores"], rtol=1e-5)


def all_answers():
    """Every answer of the golden model in at most 3 tokens, with its log-probability by row."""
    embedding, out, bias = (np.array(GOLDEN[name]) for name in ("embedding", "out", "bias"))
    for ids in itertools.product(range(out.shape[1]), repeat=3):
        length = ids.index(EOS) + 1 if EOS in ids else 3
        if any(ids[length:]):
            continue
        state, log_prob = np.zeros(out.shape[0]), np.zeros(len(bias))
        for last, token in itertools.pairwise((0, *ids[:length])):
            state = np.tanh(embedding[last] - state)
            logits = state @ out + bias
            log_prob += logits[:, token] - np.log(np.exp(logits).sum(axis=1))
        yield ids, length, log_prob


@pytest.mark.parametrize("kind", ["t5x", "huggingface"])
def test_a_wide_beam_finds_the_best_of_all_answers(monkeypatch, kind):
    monkeypatch.setitem(GOLDEN, "max_length", 3)
    penalty = LengthPenalty(kind, 0.8)
    settings = (("beam_size", 81), ("length_penalty", penalty))
    ours = run_recurrent(golden_bias(), how=decoding.beam, settings=settings)
    answers = list(all_answers())
    if kind == "t5x":  # what has not ended does not count
        answers = [answer for answer in answers if EOS in answer[0]]
    scores = np.array([log_prob / penalty(length) for _, length, log_prob in answers])
    for row, best in enumerate(scores.argmax(axis=0)):
        assert tuple(ours.tokens[row].tolist()) == answers[best][0]
        assert ours.lengths[row] == answers[best][1]
        assert ours.log_prob[row] == pytest.approx(answers[best][2][row], rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_beam_of_one_is_greedy(alpha):
    settings = (("beam_size", 1), ("length_penalty", LengthPenalty("huggingface", alpha)))
    ours = run_recurrent(golden_bias(), how=decoding.beam, settings=settings)
    greedy = run_recurrent(golden_bias(), how=decoding.greedy)
    np.testing.assert_array_equal(ours.tokens, greedy.tokens)
    np.testing.assert_array_equal(ours.lengths, greedy.lengths)
    np.testing.assert_allclose(ours.log_prob, greedy.log_prob, rtol=1e-5)


def keys(rows):
    return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(5)))(jnp.asarray(rows))


METHODS = {
    "greedy": (decoding.greedy, ()),
    "sample": (decoding.sample, (("temperature", 1.5), ("top_p", 0.95))),
    "t5x": (decoding.beam, (("length_penalty", LengthPenalty("t5x", 1.0)),)),
    "huggingface": (decoding.beam, (("length_penalty", LengthPenalty("huggingface", 1.0)),)),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_rows_answer_does_not_depend_on_the_others(method):
    how, settings = METHODS[method]

    def answer(rows):
        rng = {"rng": keys(rows)} if method == "sample" else {}
        return run_recurrent(golden_bias()[jnp.array(rows)], how=how, settings=settings, **rng)

    together = answer([0, 1, 2, 3, 4])
    for rows in ([3], [4, 0, 2]):
        for one, all_ in zip(answer(rows), together, strict=True):
            np.testing.assert_allclose(one, all_[jnp.array(rows)], rtol=1e-6)


def ending_after(lengths):
    """A model that says 3 until row i ends with its lengths[i]-th token."""

    def step_fn(cache, tokens, index):
        says = jnp.where(cache["cross_lengths"][0] == index + 1, EOS, 3)
        return jnp.where(jnp.arange(4) == says[:, None], 9.0, 0.0), cache

    return step_fn, {"cross_lengths": jnp.array([lengths])}


@pytest.mark.parametrize(
    "how",
    [
        decoding.greedy,
        functools.partial(decoding.sample, rng=jax.random.key(0), top_k=1),
        functools.partial(decoding.beam, beam_size=1, length_penalty=LengthPenalty("t5x", 0.0)),
        functools.partial(decoding.beam, beam_size=1, length_penalty=LengthPenalty("huggingface")),
    ],
    ids=["greedy", "sample", "t5x", "huggingface"],
)
def test_the_loop_ends_when_every_row_has(how):
    steps = []

    def recorded(cache, tokens, index):
        jax.debug.callback(lambda i: steps.append(int(i)), index)
        return step_fn(cache, tokens, index)

    step_fn, cache = ending_after([2, 4, 3])
    decoded = how(recorded, cache, 3, 50)
    jax.effects_barrier()
    assert decoded.tokens.shape == (3, 50)
    np.testing.assert_array_equal(decoded.lengths, [2, 4, 3])
    np.testing.assert_array_equal(
        decoded.tokens[:, :5], [[3, 1, 0, 0, 0], [3, 3, 3, 1, 0], [3, 3, 1, 0, 0]]
    )
    assert sorted(steps) == [0, 1, 2, 3]


def test_sampling_one_token_is_greedy():
    greedy = run_recurrent(golden_bias(), how=decoding.greedy)
    settings = (("top_k", 1), ("temperature", 3.0))
    ours = run_recurrent(
        golden_bias(), how=decoding.sample, settings=settings, rng=jax.random.key(0)
    )
    np.testing.assert_array_equal(ours.tokens, greedy.tokens)
    # The model's own probabilities, not those of the single token that was left.
    np.testing.assert_allclose(ours.log_prob, greedy.log_prob, rtol=1e-5)


def test_one_key_is_folded_with_the_rows_number():
    one = run_recurrent(golden_bias(), how=decoding.sample, rng=jax.random.key(5))
    each = run_recurrent(golden_bias(), how=decoding.sample, rng=keys(range(5)))
    other = run_recurrent(golden_bias(), how=decoding.sample, rng=jax.random.key(6))
    np.testing.assert_array_equal(one.tokens, each.tokens)
    assert not np.array_equal(one.tokens, other.tokens)


def test_samples_have_the_probabilities_of_the_model():
    rows = 4000
    logits = jnp.tile(jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4])), (rows, 1))
    step_fn = lambda cache, tokens, index: (logits, cache)  # noqa: E731
    drawn = decoding.sample(step_fn, {}, rows, 3, rng=jax.random.key(0)).tokens
    counts = np.bincount(np.asarray(drawn[:, 0]), minlength=4) / rows
    np.testing.assert_allclose(counts, [0.1, 0.2, 0.3, 0.4], atol=0.03)
    # Positions of one row are drawn apart.
    assert np.mean(np.asarray(drawn[:, 0]) == np.asarray(drawn[:, 2])) < 0.5


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.9, 0.999, 1.0])
def test_top_p_keeps_the_smallest_set_with_that_mass(top_p):
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(20, 50)) * 2, jnp.float32)
    kept = np.isfinite(decoding.restrict(logits, top_p=top_p))
    probabilities = np.asarray(jax.nn.softmax(logits))
    for keep, p in zip(kept, probabilities, strict=True):
        assert p[keep].sum() >= top_p - 1e-6
        # Without its least probable member the set would be too light; and it holds the likeliest.
        assert p[keep].sum() - p[keep].min() < top_p
        assert keep.all() or p[keep].min() > p[~keep].max()


def test_top_k_comes_before_top_p_and_temperature_before_both():
    logits = jnp.log(jnp.array([[0.4, 0.3, 0.2, 0.1]]))
    kept = lambda **how: np.isfinite(decoding.restrict(logits, **how))[0].tolist()  # noqa: E731
    assert kept(top_k=2) == [True, True, False, False]
    # Of the two that top-k leaves, the first has 4/7: not yet 0.6 of the mass, but 0.5.
    assert kept(top_k=2, top_p=0.6) == [True, True, False, False]
    assert kept(top_k=2, top_p=0.5) == [True, False, False, False]
    assert kept(top_p=0.5) == [True, True, False, False]
    assert kept(top_p=0.5, temperature=0.1) == [True, False, False, False]
    assert kept(top_k=99) == [True] * 4
    np.testing.assert_allclose(decoding.restrict(logits, temperature=2.0), logits / 2)


def test_score_leaves_padding_out():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5)), jnp.float32)
    targets = jnp.array([[4, 1, 0], [2, 2, 1]])
    log_probs = jax.nn.log_softmax(logits)
    expected = [
        log_probs[0, 0, 4] + log_probs[0, 1, 1],
        log_probs[1, 0, 2] + log_probs[1, 1, 2] + log_probs[1, 2, 1],
    ]
    np.testing.assert_allclose(decoding.score(logits, targets), expected, rtol=1e-6)


def test_first_argmax_takes_the_smallest_of_equals():
    logits = jnp.array([[1.0, 3.0, 3.0], [-5.0, -7.0, -6.0], [-jnp.inf, -jnp.inf, 0.0]])
    np.testing.assert_array_equal(decoding.first_argmax(logits), jnp.argmax(logits, axis=-1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(temperature=0.0), "temperature is 0.0.*greedy"),
        (dict(top_k=0), "top_k is 0"),
        (dict(top_p=1.5), "top_p is 1.5"),
        (dict(top_p=0.0), "top_p is 0.0"),
    ],
)
def test_settings_out_of_range_are_errors(settings, message):
    step_fn, cache = ending_after([1])
    with pytest.raises(ValueError, match=message):
        decoding.sample(step_fn, cache, 1, 2, rng=jax.random.key(0), **settings)


def test_beam_settings_out_of_range_are_errors():
    step_fn, cache = ending_after([1])
    with pytest.raises(ValueError, match="beam_size is 0"):
        decoding.beam(step_fn, cache, 1, 2, beam_size=0)
    with pytest.raises((ValueError, TypeError), match="huggingface"):
        LengthPenalty("fairseq")  # under test the annotation answers first, with a TypeError
