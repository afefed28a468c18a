# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every task of the demo corpus, stage 1: the ViT alone learns to read and to find.

pali train configs/demo_vit.py --workdir runs/demo_vit

It goes on from configs/demo_captions_vit.py with two more layers. A ViT that only ever told things
apart can neither read nor say where something is; here every patch is asked which letters or which
object it shows, beside the class of a picture that shows a single thing. Without the language half
a step takes a third of the time.
"""

from pali.config import Config, DataConfig, InitConfig, OptimConfig
from pali.models.presets import DEMO


def get_config() -> Config:
    return Config(
        model=DEMO,
        objective="classify",
        init=InitConfig(models=("runs/demo_captions_vit",)),
        data=DataConfig(mixture="pali_demo_pictures", batch_size=128),
        optim=OptimConfig(
            name="muon",
            learning_rate=3e-3,
            warmup_steps=200,
            schedule="cosine",
            weight_decay=0.02,
        ),
        patch_weight=1.0,
        steps=5000,
        eval_splits=("validation",),
        eval_every=500,
        eval_batches=4,
        checkpoint_every=100,
    )
