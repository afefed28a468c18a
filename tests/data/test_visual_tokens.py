# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of visual tokens: the tokens that the ViT gave, of these weights, or nothing."""

import pickle

import ml_dtypes
import numpy as np
import pytest

from pali.data import visual_tokens
from pali.data.pipeline import Task, replace_image_function
from pali.data.preprocessors import DecodePicture, RenderPicture
from pali.data.sources import DemoPictures, DemoTexts, JsonLines
from pali.data.visual_tokens import build, pictures, vit_fingerprint

PARAMS = {"head": {"kernel": np.arange(6.0).reshape(2, 3)}, "cls": np.ones(2, np.float32)}
FINGERPRINT = vit_fingerprint(PARAMS, image=RenderPicture(8))
KEYS = [f"picture {i}" for i in range(21)]


def makers(keys=KEYS):
    return {k: lambda i=i: np.full((8, 8, 3), i, np.uint8) for i, k in enumerate(keys)}


class Encode:
    """Stands for a ViT: 2 visual tokens of width 3; counts the batches that it was given."""

    def __init__(self, fail_after=None):
        self.batches = []
        self.fail_after = fail_after

    def __call__(self, images):
        if len(self.batches) == self.fail_after:
            raise KeyboardInterrupt
        self.batches.append(images.shape)
        level = images[:, 0, 0, 0].astype(np.float32)
        return level[:, None, None] / 3 + np.arange(6, dtype=np.float32).reshape(2, 3)


def expected(i):
    return (np.float32(i) / 3 + np.arange(6, dtype=np.float32).reshape(2, 3)).astype(
        ml_dtypes.bfloat16
    )


def built(folder, encode, keys=KEYS, fingerprint=FINGERPRINT):
    return build(folder, fingerprint, makers(keys), encode, batch_size=4, progress=False)


def test_every_picture_gets_its_own_tokens_in_bfloat16(tmp_path):
    encode = Encode()
    look_up = built(tmp_path / "cache", encode)
    assert set(encode.batches) == {(4, 8, 8, 3)}  # The last one filled up: one compilation.
    for i, key in enumerate(KEYS):
        example = look_up({"image_key": key, "lang": "sw"})
        assert example["lang"] == "sw"
        assert example["visual_tokens"].dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(example["visual_tokens"], expected(i))
    assert pickle.loads(pickle.dumps(look_up)) == look_up


def test_a_finished_cache_is_not_built_again(tmp_path):
    built(tmp_path, Encode())
    encode = Encode(fail_after=0)
    built(tmp_path, encode)
    built(tmp_path, encode, KEYS[:5])  # Nor for some of its pictures.


def test_an_interrupted_build_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(visual_tokens, "SAVE_EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path, Encode(fail_after=3))
    rest = Encode()
    look_up = built(tmp_path, rest)
    assert len(rest.batches) == 4  # Of six; two were saved, the third was not.
    for i, key in enumerate(KEYS):
        np.testing.assert_array_equal(look_up({"image_key": key})["visual_tokens"], expected(i))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (
            vit_fingerprint(PARAMS | {"cls": np.zeros(2, np.float32)}, image=RenderPicture(8)),
            "params",
        ),
        (vit_fingerprint(PARAMS, image=RenderPicture(9)), "size=8.* there, .*size=9"),
        (vit_fingerprint(PARAMS), "image: .* there, None here"),
    ],
)
def test_a_cache_of_another_vit_or_size_is_refused(tmp_path, other, named):
    built(tmp_path, Encode())
    with pytest.raises(ValueError, match=f"comes from another ViT or other pictures .*{named}"):
        built(tmp_path, Encode(), fingerprint=other)


def test_a_cache_of_other_pictures_is_refused(tmp_path):
    look_up = built(tmp_path, Encode())
    with pytest.raises(ValueError, match="built for 21 pictures, which are not the 1"):
        built(tmp_path, Encode(), ["new"])
    with pytest.raises(ValueError, match="has no picture 'new'"):
        look_up({"image_key": "new"})
    with pytest.raises(ValueError, match="no picture to encode"):
        built(tmp_path / "empty", Encode(), [])


def test_a_folder_that_is_no_cache_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a visual-token cache"):
        visual_tokens.LookUpVisualTokens(str(tmp_path))({"image_key": "a"})


def test_the_fingerprint_sees_names_and_shapes_but_not_the_order():
    same = {"cls": PARAMS["cls"], "head": PARAMS["head"]}
    assert vit_fingerprint(same) == vit_fingerprint(PARAMS)
    renamed = {"cls": PARAMS["cls"], "tail": PARAMS["head"]}
    reshaped = PARAMS | {"head": {"kernel": PARAMS["head"]["kernel"].reshape(3, 2)}}
    assert len({vit_fingerprint(p)["params"] for p in (PARAMS, renamed, reshaped)}) == 3


def test_each_picture_of_a_mixture_is_made_once_as_its_task_makes_it():
    captions = DemoTexts("train", ("en", "sw"), views=2)
    mixture = [
        (Task("captions", captions, (RenderPicture(8),)), 1.0),
        (Task("same pictures", DemoPictures(stop=2), (RenderPicture(8),)), 1.0),
        (Task("text alone", [{"text": "a"}]), 1.0),
    ]
    found = pictures(mixture)
    keys = {captions[i]["image_key"] for i in range(len(captions))}
    assert set(found) == keys
    record = captions[17]
    image = found[record["image_key"]]()
    np.testing.assert_array_equal(image, RenderPicture(8)(record)["image"])


def test_training_on_the_cache_sees_the_tokens_of_its_pictures(tmp_path):
    task = Task("pictures", DemoPictures(("noto",), 0, 1), (RenderPicture(8),))

    def encode(images):
        return images.reshape(len(images), 4, -1)[:, :, :5]

    look_up = build(tmp_path, FINGERPRINT, pictures([(task, 1.0)]), encode, progress=False)
    ((cached, _),) = replace_image_function([(task, 1.0)], look_up)
    for index in (0, 100, 342):
        image = RenderPicture(8)(task.source[index])["image"]
        tokens = cached.functions[0](cached.source[index])["visual_tokens"]
        np.testing.assert_array_equal(tokens, encode(image[None])[0])


def test_a_record_that_cannot_be_read_has_no_picture(tmp_path):
    lines = ['{"image": "a.png"}', '{"image": null}', "no JSON", '{"image": "b.png"}']
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    source = JsonLines(str(tmp_path / "rows.jsonl"), image_folder="birds")
    found = pictures([(Task("birds", source, (DecodePicture(8),)), 1.0)])
    assert list(found) == ["birds/a.png", "birds/b.png"]
