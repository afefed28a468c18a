# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Which patches each word looked at. That the weights are right: tests/models/test_mt5.py."""

import numpy as np
import pytest

import pali
from pali import attention, prompts
from pali.checkpoints import pretrained
from pali.generation import Text, padded
from pali.predict import Decoding
from pali.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def model(tiny_model):
    return pali.load(tiny_model)


@pytest.fixture(scope="module")
def seen(model):
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    return model.look(list(blocks.repeat(8, axis=1).repeat(8, axis=2)))


def joined(words):
    spaces = [" " * word.pieces[0].startswith("▁") for word in words]
    return "".join(f"{a}{word.text}" for a, word in zip(spaces, words, strict=True)).strip()


def test_shares_sum_to_one_and_a_hidden_picture_has_none(model, seen):
    prompt = padded([[*model.tokenizer.encode(text), 1] for text in ("a dog", "a dog and a cat")])
    answer = padded([[5, 6, 7, 1]] * 2)
    shown = np.array([True, False])
    args = model.config, model.params, seen.array, shown, prompt, answer
    shares = np.asarray(attention.shares_of_source(*args))
    patches = model.config.vit.num_visual_tokens
    assert shares.shape == (2, answer.shape[1], patches + prompt.shape[1])
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(-1), 1.0, rtol=1e-5)
    assert (shares[0, :, :patches] > 0).all()
    assert (shares[1, :, :patches] == 0).all()
    real = np.pad(prompt > 0, ((0, 0), (patches, 0)), constant_values=True)
    assert (np.moveaxis(shares, 1, -1)[~real] == 0).all()


@pytest.mark.parametrize("decoding", [Decoding(), Decoding("sample", seed=3), Decoding("beam")])
def test_every_token_has_a_map_whatever_chose_it(model, seen, decoding):
    texts = model.generate(seen, prompts.caption("sw"), decoding=decoding)
    side, _ = model.config.vit.grid
    found = model.explain(seen, texts)
    for row, (text, made) in enumerate(zip(texts, found, strict=True)):
        assert made.patches.shape == (text.num_tokens, side, side)
        # By itself: neither the other row nor padding changes it. Patches go by rows.
        ids = [*model.tokenizer.encode(text.prompt), 1]
        args = seen.array[row : row + 1], np.ones(1, bool), np.array([ids]), np.array([text.tokens])
        (alone,) = attention.shares_of_source(model.config, model.params, *args)
        alone = np.asarray(alone)[:, : side * side]
        np.testing.assert_allclose(made.patches.reshape(alone.shape), alone, rtol=1e-4, atol=1e-5)
    assert np.abs(found[0].patches[0] - found[1].patches[0]).max() > 1e-3, "pictures must matter"


def test_one_picture_goes_with_many_texts(model, seen):
    texts = list(model.caption(seen, "sw,hi")[0].values())
    alone = pali.predict.VisualTokens(seen.array[:1])
    assert len(model.explain(alone, texts)) == 2
    assert len(model.explain(alone, texts[0])) == 1
    assert model.explain(alone, []) == []


def test_what_no_model_wrote_is_refused(model, seen):
    with pytest.raises(ValueError, match="'a dog' was not written by a model"):
        model.explain(seen, [Text("a dog"), Text("a cat")])  # As a plain str: without tokens.
    with pytest.raises(ValueError, match="2 pictures and 3 prompts"):
        model.explain(seen, [Text("a", tokens=[5, 1])] * 3)


@pytest.mark.parametrize(
    "text",
    [
        *("a red bird", "ndege mwekundu", "قطار الأنفاق", "लाल चिड़िया", "빨간 새", "ζώνη, 3!"),
        *("地下鉄の電車", "花札和花", "นกสีแดง", "a 花 b", "ꙮ ꙮ", "<a>"),
    ],
)
def test_words_are_those_of_the_text(text):
    tokenizer = Tokenizer(pretrained.EMBEDDED / "spiece.model")
    tokens = [*tokenizer.encode(text), 1]
    patches = np.random.default_rng(0).random((len(tokens), 2, 2), np.float32)
    found = attention.words(tokenizer, tokens, patches)
    assert joined(found) == tokenizer.decode(tokens)
    assert sum((word.pieces for word in found), ()) == tuple(tokenizer.pieces(text))
    if text.isascii():
        assert [word.text for word in found] == text.split()
    total = sum(word.patches * len(word.pieces) for word in found)
    np.testing.assert_allclose(total, patches[:-1].sum(0), rtol=1e-5)
    assert found[0].on_picture == pytest.approx(float(found[0].patches.sum()))


@pytest.mark.parametrize(
    ("pieces", "spans"),
    [
        ("▁sub way ▁train", [(0, 2), (2, 3)]),
        ("▁地下 鉄 の 電車 。", [(0, 1), (1, 2), (2, 3), (3, 5)]),
        ("▁ 花 札", [(0, 2), (2, 3)]),  # A space by itself is no word.
        ("▁นก สี ่ แดง", [(0, 1), (1, 3), (3, 4)]),  # Nor is a mark.
        ("▁भवि ष्य ▁빨 간", [(0, 2), (2, 4)]),
        ("▁a <0xE8> <0x8A> 花", [(0, 3), (3, 4)]),
        ("", []),
    ],
)
def test_where_words_begin(pieces, spans):
    assert list(attention._spans(tuple(pieces.split()))) == spans
