# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""mC4: web text in 101 languages, for T5's span corruption. It has no pictures.

prompt   Thank you <extra_id_0> me to your party <extra_id_1> week
answer   <extra_id_0> for inviting <extra_id_1> last

Of a longer text a window of 128 tokens is read, another one in every epoch: at most 116 tokens of
prompt and 26 of answer, their ends included. It is for training; its answers are not scored.

Prepared by `pali data prepare mc4`; its files and their licences: docs/datasets.md.
"""

import seqio

from pali.data.prepared import Prepared
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.span_corruption import CorruptSpans
from pali.tasks import DEMO_TOKENIZER

seqio.TaskRegistry.add(
    "mc4_span_corruption",
    source=RecordSource({split: Prepared("mc4", split) for split in ("train", "validation")}),
    preprocessors=[per_example(CorruptSpans(DEMO_TOKENIZER, length=128))],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
