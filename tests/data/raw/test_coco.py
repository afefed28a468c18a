# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""COCO's files, made here of scenes, with what may be wrong in them -> records."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pali.data.prepared import Prepared
from pali.data.preparing import prepare
from pali.data.raw import coco_format, find
from pali.data.raw.objects365 import picture


def annotations(photos, names):
    """What the publisher writes: categories with gaps, boxes x y width height with fractions."""
    labels = sorted({label for photo in photos for label, _ in photo.things})
    numbers = {label: 3 * i + 1 for i, label in enumerate(labels)}
    rows = [
        {"id": 139 + i, "file_name": name, "height": photo.height, "width": photo.width}
        for i, (photo, name) in enumerate(zip(photos, names, strict=True))
    ]
    boxes = [
        {
            "id": 10 * i + j,
            "image_id": 139 + i,
            "category_id": numbers[label],
            "bbox": [round(x, 2), round(y, 2), round(right - x, 2), round(bottom - y, 2)],
            "iscrowd": 0,
            "segmentation": [[x, y, right, y, right, bottom]],
        }
        for i, photo in enumerate(photos)
        for j, (label, (y, x, bottom, right)) in enumerate(photo.things)
    ]
    categories = [{"id": number, "name": label.title()} for label, number in numbers.items()]
    return {"info": {}, "images": rows, "annotations": boxes[::-1], "categories": categories}


def lay_down(folder, photos):
    """The raw folder of COCO with the photos as its pictures of training."""
    names = [f"{139 + i:012}.jpg" for i in range(len(photos))]
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    for photo, name in zip(photos, names, strict=True):
        (folder / "train2017" / name).write_bytes(photo.file)
    return annotations(photos, names)


def write(folder, content, split="train"):
    (folder / f"annotations/instances_{split}2017.json").write_text(json.dumps(content))


