# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Language models by name: mT5 (arXiv 2010.11934) and umT5 (arXiv 2304.09151).

Where the numbers are from: T5X, `examples/t5/mt5/*.gin`. umT5 has the same but for its vocabulary,
256,000 pieces and 300 sentinels padded to a multiple of 128, and its positions by layer
(`examples/scalable_t5/umt5/vocab.gin`, `scalable_t5/network.py`). T5X also has a umt5-large, of
which no weights are known; that the other four were released is from memory.
"""

from __future__ import annotations

from typing import Literal

from pali.config import MT5Config

_SIZES = {  # width, MLP, heads, layers of either stack
    "small": (512, 1024, 6, 8),
    "base": (768, 2048, 12, 12),
    "large": (1024, 2816, 16, 24),
    "xl": (2048, 5120, 32, 24),
    "xxl": (4096, 10240, 64, 24),
}


def _language_model(
    size: str, vocab_size: int, relative_bias: Literal["stack", "layer"]
) -> MT5Config:
    width, mlp_dim, num_heads, layers = _SIZES[size]
    return MT5Config(
        vocab_size=vocab_size,
        width=width,
        mlp_dim=mlp_dim,
        num_heads=num_heads,
        head_dim=64,
        encoder_layers=layers,
        decoder_layers=layers,
        relative_bias=relative_bias,
        dtype="bfloat16",
        scan=True,
    )


LANGUAGE_MODELS = {
    **{f"mt5-{size}": _language_model(size, 250_112, "stack") for size in _SIZES},
    **{
        f"umt5-{size}": _language_model(size, 256_384, "layer")
        for size in ("small", "base", "xl", "xxl")
    },
}
"""Name -> config, in bfloat16, its layers scanned."""
