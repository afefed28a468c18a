# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The four object-aware forms and detection: fields of a prompt, and its answer, in English.

Prompts: pali/prompts.py. Where several objects are listed in an answer, they come as the picture
has them: from top to bottom, at the same height from left to right.

  list_objects     -> every kind of thing, once
  object_presence  is one there? -> Yes, No; half of each
  all_objects      are two or three there? -> Yes, No; half of each, No with at least one missing;
                   of a picture that shows one kind of thing, one is asked for
  which_objects    some of two to four are there -> those, in the order of the question
  detect           some of two to four are there -> a box for each of their objects

`ask` knows names alone: `fields` asks about a scene, whose labels are the concepts' CLDR names, and
pali/data/ask_objects.py about the pictures of public datasets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

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

MAX_BOXES = 16
"""In an answer: about 160 tokens of mT5, 10 for each box."""

MAX_LISTED = 24
"""Names in a list of everything; the first, from the top of the picture."""

NEEDED = {
    "list_objects": (1, 0),
    "object_presence": (1, 1),
    "all_objects": (1, 1),
    "which_objects": (1, 1),
    "detect": (1, 1),
}
"""Form -> kinds of thing that must be there, and that must be known to be missing."""


def check_form(form: str) -> None:
    """Raises ValueError unless there is such a form."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; known: {', '.join(FORMS)}")


def ask(
    form: str,
    generator: np.random.Generator,
    shown: Sequence[str],
    draw_absent: Callable[[int], Sequence[str]],
    most_absent: int = MAX_ASKED,
    boxes: Iterable[Box] = (),
) -> dict[str, Any]:
    """A question of this form about a picture: the prompt's fields and "answer".

    Args:
      form: one of `FORMS`.
      generator: of everything that is drawn.
      shown: what the picture shows, each name once; as many as the form needs.
      draw_absent: n -> n different names of what it does not show.
      most_absent: the most that can be drawn; at least as many as the form needs.
      boxes: of the objects, for "detect"; more than MAX_BOXES are thinned out.
    """
    if form == "list_objects":
        return {"answer": list(shown[:MAX_LISTED])}

    if form == "object_presence":
        there, missing = (1, 0) if generator.random() < 0.5 else (0, 1)
    elif form == "all_objects":
        # No longer a list than could all be there: its length must not give the answer away.
        most = min(3, len(shown), most_absent)
        total = int(generator.integers(min(2, most), most, endpoint=True))
        there = total if generator.random() < 0.5 else int(generator.integers(total))
        missing = total - there
    else:
        there = int(generator.integers(1, min(len(shown), MAX_ASKED - 1), endpoint=True))
        most = min(MAX_ASKED - there, most_absent)
        missing = int(generator.integers(1, most, endpoint=True))
    present = [shown[i] for i in generator.permutation(len(shown))[:there]]
    asked = [*present, *draw_absent(missing)]
    asked = [asked[i] for i in generator.permutation(len(asked))]
    if form == "which_objects":
        return {"objects": asked, "answer": [name for name in asked if name in present]}
    if form == "detect":
        found = thinned([box for box in boxes if box.label in present])
        return {"classes": asked, "answer": format_boxes(found)}
    return {"objects": asked, "answer": "No" if missing else "Yes"}


def thinned(boxes: Sequence[Box], most: int = MAX_BOXES) -> list[Box]:
    """At most so many boxes, in their order: the largest of each label, which take turns.

    So that an answer ends with a whole box, and no label that is there is left without one. Of
    boxes that would be the same text the first stays.
    """
    different: dict[str, Box] = {}
    for box in boxes:
        different.setdefault(format_boxes([box]), box)
    by_area = sorted(different.items(), key=lambda item: -_area(item[1]))
    turns: Counter[str] = Counter()
    ranks: dict[str, tuple[int, float]] = {}
    for text, box in by_area:
        ranks[text] = (turns[box.label], -_area(box))
        turns[box.label] += 1
    kept = set(sorted(ranks, key=lambda text: ranks[text])[:most])
    return [box for text, box in different.items() if text in kept]


def suits(form: str, number: int) -> bool:
    """Whether scenes of this number can be asked in this form.

    Raises:
      ValueError: no such form.
    """
    check_form(form)
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

    def draw_absent(count: int) -> list[str]:
        return [names[code] for code in absent(generator, shown, count)]

    boxes = [Box(*thing.extent, names[thing.code]) for thing in scene.objects]
    return ask(form, generator, [names[code] for code in shown], draw_absent, boxes=boxes)


def _area(box: Box) -> float:
    return (box.ymax - box.ymin) * (box.xmax - box.xmin)
