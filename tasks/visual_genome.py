# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""PaLI's object-aware forms and detection on Visual Genome: photos with boxes in free words.

visual_genome_list_objects     Answer in EN: List the objects present: <extra_id_0>
visual_genome_object_presence  Answer in EN: Is dog in the image? <extra_id_0>
visual_genome_all_objects      Answer in EN: Is dog, bus in the image? <extra_id_0>
visual_genome_which_objects    Answer in EN: Which of dog, bus are in the image? <extra_id_0>
visual_genome_detection        detect dog and bus

What is asked for as absent is drawn from the most frequent names; people may have left out things
that are there. Records, and what `pali data prepare visual_genome` reads:
pali/data/raw/visual_genome.py.
How questions are drawn: pali/data/ask_objects.py.
"""

import seqio

from pali.data.ask_objects import AskObjects
from pali.data.object_prompts import FORMS
from pali.data.prepared import Prepared
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.metrics.detection import detection
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_TOKENIZER

for form, prompt in FORMS.items():
    name = "detection" if form == "detect" else form
    seqio.TaskRegistry.add(
        f"visual_genome_{name}",
        source=RecordSource({"train": Prepared("visual_genome", "train")}),
        preprocessors=[
            per_example(
                AskObjects(form, 224),
                DecodePicture(224),
                TextToText(prompt, answer="answer"),
                Tokenize(DEMO_TOKENIZER),
                binary=("image",),
            )
        ],
        output_features=pali_features(DEMO_TOKENIZER),
        metric_fns=[detection if form == "detect" else exact_match],
        shuffle_buffer_size=None,  # The source is shuffled as a whole.
    )
