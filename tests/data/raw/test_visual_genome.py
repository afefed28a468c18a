# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Visual Genome's files, made here of scenes, with what may be wrong in them -> records."""

import json

import numpy as np
import pytest

from pali.data.prepared import Prepared
from pali.data.preparing import prepare
from pali.data.raw import find, visual_genome

SITE = "https://cs.stanford.edu/people/rak248"


def lay_down(raw, photos):
    """The raw folder of Visual Genome: contents of image_data.json and objects.json."""
    rows, objects = [], []
    for i, photo in enumerate(photos):
        folder = "VG_100K_2" if i % 2 else "VG_100K"
        (raw / folder).mkdir(parents=True, exist_ok=True)
        (raw / folder / f"{i + 1}.jpg").write_bytes(photo.file)
        row = {"image_id": i + 1, "url": f"{SITE}/{folder}/{i + 1}.jpg", "coco_id": None}
        rows.append(row | {"width": photo.width, "height": photo.height})
        things = [
            {"x": x, "y": y, "w": right - x, "h": bottom - y, "names": [label.title()]}
            for label, (y, x, bottom, right) in photo.things
        ]
        objects.append({"image_id": i + 1, "objects": things, "image_url": row["url"]})
    return rows, objects


def write(raw, rows, objects):
    (raw / "image_data.json").write_text(json.dumps(rows))
    (raw / "objects.json").write_text(json.dumps(objects))


def test_pictures_become_records_with_boxes(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(visual_genome, "PICTURES_PER_PART", 4)
    raw = tmp_path / "raw"
    rows, objects = lay_down(raw, photos)
    write(raw, rows, objects[::-1])
    assert prepare(find("visual_genome"), raw, tmp_path)["splits"] == {"train": 6}
    source = Prepared("visual_genome", "train", str(tmp_path))
    for i, photo in enumerate(photos):
        record = source[i]
        assert record["id"] == str(i + 1)
        assert record["image"] == photo.file
        assert record["labels"] == [label.lower() for label, _ in photo.things]
        pixels = record["boxes"] * [photo.height, photo.width, photo.height, photo.width]
        np.testing.assert_allclose(pixels, [box for _, box in photo.things], atol=1e-3)
        assert record["absent"]
        words = {word for label in record["present"] for word in label.split()}
        assert not any(words & {*label.split()} for label in record["absent"])


def test_wrong_rows_objects_and_missing_pictures(photos, tmp_path):
    raw = tmp_path / "raw"
    rows, objects = lay_down(raw, photos[:5])
    height = photos[0].height

    def thing(x, y, w, h, *names):
        return {"x": x, "y": y, "w": w, "h": h, "names": list(names)}

    objects[0]["objects"] = [
        thing(-4, -2, 10, 10, " Old  Man ", "Person"),
        thing(0, 0, 5, 5),
        thing(0, 0, 5, 5, " "),
        thing(0, 0, 5, 5, 7),
        thing(0, 0, 0, 5, "line"),
        {"x": 1, "names": ["post"]},
        None,
    ]
    objects[1] = {"image_id": 2}
    rows[2].pop("url")
    (raw / "VG_100K_2/4.jpg").unlink()
    objects[4]["objects"] = [thing(1, 1, 5, 5, name) for name in ("men", "persons", "tree")]
    write(raw, rows, [*objects, {"image_id": 99, "objects": [thing(0, 0, 5, 5, "far")]}, 3])
    manifest = prepare(find("visual_genome"), raw, tmp_path)
    assert manifest["splits"] == {"train": 3}
    assert manifest["skipped"]["train"] == {"row": 1, "picture": 1}
    one, empty, _ = (Prepared("visual_genome", "train", str(tmp_path))[i] for i in range(3))
    assert one["labels"] == ["old man"]
    np.testing.assert_allclose(one["boxes"][0, :2], 0)
    np.testing.assert_allclose(one["boxes"][0, 2], 8 / height)
    assert one["present"] == ["old man", "line", "person"]
    # "men" shares no word as it is written; "persons" does, but for the plural's s.
    assert {"men", "tree"} <= {*one["absent"]}
    assert "persons" not in one["absent"]
    assert empty["labels"] == empty["present"] == []


def test_files_that_say_nothing_are_named(photos, tmp_path):
    rows, _ = lay_down(tmp_path, photos[:1])
    (tmp_path / "image_data.json").write_text(json.dumps(rows))
    with pytest.raises(FileNotFoundError, match="has no objects.json; unpack objects.json.zip"):
        prepare(find("visual_genome"), tmp_path, tmp_path / "to")
    write(tmp_path, rows, [])
    with pytest.raises(ValueError, match="has no object on a picture of image_data.json"):
        prepare(find("visual_genome"), tmp_path, tmp_path / "to")
