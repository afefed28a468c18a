# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Split captions on the demo corpus: the beginning of a list of keywords -> the rest of it.

prompt   Generate the alt_text in FR at 1: animal <extra_id_0>
answer   animal de compagnie, chien

Four keywords, chosen and cut anew for each view of a picture. The position counts keywords: the
paper's counts words, which not every script marks, and a list is made of keywords in all of them.
It is at least 1, because at 0 the same prompt asks for the caption. Languages, pictures, splits and
what is held out are those of demo_keywords, without lists of a single keyword.
"""

import seqio

from pali.data.preprocessors import CutList, RenderPicture, SomeOf, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import SPLITS, DemoTexts
from pali.languages import resolve_many
from pali.metrics.chrf import chrf
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_TOKENIZER, DEMO_VIEWS

LANGUAGES = tuple(resolve_many("xm3600"))

seqio.TaskRegistry.add(
    "demo_split_captions",
    source=RecordSource(
        {split: DemoTexts(split, LANGUAGES, DEMO_VIEWS, "two keywords") for split in SPLITS}
    ),
    preprocessors=[
        per_example(
            RenderPicture(DEMO_IMAGE_SIZE),
            SomeOf("keywords", count=4, to="some_keywords"),
            CutList("some_keywords"),
            TextToText(prompt="split_caption", answer="after"),
            Tokenize(DEMO_TOKENIZER),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[chrf],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
