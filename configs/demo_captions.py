# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Captions alone: PaLI on the names of 343 things in 36 languages, its ViT frozen.

pali train configs/demo_captions.py --workdir runs/demo_captions
"""

from pali.config import Config, DataConfig, InitConfig, OptimConfig
from pali.languages import resolve_many
from pali.models.presets import DEMO_CAPTIONS


def get_config() -> Config:
    return Config(
        model=DEMO_CAPTIONS,
        init=InitConfig(models=("runs/demo_captions_vit",)),
        data=DataConfig(
            mixture="pali_demo_captions",
            batch_size=128,
            inputs_length=16,
            targets_length=14,
            visual_token_cache="runs/visual_tokens",
        ),
        optim=OptimConfig(
            name="muon",
            learning_rate=3e-3,
            warmup_steps=100,
            schedule="cosine",
            freeze=("vit/.*",),
        ),
        languages=tuple(resolve_many("xm3600")),
        notes=(
            "Names 343 things in 36 languages, learned from emoji art of four sets: for trying "
            "pali out, not for photographs."
        ),
        steps=7500,
        eval_splits=("validation", "unseen_art", "held_out_pairs"),
        eval_every=200,
        eval_batches=4,
        checkpoint_every=100,
    )
