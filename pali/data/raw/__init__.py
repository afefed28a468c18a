# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Public datasets as they are published: one file for each, or for a format that several share."""

from __future__ import annotations

import difflib

from pali.data.raw.coco import COCO
from pali.data.raw.dataset import Dataset
from pali.data.raw.mc4 import MC4
from pali.data.raw.objects365 import OBJECTS365
from pali.data.raw.open_images import OPEN_IMAGES
from pali.data.raw.visual_genome import VISUAL_GENOME

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (MC4, COCO, OBJECTS365, OPEN_IMAGES, VISUAL_GENOME)
}
"""Every dataset that `pali data prepare` knows, by name."""


def find(name: str) -> Dataset:
    """The dataset of a name; ValueError names the near ones."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(DATASETS)}"
        raise ValueError(f"no dataset is named {name!r}; {hint}")
    return DATASETS[name]
