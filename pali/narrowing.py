# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The output head on a shortlist's columns: a smaller product, whose ids are mapped back.

    shortlists, languages of the rows -> Narrowed: columns [v], the head's [D v], rows' own [b v]

Within a decoding loop a token is its place among the columns, which are in the order of the ids, so
that of equals the smallest id still wins; pad, eos and unk are in every shortlist and keep their
numbers. The columns are those of all languages asked for, filled up to a power of two, so that
other languages compile nothing; each row sees its own language's alone, the others as -inf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

_FEWEST = 1024  # Columns are a power of two that is at least this, or the whole vocabulary.


class Narrowed(NamedTuple):
    """What a batch decodes with."""

    columns: Int[Array, " v"]
    """Ascending ids, then 0."""
    head: Any
    """Parameters of an output head with these columns alone."""
    own: Bool[Array, "b v"]
    """What each row may write."""

    def mask(self, logits: Float[Array, "r v"]) -> Float[Array, "r v"]:
        """-inf for what a row may not write; w rows in a row may belong to one of the batch."""
        return jnp.where(self.allowed(len(logits)), logits, -jnp.inf)

    def allowed(self, rows: int) -> Bool[Array, "r v"]:
        """`own`, for each of the hypotheses of the batch."""
        return jnp.repeat(self.own, rows // len(self.own), axis=0)


class Shared(NamedTuple):
    """What the batches of one call have in common."""

    columns: Int[np.ndarray, " v"]
    head: Any
    masks: Mapping[str, Bool[np.ndarray, " v"]]
    """By language."""

    def batch(self, langs: Sequence[str]) -> Narrowed:
        """For rows of these languages."""
        return Narrowed(
            jnp.asarray(self.columns),
            self.head,
            jnp.asarray(np.stack([self.masks[lang] for lang in langs])),
        )

    def places(self, ids: Int[np.ndarray, " p"]) -> Int[np.ndarray, " p"]:
        """Where ids that are among the columns stand."""
        used = np.count_nonzero(self.columns) + 1
        return np.searchsorted(self.columns[:used], ids).astype(np.int32)


def share(head: Any, vocab_size: int, masks: Mapping[str, Bool[np.ndarray, " V"]]) -> Shared:
    """The columns that any of the languages needs, taken out of a head.

    Args:
      head: its parameters; the vocabulary is the last axis of each.
      vocab_size: of the model, which may have more rows than the tokenizer has pieces.
      masks: by language, the pieces it may use; id 0 among them.
    """
    ids = np.flatnonzero(np.any(list(masks.values()), axis=0))
    size = min(max(_FEWEST, 1 << (len(ids) - 1).bit_length()), vocab_size)
    columns = np.zeros(size, np.int32)
    columns[: len(ids)] = ids
    filler = size - len(ids)
    return Shared(
        columns,
        _gather(head, columns),
        {lang: np.pad(mask[ids], (0, filler)) for lang, mask in masks.items()},
    )


def _gather(head: Any, columns: Int[np.ndarray, " v"]) -> Any:
    def take(leaf: Array) -> Array:
        if leaf.dtype == jnp.bfloat16 and leaf.devices() == {jax.devices("cpu")[0]}:
            # XLA would make all of it float32 first; NumPy takes the bits as they are.
            return jnp.asarray(np.asarray(leaf).view(np.uint16)[..., columns].view(leaf.dtype))
        return _take(leaf, columns)

    return jax.tree.map(take, head)


@jax.jit
def _take(leaf: Array, columns: Int[Array, " v"]) -> Array:
    return jnp.take(leaf, columns, axis=-1)
