# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Open Images' CSV files, made here of scenes, with what may be wrong in them -> records."""

import numpy as np
import pytest

from pali.data.prepared import Prepared
from pali.data.preparing import prepare
from pali.data.raw import find, open_images

IDS = ["fffeeaf4aed83f9a", "0001eeaf4aed83f9", "000595fe6fee6369", "00075905539074f2"]
BOXES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,"
    "IsGroupOf,IsDepiction,IsInside,XClick1X\n"
)
LABELS = "ImageID,Source,LabelName,Confidence\n"


def number(label):
    return f"/m/{label.replace(' ', '_')}"


def box(identifier, label, xmin, xmax, ymin, ymax, group=0):
    edges = f"{xmin:.6f},{xmax:.6f},{ymin:.6f},{ymax:.6f}"
    return f"{identifier},xclick,{number(label)},1,{edges},0,1,{group},0,-1,0.5\n"


def lay_down(raw, photos, split, prefix=""):
    """The raw folder of Open Images, rows in no order; the rows of boxes are returned."""
    (raw / split).mkdir(parents=True)
    rows, labels = [], {label for photo in photos for label, _ in photo.things}
    for identifier, photo in zip(IDS, photos, strict=False):
        (raw / split / f"{identifier}.jpg").write_bytes(photo.file)
        h, w = photo.height, photo.width
        for label, (y, x, bottom, right) in photo.things:
            rows.append(box(identifier, label, x / w, right / w, y / h, bottom / h))
    (raw / f"{prefix}{split}-annotations-bbox.csv").write_text(BOXES + "".join(rows[::-1]))
    described = "".join(f'{number(label)},"{label.capitalize()}"\n' for label in sorted(labels))
    (raw / "class-descriptions-boxable.csv").write_text(
        described + '/m/sky,"Sky, clouds"\n/m/bus,Bus\n'
    )
    (raw / f"{prefix}{split}-annotations-human-imagelabels.csv").write_text(
        LABELS
        + f"{IDS[1]},verification,/m/sky,1\n"
        + "".join(f"{identifier},crowdsource-verification,/m/bus,0\n" for identifier in IDS)
        + f"{IDS[1]},verification,/m/unknown,0\n"
        + f"{IDS[1]},verification,{number(photos[1].things[0][0])},0\n"
        + "a000000000000000,verification,/m/bus,1\nnothing,verification,/m/bus,1\n"
        + f"{IDS[0]},verification,/m/sky,0.4\n{IDS[0]},verification,/m/sky,\n{IDS[0]}\n"
    )
    return rows


def test_pictures_with_boxes_become_records(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(open_images, "PICTURES_PER_PART", 3)
    monkeypatch.setattr(open_images, "_ROWS_AT_ONCE", 2)
    raw = tmp_path / "raw"
    lay_down(raw, photos[:4], "train", "oidv6-")
    assert prepare(find("open_images"), raw, tmp_path)["splits"] == {"train": 4}
    source = Prepared("open_images", "train", str(tmp_path))
    records = {source[i]["id"]: source[i] for i in range(4)}
    assert list(records) == sorted(IDS)
    for identifier, photo in zip(IDS, photos, strict=False):
        record = records[identifier]
        assert record["image"] == photo.file
        assert record["labels"] == [label for label, _ in photo.things]
        pixels = record["boxes"] * [photo.height, photo.width, photo.height, photo.width]
        np.testing.assert_allclose(pixels, [corners for _, corners in photo.things], atol=1e-3)
        assert record["absent"] == ["bus"]
        sky = ["sky, clouds"] if identifier == IDS[1] else []
        assert record["present"] == [*dict.fromkeys(record["labels"]), *sky]


def test_wrong_rows_groups_and_missing_pictures(photos, tmp_path):
    raw = tmp_path / "raw"
    lay_down(raw, photos[:2], "validation")
    label = photos[0].things[0][0]
    (raw / "validation-annotations-bbox.csv").write_text(
        BOXES
        + box(IDS[0], label, -0.2, 0.5, 0.5, 1.25)
        + box(IDS[0], label, 0.5, 0.5, 0.1, 0.2)
        + box(IDS[0], label, 1.1, 1.5, 0.1, 0.2)
        + box(IDS[0], "no such class", 0.1, 0.5, 0.1, 0.2)
        + box(IDS[1], "bus", 0, 1, 0, 1, group=1)
        + box("no number", label, 0.1, 0.5, 0.1, 0.2)
        + box(IDS[2], label, 0.1, 0.5, 0.1, 0.2)
        + f"{IDS[0]},xclick,{number(label)},1,left,0.5,0.1,0.5,0,0,0,0,0,0\n{IDS[0]},xclick\n"
    )
    manifest = prepare(find("open_images"), raw, tmp_path)
    assert manifest["splits"] == {"validation": 2}
    assert manifest["skipped"] == {"validation": {"picture": 1}}
    source = Prepared("open_images", "validation", str(tmp_path))
    other, one = source[0], source[1]
    np.testing.assert_allclose(one["boxes"], [[0.5, 0, 1, 0.5]])
    assert other["labels"] == []
    assert "bus" in other["present"]
    assert "bus" not in other["absent"]
    with pytest.raises(FileNotFoundError, match="has no split 'train', only validation"):
        len(Prepared("open_images", "train", str(tmp_path)))


def test_missing_files_and_columns_are_named(photos, tmp_path):
    lay_down(tmp_path, photos[:2], "test")
    labels = tmp_path / "test-annotations-human-imagelabels.csv"
    labels.write_text("ImageID,Source\n")
    with pytest.raises(ValueError, match="imagelabels.csv lacks the columns LabelName, Confidence"):
        prepare(find("open_images"), tmp_path, tmp_path / "to")
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="oidv6-test-.*, which says what is not there"):
        prepare(find("open_images"), tmp_path, tmp_path / "to")
    labels.write_text(LABELS)
    (tmp_path / "test-annotations-bbox.csv").write_text(BOXES)
    with pytest.raises(ValueError, match="has no row of boxes that can be used"):
        prepare(find("open_images"), tmp_path, tmp_path / "to")
    (tmp_path / "class-descriptions-boxable.csv").unlink()
    with pytest.raises(FileNotFoundError, match="has no oidv7-class-descriptions.csv"):
        prepare(find("open_images"), tmp_path, tmp_path / "to")
