# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The four object-aware forms of PaLI on composed scenes, in English, with negatives.

demo_list_objects     Answer in EN: List the objects present: <extra_id_0>
                      -> dog, key
demo_object_presence  Answer in EN: Is dog in the image? <extra_id_0>
                      -> Yes
demo_all_objects      Answer in EN: Is tram, dog in the image? <extra_id_0>
                      -> No
demo_which_objects    Answer in EN: Which of tram, dog, key are in the image? <extra_id_0>
                      -> dog, key

Labels are CLDR names. How negatives are drawn and what is balanced: pali/data/object_prompts.py;
scenes and splits: pali/data/scenes.py.
"""

import seqio

from pali.data.object_prompts import FORMS
from pali.data.preprocessors import RenderScene, TextToText, Tokenize
from pali.data.scene_sources import SceneObjects
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_SCENES, DEMO_TEST_SCENES, DEMO_TOKENIZER

for form, prompt in FORMS.items():
    if form == "detect":  # Its answers are boxes: demo_detection.py.
        continue
    # The objects of a scene can be listed in one way, asked for in many.
    times = 1 if form == "list_objects" else 8
    seqio.TaskRegistry.add(
        f"demo_{form}",
        source=RecordSource(
            {
                "train": SceneObjects("train", DEMO_SCENES, times, form),
                "validation": SceneObjects("validation", DEMO_TEST_SCENES, 1, form),
                "unseen_art": SceneObjects("unseen_art", DEMO_TEST_SCENES, 1, form),
            }
        ),
        preprocessors=[
            per_example(
                RenderScene(DEMO_IMAGE_SIZE),
                TextToText(prompt, answer="answer"),
                Tokenize(DEMO_TOKENIZER),
            )
        ],
        output_features=pali_features(DEMO_TOKENIZER),
        metric_fns=[exact_match],
        shuffle_buffer_size=None,  # The source is shuffled as a whole.
    )
