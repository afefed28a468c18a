# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What runs together in a batch changes no answer, and after a warm-up compiles nothing."""

import itertools

import jax
import numpy as np
import pytest

import pali
from pali import generation
from pali.data.demo_corpus import load_corpus
from pali.data.rendering import render
from pali.languages import XM3600
from pali.models.pali import PaLI

COMPILED = "/jax/core/compile/backend_compile_duration"

TIE = 1e-3
"""Difference of the two largest logits below which the order of a sum decides."""


@pytest.fixture
def compiled(monkeypatch):
    """A list that grows with every program that XLA compiles."""
    events = []
    found = events.append

    def listen(event, seconds, **facts):
        if event == COMPILED:
            found(facts)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_warm_model_compiles_nothing(tiny_model, compiled, monkeypatch):
    """Warmed up at each size of a batch and width of prompts, then asked anything."""
    monkeypatch.setattr(generation, "MAX_BATCH", 8)  # Fewer sizes to warm up.
    jax.clear_caches()  # Of a model alike in this process.
    model = pali.load(tiny_model)
    rng = np.random.default_rng(0)
    many = list(rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8))
    widths = set()

    def question(letters):
        text = "".join(rng.choice(list("acdgmnopt"), letters))
        widths.add(width(model.prompts["vqa"].fill({"question": text})))
        return text

    def width(prompt):
        tokens = model.tokenizer.encode(prompt)
        return generation.padded([[*tokens, 1]]).shape[1]

    for size in (1, 2, 4, 8):
        tokens = model.look(many[:size])
        for letters in (1, 44):
            model.answer(tokens, [question(letters)])
    assert widths == {32, 64}
    before = len(compiled)
    assert before == 4 + 4 * 2
    for _ in range(40):
        count, letters = int(rng.integers(1, 30)), int(rng.integers(1, 45))
        pictures = [many[i] for i in rng.integers(0, 30, count)]
        langs = rng.choice(model.languages, rng.integers(1, 6), replace=False).tolist()
        model.caption(pictures, langs)
        model.answer(pictures, [question(rng.integers(1, letters + 1)) for _ in pictures])
        assert len(compiled) == before, (
            f"{count} pictures, {langs}, {letters} letters: {compiled[before:]}"
        )
    assert widths == {32, 64}


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_answers_do_not_depend_on_the_batch(method):
    """The embedded model in float32: alone, all together, and in batches drawn at random."""
    model = pali.load(precision="float32")
    concepts = load_corpus().core_train[::40][:8]
    views = [render("noto", concept.code, 2_000_000, 72) for concept in concepts]
    tokens = model.look(views)
    rng = np.random.default_rng(1)
    langs = rng.permutation(XM3600)[:6].tolist()
    asked = [
        (row, model.prompts["caption"].fill({"lang": lang})) for row in range(8) for lang in langs
    ]

    def answers(order):
        rows, prompts = zip(*(asked[i] for i in order), strict=True)
        visual = pali.predict.VisualTokens(tokens.array[list(rows)])
        found = model.generate(visual, list(prompts), decoding=generation.Decoding(method))
        return dict(zip(order, found, strict=True))

    whole = answers(range(len(asked)))
    order = rng.permutation(len(asked)).tolist()
    cuts = [0, 1, 4, 11, 12, 30, len(asked)]
    for start, end in itertools.pairwise(cuts):
        for number, text in answers(order[start:end]).items():
            assert_same(model, tokens.array[asked[number][0]], whole[number], text)


def assert_same(model, visual, one, other):
    """Two answers to one prompt have the same ids up to where float32 cannot tell."""
    if one.tokens == other.tokens:
        return
    place = next(
        i for i, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=False)) if a != b
    )
    prompt = [*model.tokenizer.encode(one.prompt), model.tokenizer.eos_id]

    def call(method, *args):
        return PaLI(model.config).apply({"params": model.params}, *args, method=method)

    encoded, mask = call("encode", visual[None], np.ones(1, bool), generation.padded([prompt]))
    logits = call("decode", encoded, mask, np.array([[0, *one.tokens[:place]]]))[0, place]
    second, first = np.sort(logits)[-2:]
    assert first - second < TIE, f"{one!r} and {other!r} differ at token {place}"
