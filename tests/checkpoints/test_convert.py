# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Components become one PaLI, and a PaLI becomes what others read; on folders in real formats."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from PIL import Image

import pali
from pali import decoding, evaluate
from pali.asking import Notice
from pali.checkpoints import components, containers, convert, pretrained
from pali.cli import main
from pali.image import load_image
from pali.models.pali import PaLI
from pali.models.vit import ViT
from pali.tokenizer import Tokenizer
from tests.checkpoints import foreign


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A SigLIP and an mT5 with its tokenizer, as `transformers` and `sentencepiece` write them."""
    folder = tmp_path_factory.mktemp("sources")
    foreign.vision("siglip").save_pretrained(folder / "siglip")
    foreign.language("mt5").save_pretrained(folder / "mt5")
    foreign.tokenizer(folder / "mt5" / "spiece.model", pieces=300)
    (folder / "mt5" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    return folder


@pytest.fixture
def joined(sources):
    return components.join([components.open_source(sources / n) for n in ("siglip", "mt5")])


def test_a_vit_and_an_mt5_become_a_model_that_loads_and_writes(sources, tmp_path, capsys):
    dest = tmp_path / "pali"
    names = [str(sources / name) for name in ("siglip", "mt5")]
    assert main(["convert", *names, str(dest), "--dtype", "float32"]) == 0
    said = capsys.readouterr().out
    assert "vision      SiglipModel in siglip/model.safetensors" in said
    assert "language    MT5ForConditionalGeneration in mt5/model.safetensors" in said
    assert "(apache-2.0)" in said
    assert "left out    " in said
    assert "random      the projection" in said
    model = pali.load(dest)
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    with pytest.warns(Notice, match="not trained since: its answers mean nothing"):
        assert set(model.caption(picture, langs="en,sw")) == {"en", "sw"}
    card = (dest / "README.md").read_text()
    assert "licence: apache-2.0" in card
    assert "projection from visual tokens to text embeddings is random" in card
    assert {path.name for path in tmp_path.iterdir()} == {"pali"}
    assert pretrained.load_model(tmp_path / "pali").metadata.untrained


@pytest.fixture
def both(joined, tmp_path):
    """The converted model, and the two it was made of with their inputs, on the same batch."""
    convert.write_pali(joined, tmp_path / "pali", dtype="float32", compute="float32")
    loaded = pretrained.load_model(tmp_path / "pali")
    image = np.random.default_rng(0).normal(size=(2, 20, 20, 3)).astype(np.float32)
    source = np.array([[5, 9, 2, 1], [7, 1, 0, 0]], np.int32)
    batch = {
        "image": jnp.asarray(image),
        "image_mask": jnp.array([True, True]),
        "encoder_input_tokens": jnp.asarray(source),
    }
    siglip, mt5 = foreign.vision("siglip").vision_model, foreign.language("mt5")
    projection = loaded.params["projection"]
    with torch.no_grad():
        seen = siglip(torch.tensor(image).permute(0, 3, 1, 2)).last_hidden_state
        visual = seen @ torch.tensor(projection["kernel"]) + torch.tensor(projection["bias"])
        text = mt5.shared(torch.tensor(source, dtype=torch.long))
    mask = torch.cat([torch.ones(visual.shape[:2]), torch.tensor(source > 0).float()], 1)
    theirs = {"inputs_embeds": torch.cat([visual, text], 1), "attention_mask": mask}
    apply = functools.partial(
        PaLI(loaded.config).apply, {"params": jax.tree.map(jnp.asarray, loaded.params)}
    )
    return apply, batch, mt5, theirs


def test_its_logits_are_those_of_the_two_models_and_the_projection(both):
    apply, batch, mt5, theirs = both
    target = np.array([[0, 8, 3], [0, 4, 4]], np.int32)
    logits = jax.jit(apply)(batch | {"decoder_input_tokens": jnp.asarray(target)})
    with torch.no_grad():
        expected = mt5(**theirs, decoder_input_ids=torch.tensor(target, dtype=torch.long)).logits
    np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_its_answers_are_those_of_the_two_models_and_the_projection(both, beam_size):
    apply, batch, mt5, theirs = both
    length, eos = 8, 1

    @jax.jit
    def decode(batch):
        visual = apply(batch["image"], method="look")
        tokens, seen = batch["encoder_input_tokens"], batch["image_mask"]
        encoded, mask = apply(visual, seen, tokens, method="encode")
        cache = apply(encoded, mask, length, method="init_cache")
        step_fn = functools.partial(apply, method="decode_step")
        if beam_size == 1:
            return decoding.greedy(step_fn, cache, len(tokens), length, eos)
        penalty = decoding.LengthPenalty("huggingface", 1.0)
        settings = {"beam_size": beam_size, "length_penalty": penalty}
        return decoding.beam(step_fn, cache, len(tokens), length, eos, **settings)

    expected = mt5.generate(
        **theirs,
        max_new_tokens=length,
        num_beams=beam_size,
        do_sample=False,
        early_stopping=False,
        length_penalty=1.0,
    )[:, 1:].numpy()
    ours = np.asarray(decode(batch).tokens)
    assert len(np.unique(ours)) > 2
    np.testing.assert_array_equal(ours[:, : expected.shape[1]], expected)


def test_bfloat16_keeps_eight_bits(joined, tmp_path):
    convert.write_pali(joined, tmp_path / "pali")
    stored = components.open_source(tmp_path / "pali").tensors
    assert {str(tensor.dtype) for tensor in stored.values()} == {"bfloat16"}
    for name, tensor in joined.tensors.items():
        expected = tensor.read()
        error = np.abs(stored[name].read().astype(np.float32) - expected)
        assert (error <= np.abs(expected) * 2.0**-8).all(), name


def test_another_size_of_pictures_resamples_the_positions(sources, joined, tmp_path):
    parts = [components.open_source(sources / n) for n in ("siglip", "mt5")]
    larger = components.join(parts, image_size=(40, 20))
    name = "vit/pos_embedding"
    assert joined.tensors[name].shape == (1, 25, 24)
    assert larger.tensors[name].shape == (1, 50, 24)
    positions = larger.tensors[name].read().reshape(10, 5, 24)
    before = joined.tensors[name].read().reshape(5, 5, 24)
    np.testing.assert_allclose(positions[[0, -1]], before[[0, -1]], rtol=1e-6)
    convert.write_pali(larger, tmp_path / "pali")
    assert pali.load(tmp_path / "pali").config.vit.image_shape == (40, 20)


def assert_same_ids(their_class, exported, folder):
    theirs = their_class.from_pretrained(exported / "language")
    ours = Tokenizer(folder / "spiece.model")
    assert len(theirs) == ours.vocab_size
    for text in ("\u4e00 \u4e01 <extra_id_0>", "\u4e05 <extra_id_1> \u4e02", "never seen", ""):
        assert theirs(text).input_ids == [*ours.encode(text), 1]


def test_what_goes_out_to_transformers_comes_back_bit_by_bit(joined, tmp_path):
    convert.write_pali(joined, tmp_path / "pali", dtype="float32")
    out = tmp_path / "out"
    assert main(["convert", str(tmp_path / "pali"), str(out), "--to", "huggingface"]) == 0
    transformers.SiglipVisionModel.from_pretrained(out / "vision")
    transformers.MT5ForConditionalGeneration.from_pretrained(out / "language")
    transformers.AutoImageProcessor.from_pretrained(out / "vision")
    assert_same_ids(transformers.AutoTokenizer, out, tmp_path / "pali")
    again = components.join([components.open_source(out / n) for n in ("vision", "language")])
    for name, tensor in joined.tensors.items():
        if not name.startswith("projection/"):
            np.testing.assert_array_equal(again.tensors[name].read(), tensor.read(), err_msg=name)


def test_what_goes_out_to_t5x_comes_back_bit_by_bit(joined, tmp_path):
    convert.write_pali(joined, tmp_path / "pali", dtype="float32")
    out = tmp_path / "out"
    assert main(["convert", str(tmp_path / "pali"), str(out), "--to", "t5x"]) == 0
    again = components.open_source(out)
    assert again.tensors.keys() == joined.tensors.keys()
    for name, tensor in joined.tensors.items():
        np.testing.assert_array_equal(again.tensors[name].read(), tensor.read(), err_msg=name)


# What is refused, and leaves nothing behind.


def refused(arguments, capsys):
    assert main(["convert", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_nan_weights_are_named_and_nothing_is_left(sources, tmp_path, capsys):
    model = foreign.language("mt5")
    model.encoder.block[1].layer[1].DenseReluDense.wo.weight.data[0, 0] = float("nan")
    model.save_pretrained(tmp_path / "mt5")
    shutil.copyfile(sources / "mt5/spiece.model", tmp_path / "mt5/spiece.model")
    error = refused([sources / "siglip", tmp_path / "mt5", tmp_path / "pali"], capsys)
    assert "NaN, first in mt5/encoder/layers_1/mlp/wo/kernel" in error
    assert {path.name for path in tmp_path.iterdir()} == {"mt5"}


def test_another_tokenizer_shows_both_numbers(sources, tmp_path, capsys):
    other = foreign.tokenizer(tmp_path / "spiece.model", pieces=150)
    arguments = [sources / "siglip", sources / "mt5", tmp_path / "pali", "--tokenizer", other]
    error = refused(arguments, capsys)
    assert "150 pieces" in error
    assert "320 rows" in error
    assert not (tmp_path / "pali").exists()


def test_a_tokenizer_without_sentinels_is_refused(sources, tmp_path, capsys):
    other = foreign.tokenizer(tmp_path / "spiece.model", pieces=300, sentinels=0)
    arguments = [sources / "siglip", sources / "mt5", tmp_path / "pali", "--tokenizer", other]
    assert "<extra_id_0> must stand" in refused(arguments, capsys)


def test_the_sentinels_of_t5_and_umt5_are_put_into_the_tokenizer(sources, tmp_path):
    foreign.language("umt5", vocab_size=512).save_pretrained(tmp_path / "umt5")
    foreign.tokenizer(tmp_path / "umt5" / "spiece.model", pieces=200, sentinels=0)
    parts = [components.open_source(p) for p in (sources / "siglip", tmp_path / "umt5")]
    convert.write_pali(components.join(parts), tmp_path / "pali")
    convert.write_huggingface(components.join(parts), tmp_path / "out")
    # AutoTokenizer of transformers 5 wants a tokenizer.json of a umT5, and reads nothing else.
    assert_same_ids(transformers.T5Tokenizer, tmp_path / "out", tmp_path / "pali")
    tokenizer = Tokenizer(tmp_path / "pali" / "spiece.model")
    assert tokenizer.vocab_size == 500
    assert tokenizer.encode("\u4e00 <extra_id_0>")[-1] == 499
    assert tokenizer.sentinel(99) == 400


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["siglip"], "one source with an mT5, and none of those given has one: SiglipModel"),
        (["siglip", "mt5", "mt5"], "one source with an mT5, and 2 of those given has one"),
        (["mt5"], "one source with a ViT"),
    ],
)
def test_each_half_is_wanted_once(names, message, sources, tmp_path, capsys):
    assert message in refused([*(sources / n for n in names), tmp_path / "pali"], capsys)


def test_a_folder_of_nothing_known_says_what_it_holds(sources, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.h5").touch()
    error = refused([tmp_path / "other", sources / "mt5", tmp_path / "pali"], capsys)
    assert "is of no format that pali knows" in error
    assert "found: weights.h5" in error


def test_weights_of_another_size_list_every_array(sources, tmp_path, capsys):
    shutil.copytree(sources / "mt5", tmp_path / "mt5")
    path = tmp_path / "mt5" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"d_ff": 41, "num_layers": 4}))
    error = refused([sources / "siglip", tmp_path / "mt5", tmp_path / "pali"], capsys)
    assert "mt5/encoder/layers_0/mlp/wi_0/kernel: found (24, 40), expected (24, 41)" in error
    assert "mt5/encoder/layers_3/mlp/wo/kernel: expected (41, 24)" in error
    assert "MT5ForConditionalGeneration in" in error


def test_an_array_of_another_name_is_named_as_its_file_has_it(sources, tmp_path, capsys):
    shutil.copytree(sources / "mt5", tmp_path / "mt5")
    path = tmp_path / "mt5" / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    name = "decoder.block.1.layer.2.DenseReluDense.wi_0.weight"
    arrays[name.replace("wi_0", "wi0")] = arrays.pop(name)
    safetensors.numpy.save_file(arrays, path)
    error = refused([sources / "siglip", tmp_path / "mt5", tmp_path / "pali"], capsys)
    ours, theirs = "mt5/decoder/layers_1/mlp/wi_0/kernel", name.replace("wi_0", "wi0")
    assert f"  {ours}: expected (24, 40) ({name} there)\n" in error
    assert f"  {theirs}: found (40, 24)\n" in error
    fix = f"{theirs!r} may be what the model calls {ours!r}, which should be {name!r} there."
    assert f"Likely fix: {fix}" in error


def test_a_dest_that_is_there_is_left_alone(sources, tmp_path, capsys):
    (tmp_path / "pali").mkdir()
    error = refused([sources / "siglip", sources / "mt5", tmp_path / "pali"], capsys)
    assert "is there already" in error
    assert not list((tmp_path / "pali").iterdir())


@pytest.mark.parametrize(
    ("dest", "message"),
    [
        ("file/pali", "file is a file; give another folder"),
        ("x" * 256, "File name too long; give another folder"),
    ],
)
def test_where_nothing_can_be_written_no_source_is_opened(dest, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    error = refused(["no/siglip", "no/mt5", tmp_path / dest], capsys)
    assert message in error
    assert "no/siglip" not in error


def test_an_interrupted_conversion_leaves_nothing(joined, tmp_path):
    def stop(name):
        if name.startswith("mt5/decoder"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert.write_pali(joined, tmp_path / "pali", progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_vit_that_transformers_has_no_class_for_is_refused(joined, tmp_path, capsys):
    vit = dataclasses.replace(joined.config.vit, image_size=(20, 24))
    odd = dataclasses.replace(joined, config=dataclasses.replace(joined.config, vit=vit))
    with pytest.raises(ValueError, match="no model of transformers is such a ViT: .*no squares"):
        convert.write_huggingface(odd, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_embedded_model_goes_out_without_its_classes(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["convert", str(pretrained.EMBEDDED), str(out), "--to", "huggingface"]) == 0
    said = capsys.readouterr().out
    assert "left out    4 arrays: projection/" in said
    vision = transformers.SiglipVisionModel.from_pretrained(out / "vision")
    processor = transformers.AutoImageProcessor.from_pretrained(out / "vision")
    model = pali.load()
    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    pixels = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        theirs = vision(pixels).last_hidden_state.numpy()
    config = dataclasses.replace(model.config.vit, dtype="float32")
    image = jnp.asarray(load_image(picture, 72))[None]
    ours = ViT(config).apply({"params": model.params["vit"]}, image).tokens
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_what_a_pali_says_of_itself_goes_with_it(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["convert", str(pretrained.EMBEDDED), str(out), "--image-size", "96"]) == 0
    capsys.readouterr()
    before, after = (pretrained.load_model(folder) for folder in (pretrained.EMBEDDED, out))
    sources = (pretrained.Source("pali", "a PaLI in embedded", ""),)
    assert after.metadata == dataclasses.replace(before.metadata, sources=sources)
    assert (out / "README.md").read_text() == (pretrained.EMBEDDED / "README.md").read_text()
    assert after.config.mt5 == before.config.mt5
    lists = "shortlists.npz"
    assert (out / lists).read_bytes() == (pretrained.EMBEDDED / lists).read_bytes()
    assert after.config.vit == dataclasses.replace(before.config.vit, image_size=96)
    again = tmp_path / "again"
    assert main(["convert", str(out), str(again), "--compute", "float32"]) == 0
    capsys.readouterr()
    last = pretrained.load_model(again)
    assert last.metadata == after.metadata
    assert last.config.mt5.dtype == "float32"


def test_no_folder_of_this_machine_is_written_down(joined, tmp_path):
    convert.write_pali(joined, tmp_path / "pali")
    for name in ("config.json", "README.md"):
        text = (tmp_path / "pali" / name).read_text()
        assert "mt5/model.safetensors" in text
        assert str(tmp_path.parent) not in text


def test_pali_show_takes_a_model_in_shards(joined, tmp_path, capsys):
    convert.write_pali(joined, tmp_path / "whole")
    tensors = containers.open_folder(tmp_path / "whole")[0]
    (tmp_path / "pali").mkdir()
    containers.save(tmp_path / "pali", tensors, {"format": "pali"}, limit=100_000)
    for name in ("config.json", "spiece.model"):
        shutil.copyfile(tmp_path / "whole" / name, tmp_path / "pali" / name)
    assert main(["show", "--model", str(tmp_path / "pali")]) == 0
    assert "in bfloat16" in capsys.readouterr().out
    (shard, *_) = sorted((tmp_path / "pali").glob("model-*.safetensors"))
    before = evaluate.fingerprint(tmp_path / "pali")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\1")
    assert evaluate.fingerprint(tmp_path / "pali") != before
    shard.unlink()
    assert main(["show", "--model", str(tmp_path / "pali")]) == 2
    assert shard.name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image-size", "0"], "--image-size is 0; give one side from 1 to 10,000"),
        (["--image-size", "1000000"], "--image-size is 1000000"),
        (["--image-size", "9" * 5000], "--image-size is 9999999999999999"),
        (["--image-size", "22"], "image_size 22 is not a multiple of patch_size 4"),
        (["--tokenizer", ""], "a path is empty"),
        (["--tokenizer", "nowhere.model"], "there is no tokenizer nowhere.model"),
        (["--push-to-hub", "bad name"], "bad name"),
    ],
)
def test_bad_options_are_refused_before_anything_is_made(
    arguments, message, sources, tmp_path, capsys
):
    names = [str(sources / name) for name in ("siglip", "mt5")]
    assert main(["convert", *names, str(tmp_path / "pali"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_class_token_is_a_visual_token_when_asked(sources, tmp_path):
    foreign.vision("clip-vision").save_pretrained(tmp_path / "clip")
    given = [components.open_source(p) for p in (tmp_path / "clip", sources / "mt5")]
    plain, asked = (components.join(given, class_token_visual=flag) for flag in (False, True))
    assert (plain.config.vit.num_visual_tokens, asked.config.vit.num_visual_tokens) == (25, 26)
    with pytest.raises(ValueError, match="class_token_visual needs class_token=True"):
        components.join(
            [components.open_source(sources / n) for n in ("siglip", "mt5")],
            class_token_visual=True,
        )


def test_a_t5x_checkpoint_brings_its_tokenizer_and_finds_its_sentinels(sources, tmp_path):
    """umT5's tokenizer has no sentinels inside; how many there are, the embedding tells."""
    foreign.vision("siglip").save_pretrained(tmp_path / "siglip")
    foreign.language("umt5", vocab_size=640).save_pretrained(tmp_path / "umt5")
    foreign.tokenizer(tmp_path / "bare.model", pieces=300, sentinels=0)
    given = [components.open_source(tmp_path / name) for name in ("siglip", "umt5")]
    joined = components.join(given, tokenizer=tmp_path / "bare.model")
    convert.write_t5x(joined, tmp_path / "t5x")
    again = components.open_source(tmp_path / "t5x" / "checkpoint_0")
    assert components.join([again]).tokenizer == joined.tokenizer
    bare = dataclasses.replace(again, tokenizer=tmp_path / "bare.model")
    assert components.join([bare]).tokenizer == joined.tokenizer
    assert joined.tokenizer.count(b"<extra_id_") == 300
