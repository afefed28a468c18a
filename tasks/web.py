# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Web pictures of your own, in place of WebLI: split captions, and the text in a picture.

web_split_captions  Generate the alt_text in JA at 3: 草の上 <extra_id_0>
                    -> にいる犬
web_ocr             Generate the ocr_text in EN: <extra_id_0>
                    -> OPEN 24 hours

An alt text is cut between words, at another place in every epoch; where words have no spaces
between them, between characters (pali/data/word_units.py). Cut at 0, the whole is asked for.

Prepared by `pali data prepare web` and then `web_ocr`; their files: docs/datasets.md.
"""

import seqio

from pali.data.prepared import Prepared
from pali.data.preprocessors import DecodePicture, SplitCaption, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.chrf import chrf
from pali.metrics.error_rates import cer, cer_no_spaces
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_TOKENIZER

SPLITS = ("train", "validation")

seqio.TaskRegistry.add(
    "web_split_captions",
    source=RecordSource({split: Prepared("web", split) for split in SPLITS}),
    preprocessors=[
        per_example(
            DecodePicture(224),
            SplitCaption("text"),
            TextToText(prompt="split_caption", answer="after"),
            Tokenize(DEMO_TOKENIZER),
            binary=("image",),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[chrf],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)

seqio.TaskRegistry.add(
    "web_ocr",
    source=RecordSource({split: Prepared("web_ocr", split) for split in SPLITS}),
    preprocessors=[
        per_example(
            DecodePicture(224),
            TextToText(prompt="ocr", answer="text"),
            Tokenize(DEMO_TOKENIZER),
            binary=("image",),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[cer, cer_no_spaces, exact_match],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
