# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Questions made from captions (VQ²A): a picture and a question -> an answer, and the other way.

vq2a_cc3m_vqa, vq2a_coco_vqa    Answer in EN: mbwa yuko wapi? <extra_id_0>
                                -> on the grass
vq2a_cc3m_vqg, vq2a_coco_vqg    Generate a question in SW for on the grass: <extra_id_0>
                                -> mbwa yuko wapi?

Questions are in the language of their record, answers in English.

Prepared by `pali data prepare vq2a_cc3m` and `vq2a_coco`, after cc3m and coco, whose pictures they
are about; files and licences: docs/datasets.md.
"""

import seqio

from pali.data.prepared import Prepared
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.chrf import chrf
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_TOKENIZER

for dataset in ("vq2a_cc3m", "vq2a_coco"):
    for prompt, answer, metric in (("vqa", "answer", exact_match), ("vqg", "question", chrf)):
        splits = ("train", "validation")
        seqio.TaskRegistry.add(
            f"{dataset}_{prompt}",
            source=RecordSource({split: Prepared(dataset, split) for split in splits}),
            preprocessors=[
                per_example(
                    DecodePicture(224),
                    TextToText(prompt, answer),
                    Tokenize(DEMO_TOKENIZER),
                    binary=("image",),
                )
            ],
            output_features=pali_features(DEMO_TOKENIZER),
            metric_fns=[metric],
            shuffle_buffer_size=None,  # The source is shuffled as a whole.
        )
