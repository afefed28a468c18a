# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of any shape, as a ViT reads them: parity with Hugging Face, and what a crop leaves."""

import dataclasses
import json

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import pali
from pali import boxes, image
from pali.boxes import Box, in_whole
from pali.cli import main
from pali.config import Config, DataConfig, MT5Config, PaLIConfig, PixelConfig, ViTConfig
from pali.data import pipeline
from pali.data.benchmarks import Benchmark
from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
from pali.data.evaluation import Example, Split
from pali.data.inputs import Inputs
from pali.data.preprocessors import DecodePicture, RenderPicture, RenderScene, TypesetPicture
from pali.data.records import StoredImage, read_records, write_records
from pali.data.sources import JsonLines
from pali.image import Region, load_image, resize, seen_region
from pali.models.vit import scale_pixels
from pali.predict import Model, Text, VisualTokens

CLIP = PixelConfig(
    resample="bicubic",
    fit="crop",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
PROCESSORS = {
    "siglip": (SiglipImageProcessorPil(), 224, PixelConfig("bicubic")),
    "vit": (ViTImageProcessorPil(), 224, PixelConfig("bilinear")),
    "clip": (CLIPImageProcessorPil(), 224, CLIP),
    "siglip, wide": (
        SiglipImageProcessorPil(size={"height": 32, "width": 80}),
        (32, 80),
        PixelConfig("bicubic"),
    ),
    # Sides of which neither the scaled picture nor what is cut off comes out even.
    "clip, odd": (
        CLIPImageProcessorPil(size={"shortest_edge": 35}, crop_size={"height": 35, "width": 35}),
        35,
        CLIP,
    ),
}
SHAPES = [(301, 200), (199, 311), (3, 2), (50, 1), (1, 1), (7, 400), (225, 224), (1201, 800)]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ramps(height: int, width: int) -> np.ndarray:
    """Red grows by rows from 0 to 255, green by columns."""
    picture = np.zeros((height, width, 3))
    picture[..., 0] = (np.arange(height)[:, None] + 0.5) / height * 255
    picture[..., 1] = (np.arange(width) + 0.5) / width * 255
    return np.round(picture).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_hugging_face(name, shape):
    processor, size, pixels = PROCESSORS[name]
    picture = noise(*shape)
    theirs = processor(Image.fromarray(picture), return_tensors="np")["pixel_values"][0]
    ours = scale_pixels(jnp.asarray(resize(picture, size, pixels))[None], pixels)[0]
    np.testing.assert_allclose(ours, theirs.transpose(1, 2, 0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_word_resizing_is_the_whole_picture_bilinear(shape):
    picture = noise(*shape)
    expected = Image.fromarray(picture).resize((72, 72), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize(picture, 72), np.asarray(expected))
    np.testing.assert_array_equal(load_image(picture, (72, 72), PixelConfig()), expected)


@pytest.mark.parametrize("size", [(24, 60), (60, 24), (30, 30)])
@pytest.mark.parametrize("shape", [(90, 400), (400, 90), (55, 55), (20, 31)])
def test_a_crop_of_any_shape_is_pils_own_fit(size, shape):
    picture = ramps(*shape)
    method = Image.Resampling.BILINEAR
    expected = ImageOps.fit(Image.fromarray(picture), size[::-1], method)
    ours = resize(picture, size, PixelConfig(fit="crop"))
    assert ours.shape == (*size, 3)
    # PIL drops no fraction of a pixel before it cuts: up to a pixel of ours to either side.
    pixel = 255 * max(1 / shape[0], 1 / shape[1], 1 / min(size))
    np.testing.assert_allclose(ours.astype(float), np.asarray(expected), atol=pixel + 2)


@hypothesis.given(
    shape=st.tuples(st.integers(8, 90), st.integers(8, 90)),
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    fit=st.sampled_from(["squash", "crop"]),
)
@hypothesis.settings(max_examples=60)
def test_the_region_seen_is_where_the_pixels_come_from(shape, size, fit):
    pixels = PixelConfig(fit=fit)
    small = resize(ramps(*shape), size, pixels).astype(float)
    region = seen_region(shape, size, pixels)
    top, left, bottom, right = region.shares
    assert 0 <= top < bottom <= 1
    assert 0 <= left < right <= 1
    assert (region.height, region.width) == shape
    if fit == "squash":
        assert region.shares == (0, 0, 1, 1)
    else:
        assert (top, bottom) == (0, 1) or (left, right) == (0, 1)
    inner = slice(1, -1)  # At the border of the picture the filter has less to average.
    rows = top + (np.arange(size[0]) + 0.5) / size[0] * (bottom - top)
    columns = left + (np.arange(size[1]) + 0.5) / size[1] * (right - left)
    np.testing.assert_allclose(small[inner, 0, 0], rows[inner] * 255, atol=6)
    np.testing.assert_allclose(small[0, inner, 1], columns[inner] * 255, atol=6)


def test_a_thin_strip_is_cropped_without_being_enlarged_whole(monkeypatch):
    monkeypatch.setattr(image, "MAX_ENLARGED", 10_000)
    strip = ramps(4000, 20)
    ours = resize(strip, 40, CLIP)
    monkeypatch.undo()
    np.testing.assert_allclose(ours.astype(int), resize(strip, 40, CLIP), atol=1)
    # Enlarged whole, this one would take 150 gigabytes.
    assert resize(np.zeros((1_000_000, 1, 3), np.uint8), 224, CLIP).shape == (224, 224, 3)


def test_boxes_of_the_middle_are_boxes_of_the_whole():
    region = Region(top=10, left=0, bottom=30, right=20, height=40, width=20)
    (found,) = in_whole([Box(0, 0.25, 0.5, 1, "dog")], region)
    assert found == Box(0.25, 0.25, 0.5, 1, "dog")
    odd = [Box(0.0005, 0.1, 1 / 3, 0.7, "cat")]
    assert in_whole(odd, seen_region((33, 77), 12, PixelConfig())) == odd, "to the last bit"


@pytest.fixture
def answers(monkeypatch):
    """The model finds the whole of what it sees, whatever it is asked."""
    found = Text("0 0 999 999 dog")
    monkeypatch.setattr(Model, "generate", lambda self, images, prompts, **_: [found] * len(images))


def test_detect_speaks_of_the_whole_picture(model_variant, answers):
    pictures = [noise(40, 80), noise(90, 30), noise(50, 50)]
    model = pali.load(model_variant(pixels={"fit": "crop"}))
    found = [model.detect(picture, ["dog"]).boxes[0][:4] for picture in pictures]
    edge = 0.5 / boxes.BINS
    assert found == [
        pytest.approx((edge, 0.25 + edge / 2, 1 - edge, 0.75 - edge / 2)),
        pytest.approx((1 / 3 + edge / 3, edge, 2 / 3 - edge / 3, 1 - edge)),
        pytest.approx((edge, edge, 1 - edge, 1 - edge)),
    ]
    seen = model.look(pictures)
    assert [detected.boxes[0][:4] for detected in model.detect(seen, ["dog"])] == found
    # Of tokens alone nobody knows which part of a picture they show.
    (unknown, *_) = model.detect(VisualTokens(seen.array), ["dog"])
    assert unknown.boxes[0][:4] == pytest.approx((edge, edge, 1 - edge, 1 - edge))
    whole = pali.load(model_variant()).detect(pictures[0], ["dog"]).boxes[0]
    assert whole == unknown.boxes[0]


def test_pali_detect_writes_pixels_of_the_whole_picture(model_variant, answers, tmp_path, capsys):
    Image.fromarray(noise(400, 1000)).save(tmp_path / "wide.png")
    command = ["detect", str(tmp_path / "wide.png"), "--classes", "dog", "--format", "jsonl"]
    command += ["--model", str(model_variant(pixels={"fit": "crop"})), "--draw", str(tmp_path)]
    assert main([*command[:-1], str(tmp_path / "drawn")]) == 0
    row = json.loads(capsys.readouterr().out)
    corners = [row[corner] for corner in ("xmin", "ymin", "xmax", "ymax")]
    assert corners == [300.2, 0.2, 699.8, 399.8]
    with Image.open(tmp_path / "drawn" / "wide.png") as drawn:
        changed = np.argwhere((np.asarray(drawn) != noise(400, 1000)).any(-1))
    assert 290 < changed[:, 1].min() <= 300
    assert 699 <= changed[:, 1].max() < 710


# Pictures that are no squares. The tiny model has 16 patches of 8 x 8 pixels: 4 x 4, or 2 x 8.

WIDE = (16, 64)


@pytest.fixture
def wide_model(model_variant):
    pixels = dataclasses.asdict(PixelConfig("bicubic", "crop"))
    return model_variant(image_size=WIDE, pixels=pixels)


def test_a_model_of_wide_pictures_captions_and_explains(wide_model):
    model = pali.load(wide_model)
    assert model.config.vit.image_shape == WIDE
    assert model.config.vit.grid == (2, 8)
    pictures = [noise(40, 90), noise(30, 200)]
    captions = model.caption(pictures, "sw,hi")
    assert captions == [model.caption(picture, "sw,hi") for picture in pictures]
    assert captions[0] != captions[1]
    seen = [resize(picture, WIDE, model.config.vit.pixels) for picture in pictures]
    np.testing.assert_array_equal(model.look(seen).array, model.look(pictures).array)
    assert [captions["sw"] for captions in model.caption(seen, "sw")] == [
        captions["sw"] for captions in captions
    ]
    (made,) = model.explain(pictures[0], captions[0]["sw"])
    assert made.patches.shape[1:] == (2, 8)
    assert made.words[0].patches.shape == (2, 8)


def test_pali_show_and_caption_take_a_model_of_wide_pictures(wide_model, tmp_path, capsys):
    assert main(["show", "--model", str(wide_model)]) == 0
    assert "16 x 64 pixels, patch 8: 16 visual tokens" in capsys.readouterr().out
    path = str(tmp_path / "a.png")
    Image.fromarray(noise(40, 90)).save(path)
    command = ["caption", path, "--langs", "sw", "--format", "jsonl", "--model", str(wide_model)]
    assert main(command) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["caption"] == pali.load(wide_model).caption(path, "sw")["sw"]


@pytest.fixture
def files(tmp_path):
    """A task on three picture files, in the size and manner of its author."""
    for number, shape in enumerate([(40, 90), (33, 20), (64, 64)]):
        Image.fromarray(noise(*shape)).save(tmp_path / f"{number}.png")
    lines = [json.dumps({"image": f"{number}.png", "number": number}) for number in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    source = JsonLines(str(tmp_path / "a.jsonl"), str(tmp_path))
    return pipeline.Task("files", source, (DecodePicture(72), ids))


def ids(example):
    tokens = np.array([2 + example.pop("number"), 1], np.int32)
    return example | {"inputs": tokens, "targets": tokens}


VIT = ViTConfig(8, 1, 16, 2, 8, WIDE, pixels=PixelConfig("bicubic", "crop"))


def fitted(*tasks):
    mixture = [(task, 1.0) for task in tasks]
    return pipeline.fit_to_model(mixture, image_size=VIT.image_size, pixels=VIT.pixels)


def test_a_batch_for_training_holds_what_the_model_will_see(files, tmp_path):
    convert = EncoderDecoderFeatures(4, 4, VIT.image_size)
    examples = pipeline.mixture_dataset(fitted(files), seed=0)
    batch = pipeline.batch_dataset(examples, convert, 3)[0]
    assert batch["image"].shape == (3, *WIDE, 3)
    for picture, tokens in zip(batch["image"], batch["encoder_input_tokens"], strict=True):
        path = tmp_path / f"{tokens[0] - 2}.png"
        np.testing.assert_array_equal(picture, load_image(path, WIDE, VIT.pixels))
    label = ClassificationFeatures(WIDE)({"image": batch["image"][0]})
    assert label["image"].shape == (*WIDE, 3)
    text = {"inputs": np.array([1]), "targets": np.array([1])}
    assert convert(text)["image"].shape == (*WIDE, 3)
    with pytest.raises(ValueError, match=r"shape \(64, 16, 3\).*expects \(16, 64, 3\)"):
        convert(text | {"image": np.zeros((64, 16, 3), np.uint8)})


def test_what_the_task_says_stays_where_nothing_else_is_asked(files):
    ((task, _),) = pipeline.fit_to_model([(files, 1.0)], pixels=CLIP)
    assert task.functions[0] == DecodePicture(72, CLIP)
    ((task, _),) = pipeline.fit_to_model([(task, 1.0)], image_size=(8, 16))
    assert task.functions[0] == DecodePicture((8, 16), CLIP)


@pytest.mark.parametrize("function", [RenderPicture(8), TypesetPicture(8), RenderScene(8)])
def test_what_draws_squares_says_so(files, function):
    drawing = pipeline.Task("drawn", files.source, (function,))
    message = rf"{type(function).__name__}\(size=8\) knows square pictures alone.* 16 x 64 pixels"
    with pytest.raises(ValueError, match=message):
        fitted(files, drawing)
    ((task, _),) = pipeline.fit_to_model([(drawing, 1.0)], image_size=(24, 24), pixels=CLIP)
    assert task.functions == (type(function)(24),)


def test_pictures_for_evaluation_are_those_of_inference(files, tmp_path):
    """Also where the task makes them at a size of its own."""
    path = str(tmp_path / "0.png")
    record = {"image_key": path, "number": 0}
    example = Example("0", "en", "", path, "", ("a",), 0, record)
    records = pipeline.Drawn(pipeline.Task("files", [record]), seed=0, shuffled=False)
    expected = load_image(path, WIDE, VIT.pixels)
    for functions in (fitted(files)[0][0].functions, (decode_at_its_size,)):
        asked = Split(
            task="files",
            name="validation",
            examples=[example],
            choices={},
            records=records,
            functions=functions,
            skipped={},
            image_size=WIDE,
            pixels=VIT.pixels,
            metric_fns=(),
            benchmark=Benchmark(),
            max_length=8,
        )
        np.testing.assert_array_equal(asked.picture(example), expected)


def decode_at_its_size(example):
    return example | {"image": image.decode_image(example["image_key"])}


@pytest.fixture
def config(tmp_path):
    data = DataConfig(
        "any", records=str(tmp_path / "records"), batch_size=2, inputs_length=4, targets_length=4
    )
    mt5 = MT5Config(8192, 8, 16, 2, 4, 1, 1)
    return Config(PaLIConfig(VIT, mt5), data, eval_splits=(), eval_batches=1)


def test_records_of_wide_pictures_are_trained_on(files, config):
    write_records(fitted(files), config.data.records, "train")
    ((task, _),) = read_records(config.data.records, "train")
    (stored,) = task.functions
    assert isinstance(stored, StoredImage)
    assert stored.pixels == VIT.pixels
    with Inputs(config, {}) as data:
        (batch,) = next(data.train(0))
    assert batch["image"].shape == (2, *WIDE, 3)


def test_records_of_pictures_made_otherwise_are_refused(files, config):
    write_records(
        pipeline.fit_to_model([(files, 1.0)], image_size=WIDE), config.data.records, "train"
    )
    message = "resized by bilinear squash, the model reads bicubic crop.*--resample bicubic --fit c"
    with pytest.raises(ValueError, match=message):
        Inputs(config, {})
    other = dataclasses.replace(VIT, image_size=(64, 16))
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, vit=other))
    with pytest.raises(ValueError, match=r"16 x 64 pixels, the model reads 64 x 16.*-size 64x16"):
        Inputs(other, {})


def test_words_of_patches_are_of_squares(files, config):
    write_records(fitted(files), config.data.records, "train")
    with pytest.raises(ValueError, match="patch_weight knows square pictures alone"):
        Inputs(dataclasses.replace(config, patch_weight=1.0), {})


TASK = """
import seqio
from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
from pali.data.seqio_bridge import RecordSource, pali_features, per_example
from pali.data.sources import JsonLines
from pali.tasks import DEMO_TOKENIZER

seqio.TaskRegistry.add(
    "captions_of_files",
    source=RecordSource({{"train": JsonLines({path!r}, {folder!r})}}),
    preprocessors=[
        per_example(
            DecodePicture(72), TextToText("caption", "caption"), Tokenize(DEMO_TOKENIZER)
        )
    ],
    output_features=pali_features(DEMO_TOKENIZER),
    metric_fns=[],
    shuffle_buffer_size=None,
)
"""


def test_pali_tasks_writes_records_as_the_model_reads_them(tmp_path, capsys):
    Image.fromarray(noise(40, 90)).save(tmp_path / "a.png")
    line = {"image": "a.png", "lang": "sw", "caption": "mbwa"}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    module = tmp_path / "captions_of_files.py"
    module.write_text(TASK.format(path=str(tmp_path / "a.jsonl"), folder=str(tmp_path)))
    command = ["tasks", "captions_of_files", "--module", str(module)]
    command += ["--write", str(tmp_path / "records"), "--image-size", "16x64"]
    assert main([*command, "--resample", "bicubic", "--fit", "crop"]) == 0
    ((task, _),) = read_records(tmp_path / "records", "train")
    expected = load_image(noise(40, 90), WIDE, PixelConfig("bicubic", "crop"))
    np.testing.assert_array_equal(task.source[0]["image"], expected)
    command = ["tasks", "demo_captions", "--write", str(tmp_path / "no"), "--image-size", "16x64"]
    assert main(command) == 2
    assert "knows square pictures alone, and the model reads 16 x 64" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["", "0", "-3", "16x", "16x0", "8x8x8", "big", "1.5"])
def test_an_image_size_that_is_none_is_refused(size, capsys):
    assert main(["tasks", "demo_captions", f"--image-size={size}"]) == 2
    assert f"--image-size is {size}; give one side" in capsys.readouterr().err
