# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Every task of the demo corpus, stage 3: the ViT frozen.

pali train configs/demo.py --workdir runs/demo

Pictures are made on the fly: a text or a flag is seldom drawn the same way twice.
"""

from pali.config import Config, DataConfig, InitConfig, OptimConfig
from pali.languages import resolve_many
from pali.models.presets import DEMO


def get_config() -> Config:
    return Config(
        model=DEMO,
        init=InitConfig(models=("runs/demo_joint",)),
        data=DataConfig(
            mixture="pali_demo",
            batch_size=128,
            inputs_length=56,
            targets_length=92,
            short=((16, 24), (56, 8), (40, 40)),
        ),
        optim=OptimConfig(
            name="muon",
            learning_rate=2e-3,
            warmup_steps=100,
            schedule="cosine",
            freeze=("vit/.*",),
        ),
        weigh="targets",
        languages=tuple(resolve_many("demo")),
        notes=(
            "Names 343 things and 238 flags and tells background colours, learned from emoji art "
            "and rendered text; was taught to read, count and find things as well, and does so "
            "badly. For trying pali out, not for photographs."
        ),
        steps=6000,
        eval_splits=("validation", "unseen_art", "held_out_pairs", "unseen_strings"),
        eval_every=300,
        eval_batches=4,
        checkpoint_every=100,
    )
