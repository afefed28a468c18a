# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""CC3M-35L and COCO-35L: a picture -> a caption in one of 35 languages, translated by machine.

prompt   Generate the alt_text in SW at 0: <extra_id_0>
answer   mbwa amelala kwenye nyasi .

CC3M-35L is what PaLI is pre-trained on, COCO-35L what it is tuned on before Crossmodal-3600 (arXiv
2209.06794). Captions are tokenised and in lower case, as published.

Prepared by `pali data prepare cc3m_35l` and `coco_35l`, after cc3m and coco, whose pictures they
are about; files and licences: docs/datasets.md.
"""

import seqio

from pali.data.prepared import Prepared
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.chrf import chrf
from pali.tasks import DEMO_TOKENIZER

for dataset in ("cc3m_35l", "coco_35l"):
    seqio.TaskRegistry.add(
        f"{dataset}_captions",
        source=RecordSource({split: Prepared(dataset, split) for split in ("train", "validation")}),
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
