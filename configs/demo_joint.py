# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every task of the demo corpus, stage 2: the ViT and the language half together.

pali train configs/demo_joint.py --workdir runs/demo_joint

The ViT comes from configs/demo_vit.py, the language half from configs/demo_captions.py, with one
more layer in the encoder. Beside the texts the ViT goes on with its own class head and the words
that patches show, and learns a contrast of pictures with their names. Stage 3 then freezes it.
"""

from pali.config import Config, DataConfig, InitConfig, OptimConfig
from pali.models.presets import DEMO


def get_config() -> Config:
    return Config(
        model=DEMO,
        init=InitConfig(models=("runs/demo_vit", "runs/demo_captions")),
        data=DataConfig(
            mixture="pali_demo_joint",
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
