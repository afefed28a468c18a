# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Flags of the demo corpus: a rendered flag -> its territory's CLDR name.

demo_flags     Generate the alt_text in SW at 0: <extra_id_0>    in the language asked for
               -> Uholanzi
demo_vqa_flag  Answer in EN: Wessen Flagge ist das? <extra_id_0>    asked in 36, in English
               -> Netherlands

238 flags in one art set, named in up to 109 languages; rendered on the fly and never mirrored.
Splits: see FLAG_SPLITS in pali/data/text_sources.py. The evaluation splits have at most 100 records
of each language. Art, licences, how the splits were drawn: docs/demo_corpus.md.
"""

import seqio

from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.text_sources import FLAG_SPLITS, DemoFlagNames, DemoFlagQuestions
from pali.languages import resolve_many
from pali.metrics.chrf import chrf
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_TOKENIZER

seqio.TaskRegistry.add(
    "demo_flags",
    source=RecordSource({split: DemoFlagNames(split) for split in FLAG_SPLITS}),
    preprocessors=[
        per_example(
            RenderPicture(DEMO_IMAGE_SIZE),
            TextToText(prompt="caption", answer="name"),
            Tokenize(DEMO_TOKENIZER),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[exact_match, chrf],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)

LANGUAGES = tuple(resolve_many("xm3600"))

seqio.TaskRegistry.add(
    "demo_vqa_flag",
    source=RecordSource(
        {
            split: DemoFlagQuestions(split, LANGUAGES)
            for split in ("train", "validation", "unseen_art")
        }
    ),
    preprocessors=[
        per_example(
            RenderPicture(DEMO_IMAGE_SIZE),
            TextToText(prompt="vqa", answer="answer"),
            Tokenize(DEMO_TOKENIZER),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[exact_match],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
