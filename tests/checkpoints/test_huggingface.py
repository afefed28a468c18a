# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Folders that `transformers` wrote: the same outputs here, and back again bit by bit.

Tolerance in float32: 1e-4 for a stack of layers, absolute and relative alike.
"""

import dataclasses
import functools
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from pali.checkpoints import components, huggingface, huggingface_t5, huggingface_vit, merge
from pali.config import PixelConfig
from pali.models.mt5 import MT5
from pali.models.vit import ViT
from tests.checkpoints import foreign

STACK = dict(rtol=1e-4, atol=1e-4)


def filled(component, module, *inputs):
    """The component's arrays as the parameters of a module."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    arrays = merge.fill(component.tensors, shapes, component.origin)
    return {"params": jax.tree.map(jnp.asarray, arrays)}


def pictures(size=20, count=2):
    return np.random.default_rng(0).normal(size=(count, size, size, 3)).astype(np.float32)


def seen_by(model, image):
    """Hidden states and pooled vector of the original, [b p d] and [b d]."""
    inputs = {"pixel_values": torch.tensor(image).permute(0, 3, 1, 2)}
    vision = getattr(model, "vision_model", getattr(model, "vit", model))
    if isinstance(vision.config, transformers.Siglip2VisionConfig):
        count, side = len(image), vision.config.patch_size
        rows = image.shape[1] // side
        cut = image.reshape(count, rows, side, rows, side, 3).transpose(0, 1, 3, 2, 4, 5)
        inputs = {
            "pixel_values": torch.tensor(cut.reshape(count, rows * rows, -1)),
            "pixel_attention_mask": torch.ones(count, rows * rows, dtype=torch.long),
            "spatial_shapes": torch.tensor([[rows, rows]] * count),
        }
    with torch.no_grad():
        out = vision(**inputs)
        logits = model(**inputs).logits if hasattr(model, "classifier") else None
    return out.last_hidden_state.numpy(), out.pooler_output, logits


@pytest.mark.parametrize("kind", foreign.VISIONS)
def test_a_vision_folder_gives_what_the_original_gives(kind, tmp_path):
    model = foreign.vision(kind)
    model.save_pretrained(tmp_path)
    component = huggingface.read(tmp_path)
    image = pictures()
    tokens, pooled, logits = seen_by(model, image)
    config = component.config
    for scan in (False, True):
        vit = ViT(dataclasses.replace(config, scan=scan))
        seen = jax.jit(vit.apply)(filled(component, vit, jnp.asarray(image)), jnp.asarray(image))
        np.testing.assert_allclose(seen.tokens, tokens[:, int(config.class_token) :], **STACK)
        if logits is None:
            np.testing.assert_allclose(seen.pooled, pooled.numpy(), **STACK)
        else:
            np.testing.assert_allclose(seen.classes, logits.numpy(), **STACK)
    text = "text_model.embeddings.token_embedding.weight"
    assert (text in component.unused) == (kind in ("siglip", "clip"))


@pytest.mark.parametrize("kind", ["mt5", "umt5", "t5"])
def test_a_language_folder_gives_what_the_original_gives(kind, tmp_path):
    model = foreign.language(kind)
    model.save_pretrained(tmp_path)
    component = huggingface.read(tmp_path)
    rng = np.random.default_rng(0)
    # Longer than the largest distance that has a bucket of its own.
    embedded = rng.normal(size=(2, 150, 24)).astype(np.float32)
    mask = np.arange(150) < np.array([[150], [97]])
    targets = rng.integers(2, 320, (2, 140)).astype(np.int32)
    targets[:, 0] = 0
    with torch.no_grad():
        out = model(
            inputs_embeds=torch.tensor(embedded),
            attention_mask=torch.tensor(mask),
            decoder_input_ids=torch.tensor(targets, dtype=torch.long),
        )
    mt5 = MT5(component.config)
    params = filled(component, mt5, jnp.ones((1, 2), jnp.int32), jnp.ones((1, 2), jnp.int32))
    encoded = mt5.apply(params, jnp.asarray(embedded), jnp.asarray(mask), method="encode")
    theirs = out.encoder_last_hidden_state.numpy()
    np.testing.assert_allclose(encoded[mask], theirs[mask], **STACK)
    logits = mt5.apply(params, encoded, jnp.asarray(mask), jnp.asarray(targets), method="decode")
    np.testing.assert_allclose(logits, out.logits.numpy(), **STACK)


def test_the_real_vocabulary_of_mt5(tmp_path):
    model = foreign.language("mt5", vocab_size=250112, d_model=8, num_layers=1)
    model.save_pretrained(tmp_path)
    component = huggingface.read(tmp_path)
    assert component.config.vocab_size == 250112
    head = component.tensors["decoder/logits_dense/kernel"]
    assert head.shape == (8, 250112)
    np.testing.assert_array_equal(head.read(), model.lm_head.weight.detach().numpy().T)


