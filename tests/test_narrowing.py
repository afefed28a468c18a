# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Decoding on a shortlist's columns equals decoding on all of them with the others forbidden."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pali
from pali import decoding, generation, narrowing, shortlist
from pali.decoding import LengthPenalty
from pali.generation import Decoding
from pali.models.pali import PaLI

LENGTH = 16
PROMPTS = ["a dog", "mbwa na paka", "a cat"]
LANGS = ["en", "sw", "en"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return pali.load(tiny_model)


@pytest.fixture(scope="module")
def tokens(model):
    rng = np.random.default_rng(4)
    return model.look(list(rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)))


@pytest.fixture(scope="module")
def lists(model):
    """Half of the vocabulary for each of two languages, a quarter for both."""
    size = model.tokenizer.vocab_size
    rng = np.random.default_rng(5)
    masks = {lang: rng.random(size) < 0.5 for lang in ("en", "sw")}
    for mask in masks.values():
        mask[:3] = True
    return shortlist.Shortlists(masks, shortlist.fingerprint(model.tokenizer))


@pytest.fixture(autouse=True)
def few_columns(monkeypatch):
    """So that the tiny vocabulary is narrowed at all."""
    monkeypatch.setattr(narrowing, "_FEWEST", 16)


def decode(model, tokens, chosen, prompts=PROMPTS, langs=LANGS):
    rows = list(range(len(prompts)))
    given = (model.config, model.params, model.tokenizer, tokens.array, rows, prompts)
    return generation.generate(*given, LENGTH, chosen, langs=langs)


def call(model, method, *args):
    return PaLI(model.config).apply({"params": model.params}, *args, method=method)


