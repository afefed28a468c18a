# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""DocVQA, InfographicVQA, ST-VQA, OCRBench, MLT-2019: the text in a picture.

prompt   What is the name of the university?
answer   university of california

ST-VQA publishes no answers but those of its training questions, and MLT-2019 is scored on its
training pictures: both call these `labelled`, and neither is to be trained on where it is scored.

The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md.
"""

import seqio

from pali.data.benchmark_tasks import benchmark_parts
from pali.data.seqio_bridge import task_parts
from pali.metrics.error_rates import cer
from pali.metrics.exact_match import exact_match

for name in ("docvqa", "infovqa", "ocrbench"):
    seqio.TaskRegistry.add(name, **task_parts(*benchmark_parts(name)), metric_fns=[exact_match])
seqio.TaskRegistry.add(
    "stvqa",
    **task_parts(*benchmark_parts("stvqa", {"labelled": "train"})),
    metric_fns=[exact_match],
)
seqio.TaskRegistry.add(
    "mlt2019", **task_parts(*benchmark_parts("mlt2019", {"labelled": "train"})), metric_fns=[cer]
)
