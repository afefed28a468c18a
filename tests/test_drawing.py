# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np

from pali.boxes import Box
from pali.drawing import draw_boxes


def test_a_box_is_framed_where_it_lies_and_nowhere_else():
    image = np.full((100, 200, 3), 255, np.uint8)
    drawn = draw_boxes(image, [Box(0.5, 0.25, 0.9, 0.75, "dog")])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (image == 255).all(), "the picture itself is not drawn on"
    changed = (drawn != 255).any(-1)
    rows, columns = np.nonzero(changed[50:])
    assert (rows.min() + 50, rows.max() + 50) == (50, 89)
    assert (columns.min(), columns.max()) == (50, 149)
    assert changed[89, 50:150].all()
    assert not changed[55:85, 55:145].any()
    assert changed[:50].any(), "the label stands above"


def test_labels_have_one_colour_each():
    image = np.zeros((60, 60, 3), np.uint8)

    def frame(label):
        return draw_boxes(image, [Box(0.5, 0.5, 1, 1, label)])[59, 40].tolist()

    assert frame("dog") == frame("dog") != frame("cat")


def test_boxes_at_the_border_and_of_one_point_are_drawn():
    image = np.zeros((40, 30, 3), np.uint8)
    point = Box(0.5, 0.5, 0.5, 0.5, "कुत्ता")
    drawn = draw_boxes(image, [Box(0, 0, 1, 1, "all of it"), point])
    assert drawn[0].any()
    assert drawn[-1].any()
    assert draw_boxes(image, []).tolist() == image.tolist()
