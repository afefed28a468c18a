# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Classification as text on the demo corpus: a rendered emoji -> its group, or its subgroup.

prompt   Generate the group in EN: <extra_id_0>        Generate the subgroup in EN: <extra_id_0>
answer   Animals & Nature                              animal-mammal

Groups are those of Unicode's list of emoji, in English. Concepts, pictures and splits are those of
demo_captions, for English alone.
"""

import seqio

from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import SPLITS, DemoTexts
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_TOKENIZER, DEMO_VIEWS

for field in ("group", "subgroup"):
    seqio.TaskRegistry.add(
        f"demo_{field}",
        source=RecordSource({split: DemoTexts(split, ("en",), DEMO_VIEWS) for split in SPLITS}),
        preprocessors=[
            per_example(
                RenderPicture(DEMO_IMAGE_SIZE),
                TextToText(prompt=field, answer=field),
                Tokenize(DEMO_TOKENIZER),
            )
        ],
        output_features=pali_features(DEMO_TOKENIZER),
        metric_fns=[exact_match],
        shuffle_buffer_size=None,  # The source is shuffled as a whole.
    )
