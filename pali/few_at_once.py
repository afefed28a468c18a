# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A batch in parts of a few rows, one after the other, where that is the faster way: on a CPU.

There each part's activations lie in the same memory, which stays near the processor, while those of
a whole batch are fetched from afar, or from the system, at every layer. 16 pictures took ViT-So400m
1.7 times as long in one go, and 36 prompts the encoder of mT5-small 1.25 times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

TOGETHER = 1024
"""Positions (patches, tokens) of a part, roughly."""


def few_at_once(run: Callable[..., Any], positions: int, *batch: Array) -> Any:
    """`run(*batch)`, in parts on a CPU, whole on accelerators and on a mesh.

    Args:
      run: arrays [b …] -> arrays [b …], each row for itself.
      positions: of one row.
      batch: its arguments.
    """
    rows, few = len(batch[0]), 1 << max(1, TOGETHER // positions).bit_length() - 1
    one_cpu = jax.default_backend() == "cpu" and jax.sharding.get_abstract_mesh().empty
    if not one_cpu or rows <= few or rows % few:
        return run(*batch)
    parts = tuple(x.reshape(rows // few, few, *x.shape[1:]) for x in batch)
    found = jax.lax.map(lambda part: run(*part), parts)
    return jax.tree.map(lambda x: x.reshape(rows, *x.shape[2:]), found)
