# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every task of the demo corpus, stage 1: the ViT learns to name, read, count and find.

pali train configs/demo_vit.py --workdir runs/demo_vit

It goes on from the model of configs/demo_captions.py, with two more layers in the ViT and one more
in the encoder. A ViT that only ever told things apart can neither read nor say where something is;
here it is trained with the language half on every task, and beside that on three things that no
model keeps or stage 2 needs: its own class head, a contrast of pictures with their names, and one
of patches with the words they show. Stage 2 then freezes it.
"""

from pali.config import Config, DataConfig, OptimConfig
from pali.models.presets import DEMO


def get_config() -> Config:
    return Config(
        model=DEMO,
        init_from=("runs/demo_captions_vit", "runs/demo_captions"),
        data=DataConfig(
            mixture="pali_demo_vit",
            batch_size=128,
            inputs_length=56,
            targets_length=92,
            short=((16, 24), (56, 8), (40, 40)),
        ),
        optim=OptimConfig(
            name="muon",
            learning_rate=1.2e-3,
            warmup_steps=100,
            schedule="cosine",
            weight_decay=0.02,
        ),
        weigh="targets",
        class_weight=0.3,
        contrast_weight=0.2,
        patch_weight=1.0,
        steps=4200,
        eval_splits=("validation",),
        eval_every=300,
        eval_batches=4,
        checkpoint_every=100,
    )
