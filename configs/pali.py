# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pre-training of the models of the paper (arXiv 2209.06794), in its two phases.

pali train configs/pali.py:17b-224
pali train configs/pali.py:17b-588

The first phase is at 224 pixels beside a frozen ViT, on the mixture of the eight objectives; the
second at 588, everything trained, on small print and small things; it goes on from the workdir of
the first, the ViT's positions resampled from 16 x 16 patches to 42 x 42. The paper has the second
for 17B alone.

Hardware: pods; `mesh` is for 8 devices and more (3b, so400m) or 256 and more (15b, 17b), see
docs/scaling.md. The data: every task of the mixture is prepared first, docs/datasets.md. Names of
the hub (google/…) need `pip install 'open-pali[train,hf]'`. The ViT-G and ViT-e of the paper were
never published: weights of your own go to the path in VISION. `so400m` is what can be started from
public weights alone, as large as 3B. Nobody has trained these with this code: there is no expected
result.

Where the numbers are from: resolutions, which parts are trained, the steps of the second phase,
the warm-up and the peaks of the rate are reported by notes on the paper. Adafactor without momentum
and the batches of 4,096 and 1,024 are recalled, and so are the counts of Table 1, 1,566M examples
together, of which the steps of the first phase follow. The z-loss is mT5's in T5X. The paper's
lengths of texts, dropout, and the rate of the second phase are not known: 128 is the length of the
tasks' span corruption, dropout is 0 as in mT5's own pre-training, and 1e-3 is a guess.
"""

from dataclasses import replace

from pali.config import Config, DataConfig, InitConfig, MeshConfig, OptimConfig
from pali.models.presets import pali

MODELS = {
    "3b": "pali-3b",
    "15b": "pali-15b",
    "17b": "pali-17b",
    "so400m": "siglip-so400m/14-224+mt5-large",
}

VISION = {
    "3b": "weights/vit-G_14.npz",
    "15b": "weights/vit-G_14.npz",
    "17b": "weights/vit-e_14.npz",
    "so400m": "google/siglip-so400m-patch14-224",
}

LANGUAGE = {
    "3b": "google/mt5-large",
    "15b": "google/mt5-xxl",
    "17b": "google/mt5-xxl",
    "so400m": "google/mt5-large",
}

PEAK = {"3b": 1e-2, "15b": 5e-3, "17b": 5e-3, "so400m": 1e-2}

EXAMPLES, BATCH = 1_566_000_000, 4096

VARIANTS = tuple(f"{size}-{pixels}" for size in MODELS for pixels in (224, 588))


def get_config(variant: str = "3b-224") -> Config:
    size, _, pixels = variant.partition("-")
    first = pixels == "224"
    model = pali(MODELS[size])
    return Config(
        model=replace(
            model,
            vit=replace(model.vit, image_size=int(pixels), remat="none" if first else "full"),
            mt5=replace(model.mt5, remat="full"),
        ),
        init=InitConfig(
            vision=VISION[size],
            language=LANGUAGE[size],
            models=() if first else (f"runs/pali_{size}-224",),
        ),
        data=DataConfig(
            mixture="pali_pretrain" if first else "pali_highres",
            batch_size=BATCH if first else 1024,
            inputs_length=128,
            targets_length=128,
            prefetch_threads=16,
        ),
        optim=OptimConfig(
            name="adafactor",
            learning_rate=PEAK[size] if first else 1e-3,
            warmup_steps=1000,
            schedule="rsqrt",
            clip_norm=None,
            freeze=("vit/.*",) if first else (),
        ),
        mesh=MeshConfig(fsdp=64, model=4) if size in ("15b", "17b") else MeshConfig(fsdp=8),
        z_loss=1e-4,
        loss_chunks=16,
        steps=EXAMPLES // BATCH if first else 10_000,
        log_every=50,
        eval_splits=(),
        checkpoint_every=1000,
    )
