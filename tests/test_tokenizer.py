# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""T5's conventions of ids, exact round trips, and refusal of models with other conventions."""

import importlib
import itertools
import pickle
import unicodedata
from pathlib import Path

import pytest

from pali import languages, prompts
from pali.data.demo_corpus import load_corpus
from pali.tokenizer import NUM_SENTINELS, Tokenizer

MODEL = Path(__file__).parents[1] / "pali" / "embedded" / "spiece.model"
XM3600 = [languages.resolve(code) for code in languages.XM3600]
ModelProto = importlib.import_module("sentencepiece.sentencepiece_model_pb2").ModelProto


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(MODEL)


@pytest.fixture
def proto():
    return ModelProto.FromString(MODEL.read_bytes())


def test_special_ids(tokenizer):
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.unk_id) == (0, 1, 2)
    assert tokenizer.vocab_size % 128 == 0
    assert tokenizer.sentinel(0) == tokenizer.vocab_size - 1
    assert tokenizer.sentinel(99) == tokenizer.vocab_size - 100
    for index in (0, 1, 42, 99):
        assert tokenizer.encode(f"a <extra_id_{index}>")[-1] == tokenizer.sentinel(index)
        assert tokenizer.decode([tokenizer.sentinel(index)]) == f"<extra_id_{index}>"
    with pytest.raises(ValueError, match="<extra_id_100>"):
        tokenizer.sentinel(100)


def test_names_and_keywords_come_back_exactly(tokenizer):
    corpus = load_corpus()
    for language in corpus.languages:
        names = [
            name for code, name in corpus.names(language).items() if code in corpus.class_index
        ]
        if language not in XM3600:
            names = names[::10]
        keywords = [*itertools.chain(*corpus.keywords(language).values())][::50]
        texts = [*names, *keywords]
        back = [tokenizer.decode(ids) for ids in tokenizer.encode_batch(texts)]
        assert back == texts, language


def test_text_comes_back_in_nfc(tokenizer):
    for text in ("café", "  two  spaces ", "Ünïted", "가", "日本 12:34", "𝄞 🐺"):
        ids = tokenizer.encode(unicodedata.normalize("NFD", text))
        assert ids == tokenizer.encode(text)
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


def test_batch_is_one_by_one(tokenizer):
    texts = ["wolf", "", "habari ya asubuhi", "狼"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode("") == []


def test_decode_ends_at_eos_and_drops_pad_and_padded_rows(tokenizer):
    wolf, sheep = tokenizer.encode("wolf"), tokenizer.encode("sheep")
    assert tokenizer.decode([0, *wolf, 1, *sheep, 0]) == "wolf"
    assert tokenizer.decode([*wolf, 0, tokenizer.vocab_size + 5]) == "wolf"
    assert tokenizer.decode([]) == ""


def test_digits_stand_apart(tokenizer):
    assert len(tokenizer.encode("2026")) == len(tokenizer.encode("7777"))
    assert [piece for piece in tokenizer.pieces("2026") if piece.isdigit()] == list("2026")


def test_prompts_are_short_and_codes_are_single_tokens(tokenizer):
    for language in load_corpus().languages:
        assert len(tokenizer.encode(language.upper())) == 1, language
        prompt = tokenizer.encode(prompts.caption(language))
        assert len(prompt) <= 14
        assert prompt[-1] == tokenizer.sentinel(0)


def test_names_are_short_in_every_language_of_the_demo(tokenizer):
    corpus = load_corpus()
    means = {}
    for language in XM3600:
        names = [corpus.names(language).get(concept.code) for concept in corpus.core_train]
        lengths = [len(ids) for ids in tokenizer.encode_batch(filter(None, names))]
        means[language] = sum(lengths) / len(lengths)
    assert sum(means.values()) / len(means) < 5
    assert max(means.values()) < 8, means  # single letters would be 11 in Greek


def test_held_out_names_did_not_train_the_tokenizer(tokenizer):
    # A character that only held-out names have is no piece: 巧 of "chocolate" in Chinese.
    corpus = load_corpus()
    trained = set()
    for language in corpus.languages:
        held_out = corpus.held_out(language)
        for concept in corpus.concepts:
            if concept.split == "train" and concept.code not in held_out:
                trained.update(corpus.names(language).get(concept.code, ""))
                trained.update(*corpus.keywords(language).get(concept.code, ()))
    unseen = {
        character
        for language in corpus.languages
        for code in corpus.held_out(language)
        for character in corpus.names(language)[code]
    } - trained
    assert unseen
    for character in unseen:
        assert tokenizer.unknown_share(character) > 0.5, character


def test_unknown_share_tells_covered_scripts_from_others(tokenizer):
    assert tokenizer.unknown_share("ein Haus") == 0
    assert tokenizer.unknown_share("घर") == 0
    assert tokenizer.unknown_share("") == 0
    assert tokenizer.unknown_share("𐌰𐌱𐌲") > 0.8  # Gothic


def test_bytes_and_pickle_give_the_same_tokenizer(tokenizer):
    for other in (
        Tokenizer.from_bytes(tokenizer.to_bytes()),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert other.encode("wolf") == tokenizer.encode("wolf")
        assert other.vocab_size == tokenizer.vocab_size


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.model.*spiece\.model"):
        Tokenizer(tmp_path / "nothing.model")


def test_other_files_are_refused_by_name(tmp_path):
    path = tmp_path / "text.model"
    path.write_text("no model at all")
    with pytest.raises(ValueError, match=r"text\.model is not a SentencePiece model"):
        Tokenizer(path)


def test_sentinels_of_mt5s_spelling_are_accepted(proto):
    for piece in proto.pieces[-NUM_SENTINELS:]:
        piece.piece = f"\u2581{piece.piece}"
    tokenizer = Tokenizer.from_bytes(proto.SerializeToString())
    assert tokenizer.encode("a <extra_id_3>")[-1] == tokenizer.sentinel(3)


def test_model_without_sentinels_is_refused(proto):
    del proto.pieces[-NUM_SENTINELS:]
    with pytest.raises(ValueError, match=r"where <extra_id_0> must stand"):
        Tokenizer.from_bytes(proto.SerializeToString())


def test_model_with_rising_sentinels_is_refused(proto):
    names = [piece.piece for piece in proto.pieces[-NUM_SENTINELS:]]
    for piece, name in zip(proto.pieces[-NUM_SENTINELS:], reversed(names), strict=True):
        piece.piece = name
    with pytest.raises(ValueError, match=r"'<extra_id_99>' at id 8191"):
        Tokenizer.from_bytes(proto.SerializeToString())


def test_model_with_other_special_ids_is_refused(proto):
    proto.pieces[0].piece, proto.pieces[1].piece = proto.pieces[1].piece, proto.pieces[0].piece
    with pytest.raises(ValueError, match=r"pad, eos, unk = \(1, 0, 2\)"):
        Tokenizer.from_bytes(proto.SerializeToString(), "swapped.model")
