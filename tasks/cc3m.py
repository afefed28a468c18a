# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Conceptual Captions 3M: a web picture -> its cleaned English alt text.

prompt   Generate the alt_text in EN at 0: <extra_id_0>
answer   a very typical bus station

Prepared by `pali data prepare cc3m`; its files and their licences: docs/datasets.md.
"""

import seqio

from pali.data.prepared import Prepared
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.chrf import chrf
from pali.tasks import DEMO_TOKENIZER

seqio.TaskRegistry.add(
    "cc3m_captions",
    source=RecordSource({split: Prepared("cc3m", split) for split in ("train", "validation")}),
    preprocessors=[
        per_example(
            DecodePicture(224),
            TextToText(prompt="caption", answer="caption"),
            Tokenize(DEMO_TOKENIZER),
            binary=("image",),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[chrf],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
