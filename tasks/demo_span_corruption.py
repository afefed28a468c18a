# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Span corruption on running text, without a picture: what keeps the language in a PaLI.

prompt   Training can be <extra_id_0> any step, and goes on <extra_id_1> command.
answer   <extra_id_0> stopped at <extra_id_1> with the same

15 % of the tokens, in spans of three on average, drawn anew in every epoch; of a paragraph with
more than 64 tokens another window is read each time (pali/data/span_corruption.py).

The text is what this project's documents say, in English: real sentences, but few of them, and all
about one thing. It shows what the objective does; a language model needs far more text, in all of
its languages. Whoever has mC4, or any JSON lines with "text" and "lang", puts a JsonLines in the
place of DemoProse; a plain text file is a Paragraphs (pali/data/prose.py).
"""

import seqio

from pali.data.prose import DemoProse
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.span_corruption import CorruptSpans
from pali.tasks import DEMO_TOKENIZER

seqio.TaskRegistry.add(
    "demo_span_corruption",
    source=RecordSource({split: DemoProse(split) for split in ("train", "validation")}),
    preprocessors=[per_example(CorruptSpans(DEMO_TOKENIZER, length=64))],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[],  # Its loss says how well it goes; there is no answer to be right.
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
