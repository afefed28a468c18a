# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""RefCOCO's pickles and boxes, COCO detection, classes of ImageNet and its relatives."""

import copy
import json
import pickle

import pytest

from pali.benchmarks.pickles import read_pickle
from pali.benchmarks.registry import BENCHMARKS
from tests.benchmarks.more_layouts import DETECTION, INSTANCES, REFERENCES

# "the lady" and "woman in blue" are one object, "man on the right" another.
BOX, OTHER = (annotation["bbox"] for annotation in INSTANCES["annotations"])
LADY, WOMAN, MAN = 0, 1, 15


def test_every_expression_counts_in_any_format(run):
    height, width = 427, 640
    x, y, w, h = BOX
    steps = [round(v * 1023) for v in (y / height, x / width, (y + h) / height, (x + w) / width)]
    thousandths = [
        int(v * 1000) for v in (y / height, x / width, (y + h) / height, (x + w) / width)
    ]
    said = {
        LADY: "".join(f"<loc{step:04d}>" for step in steps) + " the lady",
        WOMAN: " ".join(map(str, thousandths)) + " woman",
        MAN: [320, 10, 200.5, 190],
    }
    found = run("refcoco", "val", said)
    assert found["score"] == 1
    assert found["per_item"][str(MAN)] == 1  # Half of its height: an IoU of 0.5.
    assert 0.8 < found["scores"]["mean_iou"] < 1
    assert "|var:iou-0.5;boxes|" in found["signature"]
    lost = run("refcoco", "val", {**said, LADY: "nothing", WOMAN: None})
    assert lost["score"] == pytest.approx(1 / 3)
    assert "2 predictions have no box, and count as not found" in lost["notes"]
    backwards = run("refcoco", "val", {**said, LADY: "<loc0900><loc0100><loc0200><loc0300>"})
    assert backwards["per_item"][str(LADY)] == 0


@pytest.mark.parametrize(
    "junk",
    [
        *("[NaN, 1, 2, 3]", "[1, 2, 3]", "[1, 2, -3, 4]", "7", '{"x": 1}', "[1, 2, 3, 1e999]"),
        f"[1, 2, 3, 1{'0' * 400}]",  # An integer that no float holds.
    ],
)
def test_a_box_that_is_none_is_an_error(run, junk):
    lines = f'{{"id": 0, "prediction": {junk}}}\n'
    error = run("refcoco", "val", lines)
    assert "line 1 of" in error
    assert "of a box" in error or "a box is [x, y, width, height], four finite" in error


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('run')",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        pickle.dumps([Evil()], protocol=0),
        pickle.dumps({"a": [complex(1, 2)]}),
        pickle.dumps(REFERENCES, protocol=2)[:-30],
        b"",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x95",
        b"Pelsewhere\n.",
        b"(i__builtin__\neval\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.",
        b"not a pickle",
    ],
)
def test_a_pickle_runs_nothing(tmp_path, content):
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="refs.unc..p is no pickle of plain containers"):
        read_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_are_read(tmp_path, protocol):
    path = tmp_path / "x.p"
    value = [{"a": (1, 2.5, None, True), "b": {"ü", "x"}, 3: [[]]}, 2**70, b"x"]
    value = value[:2] if protocol < 3 else value  # bytes ask for a codec before.
    if protocol < 4:
        value[0] = {**value[0], "b": "ü"}
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_pickle(path) == value


def test_texts_of_python_2_are_texts(tmp_path):
    path = tmp_path / "x.p"
    path.write_bytes(b"\x80\x02]q\x00}q\x01U\x03rawq\x02U\x05caf\xc3\xa9q\x03sa.")
    assert read_pickle(path) == [{"raw": "café"}]


def test_an_object_that_is_not_there_is_named(run, raw):
    files = {"refs(unc).p": REFERENCES, "instances.json": {**INSTANCES, "annotations": []}}
    error = run("refcoco", "val", {0: None}, references=raw("refcoco", "other", files))
    assert "[0]: annotation 1719310 is not in" in error


