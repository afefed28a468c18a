# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Text <-> token ids: a SentencePiece model with T5's conventions, in training and inference.

pad 0 (also the decoder's start), eos 1, unk 2. The 100 sentinels are inside the model, counting
down at its end as in mT5's `mc4.250000.100extra`: <extra_id_0> is the last id. Loading a model that
does not keep to this fails at once instead of training on shifted ids.

Text is brought to NFC before it is encoded; what else happens to it (mT5: nmt_nfkc, the demo
model: nothing) is part of the SentencePiece model.
"""

from __future__ import annotations

import functools
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import sentencepiece
from jaxtyping import Int

SPACE = "\u2581"
"""How a piece writes the space that it begins with."""

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
NUM_SENTINELS = 100
# mT5's file writes its sentinels with the word mark in front, others without.
SENTINEL_SPELLINGS = ("<extra_id_{}>", "\u2581<extra_id_{}>")


class Tokenizer:
    """Immutable, picklable wrapper of one SentencePiece model."""

    pad_id, eos_id, unk_id = PAD_ID, EOS_ID, UNK_ID

    def __init__(self, path: str | os.PathLike[str]):
        """Load a `.model` file.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it is no SentencePiece model, or keeps to other special ids.
        """
        path = pathlib.Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"No tokenizer at {path}: expected a SentencePiece model, which lies beside the "
                "weights of a pali or mT5 checkpoint as spiece.model."
            )
        self._read(path.read_bytes(), str(path))

    @classmethod
    def from_bytes(cls, serialized: bytes, origin: str = "the given bytes") -> Tokenizer:
        """A tokenizer from the content of a `.model` file; `origin` is named in errors."""
        tokenizer = cls.__new__(cls)
        tokenizer._read(serialized, origin)
        return tokenizer

    def to_bytes(self) -> bytes:
        """The content of the `.model` file."""
        return self._serialized

    @property
    def vocab_size(self) -> int:
        """Number of ids; a model's embedding may have more rows (mT5: 250,100 of 250,112)."""
        return self._processor.get_piece_size()

    def check_fits(self, rows: int) -> None:
        """Raises ValueError if a model whose embedding has so many rows lacks some of the ids."""
        if self.vocab_size > rows:
            raise ValueError(
                f"the tokenizer has {self.vocab_size} pieces and the model a vocabulary of {rows}: "
                "this is another model's spiece.model"
            )

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without eos."""
        return self._processor.encode(unicodedata.normalize("NFC", text))

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of several texts, without eos."""
        return self._processor.encode([unicodedata.normalize("NFC", text) for text in texts])

    def letter(self, character: str) -> int:
        """Id of the piece that is one character by itself; of its last byte where there is none."""
        found = self._processor.piece_to_id(unicodedata.normalize("NFC", character))
        return found if found != UNK_ID else self.encode(character)[-1]

    def decode(self, ids: Sequence[int]) -> str:
        """Text up to the first eos; pad and ids beyond the vocabulary (padded rows) are dropped."""
        kept = []
        for token in map(int, ids):
            if token == EOS_ID:
                break
            if PAD_ID < token < self.vocab_size:
                kept.append(token)
        return self._processor.decode(kept)

    def pieces(self, text: str) -> list[str]:
        """The pieces a text is cut into, to look at."""
        return [self._processor.id_to_piece(token) for token in self.encode(text)]

    def piece(self, token: int) -> str:
        """The piece of an id, "▁" for a space; empty for pad, eos and ids beyond the vocabulary."""
        if token in (PAD_ID, EOS_ID) or not 0 <= token < self.vocab_size:
            return ""
        return self._processor.id_to_piece(token)

    def is_special(self, token: int) -> bool:
        """Whether an id stands for no characters of its own: pad, eos, unk, a byte, a sentinel."""
        return (
            token in (PAD_ID, EOS_ID, UNK_ID)
            or token in self._byte_ids
            or self._processor.is_control(token)
            or token >= self.vocab_size - NUM_SENTINELS
        )

    def sentinel(self, index: int) -> int:
        """Id of <extra_id_index>; counts down from the last id."""
        if not 0 <= index < NUM_SENTINELS:
            raise ValueError(
                f"There is no sentinel <extra_id_{index}>: they go from 0 to {NUM_SENTINELS - 1}."
            )
        return self.vocab_size - 1 - index

    @functools.cached_property
    def characters(self) -> Int[np.ndarray, "2 V"]:
        """How many characters of text each token adds, as the first of an answer and later.

        The space that a word begins with is not there before the first. Each byte counts, for one
        that makes no character with its neighbours is shown as one; the end and other control
        tokens add nothing.
        """
        added = np.zeros((2, self.vocab_size), np.int32)
        for token in range(self.vocab_size):
            if self._processor.is_control(token):
                continue
            piece = self._processor.id_to_piece(token)
            if self._processor.is_byte(token):
                added[:, token] = 1
            else:
                added[:, token] = len(piece)
                added[0, token] -= piece.startswith(SPACE)
        return added

    def unknown_share(self, text: str) -> float:
        """Share of a text's tokens that are unknown or single bytes, in 0..1.

        Near 0 for a script the model has pieces for; near 1 for one it can only spell in bytes.
        """
        tokens = self.encode(text)
        return sum(self.unspelled(tokens)) / max(len(tokens), 1)

    def unspelled(self, tokens: Sequence[int]) -> tuple[int, int]:
        """How many tokens are unknown, and how many are single bytes."""
        return tokens.count(UNK_ID), sum(token in self._byte_ids for token in tokens)

    @functools.cached_property
    def _byte_ids(self) -> frozenset[int]:
        return frozenset(id for id in range(self.vocab_size) if self._processor.is_byte(id))

    def _read(self, serialized: bytes, origin: str) -> None:
        processor = _processor(serialized, origin)
        found = (processor.pad_id(), processor.eos_id(), processor.unk_id())
        if found != (PAD_ID, EOS_ID, UNK_ID):
            raise ValueError(
                f"{origin} has pad, eos, unk = {found}; pali needs "
                f"{(PAD_ID, EOS_ID, UNK_ID)} as in T5 and mT5."
            )
        size = processor.get_piece_size()
        for index in range(NUM_SENTINELS):
            piece = processor.id_to_piece(size - 1 - index) if index < size else "nothing"
            if piece not in [spelling.format(index) for spelling in SENTINEL_SPELLINGS]:
                raise ValueError(
                    f"{origin} has {piece!r} at id {size - 1 - index} of {size}, where "
                    f"<extra_id_{index}> must stand: the {NUM_SENTINELS} sentinels have to be "
                    "inside the model, counting down at its end, as in mT5's."
                )
        self._serialized, self._processor = serialized, processor

    def __reduce__(self):
        """Pickled as the model's bytes."""
        return type(self).from_bytes, (self._serialized,)


@functools.cache
def load_tokenizer(path: str) -> Tokenizer:
    """The tokenizer of a `.model` file, read once in a process: for functions that only name it."""
    return Tokenizer(path)


def with_sentinels(serialized: bytes, count: int, origin: str = "the tokenizer") -> bytes:
    """A SentencePiece model with its sentinels inside: as it is, or `count` of them put at its end.

    T5's and umT5's published models have none; SeqIO appends them when it loads one, as pieces of
    their own that count down to <extra_id_0>. Here they become a part of the file. A model that has
    sentinels inside, as mT5's, is returned unchanged.

    Raises:
      ValueError: this is no SentencePiece model.
    """
    processor = _processor(serialized, origin)
    if not count or "extra_id" in processor.id_to_piece(processor.get_piece_size() - 1):
        return serialized
    # A repeated field may go on at the end of a protocol buffer: field 1 of the model is its
    # pieces, of which field 1 is the text, 2 the score and 3 the type, 4 for "user defined".
    pieces = (SENTINEL_SPELLINGS[1].format(i).encode() for i in reversed(range(count)))
    bodies = (b"\n" + bytes([len(p)]) + p + b"\x15\0\0\0\0\x18\x04" for p in pieces)
    return serialized + b"".join(b"\n" + bytes([len(body)]) + body for body in bodies)


def piece_count(serialized: bytes, origin: str = "the tokenizer") -> int:
    """Pieces of a SentencePiece model, whatever else it is; ValueError if it is none."""
    return _processor(serialized, origin).get_piece_size()


def _processor(serialized: bytes, origin: str) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(serialized)
    except RuntimeError:
        raise ValueError(f"{origin} is not a SentencePiece model.") from None
    return processor
