# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""In what numbers a loaded model computes, and how its weights then lie in memory.

    float32    weights and products in float32
    bfloat16   matrices and the embedding table in bfloat16; products accumulate in float32, norms,
               softmax and the sums between layers are float32 inside
    int8       the matrices of all layers and the output head as in pali/models/int8.py; the rest
               as with bfloat16

What is trained, saved and exported has none of this: it is the form of a model that only answers.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import get_args

import jax
import ml_dtypes
import numpy as np

from pali.checkpoints import merge
from pali.config import PaLIConfig, Precision
from pali.models import int8
from pali.types import Params

_TABLE = "mt5/token_embedder/embedding"

_LAYERS = re.compile(
    r"(vit/Transformer|vit/MAPHead_0|mt5/(en|de)coder)/.*"
    r"(query|key|value|out|Dense_0|Dense_1|wi_0|wi_1|wo|logits_dense)/kernel"
)
"""The matrices that int8 rounds."""


def configured(config: PaLIConfig, precision: str | None, divided: bool) -> PaLIConfig:
    """The configuration that computes so.

    Args:
      config: the model's own, whose type is kept where `precision` is None.
      precision: one of `pali.config.Precision`.
      divided: whether the model lies on several devices.

    Raises:
      ValueError: there is no such precision, or no such one on several devices.
    """
    known = get_args(Precision)
    if precision not in (None, *known):
        raise ValueError(f"precision is {precision!r}; it must be one of {', '.join(known)}")
    if precision == "int8" and divided:
        raise ValueError("precision int8 is for one device; on a mesh use bfloat16")
    vit, mt5 = config.vit, config.mt5
    if precision is not None:
        dtype = "float32" if precision == "float32" else "bfloat16"
        vit, mt5 = replace(vit, dtype=dtype), replace(mt5, dtype=dtype)
    if precision == "int8" or (not divided and jax.default_backend() == "cpu"):
        # On a CPU, cutting a layer's weights out of a stack copies them, at every step of an
        # answer. Integers of a stack would need scales of a stack.
        vit, mt5 = replace(vit, scan=False), replace(mt5, scan=False)
    return replace(config, vit=vit, mt5=mt5)


def stored(config: PaLIConfig, expected: Params) -> Params:
    """The same tree of `ShapeDtypeStruct`, in the types in which the weights are to be read."""
    flat = {}
    for name, like in merge.flatten(expected).items():
        half = config.vit if name.startswith("vit/") else config.mt5
        matrix = name.endswith("/kernel") or name == _TABLE
        flat[name] = jax.ShapeDtypeStruct(like.shape, half.dtype if matrix else like.dtype)
    return merge.unflatten(flat)


def laid_out(params: Params, precision: Precision | None) -> Params:
    """Weights as they are read -> weights as the model computes with them."""
    flat = merge.flatten(params)
    if precision == "int8":
        for name in [name for name in flat if _LAYERS.fullmatch(name)]:
            flat[name], scale = _quantised(name, flat[name])
            flat[name.removesuffix("kernel") + int8.SCALE] = scale
    table = flat[_TABLE]
    if table.dtype == ml_dtypes.bfloat16 and jax.default_backend() == "cpu":
        # XLA has no bfloat16 lookup for a CPU: it would make all of the table float32 first, at
        # every call. It looks up the bits instead (`pali.models.mt5.lookup`).
        flat[_TABLE] = table.view(np.uint16)
    return merge.unflatten(flat)


def _quantised(name: str, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attention of the ViT has kernels [D N H] and [N H D], all others are matrices."""
    contracted = kernel.ndim - 1 if name.endswith("/out/kernel") else 1
    width = math.prod(kernel.shape[:contracted])
    rounded, scale = int8.quantise(kernel.reshape(width, -1))
    return rounded.reshape(kernel.shape), scale
