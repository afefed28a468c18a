# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Cross-lingual VQA on composed scenes: a question in one of 36 languages -> an answer in English.

prompt   Answer in EN: Wie viele: Hund? <extra_id_0>
answer   2

One task for each kind of question, so that each has its own score: how many ("0" to "4"), whether
something is there ("yes", "no"), the background's color, where one thing lies as seen from another
("left", "right", "above", "below"), in which corner a thing is ("top left" …). Questions and
answers: pali/data/questions.py; scenes and splits: pali/data/scenes.py. "held_out_counts" has only
scenes for counting.
"""

import seqio

from pali.data.preprocessors import RenderScene, TextToText, Tokenize
from pali.data.question_phrases import KINDS
from pali.data.scene_sources import SceneQuestions
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.languages import resolve_many
from pali.metrics.exact_match import exact_match
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_SCENES, DEMO_TEST_SCENES, DEMO_TOKENIZER

LANGUAGES = tuple(resolve_many("xm3600"))

for kind in KINDS:
    tests = ["validation", "unseen_art", *(["held_out_counts"] if kind == "count" else [])]
    seqio.TaskRegistry.add(
        f"demo_vqa_{kind}",
        source=RecordSource(
            {
                "train": SceneQuestions("train", DEMO_SCENES, len(LANGUAGES), kind, LANGUAGES),
                **{
                    split: SceneQuestions(split, DEMO_TEST_SCENES, 2, kind, LANGUAGES)
                    for split in tests
                },
            }
        ),
        preprocessors=[
            per_example(
                RenderScene(DEMO_IMAGE_SIZE),
                TextToText(prompt="vqa", answer="answer"),
                Tokenize(DEMO_TOKENIZER),
            )
        ],
        output_features=pali_features(DEMO_TOKENIZER),
        metric_fns=[exact_match],
        shuffle_buffer_size=None,  # The source is shuffled as a whole.
    )