def test_every_picture_becomes_a_record_with_its_boxes(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(coco_format, "PICTURES_PER_PART", 4)
    raw = tmp_path / "raw"
    write(raw, lay_down(raw, photos))
    manifest = prepare(find("coco"), raw, tmp_path)
    assert manifest["splits"] == {"train": 6}
    assert len(manifest["files"]) == 2
    source = Prepared("coco", "train", str(tmp_path))
    for i, photo in enumerate(photos):
        record = source[i]
        assert record["id"] == str(139 + i)
        assert record["image"] == photo.file
        assert record["image_key"] == f"coco/{139 + i}"
        assert record["labels"] == [label.lower() for label, _ in photo.things]
        assert record["present"] == list(dict.fromkeys(record["labels"]))
        assert record["shape"].tolist() == [photo.height, photo.width]
        assert record["boxes"].dtype == np.float32
        pixels = record["boxes"] * [photo.height, photo.width, photo.height, photo.width]
        np.testing.assert_allclose(pixels, [box for _, box in photo.things], atol=0.02)
        assert record["absent"]
        assert not set(record["absent"]) & set(record["labels"])


def test_what_is_wrong_with_boxes_has_its_fate(photos, tmp_path):
    raw = tmp_path / "raw"
    content = lay_down(raw, photos[:2])
    first, _ = content["images"]
    number, label = content["categories"][0]["id"], content["categories"][0]["name"].lower()
    high, wide = first["height"], first["width"]

    def box(*bbox, picture=139, category=number, **more):
        return {"image_id": picture, "category_id": category, "bbox": list(bbox)} | more

    content["annotations"] = [
        box(-10, -10, 20, 30),  # Partly outside: clipped.
        box(-10, -10, 20, 30),  # The same again.
        box(wide - 5, high - 5, 50.0, 50),
        box(wide + 1, 0, 5, 5),
        box(-9, 0, 5, 5),
        box(3, 3, 0, 5),
        box(3, 3, 5, -2),
        box(float("nan"), 3, 5, 5),
        box(1, 2, 3),
        box(1, 2, 3, 4, picture=7),
        box(1, 2, 3, 4, category=2),
        {"image_id": 139, "category_id": number},
        "no annotation",
        box(0, 0, 9, 9, picture=140, iscrowd=1),
    ]
    write(raw, content)
    prepare(find("coco"), raw, tmp_path)
    one, other = (Prepared("coco", "train", str(tmp_path))[i] for i in range(2))
    wanted = [[0, 0, 20 / high, 10 / wide], [1 - 5 / high, 1 - 5 / wide, 1, 1]]
    np.testing.assert_allclose(one["boxes"], wanted, atol=1e-6)
    assert one["labels"] == [label] * 2
    # A crowd has no box of its own, and yet it is there.
    assert other["boxes"].shape == (0, 4)
    assert other["labels"] == []
    assert other["present"] == [label]
    assert label not in other["absent"]


def test_pictures_that_cannot_be_used_are_counted(photos, tmp_path):
    raw = tmp_path / "raw"
    content = lay_down(raw, photos)
    (raw / "train2017/000000000139.jpg").unlink()
    (raw / "train2017/000000000140.jpg").write_bytes(b"")
    content["images"][2].pop("file_name")
    content["images"][3]["width"] += 30  # Its boxes were drawn on another picture.
    write(raw, content)
    turned = Image.Exif()
    turned[0x0112] = 6
    with Image.open(raw / "train2017/000000000143.jpg") as picture:
        picture.save(raw / "train2017/000000000143.jpg", exif=turned)
    manifest = prepare(find("coco"), raw, tmp_path)
    assert manifest["splits"] == {"train": 1}
    assert manifest["skipped"]["train"] == {"picture": 2, "row": 1, "boxes": 2}
    assert "000000000139.jpg cannot be read: No such file" in manifest["errors"]["picture"]
    assert "images[2] lacks id, name or size" in manifest["errors"]["row"]
    assert "its boxes were drawn on 50 x 80" in manifest["errors"]["boxes"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [{"id": 1', "instances_train2017.json is damaged"),
        ("<html>", "is damaged"),
        ('{"images": []}', "expected COCO's format"),
        (
            '{"images": [{"id": 1, "file_name": "a", "height": 2, "width": 2}], "annotations": '
            '[{"image_id": 2, "category_id": 1, "bbox": [0, 0, 1, 1]}], '
            '"categories": [{"id": 1, "name": "cat"}]}',
            "has 1 annotations, and none fits its pictures",
        ),
    ],
)
def test_a_file_that_says_nothing_is_named(tmp_path, text, message):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train2017.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        prepare(find("coco"), tmp_path, tmp_path / "to")


def test_objects365_has_its_pictures_in_patches(photos, tmp_path):
    raw = tmp_path / "raw"
    names = [f"images/v1/patch{i}/objects365_v1_{i:08}.jpg" for i in range(3)]
    for name, place in zip(names, ("patch0", "images/v1/patch1", "."), strict=True):
        path = raw / "train" / place / name.split("/")[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photos[names.index(name)].file)
    (raw / "zhiyuan_objv2_train.json").write_text(json.dumps(annotations(photos[:3], names)))
    assert prepare(find("objects365"), raw, tmp_path)["splits"] == {"train": 3}
    assert Prepared("objects365", "train", str(tmp_path))[1]["image"] == photos[1].file
    missing = picture(raw, "validation", "images/v2/patch16/x.jpg")
    assert missing == raw / "val/patch16/x.jpg"


def test_both_engines_ask_about_the_records(photos, tmp_path, monkeypatch):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, while it is imported.
        import seqio

        from pali.data.seqio_bridge import answering_tasks, read_mixture, registered

    from pali.boxes import parse_boxes
    from pali.data.pipeline import task_dataset
    from pali.tasks import DEMO_TOKENIZER
    from pali.tokenizer import load_tokenizer

    raw = tmp_path / "raw"
    write(raw, lay_down(raw, photos), "val")
    (raw / "train2017").rename(raw / "val2017")
    monkeypatch.setenv("PALI_DATA", str(tmp_path))
    prepare(find("coco"), raw, tmp_path)
    tokenizer = load_tokenizer(DEMO_TOKENIZER)
    splits = {name: found for name, found in registered().tasks.items() if name[:5] == "coco_"}
    assert set(splits) >= {
        *("coco_list_objects", "coco_object_presence", "coco_all_objects"),
        *("coco_which_objects", "coco_detection"),
    }
    for name in splits:
        if not name.removeprefix("coco_").endswith(("objects", "presence", "detection")):
            continue
        assert splits[name].splits == {"train": None, "validation": 6}
        assert name in answering_tasks()
        ((task, _),) = read_mixture(name, "validation")
        examples: Any = task_dataset(task)
        first = examples[0]
        assert first["image"].shape == (224, 224, 3)
        theirs = seqio.get_mixture_or_task(name).get_dataset(split="validation", shuffle=False)
        (their_first,) = theirs.take(1).as_numpy_iterator()
        for key in ("image", "inputs", "targets"):
            np.testing.assert_array_equal(first[key], their_first[key])
        answers = [
            tokenizer.decode(examples[i]["targets"].tolist())
            for i in range(6)
            if "skipped" not in examples[i]
        ]
        assert len(answers) == 6
        if name == "coco_detection":
            assert all(parse_boxes(a).boxes and not parse_boxes(a).unparsed for a in answers)


@pytest.mark.parametrize("name", ["coco", "objects365", "open_images", "visual_genome"])
def test_datasets_travel_to_other_processes(name):
    dataset = pickle.loads(pickle.dumps(find(name)))
    assert dataset.name == name
    assert callable(dataset.read)
