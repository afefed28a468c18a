# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Keywords of the demo corpus: a rendered emoji -> three CLDR keywords in the language asked for.

prompt   Generate the keywords in FR: <extra_id_0>
answer   animal, animal de compagnie, chien

They name what concepts have in common, and so tie words to pictures that captions alone see once.
Each view of a picture asks for other three, and a metric compares with these.
A (concept, language) pair that is held out of the captions is held out here as well. Languages,
concepts, pictures and splits are those of demo_captions.
"""

import seqio

from pali.data.preprocessors import RenderPicture, SomeOf, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import SPLITS, DemoTexts
from pali.languages import resolve_many
from pali.metrics.chrf import chrf
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_TOKENIZER, DEMO_VIEWS

LANGUAGES = tuple(resolve_many("xm3600"))

seqio.TaskRegistry.add(
    "demo_keywords",
    source=RecordSource(
        {split: DemoTexts(split, LANGUAGES, DEMO_VIEWS, "keywords") for split in SPLITS}
    ),
    preprocessors=[
        per_example(
            RenderPicture(DEMO_IMAGE_SIZE),
            SomeOf("keywords", count=3, to="some_keywords"),
            TextToText(prompt="keywords", answer="some_keywords"),
            Tokenize(DEMO_TOKENIZER),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[chrf],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
