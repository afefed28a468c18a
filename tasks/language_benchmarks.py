# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""XNLI, XQuAD: text in many languages, without a picture.

prompt   question: How many points? context: The Panthers gave up just 308 points.
answer   308

The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md.
"""

import seqio

from pali.data.benchmark_tasks import benchmark_parts
from pali.data.seqio_bridge import task_parts
from pali.metrics.exact_match import exact_match

for name in ("xnli", "xquad"):
    seqio.TaskRegistry.add(name, **task_parts(*benchmark_parts(name)), metric_fns=[exact_match])
