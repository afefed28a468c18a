# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes by name."""

from __future__ import annotations

from dataclasses import replace

from pali.config import MT5Config, PaLIConfig, ViTConfig

DEMO_CAPTIONS = PaLIConfig(
    vit=ViTConfig(
        width=192,
        depth=4,
        mlp_dim=768,
        num_heads=6,
        patch_size=12,
        image_size=72,
        pool="map",
        num_classes=343,
        dtype="bfloat16",
        scan=False,
    ),
    mt5=MT5Config(
        vocab_size=8192,
        width=192,
        mlp_dim=512,
        num_heads=3,
        head_dim=64,
        encoder_layers=1,
        decoder_layers=3,
        dtype="bfloat16",
        scan=False,
    ),
)
"""The embedded model, which names things: configs/demo_captions_vit.py, demo_captions.py."""

DEMO = PaLIConfig(
    vit=replace(DEMO_CAPTIONS.vit, depth=6),
    mt5=replace(DEMO_CAPTIONS.mt5, encoder_layers=2),
)
"""What learns every task of the demo corpus, going on from it: configs/demo_vit.py and on."""
