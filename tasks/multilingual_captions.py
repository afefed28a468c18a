# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Captions with a task for each language, and three ways to sample the languages.

prompt   Generate the alt_text in SW at 0: <extra_id_0>
answer   mbwa

multilingual_captions_sw …     the captions of one language, 112 tasks
multilingual_captions          all of them, in proportion to how many each language has
multilingual_captions_t03      in proportion to count ** 0.3, as mT5 (temperature)
multilingual_captions_unimax   alike, but none seen for more than one epoch (UniMax)

Records are those of demo_captions, whose languages have equally many; here they have a tail like
the web's, made on purpose: English in 128 renderings of each picture, the other languages of
Crossmodal-3600 in 32, all others in 4. Scores are those of demo_captions and demo_captions_more,
which show the same records for evaluation.

Other numbers, or your own data: docs/add_a_task.md, "One task for each language".
"""

import functools

import seqio

from pali.data.language_sampling import temperature, unimax
from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import DemoTexts
from pali.languages import DEMO, resolve_many
from pali.tasks import DEMO_IMAGE_SIZE, DEMO_TOKENIZER

NAME = "multilingual_captions"
VIEWS = dict.fromkeys(DEMO, 4) | dict.fromkeys(resolve_many("xm3600"), 32) | {"en": 128}
BUDGET, MAX_EPOCHS = 1_000_000, 1

SOURCES = {
    lang: RecordSource(
        {split: DemoTexts(split, (lang,), VIEWS[lang]) for split in ("train", "validation")}
    )
    for lang in DEMO
}
FUNCTIONS = per_example(
    RenderPicture(DEMO_IMAGE_SIZE),
    TextToText(prompt="caption", answer="name"),
    Tokenize(DEMO_TOKENIZER),
)
FEATURES = pali_features(DEMO_TOKENIZER)
for lang, source in SOURCES.items():
    seqio.TaskRegistry.add(
        f"{NAME}_{lang}",
        source=source,
        preprocessors=[FUNCTIONS],
        output_features=FEATURES,
        metric_fns=[],
        shuffle_buffer_size=None,  # The source is shuffled as a whole.
    )

SAMPLING = {
    NAME: lambda counts: temperature(counts, alpha=1),
    f"{NAME}_t03": lambda counts: temperature(counts, alpha=0.3),
    f"{NAME}_unimax": lambda counts: unimax(counts, BUDGET, MAX_EPOCHS),
}


@functools.cache
def shares(mixture: str) -> dict[str, float]:
    """Task -> its rate; the corpus is read when somebody first asks for one."""
    counts = {f"{NAME}_{lang}": len(source.records["train"]) for lang, source in SOURCES.items()}
    return SAMPLING[mixture](counts)


for mixture in SAMPLING:
    seqio.MixtureRegistry.add(
        mixture,
        [
            (f"{NAME}_{lang}", lambda task, mixture=mixture: shares(mixture)[task.name])
            for lang in DEMO
        ],
    )
