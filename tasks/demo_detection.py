# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Detection on composed scenes: class names -> the boxes of their objects, as text.

prompt   detect tram and dog
answer   92 531 311 842 dog 448 107 702 380 dog

Two to four classes in random order, at least one of them in the picture and at least one not. Boxes
are ymin xmin ymax xmax in thousandths of the picture, from top to bottom, at the same height from
left to right (pali/boxes.py). Labels are CLDR names; scenes and splits: pali/data/scenes.py.
"""

import seqio

from pali.data.preprocessors import RenderScene, TextToText, Tokenize
from pali.data.scene_sources import SceneObjects
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.detection import detection
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_SCENES, DEMO_TEST_SCENES, DEMO_TOKENIZER

seqio.TaskRegistry.add(
    "demo_detection",
    source=RecordSource(
        {
            "train": SceneObjects("train", DEMO_SCENES, 8, "detect"),
            "validation": SceneObjects("validation", DEMO_TEST_SCENES, 1, "detect"),
            "unseen_art": SceneObjects("unseen_art", DEMO_TEST_SCENES, 1, "detect"),
        }
    ),
    preprocessors=[
        per_example(
            RenderScene(DEMO_IMAGE_SIZE),
            TextToText(prompt="detect", answer="answer"),
            Tokenize(DEMO_TOKENIZER),
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[detection],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
