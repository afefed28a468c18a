# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning on data of your own: copy this file and change it, or name your data behind it.

pali train configs/forkme.py --data.mixture birds/train.jsonl --data.images birds/pictures

A JSONL file has captions of pictures, or questions about them, and `validation.jsonl` lies beside
it (`pali data split`; docs/your_data.md goes through all of it). Anything else is a task of yours
(docs/add_a_task.md): --data.mixture mine --data.task-modules mine.py. What is trained is a variant,
behind a colon:

    configs/forkme.py:lora              adapters of the language half (this is the default)
    configs/forkme.py:encoder_decoder   the language half and the projection
    configs/forkme.py:full              everything

`--data.replay pali_demo` shows some of what the model was trained on before, in `replay_rate` of
the examples, so that it forgets less. What it did forget is in forgetting.md of the workdir:
`forgetting_tasks` before and after, for each language.

It starts from the model that pali carries. For another: `model` its preset, `init.models` its
folder, `tokenizer` the spiece.model in that. Large models want Adafactor, and rates between 1e-5
and 1e-4, in which the paper searched (arXiv 2209.06794, section 4, as recalled).
"""

from pali.config import Config, DataConfig, InitConfig, LoRAConfig, OptimConfig
from pali.models.presets import DEMO

FREEZE = {
    "lora": ("vit/.*", "projection/.*"),  # and of the language half all but the adapters
    "encoder_decoder": ("vit/.*",),
    "full": (),
}

LEARNING_RATE = {"lora": 1e-3, "encoder_decoder": 3e-4, "full": 1e-4}

VARIANTS = tuple(FREEZE)


def get_config(variant: str = "lora") -> Config:
    return Config(
        model=DEMO,
        init=InitConfig(models=("embedded",)),
        data=DataConfig(
            mixture="birds/train.jsonl",
            batch_size=32,
            inputs_length=32,
            targets_length=64,
        ),
        optim=OptimConfig(
            learning_rate=LEARNING_RATE[variant],
            warmup_steps=20,
            schedule="linear",
            freeze=FREEZE[variant],
        ),
        lora=LoRAConfig(rank=16 if variant == "lora" else 0),
        languages=("en", "sw"),
        steps=200,
        log_every=10,
        eval_every=100,
        eval_limit=5,
        forgetting_tasks=("demo_captions", "demo_ocr", "demo_vqa_count", "demo_detection"),
        checkpoint_every=100,
    )
