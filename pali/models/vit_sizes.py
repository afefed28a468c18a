# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""ViTs by name.

    vit-…      sizes alone: what PaLI reads of a ViT, without a pooling head. Of G and e, which PaLI
               used, and of 22B no weights were ever published.
    augreg-…   arXiv 2106.10270; weights in the .npz form of `vision_transformer` and big_vision
    hf-vit-…   the ViT of arXiv 2010.11929 as Hugging Face runs it
    clip-…     the image half of OpenAI's CLIP, arXiv 2103.00020
    siglip-…   of SigLIP, arXiv 2303.15343; i18n is the one trained on texts in 100 languages
    siglip2-…  of SigLIP 2, arXiv 2502.14786, multilingual throughout

Where the numbers are from. Widths, depths, MLPs and heads up to e: big_vision `models/vit.py`,
`decode_variant`. The resolutions that exist: its `VANITY_NAMES` and demo notebooks. CLIP: Hugging
Face's `CLIPVisionConfig` and OpenCLIP's model configs. augreg: `models_vit.py` and
`input_pipeline.py` of vision_transformer. 22B: arXiv 2302.05442 as others report it, and from
memory. Which sizes of `hf-vit-` exist is from memory, too.

Pixels are those of the processor that comes with the weights: for `siglip-`, `siglip2-`, `clip-`
and `hf-vit-` Hugging Face's.
"""

from __future__ import annotations

from typing import Any

from pali.config import PixelConfig, ViTConfig

_SIZES = {
    "s": {"width": 384, "depth": 12, "mlp_dim": 1536, "num_heads": 6},
    "b": {"width": 768, "depth": 12, "mlp_dim": 3072, "num_heads": 12},
    "l": {"width": 1024, "depth": 24, "mlp_dim": 4096, "num_heads": 16},
    "so400m": {"width": 1152, "depth": 27, "mlp_dim": 4304, "num_heads": 16},
    "h": {"width": 1280, "depth": 32, "mlp_dim": 5120, "num_heads": 16},
    "g": {"width": 1408, "depth": 40, "mlp_dim": 6144, "num_heads": 16},
    "g-opt": {"width": 1536, "depth": 40, "mlp_dim": 6144, "num_heads": 16},
    "G": {"width": 1664, "depth": 48, "mlp_dim": 8192, "num_heads": 16},
    "e": {"width": 1792, "depth": 56, "mlp_dim": 15360, "num_heads": 16},
    "22b": {"width": 6144, "depth": 48, "mlp_dim": 24576, "num_heads": 48},
}

_SIGLIP_PIXELS = PixelConfig(resample="bicubic")
"""Hugging Face's SiglipImageProcessor, of SigLIP 2 with bilinear resizing as in the PixelConfig's
defaults. big_vision resizes both bilinearly, and without antialiasing in its notebooks."""

CLIP_PIXELS = PixelConfig(
    resample="bicubic",
    fit="crop",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)
"""OpenAI's preprocessing for CLIP (github.com/openai/CLIP, clip.py)."""


def _vit(size: str, patch_size: int, image_size: int = 224, **flags: Any) -> ViTConfig:
    return ViTConfig(
        **_SIZES[size],
        patch_size=patch_size,
        image_size=image_size,
        dtype="bfloat16",
        scan=True,
        **flags,
    )


def _plain() -> dict[str, ViTConfig]:
    patches = {
        **{"s": (16,), "b": (16, 32), "l": (14, 16), "h": (14,)},
        **{"so400m": (14,), "g": (14,), "G": (14,), "e": (14,)},
    }
    found = {f"vit-{n}/{patch}": _vit(n, patch) for n, sizes in patches.items() for patch in sizes}
    # SigLIP trained it at 256 pixels and above.
    found["vit-so400m/16"] = _vit("so400m", 16, 256)
    # Norms of the blocks: the paper leaves out bias and centring both. Those of queries and keys
    # keep their centring in Flax's `normalize_qk`, which is the authors' code. The outer projection
    # of attention has no bias of its own: in a parallel block the MLP's serves both.
    found["vit-22b/14"] = _vit(
        "22b", 14, parallel=True, norm="rms", qk_norm="centred", qkv_bias=False
    )
    return found


def _with_class_token() -> dict[str, ViTConfig]:
    token: dict[str, Any] = {"class_token": True, "pool": "token"}
    found = {}
    for size, patch in (("s", 16), ("b", 16), ("b", 32), ("l", 16)):
        for pixels in (224, 384):
            # `nn.gelu` of Flax is the tanh approximation, and its LayerNorm has epsilon 1e-6.
            found[f"augreg-{size}/{patch}-{pixels}"] = _vit(size, patch, pixels, **token)
    for size, patch, pixels in (("b", 16, 224), ("b", 32, 384), ("l", 16, 224)):
        found[f"hf-vit-{size}/{patch}-{pixels}"] = _vit(
            size, patch, pixels, gelu="exact", layer_norm_epsilon=1e-12, **token
        )
    for size, patch, pixels in (("b", 32, 224), ("b", 16, 224), ("l", 14, 224), ("l", 14, 336)):
        found[f"clip-{size}/{patch}-{pixels}"] = _vit(
            size,
            patch,
            pixels,
            gelu="quick",
            layer_norm_epsilon=1e-5,
            embedding_norm=True,
            patch_bias=False,
            final_norm="pooled",
            pixels=CLIP_PIXELS,
            **token,
        )
    return found


def _siglip() -> dict[str, ViTConfig]:
    first = {
        **{"b/16": (224, 256, 384, 512), "l/16": (256, 384), "so400m/14": (224, 384)},
        **{"b/16-i18n": (256,), "so400m/16-i18n": (256,)},
    }
    second = {
        **{"b/32": (256,), "b/16": (224, 256, 384, 512), "l/16": (256, 384, 512)},
        **{"so400m/14": (224, 384), "so400m/16": (256, 384, 512), "g-opt/16": (256, 384)},
    }
    found = {}
    for family, variants, processing in (
        ("siglip", first, _SIGLIP_PIXELS),
        ("siglip2", second, PixelConfig()),
    ):
        for variant, resolutions in variants.items():
            size, patch = variant.removesuffix("-i18n").split("/")
            for pixels in resolutions:
                # Patches of 14 fill 378 of 384 pixels. The convolution of big_vision, and so
                # Hugging Face's, has no padding: it never sees the last six rows and columns.
                found[f"{family}-{variant}-{pixels}"] = _vit(
                    size,
                    int(patch),
                    pixels,
                    cut_rest=pixels % int(patch) > 0,
                    pool="map",
                    pixels=processing,
                )
    return found


VITS = _plain() | _with_class_token() | _siglip()
"""Name -> config, in bfloat16, its layers scanned."""
