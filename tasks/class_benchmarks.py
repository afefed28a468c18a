# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ImageNet with ReaL, V2, A, R and Sketch, and ObjectNet: the class of a picture.

prompt   Generate the alt_text in EN at 2: Photo of <extra_id_0>
answer   tench

A class is told by the first of its names in LOC_synset_mapping.txt. The official score is that of
the class whose name the model finds most likely, not of what it writes; exact match is of that.

The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md.
"""

import seqio

from pali.data.benchmark_tasks import benchmark_parts
from pali.data.seqio_bridge import task_parts
from pali.metrics.exact_match import exact_match

RELATIVES = ("imagenet_v2", "imagenet_a", "imagenet_r", "imagenet_sketch", "objectnet")

for name in ("imagenet", *RELATIVES):
    seqio.TaskRegistry.add(name, **task_parts(*benchmark_parts(name)), metric_fns=[exact_match])
