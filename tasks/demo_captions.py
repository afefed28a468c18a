# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Captions of the demo corpus: a rendered emoji -> its CLDR name in the language asked for.

prompt   Generate the alt_text in SW at 0: <extra_id_0>
answer   mbwa

36 languages of Crossmodal-3600, 343 concepts, four art sets, 32 renderings of each picture.
Splits: see SPLITS in pali/data/sources.py. Each evaluation split has one picture for every
(concept, language). Corpus, licences, how the splits were drawn: docs/demo_corpus.md.

`demo_captions_more` asks the same in the 76 other languages that have names. `demo_captions_en` is
the English part alone, for mixtures that show one language more often.
"""

import seqio

from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import SPLITS, DemoTexts
from pali.languages import DEMO, resolve_many
from pali.metrics.chrf import chrf
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_TOKENIZER, DEMO_VIEWS

LANGUAGES = tuple(resolve_many("xm3600"))
MORE = tuple(lang for lang in DEMO if lang not in LANGUAGES)

for name, languages in (
    ("demo_captions", LANGUAGES),
    ("demo_captions_more", MORE),
    ("demo_captions_en", ("en",)),
):
    seqio.TaskRegistry.add(
        name,
        source=RecordSource({split: DemoTexts(split, languages, DEMO_VIEWS) for split in SPLITS}),
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
