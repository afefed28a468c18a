# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny models of `transformers` with random weights, saved as it saves them.

Nothing here knows pali. Every parameter is random and nowhere zero or one, scales of norms and all
biases included, so that one which is read in the wrong place, or not at all, shows.
"""

from __future__ import annotations

from pathlib import Path

import sentencepiece
import torch
import transformers

# Heads times head width is not the width, and the decoder is shallower than the encoder.
LANGUAGE = dict(
    vocab_size=320,
    d_model=24,
    d_ff=40,
    num_heads=3,
    d_kv=5,
    num_layers=3,
    num_decoder_layers=2,
    feed_forward_proj="gated-gelu",
    tie_word_embeddings=False,
)
VISION = dict(
    hidden_size=24,
    num_hidden_layers=3,
    intermediate_size=40,
    num_attention_heads=4,
    patch_size=4,
    image_size=20,
)
TEXT = dict(
    hidden_size=16,
    num_hidden_layers=1,
    intermediate_size=20,
    num_attention_heads=2,
    vocab_size=99,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)


def language(kind: str, seed: int = 0, **changes: object) -> torch.nn.Module:
    """Of kind "mt5", "umt5" or "t5" (v1.1), the output head apart from the embedding.

    `transformers` 5 ties the two whatever a config says, unless a file holds both; and scales the
    logits of what it takes for tied. T5X, which trained these models, does neither.
    """
    fields = LANGUAGE | changes
    made = {
        "mt5": (transformers.MT5ForConditionalGeneration, transformers.MT5Config),
        "umt5": (transformers.UMT5ForConditionalGeneration, transformers.UMT5Config),
        "t5": (transformers.T5ForConditionalGeneration, transformers.T5Config),
    }[kind]
    made = made[0](made[1](**fields, attn_implementation="eager"))
    made.config.tie_word_embeddings = False
    made.lm_head.weight = torch.nn.Parameter(torch.empty_like(made.shared.weight))
    return randomise(made, seed)


def vision(kind: str, seed: int = 0, **changes: object) -> torch.nn.Module:
    """By the names in `VISIONS`."""
    model, config, fields = VISIONS[kind]
    sizes = VISION | changes
    if kind == "siglip2-vision":
        side = sizes.pop("image_size") // sizes["patch_size"]
        sizes["num_patches"] = side**2
    if kind in ("siglip", "clip"):
        made = config(vision_config=sizes, text_config=TEXT)
    else:
        made = config(**sizes, **fields)
    made._attn_implementation = "eager"
    return randomise(model(made), seed)


VISIONS = {
    "vit": (transformers.ViTModel, transformers.ViTConfig, {}),
    "vit-classifier": (
        transformers.ViTForImageClassification,
        transformers.ViTConfig,
        dict(num_labels=7, qkv_bias=False),
    ),
    "siglip-vision": (transformers.SiglipVisionModel, transformers.SiglipVisionConfig, {}),
    "siglip": (transformers.SiglipModel, transformers.SiglipConfig, {}),
    "siglip2-vision": (transformers.Siglip2VisionModel, transformers.Siglip2VisionConfig, {}),
    "clip-vision": (transformers.CLIPVisionModel, transformers.CLIPVisionConfig, {}),
    "clip": (transformers.CLIPModel, transformers.CLIPConfig, {}),
}


def randomise(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Every parameter drawn anew, in evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=draw)
            if value.ndim == 1 and name.endswith("weight"):  # the scale of a norm
                value.copy_(1 + 0.3 * noise)
            elif value.ndim < 2:
                value.copy_(0.3 * noise)
            elif "embed" in name or "shared" in name or "relative" in name or "probe" in name:
                value.copy_(noise)
            else:
                value.copy_(noise / value[0].numel() ** 0.5)
    return model.eval()


def tokenizer(path: Path, pieces: int, sentinels: int = 100) -> Path:
    """A SentencePiece model of so many pieces, the sentinels inside counted, as mT5's is."""
    marks = [f"\u2581<extra_id_{i}>" for i in reversed(range(sentinels))]
    letters = (chr(0x4E00 + i) for i in range(pieces - sentinels))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(letters)] * 2),
        model_prefix=str(path.with_suffix("")),
        vocab_size=pieces - sentinels,
        model_type="char",
        character_coverage=1.0,
        hard_vocab_limit=False,
        **dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2),
    )
    if sentinels:
        from sentencepiece import sentencepiece_model_pb2

        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(path.read_bytes())
        for mark in marks:
            model.pieces.add(piece=mark, score=0.0, type=4)
        path.write_bytes(model.SerializeToString())
    return path
