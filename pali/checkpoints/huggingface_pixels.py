# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's preprocessor_config.json <-> PixelConfig.

A ViT sees worse through another preprocessing than its own, and no shape shows it. So what a file
says is taken over exactly, or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pali.checkpoints.said import number, truth, whole
from pali.config import PixelConfig, ViTConfig
from pali.models.vit_sizes import CLIP_PIXELS

DEFAULTS = {
    "vit": PixelConfig(),
    "siglip_vision_model": PixelConfig("bicubic"),
    "siglip2_vision_model": PixelConfig(),
    "clip_vision_model": CLIP_PIXELS,
}
"""By `model_type` of the picture half, where there is no preprocessor_config.json."""

_RESAMPLE: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
"""As PIL numbers them."""

Fit = Literal["squash", "crop"]

_PROCESSORS = {"ViT": "vit", "Siglip": "siglip_vision_model", "CLIP": "clip_vision_model"}


def read(said: Mapping[str, Any], kind: str, where: str) -> PixelConfig:
    """What a preprocessor_config.json says of resizing and scaling.

    Args:
      said: what it holds.
      kind: `model_type` of the picture half.
      where: the file, for errors.

    Raises:
      ValueError: a field is of no use, or asks for what a PixelConfig cannot say.
    """
    made_by = said.get("image_processor_type") or said.get("feature_extractor_type") or ""
    if made_by and not str(made_by).startswith(tuple(_PROCESSORS)):
        raise ValueError(
            f"{where} is of {made_by!r}, and pali prepares pictures as {', '.join(_PROCESSORS)} "
            "processors do. Put the fields of one of them into it, or delete the file to take "
            f"what {kind} models have by default."
        )
    default = DEFAULTS[kind]
    flags = {
        name: said.get(name) is None or truth(said, name, where)
        for name in ("do_resize", "do_rescale", "do_normalize")
    }
    cuts = str(made_by).startswith("CLIP") if made_by else kind == "clip_vision_model"
    if said.get("do_center_crop") is not None:
        cuts = truth(said, "do_center_crop", where)
    for name in ("do_resize", "do_rescale"):
        if not flags[name]:
            raise _refused(where, f"{name} false", "pictures are always resized and scaled")
    if said.get("rescale_factor") is not None:
        factor = number(said, "rescale_factor", where)
        if abs(factor * 255 - 1) > 1e-6:
            raise _refused(where, f"rescale_factor {factor:g}", "it must be 1/255")
    resample = default.resample
    if said.get("resample") is not None:
        resample = _RESAMPLE.get(whole(said, "resample", where))
        if resample is None:
            why = "it must be 2 (bilinear) or 3 (bicubic)"
            raise _refused(where, f"resample {said['resample']}", why)
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if flags["do_normalize"]:
        mean = _colours(said, "image_mean", default.mean, where)
        std = _colours(said, "image_std", default.std, where)
    fit = _fit(said, default.fit, cuts, where)
    return PixelConfig(resample, fit, mean, std)


def preprocessor(config: ViTConfig, kind: str) -> dict[str, Any]:
    """The preprocessor_config.json for a ViT that is of this `model_type` in `transformers`."""
    height, width = config.image_shape
    crop = config.pixels.fit == "crop"
    processor = next(name for name, model in _PROCESSORS.items() if model == kind)
    return {
        "image_processor_type": f"{processor}ImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": height} if crop else {"height": height, "width": width},
        "resample": {name: number for number, name in _RESAMPLE.items()}[config.pixels.resample],
        **({"do_center_crop": True, "crop_size": dict(height=height, width=width)} if crop else {}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.pixels.mean),
        "image_std": list(config.pixels.std),
    }


def _fit(said: Mapping[str, Any], default: str, cut: bool, where: str) -> Fit:
    """How pictures become squares: both sides resized, or the shorter one; then maybe cut."""
    size = said.get("size")
    if not isinstance(size, dict):  # Old files have a number: of what, their class knows.
        shorter = default == "crop"
        size = {} if size is None else {"shortest_edge" if shorter else "height": size}
        size |= {"width": size["height"]} if "height" in size else {}
        both = not shorter
    else:
        both = "shortest_edge" not in size
    inside = f"{where}, size,"
    sides = ("height", "width") if both else ("shortest_edge", "shortest_edge")
    resized = tuple(whole(size, name, inside) for name in sides) if size else (0, 0)
    kept = _crop_size(said, resized, where) if cut and size else resized
    if kept != resized or not (both or cut):
        told = {n: said[n] for n in ("size", "do_center_crop", "crop_size") if n in said}
        why = "what is resized is squashed to the picture's size, or cut along one side alone"
        raise _refused(where, str(told), why)
    return "squash" if both else "crop"


def _crop_size(said: Mapping[str, Any], default: tuple[int, ...], where: str) -> tuple[int, ...]:
    size = said.get("crop_size")
    if size is None:
        return default
    if isinstance(size, dict):
        inside = f"{where}, crop_size,"
        return whole(size, "height", inside), whole(size, "width", inside)
    side = whole(said, "crop_size", where)
    return side, side


def _colours(
    said: Mapping[str, Any], name: str, default: tuple[float, ...], where: str
) -> tuple[float, ...]:
    """Three numbers, for red, green and blue."""
    values = said.get(name)
    if values is None:
        return default
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"{where} has {name} {values!r}; it must be three numbers")
    named: dict[str, Any] = dict(zip(("red", "green", "blue"), values, strict=True))
    return tuple(number(named, colour, f"{where}, {name},") for colour in named)


def _refused(where: str, what: str, why: str) -> ValueError:
    return ValueError(
        f"{where} has {what}, which pali cannot do: {why}. Change it to what is nearest if you can "
        "live with that, and see what the ViT makes of it."
    )
