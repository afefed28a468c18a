# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Where the decoder looked for each word that it wrote.

    visual tokens [n p d], rows of (number of a picture, text that the model wrote about it)
        -> for each row an `Attention`: shares of the patches for every token, and for every word

The tokens of a text, whatever chose them, go through the decoder once more, all at once. Each is
chosen at the position whose input is the token before it, and what cross-attention reads there is
the token's: the softmax weights of every layer and head, their mean taken over layers and heads
alike. These shares of the p visual tokens and the s tokens of the prompt sum to one.

They tell where the decoder read, not why it wrote: before it reads, the encoder has mixed every
patch with the others and with the prompt.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pali.config import PaLIConfig
from pali.generation import Text, batches, filled, padded
from pali.languages import UNSPACED, script_of
from pali.models.mt5 import cross_attention
from pali.models.pali import PaLI
from pali.tokenizer import SPACE, Tokenizer
from pali.types import Params


class Word(NamedTuple):
    """A word of an answer; in scripts without spaces a piece."""

    text: str
    pieces: tuple[str, ...]
    """The SentencePiece pieces it is made of; the first begins with "▁" where a space stands."""
    patches: Float[np.ndarray, "rows columns"]
    """Mean over the pieces of the share of each patch, by row and column of what the ViT sees
    (`pali.image.seen_region`: the whole picture, or its middle)."""

    @property
    def on_picture(self) -> float:
        """Share of the whole picture, 0 to 1; the rest went to the prompt."""
        return float(self.patches.sum())


class Attention(NamedTuple):
    """What the decoder read of the picture while it wrote one answer."""

    patches: Float[np.ndarray, "t rows columns"]
    """For every token of the answer, the end token counted, the share of each patch, from the top
    left. What a token's shares lack to one went to the prompt."""
    words: list[Word]
    """The same for the words of the answer, in their order, without the end."""


def explain(
    config: PaLIConfig,
    params: Params,
    tokenizer: Tokenizer,
    visual: Float[np.ndarray, "n p d_vit"],
    rows: Sequence[int],
    texts: Sequence[str],
) -> list[Attention]:
    """What was read of the picture for each text.

    Args:
      config, params, tokenizer: the model.
      visual: visual tokens of the pictures.
      rows: for each text the number of its picture.
      texts: what `generation.generate` made with this model.

    Raises:
      ValueError: a text is none that a model made.
    """
    written = [_written(text) for text in texts]
    prompts = [[*tokenizer.encode(text.prompt), tokenizer.eos_id] for text in written]
    grid, hidden = config.vit.grid, int(config.vit.class_token_visual)
    found: list[Attention] = []
    for start, count, size in batches(len(written)):
        picked = filled(start, count, size)
        shares = shares_of_source(
            config,
            params,
            visual[[rows[i] for i in picked]],
            np.ones(size, bool),
            padded([prompts[i] for i in picked]),
            padded([written[i].tokens for i in picked]),
        )
        for text, row in zip(written[start : start + count], np.asarray(shares), strict=False):
            seen = row[: text.num_tokens, hidden : config.vit.num_visual_tokens]
            patches = seen.reshape(-1, *grid)
            found.append(Attention(patches, words(tokenizer, text.tokens, patches)))
    return found


@functools.partial(jax.jit, static_argnums=0)
def shares_of_source(
    config: PaLIConfig,
    params: Any,
    visual_tokens: Float[Array, "b p d_vit"],
    image_mask: Bool[Array, " b"],
    prompt: Int[Array, "b s"],
    answer: Int[Array, "b t"],
) -> Float[Array, "b t p+s"]:
    """For each token of the answer its shares of visual tokens and prompt, which sum to one.

    What is hidden by `image_mask` or is padding (id 0) of the prompt has none; tokens of an answer
    after its end have shares without a meaning.
    """

    def call(method: str, *args: Any, **kwargs: Any) -> Any:
        return PaLI(config).apply({"params": params}, *args, method=method, **kwargs)

    encoded, mask = call("encode", visual_tokens, image_mask, prompt)
    before = jnp.pad(answer[:, :-1], ((0, 0), (1, 0)))
    _, made = call("decode", encoded, mask, before, mutable=["intermediates"])
    return cross_attention(config.mt5, made["intermediates"]["mt5"]).mean((0, 2))


def words(
    tokenizer: Tokenizer, tokens: Sequence[int], patches: Float[np.ndarray, "t rows columns"]
) -> list[Word]:
    """The words that tokens spell, each with the mean of what its tokens looked at.

    A word begins where a space stands, and in UNSPACED scripts with every piece that begins
    with a letter; marks, punctuation and single bytes belong to the word before them. Joined, with
    a space before each word whose first piece has one, they are the text.
    """
    end = tokens.index(tokenizer.eos_id) if tokenizer.eos_id in tokens else len(tokens)
    pieces = tuple(tokenizer.piece(token) for token in tokens[:end])
    made = []
    for start, stop in _spans(pieces):
        if text := tokenizer.decode(tokens[start:stop]).strip():
            made.append(Word(text, pieces[start:stop], patches[start:stop].mean(0)))
    return made


def _spans(pieces: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """The first piece of each word, and the one after its last."""
    start = 0
    for place in range(1, len(pieces)):
        piece = pieces[place]
        after_a_space = pieces[start:place] == (SPACE,)  # By itself it is no word yet.
        if piece.startswith(SPACE) or (_stands_alone(piece) and not after_a_space):
            yield start, place
            start = place
    if pieces:
        yield start, len(pieces)


def _stands_alone(piece: str) -> bool:
    letter = piece[:1]
    return bool(letter) and (
        unicodedata.category(letter)[0] == "L" and script_of(letter) in UNSPACED
    )


def _written(text: str) -> Text:
    if not isinstance(text, Text) or not text.tokens:
        raise ValueError(
            f"{text[:60]!r} was not written by a model: give what caption, answer, ocr or generate "
            "returned, which knows its tokens and its prompt"
        )
    return text