def detections():
    return [
        {k: row[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.9 - i / 10}
        for i, row in enumerate(DETECTION["annotations"])
    ]


def test_detection_is_scored_by_pycocotools(run, tmp_path):
    from pali.metrics.coco_ap import coco_ap

    rows = detections()[1:]
    found = run("coco_detection", "val", rows)
    truth = {name: DETECTION[name] for name in ("images", "annotations", "categories")}
    assert found["scores"] == pytest.approx(coco_ap(truth, rows))
    assert found["n"] == 3  # Two pictures have no row, which is no mistake.
    assert "|var:pycocotools;bbox|" in found["signature"]
    path = tmp_path / "out.json"
    assert "3 answers for COCO" in run("coco_detection", "val", rows, "--submission", str(path))
    assert json.loads(path.read_text()) == rows
    assert run("coco_detection", "val", json.loads(path.read_text()))["score"] == found["score"]


def test_boxes_in_texts_have_no_scores_and_it_is_said(run):
    said = {139: "334 371 496 408 potted plant 393 11 614 244 tv 1 1 9 9 zebra", 285: "", 7: ""}
    found = run("coco_detection", "val", said)
    assert found["scores"]["ap_50"] == pytest.approx(2 / 3)
    assert "|var:pycocotools;bbox;no scores|" in found["signature"]
    assert any("an AP without scores is not comparable" in note for note in found["notes"])
    assert any("1 boxes are of no class of COCO" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, float("nan"), 4]}, "row 1 of .* four finite numbers"),
        ({"score": float("inf")}, "row 1 of .* its score is Infinity, not a finite number"),
        ({"score": 10**400}, "row 1 of .* its score is 10000.*, not a finite number"),
        ({"image_id": "139"}, "row 2 of .* has image_id 139, which is there as a number and as a"),
        ({"image_id": 139.0}, "has image_id 139.0: an id is a string or an integer"),
        ({"image_id": 4}, "1 of 4 predictions whose id is not in"),
        ({"category_id": 5}, "is of class 5, which is not here"),
        ({"category_id": []}, r"its category_id is \[\], not a number of COCO's classes"),
        ({"category_id": True}, "its category_id is true, not a number"),
        ({"score": None}, "its score is null, not a finite number"),
    ],
)
def test_a_detection_that_is_none_is_named(run, change, message):
    import re

    rows = detections()
    rows[0] |= change
    assert re.search(message, run("coco_detection", "val", rows))


def test_pictures_of_detections_may_be_strings_and_other_fields_are_ignored(run):
    rows = detections()
    # pycocotools takes a file whose rows have captions for one of captions.
    odd = [{**row, "image_id": str(row["image_id"]), "caption": "x", "area": "x"} for row in rows]
    found = run("coco_detection", "val", odd)
    assert found["score"] == run("coco_detection", "val", rows)["score"] > 0.9
    assert any("ids are numbers in" in note for note in found["notes"])


def test_numbers_of_raw_files_are_finite(run, raw):
    for field in ("height", "area"):
        content = copy.deepcopy(DETECTION)
        content["images" if field == "height" else "annotations"][0][field] = 10**400
        folder = raw("coco_detection", field, {"instances_val2017.json": content})
        error = run("coco_detection", "val", [], references=folder)
        assert f'[0] has "{field}": 10000' in error
        assert "not a finite number" in error


def test_classes_are_numbers_or_wordnet_ids(run):
    names = [f"ILSVRC2012_val_{i:08d}" for i in (1, 2, 3)]
    found = run("imagenet", "val", dict(zip(names, ("n01440764", 2, "0"), strict=True)))
    assert list(found["per_item"].values()) == [1, 1, 0]
    assert found["signature"].startswith("top_1|bench:imagenet|split:val|var:top-1|")
    for junk in (1000, -1, "goldfish", None, 1.0, "n1"):
        error = run("imagenet", "val", {names[0]: junk})
        assert "a class is its number, 0 to 999, or its WordNet id" in error


def test_real_labels_may_be_several_or_none(run):
    said = {f"ILSVRC2012_val_{i:08d}": value for i, value in ((1, 0), (3, "n01484850"), (4, 7))}
    found = run("imagenet", "real", said)
    assert list(found["per_item"].values()) == [1, 1, 0]
    assert "1 of 4 items have no reference, and no score" in found["notes"]


def test_folders_of_v2_are_numbers(run):
    said = {"0/a1.jpeg": 0, "0/b2.jpeg": 1, "10/c3.jpeg": 10, "2/d4.jpeg": "n01484850"}
    assert run("imagenet_v2", "test", said)["score"] == 0.75


def test_a_number_needs_the_list_of_classes(run, raw):
    said = {"n01443537/0.00_a.jpg": 1, "n01484850/0.01_b.jpg": 2, "n01484850/c.jpg": 2}
    assert "and LOC_synset_mapping.txt, which says what WordNet id that is" in run(
        "imagenet_a", "test", said
    )
    by_name = {key: key.split("/")[0] for key in said}
    assert run("imagenet_a", "test", by_name)["score"] == 1
    folder = raw("imagenet_a", "test") / "imagenet-a"
    assert run("imagenet_a", "test", by_name, references=folder)["score"] == 1
    said = {"n01443537/art_0.jpg": 1, "n01484850/cartoon_1.jpg": 1}
    assert run("imagenet_r", "test", said)["score"] == 0.5


def test_objectnet_has_several_classes_for_one(run, raw):
    said = {"alarm_clock/0a.png": 409, "alarm_clock/0b.png": 530, "backpack/2d.png": 409}
    found = run("objectnet", "test", said)
    assert found["per_item"] == {
        "alarm_clock/0a.png": 1,
        "alarm_clock/0b.png": 1,
        "backpack/2d.png": 0,
    }
    pictures = {item.picture for item in BENCHMARKS["objectnet"].items(raw("objectnet", "test"))}
    assert "objectnet-1.0/images/backpack/2d.png" in pictures
    assert not any("air_freshener" in picture for picture in pictures)
