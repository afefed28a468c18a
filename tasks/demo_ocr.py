# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Reading: a picture of text -> the text; the demo corpus' CLDR strings, set in Noto faces.

prompt   Generate the ocr_text in HI: <extra_id_0>
answer   सोमवार

109 languages in 26 scripts; names of languages, territories, months and days, alone or two or three
together, of up to 12 characters. Pictures are set on the fly, so training seldom meets one twice.
Splits: see OCR_SPLITS in pali/data/text_sources.py. The evaluation splits have at most 100 records
of each language. Strings, fonts, licences, how the splits were drawn: docs/demo_corpus.md.

`demo_ocr_short` has texts of up to 6 characters alone: who learns to read begins with those.
"""

import seqio

from pali.data.preprocessors import TextToText, Tokenize, TypesetPicture
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.text_sources import OCR_SPLITS, DemoOcr
from pali.metrics.error_rates import cer, cer_no_spaces
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_TOKENIZER

for name, longest in (("demo_ocr", 12), ("demo_ocr_short", 6)):
    seqio.TaskRegistry.add(
        name,
        source=RecordSource(
            {split: DemoOcr(split, max_characters=longest) for split in OCR_SPLITS}
        ),
        preprocessors=[
            per_example(
                TypesetPicture(DEMO_IMAGE_SIZE),
                TextToText(prompt="ocr", answer="text"),
                Tokenize(DEMO_TOKENIZER),
            )
        ],
        output_features=pali_features(DEMO_TOKENIZER),
        metric_fns=[cer, cer_no_spaces, exact_match],
        shuffle_buffer_size=None,  # The source is shuffled as a whole.
    )