@pytest.mark.parametrize(
    ("defaults", "kinds"),
    [(huggingface_t5.DEFAULTS, "mt5 umt5 t5"), (huggingface_vit.DEFAULTS, "vit")],
)
def test_what_a_config_leaves_out_is_what_transformers_takes(defaults, kinds):
    classes = {
        "mt5": transformers.MT5Config,
        "umt5": transformers.UMT5Config,
        "t5": transformers.T5Config,
        "vit": transformers.ViTConfig,
        "siglip_vision_model": transformers.SiglipVisionConfig,
        "siglip2_vision_model": transformers.Siglip2VisionConfig,
        "clip_vision_model": transformers.CLIPVisionConfig,
    }
    for kind, own in defaults.items():
        theirs = classes[kind]().to_dict()
        for name, value in own.items():
            if name == "num_decoder_layers":
                assert theirs[name] == theirs["num_layers"]
            else:
                assert theirs[name] == value, (kind, name)


@pytest.mark.parametrize("kind", ["vit", "vit-classifier", "siglip-vision", "clip-vision"])
def test_an_exported_vision_folder_is_read_by_transformers(kind, tmp_path):
    model = foreign.vision(kind)
    model.save_pretrained(tmp_path / "in")
    component = huggingface.read(tmp_path / "in")
    (tmp_path / "out").mkdir()
    huggingface.write_vision(tmp_path / "out", component.config, component.tensors)
    again = type(model).from_pretrained(tmp_path / "out", attn_implementation="eager")
    image = pictures()
    for ours, theirs in zip(seen_by(again, image), seen_by(model, image), strict=True):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    back = huggingface.read(tmp_path / "out")
    assert back.config == component.config
    assert_same(back.tensors, component.tensors)


@pytest.mark.parametrize("kind", ["mt5", "umt5"])
def test_an_exported_language_folder_is_read_by_transformers(kind, tmp_path):
    model = foreign.language(kind)
    model.save_pretrained(tmp_path / "in")
    component = huggingface.read(tmp_path / "in")
    (tmp_path / "out").mkdir()
    huggingface.write_language(tmp_path / "out", component.config, component.tensors, b"pieces")
    again = type(model).from_pretrained(tmp_path / "out")
    theirs, ours = model.state_dict(), again.state_dict()
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name]), name
    back = huggingface.read(tmp_path / "out")
    assert back.config == component.config
    assert back.tokenizer.read_bytes() == b"pieces"
    assert_same(back.tensors, component.tensors)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name].read(), tensor.read(), err_msg=name)


def test_the_preprocessing_beside_a_vision_folder_is_taken_over(tmp_path):
    foreign.vision("siglip-vision").save_pretrained(tmp_path)
    assert huggingface.read(tmp_path).config.pixels.resample == "bicubic"
    said = {"resample": 2, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    pixels = huggingface.read(tmp_path).config.pixels
    assert pixels == PixelConfig("bilinear", "squash", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))


# What is no such folder.


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feed_forward_proj": "relu"}, "its MLP is 'relu', as in T5 v1.0"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon 1e-05; every T5 has 1e-06"),
        (
            {"model_type": "llama"},
            "model_type 'llama', which is neither half of a PaLI; known: mt5",
        ),
        ({"num_heads": 7}, None),
    ],
)
def test_a_config_of_something_else_is_refused(changes, message, tmp_path):
    foreign.language("mt5").save_pretrained(tmp_path)
    change_config(tmp_path, **changes)
    if message:
        with pytest.raises(ValueError, match=message):
            huggingface.read(tmp_path)
    else:  # every array that does not fit is listed, when it meets the model
        component = huggingface.read(tmp_path)
        mt5 = MT5(component.config)
        with pytest.raises(merge.MismatchError) as error:
            filled(component, mt5, jnp.ones((1, 2), jnp.int32), jnp.ones((1, 2), jnp.int32))
        assert "encoder/layers_0/attention/query/kernel: found (24, 15), expected (24, 35)" in str(
            error.value
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feed_forward_proj": "relu"}, "its MLP is 'relu', as in T5 v1.0"),
        ({}, r"no output head \(lm_head.weight\): it is tied to the embedding"),
    ],
)
def test_a_t5_with_a_tied_head_is_refused(changes, message, tmp_path):
    config = transformers.T5Config(**foreign.LANGUAGE | changes)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        huggingface.read(tmp_path)


