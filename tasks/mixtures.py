# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Mixtures: which tasks are trained together, and how often each is drawn.

`pali_demo_captions` is for naming things. Captions are what it is for; keywords give it the
words of a language in more than one picture; group and subgroup ask about what concepts share.
English is drawn more often than any other language: with all 36 alike, the decoder learnt every
language's list of names for a long time before it began to look at the picture, whereas one
frequent language soon ties pictures to words, and the others then only have to learn the words.

`pali_demo` has every task of the demo corpus that answers in text: captions and reading most of the
time, because they are asked in many languages and scripts, then boxes, flags and scenes.
`pali_demo_joint` has the same tasks for training a ViT with the language half: reading and boxes
most of the time, which ask most of it, and short texts to begin with. `pali_demo_pictures` is for
the ViT alone: things, texts and scenes, whose prompts and answers are not read.

`pali_pretrain` has the eight objectives of PaLI's pre-training, on the public data nearest to its
own, each as often as there: the paper mixes its data sets by their sizes, of 1,566 million examples
together (arXiv 2209.06794, section 3.2, as recalled; rates are millions). What has several tasks
here shares the rate of its objective; detection nearly as its data sets have pictures.
`pali_pretrain_demo` is the same on the demo corpus. `pali_highres` is for the phase at 588 pixels,
whose mixture is not known: of our own making, half of it small print and small things.

`multilingual_captions` and its kin have a file of their own.
"""

import seqio

from pali.tasks import (  # noqa: F401, each import registers its tasks
    captions_35l,
    demo_captions,
    demo_classification,
    demo_detection,
    demo_flags,
    demo_keywords,
    demo_objects,
    demo_ocr,
    demo_span_corruption,
    demo_split_captions,
    demo_vqa,
    demo_vqg,
    mc4,
    objects365,
    open_images,
    visual_genome,
    vq2a,
    web,
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

seqio.MixtureRegistry.add(
    "pali_demo_pictures",
    [("demo_captions", 36), ("demo_ocr", 36), ("demo_ocr_short", 24), ("demo_detection", 32)],
)

seqio.MixtureRegistry.add(
    "pali_demo_joint",
    [
        ("demo_captions", 22),
        ("demo_captions_en", 4),
        ("demo_captions_more", 8),
        ("demo_keywords", 2),
        ("demo_group", 1),
        ("demo_subgroup", 1),
        ("demo_split_captions", 1),
        ("demo_ocr", 26),
        ("demo_ocr_short", 20),
        ("demo_flags", 5),
        ("demo_vqa_flag", 3),
        ("demo_vqa_count", 5),
        ("demo_vqa_presence", 5),
        ("demo_vqa_colour", 1),
        ("demo_vqa_direction", 2),
        ("demo_vqa_corner", 2),
        ("demo_vqg", 1),
        ("demo_list_objects", 2),
        ("demo_object_presence", 2),
        ("demo_all_objects", 1),
        ("demo_which_objects", 2),
        ("demo_detection", 12),
    ],
)

seqio.MixtureRegistry.add(
    "pali_demo",
    [
        ("demo_captions", 34),
        ("demo_captions_en", 6),
        ("demo_captions_more", 16),
        ("demo_keywords", 4),
        ("demo_group", 1),
        ("demo_subgroup", 1),
        ("demo_split_captions", 3),
        ("demo_ocr", 28),
        ("demo_flags", 8),
        ("demo_vqa_flag", 4),
        ("demo_vqa_count", 6),
        ("demo_vqa_presence", 6),
        ("demo_vqa_colour", 2),
        ("demo_vqa_direction", 3),
        ("demo_vqa_corner", 3),
        ("demo_vqg", 2),
        ("demo_list_objects", 3),
        ("demo_object_presence", 3),
        ("demo_all_objects", 2),
        ("demo_which_objects", 3),
        ("demo_detection", 10),
    ],
)

OPEN_IMAGES_FORMS = ("list_objects", "object_presence", "all_objects", "which_objects")

seqio.MixtureRegistry.add(
    "pali_pretrain",
    [
        ("mc4_span_corruption", 100),
        ("web_split_captions", 1000),
        ("web_ocr", 100),
        ("cc3m_35l_captions", 100),
        ("vq2a_cc3m_vqa", 100),
        ("vq2a_cc3m_vqg", 100),
        *((f"open_images_{form}", 12.5) for form in OPEN_IMAGES_FORMS),
        ("open_images_detection", 7.5),
        ("visual_genome_detection", 1),
        ("objects365_detection", 7.5),
    ],
)

seqio.MixtureRegistry.add(
    "pali_highres",
    [
        ("mc4_span_corruption", 5),
        ("web_split_captions", 15),
        ("web_ocr", 30),
        ("cc3m_35l_captions", 15),
        ("vq2a_cc3m_vqa", 10),
        ("vq2a_cc3m_vqg", 5),
        *((f"open_images_{form}", 1.25) for form in OPEN_IMAGES_FORMS),
        ("open_images_detection", 7),
        ("visual_genome_detection", 1),
        ("objects365_detection", 7),
    ],
)

seqio.MixtureRegistry.add(
    "pali_pretrain_demo",
    [
        ("demo_span_corruption", 100),
        ("demo_split_captions", 1000),
        ("demo_ocr", 100),
        # Captions: 100
        ("demo_captions", 70),
        ("demo_captions_more", 30),
        # Cross-lingual VQA: 100
        ("demo_vqa_flag", 10),
        ("demo_vqa_count", 18),
        ("demo_vqa_presence", 18),
        ("demo_vqa_colour", 18),
        ("demo_vqa_direction", 18),
        ("demo_vqa_corner", 18),
        ("demo_vqg", 100),
        # Object-aware QA: 50
        ("demo_list_objects", 12.5),
        ("demo_object_presence", 12.5),
        ("demo_all_objects", 12.5),
        ("demo_which_objects", 12.5),
        ("demo_detection", 16),
    ],
)
