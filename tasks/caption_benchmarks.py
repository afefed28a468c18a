# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""COCO Captions, NoCaps, TextCaps, VizWiz-Captions, Crossmodal-3600, COCO-35L: captions.

prompt   Generate the alt_text in SW at 0: <extra_id_0>
answer   mbwa kwenye nyasi

The official score is CIDEr; chrF stands beside it with an interval and the controls.

The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md.
"""

import seqio

from pali.data.benchmark_tasks import benchmark_parts
from pali.data.seqio_bridge import task_parts
from pali.metrics.chrf import chrf

ENGLISH = ("coco_captions", "nocaps", "textcaps", "vizwiz_captions")
MULTILINGUAL = ("xm3600", "coco_35l")

for name in (*ENGLISH, *MULTILINGUAL):
    seqio.TaskRegistry.add(name, **task_parts(*benchmark_parts(name)), metric_fns=[chrf])
