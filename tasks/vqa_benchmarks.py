# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""VQAv2, OK-VQA, TextVQA, VizWiz-VQA: a picture and a question -> an answer in English.

prompt   Answer in EN: What colour is the dog? <extra_id_0>
answer   brown

Trained on the answer that most people gave, evaluated by VQA accuracy against all ten, in per cent.
The raw files and pictures are read as they are published, from PALI_DATA/benchmarks/NAME; which
these are: docs/benchmarks.md. Official numbers come from `pali score`.
"""

import seqio

from pali.data.benchmark_items import BenchmarkItems
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.vqa_accuracy import vizwiz_per_cent, vqa_per_cent
from pali.tasks import DEMO_TOKENIZER

METRICS = {
    **dict.fromkeys(("vqav2", "okvqa", "textvqa"), vqa_per_cent),
    "vizwiz_vqa": vizwiz_per_cent,
}

for name, metric in METRICS.items():
    seqio.TaskRegistry.add(
        name,
        source=RecordSource(
            {"train": BenchmarkItems(name, "train"), "validation": BenchmarkItems(name, "val")}
        ),
        preprocessors=[
            per_example(
                DecodePicture(224),
                TextToText(prompt="vqa", answer="answer"),
                Tokenize(DEMO_TOKENIZER),
            )
        ],
        output_features=pali_features(DEMO_TOKENIZER),
        metric_fns=[metric],
        shuffle_buffer_size=None,  # The source is shuffled as a whole.
    )
