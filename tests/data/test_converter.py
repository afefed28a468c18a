# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Task features -> model features of fixed shapes. Equality with SeqIO's: test_seqio_bridge.py."""

import ml_dtypes
import numpy as np
import pytest

from pali.data.converter import NO_LABEL, ClassificationFeatures, EncoderDecoderFeatures, pad

EXAMPLE = {
    "image": np.full((4, 4, 3), 7, np.uint8),
    "inputs": np.array([5, 6, 1], np.int32),
    "targets": np.array([8, 9, 1], np.int32),
    "name": "not for the model",
}


def test_padding_shift_and_weights():
    features = EncoderDecoderFeatures(inputs=5, targets=4, image_size=4)(EXAMPLE)
    expected = {
        "image": EXAMPLE["image"],
        "image_mask": True,
        "encoder_input_tokens": [5, 6, 1, 0, 0],
        "decoder_input_tokens": [0, 8, 9, 1],
        "decoder_target_tokens": [8, 9, 1, 0],
        "decoder_loss_weights": [1, 1, 1, 0],
        "label": -1,
        "skipped": 0,
    }
    assert features.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(features[name], value)
    dtypes = {name: value.dtype.name for name, value in features.items()}
    assert dtypes == {
        "image": "uint8",
        "image_mask": "bool",
        "encoder_input_tokens": "int32",
        "decoder_input_tokens": "int32",
        "decoder_target_tokens": "int32",
        "decoder_loss_weights": "float32",
        "label": "int32",
        "skipped": "int32",
    }


def test_the_label_is_a_number_or_not_said():
    convert = EncoderDecoderFeatures(inputs=5, targets=4, image_size=4)
    assert convert(EXAMPLE | {"label": 3})["label"] == 3
    # A text of that name, of somebody's own records, is no class.
    assert convert(EXAMPLE | {"label": "kingfisher"})["label"] == NO_LABEL


def test_too_long_texts_are_cut():
    features = EncoderDecoderFeatures(inputs=2, targets=2, image_size=4)(EXAMPLE)
    assert features["encoder_input_tokens"].tolist() == [5, 6]
    assert features["decoder_target_tokens"].tolist() == [8, 9]
    assert features["decoder_input_tokens"].tolist() == [0, 8]
    assert features["decoder_loss_weights"].tolist() == [1, 1]


@pytest.mark.parametrize("convert", [EncoderDecoderFeatures(5, 4, 4), ClassificationFeatures(4)])
def test_a_picture_that_nothing_decoded_is_said(convert):
    with pytest.raises(ValueError, match="image is still the bytes of a file: give"):
        convert(EXAMPLE | {"image": b"a file"})


def test_text_alone_carries_an_empty_masked_picture():
    text = {key: EXAMPLE[key] for key in ("inputs", "targets")}
    pixels = EncoderDecoderFeatures(5, 4, image_size=4)(text)
    assert not pixels["image_mask"]
    assert pixels["image"].shape == (4, 4, 3)
    assert not pixels["image"].any()
    tokens = EncoderDecoderFeatures(5, 4, image_size=4, visual_tokens=(2, 6))(text)
    assert not tokens["image_mask"]
    assert tokens["visual_tokens"].shape == (2, 6)
    assert tokens["visual_tokens"].dtype == ml_dtypes.bfloat16
    assert "image" not in tokens


def test_visual_tokens_take_the_place_of_pixels():
    visual = np.ones((2, 6), ml_dtypes.bfloat16)
    convert = EncoderDecoderFeatures(5, 4, image_size=4, visual_tokens=(2, 6))
    features = convert(EXAMPLE | {"visual_tokens": visual})
    assert features["image_mask"]
    np.testing.assert_array_equal(features["visual_tokens"], visual)
    assert "image" not in features


def test_a_picture_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"image has shape \(4, 4, 3\).*expects \(8, 8, 3\)"):
        EncoderDecoderFeatures(5, 4, image_size=8)(EXAMPLE)
    with pytest.raises(ValueError, match=r"visual_tokens has shape \(1, 6\).*expects \(2, 6\)"):
        EncoderDecoderFeatures(5, 4, 4, visual_tokens=(2, 6))(
            EXAMPLE | {"visual_tokens": np.zeros((1, 6))}
        )
    with pytest.raises(ValueError, match="image has shape"):
        ClassificationFeatures(8)(EXAMPLE | {"label": 3})


def test_classification_features():
    features = ClassificationFeatures(4)(EXAMPLE | {"label": 3})
    assert set(features) == {"image", "label", "skipped"}
    assert features["label"] == 3
    assert features["label"].dtype == np.int32
    assert ClassificationFeatures(4)(EXAMPLE)["label"] == NO_LABEL
    words = np.array([[5, -1]])
    known = ClassificationFeatures(4)(EXAMPLE | {"patch_words": words})
    np.testing.assert_array_equal(known["patch_words"], words)


def test_pad():
    assert pad(np.array([3, 4], np.int32), 3).tolist() == [3, 4, 0]
    assert pad(np.array([], np.int32), 2).tolist() == [0, 0]
