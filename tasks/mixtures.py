# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Mixtures: which tasks are trained together, and how often each is drawn.

`pali_demo_captions` is stage 2 of the demo model. Captions are what it is for; keywords give it the
words of a language in more than one picture; group and subgroup ask about what concepts share.
English is drawn more often than any other language: with all 36 alike, the decoder learnt every
language's list of names for a long time before it began to look at the picture, whereas one
frequent language soon ties pictures to words, and the others then only have to learn the words.
"""

import seqio

from pali.tasks import (  # noqa: F401, each import registers its tasks
    demo_captions,
    demo_classification,
    demo_keywords,
)

seqio.MixtureRegistry.add(
    "pali_demo_captions",
    [
        ("demo_captions", 14),
        ("demo_captions_en", 3),
        ("demo_keywords", 2),
        ("demo_group", 0.5),
        ("demo_subgroup", 0.5),
    ],
)
