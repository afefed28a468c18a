# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Records of pictures with boxes (pali/data/raw/boxed.py) -> the object-aware forms and detection.

The forms, and what is balanced in them: pali/data/object_prompts.py. What is asked is drawn by
example["draw"]: another question in every epoch. What is there comes from "present", for detection
from "labels", and what is not from "absent". Labels that could not be told apart in a prompt or an
answer (a comma, the word "and", a number) are not asked for, nor listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pali.boxes import Box
from pali.config import ImageSize, PixelConfig
from pali.data.drawing import seeded
from pali.data.object_prompts import NEEDED, ask, check_form
from pali.data.skipping import RecordError
from pali.image import Region, seen_region

Example = dict[str, Any]


@dataclass(frozen=True)
class AskObjects:
    """shape, boxes, labels, present, absent -> the fields of a form's prompt, and "answer".

    Boxes are told in what the ViT sees of the picture: where that is its middle alone, they are cut
    at its edges, and objects outside it are neither asked for as present nor as absent.
    """

    form: str
    size: ImageSize
    """As that of DecodePicture; a model's own takes its place."""
    pixels: PixelConfig = field(default_factory=PixelConfig)

    def __post_init__(self):
        check_form(self.form)

    def __call__(self, example: Example) -> Example:
        """Adds the fields.

        Raises:
          RecordError: too little is known to be there, or not to be there, for this form.
        """
        region = seen_region(tuple(example["shape"].tolist()), self.size, self.pixels)
        whole = [
            Box(*row.tolist(), label=label)
            for row, label in zip(example["boxes"], example["labels"], strict=True)
            if can_be_told(label)
        ]
        boxes = [box for box in (box_in_region(box, region) for box in whole) if box]
        seen = list(dict.fromkeys(box.label for box in boxes))
        if self.form == "detect":
            shown = seen
        else:
            boxless = set(example["present"]) - set(example["labels"])
            known = {*seen, *boxless}
            shown = [name for name in example["present"] if name in known and can_be_told(name)]
        missing = [name for name in example["absent"] if can_be_told(name)]
        there, not_there = NEEDED[self.form]
        if len(shown) < there or len(missing) < not_there:
            raise RecordError(
                "boxes",
                f"{example['image_key']} shows {len(shown)} kinds of thing, and {len(missing)} are "
                f"known not to be there; {self.form} needs {there} and {not_there}",
            )
        generator = seeded(f"{example['draw']}/{self.form}")

        def draw_absent(count: int) -> list[str]:
            return [missing[i] for i in generator.permutation(len(missing))[:count]]

        return example | ask(self.form, generator, shown, draw_absent, len(missing), boxes)


def box_in_region(box: Box, region: Region) -> Box | None:
    """A box in shares of a picture, in shares of a region of it; None where nothing is left."""
    top, left, bottom, right = region.shares
    corners = (np.array(box[:4]) - [top, left, top, left]) / (
        [bottom - top, right - left, bottom - top, right - left]
    )
    ymin, xmin, ymax, xmax = np.clip(corners, 0, 1).tolist()
    return Box(ymin, xmin, ymax, xmax, box.label) if ymin < ymax and xmin < xmax else None


def can_be_told(label: str) -> bool:
    """Whether a label can be told from its neighbours in prompts and answers."""
    words = label.split()
    return bool(words) and "," not in label and not any(w == "and" or w.isdecimal() for w in words)
