# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: pictures in their places, boxes on them, texts that stay text."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pali import sheet
from pali.sheet import Shown

PICTURE = np.zeros((60, 120, 3), np.uint8)


def test_the_boxes_of_an_answer_are_drawn_on_its_picture():
    drawn = sheet.with_boxes(PICTURE, "500 100 900 400 dog")
    assert drawn.shape == (180, 360, 3)  # Enlarged, to be seen well.
    rows, columns = np.nonzero(drawn[90:].any(axis=2))  # Its name stands above the box.
    found = rows.min(), columns.min(), rows.max(), columns.max()
    np.testing.assert_allclose(found, (0, 36, 72, 144), atol=1)
    assert not PICTURE.any()
    for text in ("dog", "4", "200 100 600 400 dog and 3", ""):
        assert not sheet.with_boxes(PICTURE, text).any(), text


def test_contact_sheet_places_pictures_row_by_row():
    images = [np.full((5, 6, 3), number, np.uint8) for number in range(5)]
    made = sheet.contact_sheet(images, columns=2)
    assert made.shape == (3 * 9 + 4, 2 * 10 + 4, 3)
    assert [made[4 + 9 * (n // 2), 4 + 10 * (n % 2), 0] for n in range(5)] == [0, 1, 2, 3, 4]
    assert made[-5, -5, 0] == 255


def test_pictures_of_other_sizes_stand_in_the_middle_of_their_cells():
    made = sheet.contact_sheet([np.zeros((8, 4, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)])
    assert made.shape == (16, 28, 3)
    rows, columns = np.nonzero(made[:, 14:].any(axis=2) == 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 9, 2, 9)


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_a_page_shows_pictures_with_boxes_and_texts_as_they_are(tmp_path):
    nasty = '</dd><script>alert("1")</script> & کلب'
    examples = [
        Shown("t<1>", nasty, "500 100 900 400 dog", PICTURE, "fa"),
        Shown("text", "no picture", nasty, None),
    ]
    path = tmp_path / "sheet.html"
    assert sheet.write_sheet(path, "a & b <c>", examples) == 1
    page = path.read_text(encoding="utf-8")
    read = Reader(page)
    assert "script" not in [tag for tag, _ in read.tags]
    assert read.texts.count(nasty) == 2
    assert read.texts.count("a & b <c>") == 2
    (picture,) = [attributes for tag, attributes in read.tags if tag == "img"]
    data = base64.b64decode(picture["src"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(image, sheet.with_boxes(PICTURE, "500 100 900 400 dog"))
    assert picture["alt"] == "500 100 900 400 dog"
    assert ("dd", {"dir": "auto", "lang": "fa"}) in read.tags
    # It stands alone: nothing is fetched from elsewhere.
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", page)


def test_a_sheet_needs_a_kind_and_a_picture(tmp_path):
    text = [Shown("text", "no picture", "4", None)]
    with pytest.raises(ValueError, match=r"sheet.gif must end in .png or .html"):
        sheet.write_sheet(tmp_path / "sheet.gif", "", text)
    with pytest.raises(ValueError, match="no pictures"):
        sheet.write_sheet(tmp_path / "sheet.html", "", text)
