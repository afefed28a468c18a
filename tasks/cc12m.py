# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Conceptual 12M: a web picture -> its English alt text. For training alone: it has one split.

prompt   Generate the alt_text in EN at 0: <extra_id_0>
answer   Young boy with his dog on the beach at sunset

Prepared by `pali data prepare cc12m`; its files and their licences: docs/datasets.md.
"""

import seqio

from pali.data.prepared import Prepared
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.tasks import DEMO_TOKENIZER

seqio.TaskRegistry.add(
    "cc12m_captions",
    source=RecordSource({"train": Prepared("cc12m", "train")}),
    preprocessors=[
        per_example(
            DecodePicture(224),
            TextToText(prompt="caption", answer="caption"),
            Tokenize(DEMO_TOKENIZER),
            binary=("image",),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