def forbidding(model, tokens, masks, search, logits_too=False, **settings):
    """The whole vocabulary with -inf for what each row may not write, by other means."""

    encoded = [[*model.tokenizer.encode(text), 1] for text in PROMPTS]
    prompt = jnp.asarray(generation.padded(encoded))
    seen = jnp.ones(len(prompt), bool)

    def forbid(scores, *_):
        return jnp.where(jnp.repeat(masks, len(scores) // len(masks), axis=0), scores, -jnp.inf)

    def step(cache, ids, index):
        logits, cache = call(model, "decode_step", cache, ids, index)
        return forbid(logits) if logits_too else logits, cache

    @jax.jit
    def find(visual):
        encoding = call(model, "encode", visual, seen, prompt)
        cache = call(model, "init_cache", *encoding, LENGTH)
        return search(step, cache, len(prompt), LENGTH, constrain=forbid, **settings)

    found = find(tokens.array)
    return [
        tuple(ids[:length].tolist())
        for ids, length in zip(*map(np.asarray, found[::2]), strict=True)
    ]


def own(lists):
    return np.stack([lists.masks[lang] for lang in LANGS])


def test_greedy_finds_what_it_finds_with_all_other_tokens_forbidden(model, tokens, lists):
    found = decode(model, tokens, Decoding(shortlist=lists))
    expected = forbidding(model, tokens, own(lists), decoding.greedy)
    assert [text.tokens for text in found] == expected
    free = decode(model, tokens, Decoding())
    assert [text.tokens for text in free] != expected
    assert all(text.shortlisted for text in found)
    assert not any(text.shortlisted for text in free)


def test_a_beam_finds_what_a_model_without_the_other_tokens_finds(model, tokens, lists):
    chosen = Decoding(
        "beam", beam_size=3, length_penalty=LengthPenalty("huggingface", 0.5), shortlist=lists
    )
    settings = {"beam_size": 3, "length_penalty": chosen.length_penalty}
    expected = forbidding(model, tokens, own(lists), decoding.beam, logits_too=True, **settings)
    assert [text.tokens for text in decode(model, tokens, chosen)] == expected


def test_samples_are_of_the_language(model, tokens, lists):
    texts = decode(model, tokens, Decoding("sample", n_best=8, shortlist=lists, top_p=0.9))
    for text, lang in zip(texts, LANGS, strict=True):
        for one in (text, *text.others):
            assert lists.masks[lang][list(one.tokens)].all()
    assert len({one.tokens for one in (texts[0], *texts[0].others)}) > 1


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_what_else_is_asked_in_which_language_changes_no_answer(model, tokens, lists, method):
    chosen = Decoding(method, shortlist=lists)
    together = decode(model, tokens, chosen)
    alone = decode(model, tokens, chosen, PROMPTS[:1], LANGS[:1])
    assert together[0].tokens == alone[0].tokens
    assert together[0].log_prob == pytest.approx(alone[0].log_prob, abs=1e-3)
    for text, lang in zip(together, LANGS, strict=True):
        assert lists.masks[lang][list(text.tokens)].all()


def test_the_log_probability_is_among_the_shortlist(model, tokens, lists):
    text = decode(model, tokens, Decoding(shortlist=lists))[0]

    prompt = np.array([[*model.tokenizer.encode(PROMPTS[0]), 1]])
    before = np.array([[0, *text.tokens[:-1]]])

    @jax.jit
    def forced(visual, prompt, before):
        encoding = call(model, "encode", visual, jnp.ones(1, bool), prompt)
        return call(model, "decode", *encoding, before)

    logits = np.asarray(forced(tokens.array[:1], prompt, before))[0]
    among = np.where(lists.masks["en"], logits, -np.inf)
    chosen = jax.nn.log_softmax(among)[np.arange(len(text.tokens)), list(text.tokens)]
    assert text.log_prob == pytest.approx(float(chosen.sum()), abs=1e-3)


def test_constraints_count_pieces_by_their_own_ids(model, tokens, lists):
    chosen = Decoding(min_length=5, max_chars=9, no_repeat_ngram=1, shortlist=lists)
    for text in decode(model, tokens, chosen):
        assert len(text) <= 9
        assert len(text.tokens) > 5
        assert len(set(text.tokens)) == len(text.tokens)


def test_a_prefix_may_hold_what_the_shortlist_lacks(model, tokens, lists):
    prefix = next(
        text
        for text in ("mbwa", "paka", "alt_text", "dog", "cat")
        if not lists.masks["en"][model.tokenizer.encode(text)].all()
    )
    for text in decode(model, tokens, Decoding(prefix=prefix, shortlist=lists)):
        assert text.startswith(prefix)


def test_other_languages_compile_nothing(model, tokens, lists):
    size = model.tokenizer.vocab_size
    masks = {}
    for lang, share in (("en", 0.45), ("sw", 0.55), ("th", 0.50)):
        masks[lang] = np.random.default_rng(6).permutation(size) < share * size
        masks[lang][:3] = True
    other = dataclasses.replace(lists, masks=masks)
    widths = {
        narrowing.share(jnp.zeros((1, size)), size, {"": m}).columns.size for m in masks.values()
    }
    assert len(widths) == 1
    decode(model, tokens, Decoding(shortlist=other), langs=["en"] * 3)
    compiled = generation.answer._cache_size()
    for lang in ("sw", "th"):
        decode(model, tokens, Decoding(shortlist=other), langs=[lang] * 3)
    decode(model, tokens, Decoding(shortlist=other, prefix=""), langs=["en"] * 3)
    assert generation.answer._cache_size() == compiled


def test_what_cannot_be_narrowed_is_refused(model, tokens, lists, tmp_path):
    with pytest.raises(ValueError, match=r"none for Thai \(th\)"):
        model.caption(tokens, "en,th", decoding=Decoding(shortlist=lists))
    for chosen in (Decoding(shortlist=lists), Decoding(ensure_language=True)):
        with pytest.raises(ValueError, match="are of a language"):
            model.generate(tokens, "a dog", decoding=chosen)
        with pytest.raises(ValueError, match="are of a language"):
            model.detect(tokens, ["dog"], decoding=chosen)
    strange = dataclasses.replace(lists, tokenizer="0" * 64)
    with pytest.raises(ValueError, match="made for another tokenizer"):
        model.caption(tokens, "en", decoding=Decoding(shortlist=strange))
