# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Stage 1 of the demo model: a rendered emoji -> its class index, for training the ViT alone.

The classes are the 343 core concepts of the demo corpus, drawn in four art sets. Training draws
from 100,000 renderings of each picture, rendered on the fly, so that it never meets one twice;
"validation" has two renderings of each that training cannot draw, "unseen_art" two of each in the
art set that is never trained on.
"""

import seqio

from pali.data.preprocessors import RenderPicture
from pali.data.seqio_bridge import RecordSource, classification_features, per_example
from pali.data.sources import FIRST_UNSEEN_VIEW, TRAIN_ART, UNSEEN_ART, DemoPictures
from pali.tasks import DEMO_IMAGE_SIZE

UNSEEN = (FIRST_UNSEEN_VIEW, FIRST_UNSEEN_VIEW + 2)

seqio.TaskRegistry.add(
    "demo_concepts",
    source=RecordSource(
        {
            "train": DemoPictures(),
            "validation": DemoPictures(TRAIN_ART, *UNSEEN),
            "unseen_art": DemoPictures((UNSEEN_ART,), *UNSEEN),
        }
    ),
    preprocessors=[per_example(RenderPicture(DEMO_IMAGE_SIZE))],
    output_features=classification_features(num_classes=343),
    metric_fns=[],
    shuffle_buffer_size=None,  # The source is shuffled as a whole.
)
