# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What captions begin with: the ViT alone, on the 343 concepts of the demo corpus.

pali train configs/demo_captions_vit.py --workdir runs/demo_captions_vit
"""

from pali.config import Config, DataConfig, OptimConfig
from pali.models.presets import DEMO_CAPTIONS


def get_config() -> Config:
    return Config(
        model=DEMO_CAPTIONS,
        objective="classify",
        data=DataConfig(mixture="demo_concepts", batch_size=128),
        optim=OptimConfig(
            name="muon",
            learning_rate=3e-3,
            warmup_steps=200,
            schedule="cosine",
            weight_decay=0.02,
        ),
        steps=2200,
        eval_splits=("validation", "unseen_art"),
        eval_every=200,
        eval_batches=8,
        checkpoint_every=100,
    )
