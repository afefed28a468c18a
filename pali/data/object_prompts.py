# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The four object-aware forms and detection, about scenes: fields of a prompt, and its answer.

Each form is a pure function of (scene, number), in English; a label is the concept's CLDR name.
Prompts: pali/prompts.py. Where several objects are listed in an answer, they come as the scene has
them: from top to bottom, at the same height from left to right.

  list_objects     -> every kind of thing, once
  object_presence  is one there? -> Yes, No; half of each
  all_objects      are two or three there? -> Yes, No; half of each, No with at least one missing;
                   of scenes without repeats, which show at least two kinds of thing
  which_objects    some of two to four are there -> those, in the order of the question
  detect           some of two to four are there -> a box for each of their objects
"""

from __future__ import annotations

from typing import Any

from pali.boxes import Box, format_boxes
from pali.data.demo_corpus import load_corpus
from pali.data.drawing import seeded
from pali.data.scenes import Scene, absent, has_repeats

FORMS = {
    "list_objects": "list_objects",
    "object_presence": "object_presence",
    "all_objects": "object_presence",
    "which_objects": "which_objects",
    "detect": "detect",
}
"""Form -> its prompt."""

MAX_ASKED = 4
"""Names in a question."""


def suits(form: str, number: int) -> bool:
    """Whether scenes of this number can be asked in this form.

    Raises:
      ValueError: no such form.
    """
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; known: {', '.join(FORMS)}")
    return form != "all_objects" or not has_repeats(number)


def fields(scene: Scene, form: str, number: int) -> dict[str, Any]:
    """Question `number` of this form about a scene: the prompt's fields and "answer".

    Raises:
      ValueError: no such form, or the scene cannot be asked in it (see `suits`).
    """
    if not suits(form, scene.number):
        raise ValueError(f"{scene.key} cannot be asked for {form}: it may show one kind of thing")
    generator = seeded(f"{scene.key}/{form}/{number}")
    names = load_corpus().names("en")
    shown = list(scene.counts)
    if form == "list_objects":
        return {"answer": [names[code] for code in shown]}

    if form == "object_presence":
        there, missing = (1, 0) if generator.random() < 0.5 else (0, 1)
    elif form == "all_objects":
        # No longer a list than could all be there: its length must not give the answer away.
        total = int(generator.integers(2, min(3, len(shown)), endpoint=True))
        there = total if generator.random() < 0.5 else int(generator.integers(total))
        missing = total - there
    else:
        there = int(generator.integers(1, min(len(shown), MAX_ASKED - 1), endpoint=True))
        missing = int(generator.integers(1, MAX_ASKED - there, endpoint=True))
    present = [shown[i] for i in generator.permutation(len(shown))[:there]]
    asked = [*present, *absent(generator, shown, missing)]
    asked = [asked[i] for i in generator.permutation(len(asked))]
    labels = [names[code] for code in asked]
    if form == "which_objects":
        return {"objects": labels, "answer": [names[code] for code in asked if code in shown]}
    if form == "detect":
        found = [Box(*thing.extent, names[thing.code]) for thing in scene.objects]
        return {
            "classes": labels,
            "answer": format_boxes(box for box in found if box.label in labels),
        }
    return {"objects": labels, "answer": "No" if missing else "Yes"}
