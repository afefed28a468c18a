# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Text alone, to see that the language half learns: span corruption on the demo corpus.

pali train configs/text_only.py --workdir runs/text_only

There are no pictures: their places are masked, and the ViT and the projection, frozen, get no
gradient that they could use. The loss must begin near ln 8192 = 9.0 and fall; where it does not,
look at the optimizer and the data before at anything with pictures.
"""

from pali.config import Config, DataConfig, OptimConfig
from pali.models.presets import DEMO


def get_config() -> Config:
    return Config(
        model=DEMO,
        data=DataConfig(
            mixture="demo_span_corruption",
            batch_size=32,
            inputs_length=64,
            targets_length=32,
        ),
        optim=OptimConfig(
            learning_rate=3e-3,
            warmup_steps=50,
            freeze=("vit/.*", "projection/.*"),
        ),
        steps=500,
        log_every=10,
        eval_every=250,
        eval_batches=4,
        checkpoint_every=250,
    )