@pytest.mark.parametrize("said", [{"tie_word_embeddings": True}, {"scale_decoder_outputs": True}])
def test_a_t5_whose_logits_are_scaled_is_refused(said, tmp_path):
    foreign.language("t5").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    del fields["scale_decoder_outputs"]
    path.write_text(json.dumps(fields | said))
    with pytest.raises(ValueError, match="scales what its output head reads"):
        huggingface.read(tmp_path)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_the_embedding_may_go_by_another_of_its_names(kind, tmp_path):
    model = foreign.language("mt5")
    state = {n: t.clone() for n, t in model.state_dict().items() if "embed_tokens" not in n}
    state[f"{kind}.embed_tokens.weight"] = state.pop("shared.weight")
    model.config.save_pretrained(tmp_path)
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    found = huggingface.read(tmp_path).tensors["token_embedder/embedding"].read()
    np.testing.assert_array_equal(found, model.shared.weight.detach())


@pytest.mark.parametrize("keep", [True, False])
def test_a_name_of_ours_in_their_file_stands_in_for_nothing(keep, tmp_path):
    model = foreign.language("mt5")
    name = "encoder.final_layer_norm.weight"
    state = {n: t.clone() for n, t in model.state_dict().items() if keep or n != name}
    state["encoder/encoder_norm/scale"] = torch.full((24,), 7.0)
    model.config.save_pretrained(tmp_path)
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    tensors = huggingface.read(tmp_path).tensors
    assert "encoder/encoder_norm/scale of the file" in tensors
    assert ("encoder/encoder_norm/scale" in tensors) == keep
    if keep:
        found = tensors["encoder/encoder_norm/scale"].read()
        np.testing.assert_array_equal(found, model.encoder.final_layer_norm.weight.detach())


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mt5", {"vocab_size": "320"}),
        ("mt5", {"num_layers": None}),
        ("mt5", {"d_kv": 5.0}),
        ("mt5", {"num_heads": [3]}),
        ("mt5", {"num_layers": 10**7}),
        ("mt5", {"vocab_size": 10**12}),
        ("mt5", {"num_heads": 0}),
        ("mt5", {"eos_token_id": 2}),
        ("mt5", {"is_encoder_decoder": False}),
        ("siglip-vision", {"image_size": "20"}),
        ("siglip-vision", {"image_size": {"height": 20}}),
        ("siglip-vision", {"image_size": [20, 20, 20]}),
        ("siglip-vision", {"patch_size": 0}),
        ("siglip-vision", {"patch_size": [4, 4]}),
        ("siglip-vision", {"hidden_act": ["gelu"]}),
        ("siglip-vision", {"layer_norm_eps": "1e-6"}),
        ("siglip-vision", {"num_attention_heads": 5}),
        ("siglip-vision", {"num_channels": 1}),
        ("siglip2-vision", {"num_patches": 26}),
        ("siglip2-vision", {"num_patches": -1}),
        ("vit", {"qkv_bias": "false"}),
        ("vit", {"pooler_act": "relu"}),
        ("siglip", {"vision_config": "large"}),
    ],
)
def test_fields_of_no_use_are_named_with_their_file(kind, changes, folders_of, tmp_path):
    shutil.copytree(folders_of(kind), tmp_path / "model")
    change_config(tmp_path / "model", **changes)
    (name,) = changes
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "model"))) as error:
        components.open_source(tmp_path / "model")
    assert type(error.value) is ValueError
    said = str(error.value)
    ours = {"num_layers": "encoder_layers", "num_attention_heads": "num_heads"}
    assert name in said or ours[name] in said


@pytest.fixture(scope="module")
def folders_of(tmp_path_factory):
    """A folder of each kind, written once."""

    @functools.cache
    def folder(kind):
        path = tmp_path_factory.mktemp(kind)
        model = foreign.vision(kind) if kind in foreign.VISIONS else foreign.language(kind)
        model.save_pretrained(path)
        return path

    return folder


def test_heads_that_do_not_divide_are_named_with_the_array(tmp_path):
    foreign.vision("siglip-vision").save_pretrained(tmp_path)
    change_config(tmp_path, num_attention_heads=5, hidden_size=25)
    with pytest.raises(ValueError, match=r"encoder.layers.0.self_attn.*cannot become"):
        huggingface.read(tmp_path)


def test_an_array_that_nobody_knows_is_complained_of(tmp_path):
    model = foreign.vision("siglip-vision")
    model.encoder.layers[0].self_attn.register_parameter("gate", torch.nn.Parameter(torch.ones(3)))
    model.save_pretrained(tmp_path)
    component = huggingface.read(tmp_path)
    vit = ViT(component.config)
    with pytest.raises(merge.MismatchError, match=r"encoder.layers.0.self_attn.gate: found \(3,\)"):
        filled(component, vit, jnp.asarray(pictures()))
