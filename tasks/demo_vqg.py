# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""VQG on composed scenes: an answer in English -> a question that has it, in one of 36 languages.

prompt   Generate a question in DE for 2: <extra_id_0>
answer   Wie viele: Hund?

The questions of demo_vqa turned around, all kinds alike, but only those about what the scene shows:
to "no" and "0" anything else would be right. Where several questions have the answer, each of them
is a reference.
"""

import seqio

from pali.data.preprocessors import RenderScene, TextToText, Tokenize
from pali.data.scene_sources import SceneAnswers
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.languages import resolve_many
from pali.metrics.chrf import chrf
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_SCENES, DEMO_TEST_SCENES, DEMO_TOKENIZER

LANGUAGES = tuple(resolve_many("xm3600"))

seqio.TaskRegistry.add(
    "demo_vqg",
    source=RecordSource(
        {
            "train": SceneAnswers("train", DEMO_SCENES, len(LANGUAGES), LANGUAGES),
            "validation": SceneAnswers("validation", DEMO_TEST_SCENES, 2, LANGUAGES),
            "unseen_art": SceneAnswers("unseen_art", DEMO_TEST_SCENES, 2, LANGUAGES),
        }
    ),
    preprocessors=[
        per_example(
            RenderScene(DEMO_IMAGE_SIZE),
            TextToText(prompt="vqg", answer="question"),
            Tokenize(DEMO_TOKENIZER),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[exact_match, chrf],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
