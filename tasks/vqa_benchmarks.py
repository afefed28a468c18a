# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""VQAv2, OK-VQA, TextVQA, VizWiz-VQA: a picture and a question -> an answer in English.

prompt   Answer in EN: What colour is the dog? <extra_id_0>
answer   brown

Trained on the answer that most people gave, evaluated by VQA accuracy against all ten, in per cent.

The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md.
"""

import seqio

from pali.data.benchmark_tasks import benchmark_parts
from pali.data.seqio_bridge import task_parts
from pali.metrics.vqa_accuracy import vizwiz_per_cent, vqa_per_cent

METRICS = {
    **dict.fromkeys(("vqav2", "okvqa", "textvqa"), vqa_per_cent),
    "vizwiz_vqa": vizwiz_per_cent,
}

for name, metric in METRICS.items():
    seqio.TaskRegistry.add(name, **task_parts(*benchmark_parts(name)), metric_fns=[metric])
