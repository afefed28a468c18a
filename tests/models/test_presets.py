# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Presets: their parameters against golden files and published counts; how they are named."""

import dataclasses
import functools
import json
import math
import re
from decimal import Decimal
from pathlib import Path

import jax
import pytest
import transformers

from pali.checkpoints import merge, pretrained
from pali.config import PaLIConfig, PixelConfig, ViTConfig
from pali.models import presets
from pali.models.mt5 import MT5
from pali.models.mt5_sizes import LANGUAGE_MODELS
from pali.models.published import PUBLISHED
from pali.models.vit import ViT
from pali.models.vit_sizes import VITS

GOLDEN = Path(__file__).parent.parent / "golden"
VIT_GOLDEN = json.loads((GOLDEN / "presets_vit.json").read_text())
LANGUAGE_GOLDEN = json.loads((GOLDEN / "presets_language.json").read_text())


def written_out(golden):
    """`layers_{0..2}/x` -> `layers_0/x`, `layers_1/x`, `layers_2/x`."""
    shapes = {}
    for name, shape in golden.items():
        if match := re.search(r"{(\d+)\.\.(\d+)}", name):
            for layer in range(int(match[1]), int(match[2]) + 1):
                shapes[name.replace(match[0], str(layer))] = tuple(shape)
        else:
            shapes[name] = tuple(shape)
    return shapes


def separate_shapes(tree):
    flat = merge.flatten(merge.unstack_layers(tree))
    return {name: leaf.shape for name, leaf in flat.items()}


def vit_shapes(config):
    """Of one config for all that differ in nothing that parameters know of."""
    return _vit_shapes(dataclasses.replace(config, pixels=PixelConfig()))


@functools.cache
def _vit_shapes(config):
    image = jax.ShapeDtypeStruct((1, *config.image_shape, 3), "uint8")
    return separate_shapes(jax.eval_shape(ViT(config).init, jax.random.key(0), image)["params"])


@functools.cache
def language_shapes(config):
    tokens = jax.ShapeDtypeStruct((1, 1), "int32")
    init = MT5(config).init
    return separate_shapes(jax.eval_shape(init, jax.random.key(0), tokens, tokens)["params"])


def count(shapes):
    return sum(math.prod(shape) for shape in shapes.values())


def test_every_preset_has_a_golden():
    assert list(VIT_GOLDEN) == list(VITS)
    assert list(LANGUAGE_GOLDEN) == list(LANGUAGE_MODELS)


@pytest.mark.parametrize("name", VITS)
def test_parameters_of_a_vit_are_golden(name):
    assert vit_shapes(VITS[name]) == written_out(VIT_GOLDEN[name])


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_parameters_of_a_language_model_are_golden(name):
    assert language_shapes(LANGUAGE_MODELS[name]) == written_out(LANGUAGE_GOLDEN[name])


def pali_shapes(config):
    halves = {"vit": vit_shapes(config.vit), "mt5": language_shapes(config.mt5)}
    joined = {f"{half}/{k}": v for half, shapes in halves.items() for k, v in shapes.items()}
    joined["projection/kernel"] = (config.vit.width, config.mt5.width)
    joined["projection/bias"] = (config.mt5.width,)
    return joined


@pytest.mark.parametrize("name", ["pali-17b", "siglip-b/16-224+umt5-small"])
def test_a_pali_is_its_halves_and_a_projection(name):
    config = presets.pali(name)
    assert separate_shapes(pretrained.expected_params(config)) == pali_shapes(config)


def test_what_can_be_started_exists():
    assert all(isinstance(presets.find(name)[1], PaLIConfig) for name in presets.STARTABLE)


def rounded(number: int, like: str) -> Decimal:
    """A count with as many digits as the printed one has: 3,926M has four, 1.2B two, 580M two."""
    digits = like[:-1].replace(",", "")
    known = len(digits.replace(".", "") if "." in digits else digits.rstrip("0"))
    return Decimal(f"{Decimal(number):.{known - 1}e}")


def parameters(config):
    if isinstance(config, PaLIConfig):
        return count(pali_shapes(config))
    shapes = vit_shapes if isinstance(config, ViTConfig) else language_shapes
    return count(shapes(config))


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones_when_they_count_the_same(name):
    published = PUBLISHED[name]
    unit = {"M": 10**6, "B": 10**9}[published.number[-1]]
    printed = Decimal(published.number[:-1].replace(",", "")) * unit
    ours = parameters(presets.find(name)[1]) + published.extra
    assert rounded(ours, published.number) == printed, f"{ours:,}"


