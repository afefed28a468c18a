# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Train the demo model's tokenizer on the demo corpus: pali/embedded/spiece.model.

    python tools/train_demo_tokenizer.py

A unigram model that falls back to bytes and leaves the text as it is (identity normalisation), so
that every name comes back exactly. Its text is what training may see: names and keywords without
the never-seen concepts and without each language's held-out pairs, and the prompts. The languages
of Crossmodal-3600, which the demo model is trained on, count more than the others.

Two kinds of pieces are appended afterwards: the languages' codes in capitals, too short and too
rare to be found, so that each is one token of a prompt; and the 100 sentinels, which SentencePiece
would put first and mT5 has last.
"""

from __future__ import annotations

import argparse
import importlib
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

import sentencepiece

from pali import languages
from pali.data.demo_corpus import DemoCorpus, load_corpus
from pali.prompts import BLANK, PROMPTS
from pali.tokenizer import NUM_SENTINELS, Tokenizer

# The module is generated when it is imported, which a type checker cannot see.
ModelProto = importlib.import_module("sentencepiece.sentencepiece_model_pb2").ModelProto
Piece = ModelProto.SentencePiece

DEMO_LANGUAGES = tuple(languages.resolve(code) for code in languages.XM3600)
VOCABULARY_MULTIPLE = 128
# How often a text counts in a demo language, and what share of that in the others.
CORE_NAME, OTHER_NAME, KEYWORD = 12, 2, 1
OTHER_LANGUAGE_SHARE = 0.25
PROMPT = 100  # how often each prompt counts
# Few candidates to begin with. From the usual million, every whole word starts as a piece of its
# own, and scripts of one language alone are left with single letters once those are dropped.
SEED_PIECES = 30_000
CODE_SCORE = -8.0  # log probability, about that of a common word
WORD_MARK = "\u2581"


def training_text(corpus: DemoCorpus, other_share: float) -> Iterator[tuple[str, int]]:
    """(text, how often it counts), only of what training may see."""
    trained = [concept for concept in corpus.concepts if concept.split == "train"]
    for concept in trained:
        yield from ((concept.group, 1), (concept.subgroup, 1))
    for language in corpus.languages:
        weight = 1.0 if language in DEMO_LANGUAGES else other_share
        names, keywords = corpus.names(language), corpus.keywords(language)
        held_out = corpus.held_out(language)
        for concept in trained:
            if concept.code in held_out:
                continue
            name_weight = CORE_NAME if concept.scope == "core" else OTHER_NAME
            texts = [(names.get(concept.code, ""), name_weight)]
            texts += [(word, KEYWORD) for word in keywords.get(concept.code, ())]
            for text, count in texts:
                if text and round(count * weight):
                    yield text, round(count * weight)
        for prompt in PROMPTS.values():
            fields = dict.fromkeys(prompt.fields, "") | {"lang": language}
            text = prompt.fill(fields).replace(BLANK, "").strip()
            if text:
                yield text, PROMPT


def train(corpus: DemoCorpus, vocab_size: int, other_share: float) -> bytes:
    """A serialised SentencePiece model of exactly `vocab_size` pieces, sentinels included."""
    alphabet = {
        character
        for language in DEMO_LANGUAGES
        for concept in corpus.core_train
        if concept.code not in corpus.held_out(language)
        for character in corpus.names(language).get(concept.code, "").replace(" ", "")
    }
    codes = [f"{WORD_MARK}{language.upper()}" for language in corpus.languages]
    with tempfile.TemporaryDirectory() as folder:
        text_file = pathlib.Path(folder, "text.tsv")
        lines = [f"{text}\t{count}\n" for text, count in training_text(corpus, other_share)]
        text_file.write_text("".join(lines), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text_file),
            input_format="tsv",
            model_prefix=str(pathlib.Path(folder, "model")),
            model_type="unigram",
            vocab_size=vocab_size - NUM_SENTINELS - len(codes),
            seed_sentencepiece_size=SEED_PIECES,
            required_chars="".join(sorted(alphabet)),
            character_coverage=0.9995,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
        model = ModelProto.FromString(pathlib.Path(folder, "model.model").read_bytes())
    model.trainer_spec.ClearField("input")  # temporary paths
    model.trainer_spec.ClearField("model_prefix")
    known = {piece.piece for piece in model.pieces}
    for code in sorted(codes, key=known.__contains__):
        if code in known:  # its id would have two, so the place is only kept
            kind = Piece.UNUSED
            model.pieces.add(piece=f"<unused{code}>", score=0.0, type=kind)
        else:
            model.pieces.add(piece=code, score=CODE_SCORE)
    for index in reversed(range(NUM_SENTINELS)):
        model.pieces.add(
            piece=f"<extra_id_{index}>",
            score=0.0,
            type=Piece.USER_DEFINED,
        )
    model.trainer_spec.vocab_size = len(model.pieces)
    return model.SerializeToString(deterministic=True)


def mean_tokens(tokenizer: Tokenizer, corpus: DemoCorpus, among: Sequence[str]) -> float:
    """Tokens per name of the core concepts, averaged over languages."""
    means = []
    for language in among:
        names = corpus.names(language)
        known = [names[c.code] for c in corpus.core_train if c.code in names]
        means.append(sum(map(len, tokenizer.encode_batch(known))) / len(known))
    return sum(means) / len(means)


def main() -> None:
    """Train, write, and print what to know about the result."""
    parser = argparse.ArgumentParser(description="Train the demo tokenizer.")
    checkout = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--other-share", type=float, default=OTHER_LANGUAGE_SHARE)
    parser.add_argument(
        "--output", type=pathlib.Path, default=checkout / "pali" / "embedded" / "spiece.model"
    )
    arguments = parser.parse_args()
    if arguments.vocab_size % VOCABULARY_MULTIPLE:
        parser.error(f"--vocab-size must be a multiple of {VOCABULARY_MULTIPLE}")
    corpus = load_corpus()
    serialized = train(corpus, arguments.vocab_size, arguments.other_share)
    arguments.output.write_bytes(serialized)
    tokenizer = Tokenizer(arguments.output)
    others = [language for language in corpus.languages if language not in DEMO_LANGUAGES]
    mine, theirs = (mean_tokens(tokenizer, corpus, among) for among in (DEMO_LANGUAGES, others))
    sys.stdout.write(
        f"{arguments.output}: {tokenizer.vocab_size} pieces, {len(serialized) / 1e3:.0f} kB\n"
        f"tokens per name: {mine:.2f} in the {len(DEMO_LANGUAGES)} demo languages, "
        f"{theirs:.2f} in the {len(others)} others\n"
    )


if __name__ == "__main__":
    main()
