# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Per-example functions: each is deterministic, picklable, and leaves its input alone."""

import copy
import pickle

import numpy as np
import pytest
from PIL import Image

from pali.data.preprocessors import (
    CutList,
    DecodePicture,
    RenderPicture,
    RenderScene,
    SomeOf,
    SplitCaption,
    TextToText,
    Tokenize,
)
from pali.data.rendering import render
from pali.data.scenes import describe, render_scene
from pali.data.skipping import RecordError
from pali.data.span_corruption import CorruptSpans
from pali.image import ImageError, load_image
from pali.tokenizer import Tokenizer

RECORD = {
    "image_key": "noto/1f415/3",
    "art": "noto",
    "code": "1f415",
    "view": 3,
    "lang": "sw",
    "name": "mbwa",
    "keywords": ["mbwa", "mnyama", "mnyama kipenzi", "uso", "kipenzi"],
}


def test_render_picture_is_the_view_of_the_record():
    example = RenderPicture(24)(RECORD)
    np.testing.assert_array_equal(example["image"], render("noto", "1f415", 3, 24))
    other = RenderPicture(24)(RECORD | {"view": 4})
    assert not np.array_equal(example["image"], other["image"])


def test_render_scene_is_the_scene_of_the_record():
    example = RenderScene(24)({"split": "validation", "scene": 5})
    np.testing.assert_array_equal(example["image"], render_scene(describe("validation", 5), 24))
    other = RenderScene(24)({"split": "train", "scene": 5})
    assert not np.array_equal(example["image"], other["image"])


def test_decode_picture_reads_the_file_as_inference_does(tmp_path):
    path = str(tmp_path / "wide.png")
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(10, 20, 3)).save(path)
    image = DecodePicture(8)({"image_key": path})["image"]
    assert image.shape == (8, 8, 3)
    np.testing.assert_array_equal(image, load_image(path, 8))
    with pytest.raises(ImageError, match="missing.png: no such file"):
        DecodePicture(8)({"image_key": str(tmp_path / "missing.png")})


def test_decode_picture_takes_bytes_where_there_are_some(tmp_path):
    path = tmp_path / "wide.png"
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(10, 20, 3)).save(path)
    expected = load_image(str(path), 8)
    for key in ({"image_key": "birds.tar#7"}, {}):
        image = DecodePicture(8)({"image": path.read_bytes(), **key})["image"]
        np.testing.assert_array_equal(image, expected)
    with pytest.raises(ImageError, match="birds.tar#7"):
        DecodePicture(8)({"image": b"no picture", "image_key": "birds.tar#7"})
    with pytest.raises(RecordError, match='with caption has no picture: neither bytes in "image"'):
        DecodePicture(8)({"caption": "a"})


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_prompt_is_not_filled_with_nothing(value):
    with pytest.raises(RecordError, match="the record a.png has nothing in lang"):
        TextToText("caption", "name")({"image_key": "a.png", "name": "a dog", "lang": value})


def test_text_to_text_fills_the_prompt_and_joins_lists():
    caption = TextToText("caption", "name")(RECORD)
    assert caption["inputs"] == "Generate the alt_text in SW at 0: <extra_id_0>"
    assert caption["targets"] == "mbwa"
    keywords = TextToText("keywords", "keywords")(RECORD)
    assert keywords["targets"] == "mbwa, mnyama, mnyama kipenzi, uso, kipenzi"


def test_some_of_gives_each_item_its_turn_in_the_order_of_the_list():
    some = SomeOf("keywords", count=3, to="some")
    seen = set()
    for view in range(40):
        record = RECORD | {"image_key": f"noto/1f415/{view}"}
        chosen = some(record)["some"]
        assert len(chosen) == 3
        assert chosen == [item for item in RECORD["keywords"] if item in chosen]
        assert chosen == some(record)["some"]
        seen.update(chosen)
    assert seen == set(RECORD["keywords"])
    assert some(RECORD | {"keywords": ["mbwa"]})["some"] == ["mbwa"]


def test_cut_list_loses_nothing_and_leaves_no_part_empty():
    cut = CutList("keywords")
    positions = set()
    for view in range(40):
        found = cut(RECORD | {"image_key": f"noto/1f415/{view}"})
        assert found["before"] + found["after"] == RECORD["keywords"]
        assert len(found["before"]) == found["position"]
        positions.add(found["position"])
    assert positions == {1, 2, 3, 4}
    text = TextToText("split_caption", "after")(cut(RECORD | {"keywords": ["mbwa", "uso"]}))
    assert text["inputs"] == "Generate the alt_text in SW at 1: mbwa <extra_id_0>"
    assert text["targets"] == "uso"
    with pytest.raises(ValueError, match=r"keywords of noto/1f415/3 is \['mbwa'\]: too short"):
        cut(RECORD | {"keywords": ["mbwa"]})


def test_tokenize_ends_both_texts_with_eos_and_loses_nothing(tiny_tokenizer):
    texts = {"inputs": "Generate the alt_text in EN at 0: <extra_id_0>", "targets": "paka na 🐕"}
    example = Tokenize(str(tiny_tokenizer))(texts | {"lang": "sw"})
    tokenizer = Tokenizer(tiny_tokenizer)
    assert example["lang"] == "sw"
    for key, text in texts.items():
        assert example[key].dtype == np.int32
        assert example[key][-1] == tokenizer.eos_id
        assert example[key][:-1].tolist() == tokenizer.encode(text)
        assert tokenizer.decode(example[key].tolist()) == text
    assert tokenizer.sentinel(0) in example["inputs"]


@pytest.mark.parametrize(
    "function",
    [RenderPicture(8), TextToText("caption", "name"), SomeOf("keywords", 2, "keywords")],
    ids=repr,
)
def test_functions_travel_and_do_not_change_what_they_are_given(function):
    record = copy.deepcopy(RECORD)
    first = function(record)
    assert record == RECORD
    second = pickle.loads(pickle.dumps(function))(record)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_only_the_path_of_a_tokenizer_travels(tiny_tokenizer):
    function = Tokenize(str(tiny_tokenizer))
    function({"inputs": "a", "targets": "b"})
    assert len(pickle.dumps(function)) < 500


def test_functions_that_make_an_image_say_so():
    assert RenderPicture(8).makes_image
    assert DecodePicture(8).makes_image


@pytest.mark.parametrize(
    "value", [None, float("nan"), 7, "half \ud83d", ["a", None], ["\ud83d", "b"]]
)
def test_what_a_table_has_for_no_value_is_skipped_and_not_a_crash(value, tiny_tokenizer):
    functions = [SplitCaption("caption"), CorruptSpans(str(tiny_tokenizer), 8, key="caption")]
    functions += [CutList("caption"), SomeOf("caption", 1, "some")]
    for function in functions:
        with pytest.raises(RecordError, match=r"the record a.png has"):
            function({"image_key": "a.png", "draw": "0", "caption": value})
    with pytest.raises(RecordError, match="'targets'"):
        Tokenize(str(tiny_tokenizer))({"inputs": "a", "targets": value})
    with pytest.raises(KeyError):
        SplitCaption("captoin")({"image_key": "a.png", "draw": "0", "caption": "a dog"})


def test_names_of_pictures_need_not_be_utf8():
    record = RECORD | {"image_key": "\udcff.png", "draw": "0/\udcff", "caption": "a dog"}
    assert CutList("keywords")(record)["before"]
    assert SomeOf("keywords", 2, "some")(record)["some"]
    assert SplitCaption("caption")(record)["after"]