def test_heads_and_matrices_that_published_numbers_count():
    """`extra` again, from models that have or lack what it stands for."""
    whole = dataclasses.replace(VITS["vit-e/14"], pool="map", num_classes=29_593)
    extra = PUBLISHED["vit-e/14"].extra
    assert count(vit_shapes(whole)) - count(vit_shapes(VITS["vit-e/14"])) == extra
    shapes = vit_shapes(VITS["vit-22b/14"])
    matrices = {k: v for k, v in shapes.items() if "encoderblock" in k and k.endswith("kernel")}
    assert count(matrices) - count(shapes) == PUBLISHED["vit-22b/14"].extra
    siglip2 = VITS["siglip2-b/16-224"]
    trunk = count(vit_shapes(dataclasses.replace(siglip2, pool="none")))
    assert trunk - count(vit_shapes(siglip2)) == PUBLISHED["siglip2-b/16-224"].extra


@pytest.mark.parametrize(("pixels", "tokens"), [(224, 256), (448, 1024), (588, 1764), (756, 2916)])
def test_visual_tokens_of_patches_of_14(pixels, tokens):
    vit = presets.pali("pali-17b").vit
    assert dataclasses.replace(vit, image_size=pixels).num_visual_tokens == tokens


def sizes(config):
    """What Hugging Face's vision configs say, of ours."""
    acts = {"tanh": "gelu_pytorch_tanh", "exact": "gelu", "quick": "quick_gelu"}
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "intermediate_size": config.mlp_dim,
        "num_attention_heads": config.num_heads,
        "patch_size": config.patch_size,
        "image_size": config.image_size,
        "hidden_act": acts[config.gelu],
        "layer_norm_eps": config.layer_norm_epsilon,
    }


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("siglip-b/16-224", transformers.SiglipVisionConfig),
        ("clip-b/32-224", transformers.CLIPVisionConfig),
        ("hf-vit-b/16-224", transformers.ViTConfig),
    ],
)
def test_vits_are_what_hugging_face_builds_by_default(name, theirs):
    ours = sizes(VITS[name])
    assert {key: getattr(theirs(), key) for key in ours} == ours


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mt5-small", transformers.MT5Config), ("umt5-small", transformers.UMT5Config)],
)
def test_language_models_are_what_hugging_face_builds_by_default(name, theirs):
    config, theirs = LANGUAGE_MODELS[name], theirs()
    assert (config.width, config.mlp_dim, config.num_heads, config.head_dim) == (
        *(theirs.d_model, theirs.d_ff, theirs.num_heads, theirs.d_kv),
    )
    assert config.encoder_layers == theirs.num_layers
    assert config.decoder_layers == theirs.num_decoder_layers
    assert config.relative_buckets == theirs.relative_attention_num_buckets
    assert config.relative_max_distance == theirs.relative_attention_max_distance


def test_pixels_are_those_of_the_processors():
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    assert VITS["siglip-so400m/14-384"].pixels == PixelConfig(resample="bicubic")
    assert VITS["siglip2-b/16-256"].pixels == PixelConfig()
    mean, std = tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD)
    assert VITS["clip-l/14-336"].pixels == PixelConfig("bicubic", "crop", mean, std)


def test_so400m_of_384_pixels_has_27_times_27_patches():
    for name, config in VITS.items():
        assert config.cut_rest == (config.image_shape[0] % config.patch_size > 0), name
    assert VITS["siglip-so400m/14-384"].grid == (27, 27)


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("PaLI-17B", "pali-17b"),
        ("ViT-g/14", "vit-g/14"),
        ("ViT-G/14", "vit-G/14"),
        ("SigLIP-So400m/14-224+mT5-Base", "siglip-so400m/14-224+mt5-base"),
        ("vit-G/14 + MT5-XXL", "vit-G/14+mt5-xxl"),
    ],
)
def test_small_and_capital_letters_are_the_same_but_for_g(typed, spelled):
    assert presets.find(typed) == (spelled, presets.find(spelled)[1])
    widths = [presets.find(name)[1].width for name in ("vit-g/14", "vit-G/14")]
    assert widths == [1408, 1664]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("pali17b", "there is no model 'pali17b'; did you mean pali-17b or"),
        ("siglip-b/16", "did you mean siglip-b/16-224 or siglip-b/16-256 or"),
        ("G/14", "vit-g/14 or vit-G/14"),
        ("vit-e/14+umt5", "there is no model 'umt5'; did you mean umt5-small or"),
        ("zzz", "there are pali-3b, pali-5b"),
    ],
)
def test_a_wrong_name_leads_to_the_nearest(typed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        presets.find(typed)


@pytest.mark.parametrize("half", ["mt5-base", "vit-e/14"])
def test_half_a_pali_is_no_pali(half):
    with pytest.raises(ValueError, match=rf"half a PaLI.*as in .*{half}") as error:
        presets.pali(half)
    assert presets.pali(str(error.value).split()[-1])
