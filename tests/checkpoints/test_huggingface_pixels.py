# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A preprocessor_config.json is taken over to the pixel, or refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pali.checkpoints import huggingface_pixels
from pali.image import resize
from pali.models.vit import scale_pixels

PROCESSORS = {
    "vit": ViTImageProcessorPil,
    "siglip_vision_model": SiglipImageProcessorPil,
    "clip_vision_model": CLIPImageProcessorPil,
}
SQUARE = {"height": 20, "width": 20}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("vit", {"size": SQUARE}),
        ("vit", {"size": SQUARE, "resample": 3}),
        ("vit", {"size": SQUARE, "do_normalize": False}),
        ("vit", {"size": SQUARE, "do_center_crop": True, "crop_size": SQUARE}),
        ("siglip_vision_model", {"size": SQUARE, "image_mean": [0.1, 0.2, 0.3]}),
        ("siglip_vision_model", {"size": SQUARE, "image_std": [1, 2, 3], "resample": 2}),
        ("clip_vision_model", {"size": {"shortest_edge": 20}, "crop_size": SQUARE}),
        ("clip_vision_model", {"size": SQUARE, "do_center_crop": False}),
        ("clip_vision_model", {"size": SQUARE, "crop_size": SQUARE}),
    ],
)
def test_pixels_are_those_of_the_processor(kind, changes, tmp_path):
    processor = PROCESSORS[kind](**changes)
    processor.save_pretrained(tmp_path)
    said = json.loads((tmp_path / "preprocessor_config.json").read_text())
    pixels = huggingface_pixels.read(said, kind, "there")
    picture = np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)
    theirs = processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    ours = scale_pixels(jnp.asarray(resize(picture, 20, pixels))[None], pixels)[0]
    np.testing.assert_allclose(ours, theirs.transpose(1, 2, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", huggingface_pixels.DEFAULTS)
def test_what_is_left_out_is_the_default_of_the_model(kind):
    assert huggingface_pixels.read({}, kind, "there") == huggingface_pixels.DEFAULTS[kind]


CLIP = "clip_vision_model"


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        (CLIP, {"size": {"shortest_edge": 24}, "crop_size": 20}, "what is resized is squashed"),
        (CLIP, {"size": {"shortest_edge": 24}, "do_center_crop": False}, "what is resized"),
        (CLIP, {"size": SQUARE, "crop_size": {"height": 10, "width": 20}}, "what is resized"),
        (CLIP, {"do_center_crop": False}, "what is resized is squashed"),
        (CLIP, {"do_center_crop": "false"}, "do_center_crop 'false'; it must be true or false"),
        ("vit", {"size": {"shortest_edge": 24}}, "what is resized is squashed"),
        ("vit", {"resample": 0}, r"resample 0, which pali cannot do: it must be 2 \(bilinear\)"),
        ("vit", {"resample": 1}, "resample 1"),
        ("vit", {"resample": "bicubic"}, "resample 'bicubic'; it must be a whole number"),
        ("vit", {"resample": [3]}, "must be a whole number"),
        ("vit", {"rescale_factor": 1 / 127.5}, "rescale_factor 0.00784"),
        ("vit", {"do_rescale": False}, "do_rescale false"),
        ("vit", {"do_resize": False}, "do_resize false"),
        ("vit", {"image_mean": 0.5}, "image_mean 0.5; it must be three numbers"),
        ("vit", {"image_mean": [None, 0.5, 0.5]}, "image_mean, has red None; it must be a number"),
        ("vit", {"image_std": [0.5, float("nan"), 0.5]}, "green nan; it must be a number"),
        ("vit", {"image_std": [0.5, 0.5, 0.0]}, "std above 0"),
        ("vit", {"image_processor_type": "BitImageProcessor"}, "is of 'BitImageProcessor'"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(kind, said, message):
    with pytest.raises(ValueError, match=message):
        huggingface_pixels.read(said, kind, "there")
