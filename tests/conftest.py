# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that more than one test file needs."""

import json
import os
import signal
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as protos

from pali.checkpoints import pretrained
from pali.config import MT5Config, PaLIConfig, ViTConfig
from pali.tokenizer import NUM_SENTINELS

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("pali", deadline=None)
hypothesis.settings.load_profile("pali")

LANGUAGES = ("en", "fr", "hi", "sw", "th", "zh", "ar")


@pytest.fixture(scope="session", autouse=True)
def no_compilation_cache():
    """Tests neither read nor fill the cache of whoever runs them: this folder cannot be made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", f"{os.devnull}/none")
        yield


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory) -> Path:
    """A sentencepiece model of a few hundred pieces, with T5's conventions."""
    folder = tmp_path_factory.mktemp("tokenizer")
    text = folder / "text.txt"
    text.write_text("a dog and a cat\nGenerate the alt_text in EN at 0:\nmbwa na paka\n" * 5)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "plain"),
        vocab_size=300,
        hard_vocab_limit=False,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    model = protos.ModelProto.FromString((folder / "plain.model").read_bytes())
    for index in reversed(range(NUM_SENTINELS)):
        kind = protos.ModelProto.SentencePiece.USER_DEFINED
        model.pieces.add(piece=f"<extra_id_{index}>", score=0.0, type=kind)
    path = folder / "spiece.model"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, tiny_tokenizer) -> Path:
    """A model folder of the real architecture, random weights, written by the real writer."""
    from pali.tokenizer import Tokenizer

    config = PaLIConfig(
        ViTConfig(width=16, depth=2, mlp_dim=32, num_heads=2, patch_size=8, image_size=32),
        MT5Config(
            vocab_size=Tokenizer(tiny_tokenizer).vocab_size,
            width=16,
            mlp_dim=32,
            num_heads=2,
            head_dim=8,
            encoder_layers=2,
            decoder_layers=2,
        ),
    )
    rng = np.random.default_rng(0)
    # Large enough that pictures and languages lead to different answers.
    params = jax.tree.map(
        lambda leaf: rng.normal(scale=1.0, size=leaf.shape).astype(np.float32),
        pretrained.expected_params(config),
    )
    head = params["mt5"]["decoder"]["logits_dense"]["kernel"]
    head[:, 1] *= 3  # The end token wins soon, but not at once.
    folder = tmp_path_factory.mktemp("models") / "tiny"
    metadata = pretrained.Metadata(languages=LANGUAGES, notes="Random weights, for tests.")
    return pretrained.save_model(folder, config, params, tiny_tokenizer, metadata)


@pytest.fixture
def model_variant(tiny_model, tmp_path_factory):
    """The tiny model with other fields of its ViT's config, which must leave the weights alone."""

    def make(**vit) -> Path:
        folder = tmp_path_factory.mktemp("variant")
        for path in tiny_model.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        description = json.loads((folder / pretrained.CONFIG).read_text())
        description["model"]["vit"] |= vit
        (folder / pretrained.CONFIG).write_text(json.dumps(description))
        return folder

    return make


@pytest.fixture
def listens_to_ctrl_c():
    """A shell starts what it puts into the background deaf to SIGINT, a test run included."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
