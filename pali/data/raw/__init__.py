# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Public datasets as they are published: one file for each, or for a format that several share."""

from __future__ import annotations

import difflib

from pali.data.raw.captions_35l import CC3M_35L, COCO_35L
from pali.data.raw.coco import COCO
from pali.data.raw.conceptual_captions import CC3M, CC12M
from pali.data.raw.dataset import Dataset
from pali.data.raw.mc4 import MC4
from pali.data.raw.objects365 import OBJECTS365
from pali.data.raw.open_images import OPEN_IMAGES
from pali.data.raw.visual_genome import VISUAL_GENOME
from pali.data.raw.vq2a import VQ2A_CC3M, VQ2A_COCO
from pali.data.raw.web import WEB, WEB_OCR

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        *(WEB, WEB_OCR),
        *(CC3M, CC12M, CC3M_35L, VQ2A_CC3M),
        *(COCO, COCO_35L, VQ2A_COCO),
        *(OPEN_IMAGES, VISUAL_GENOME, OBJECTS365),
        MC4,
    )
}
"""Every dataset that `pali data prepare` knows, by name."""


def find(name: str) -> Dataset:
    """The dataset of a name; ValueError names the near ones."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(DATASETS)}"
        raise ValueError(f"no dataset is named {name!r}; {hint}")
    return DATASETS[name]
