# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""GQA, xGQA, MaXM, TallyQA, ChartQA, AI2D: a picture and a question -> one right answer.

prompt   Answer in EN: Which of them eats grass? choose from: frog \\t grasshopper <extra_id_0>
answer   grasshopper

MaXM is answered in the language of the question, all others in English; ChartQA is asked with the
question alone. Of GQA the validation split is left out: testdev is what is reported, and 132,062
questions more would be asked every time.

The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md.
"""

import seqio

from pali.data.benchmark_tasks import benchmark_parts
from pali.data.seqio_bridge import task_parts
from pali.metrics.exact_match import exact_match

for name in ("xgqa", "maxm", "tallyqa", "chartqa", "ai2d"):
    seqio.TaskRegistry.add(name, **task_parts(*benchmark_parts(name)), metric_fns=[exact_match])
seqio.TaskRegistry.add(
    "gqa",
    **task_parts(*benchmark_parts("gqa", {"train": "train", "testdev": "testdev"})),
    metric_fns=[exact_match],
)
