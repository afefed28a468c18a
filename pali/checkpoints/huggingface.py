# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's folders: mT5, umT5, mT0, T5 v1.1; ViT, SigLIP, SigLIP 2 and CLIP's picture half.

    config.json, weights (pali/checkpoints/containers.py), spiece.model, preprocessor_config.json
        -> Component: a config, and arrays under pali's names that are read when they are asked for

and back: a language half to a folder of MT5 or UMT5, a ViT to one of SigLIP, ViT or CLIP. The
published configs leave out what is the default of the class in `transformers`; those defaults are
in huggingface_t5.py and huggingface_vit.py, beside the names.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pali.checkpoints import huggingface_pixels, huggingface_t5, huggingface_vit
from pali.checkpoints.containers import open_folder, save
from pali.checkpoints.renaming import Rule, exported, imported, spelled
from pali.checkpoints.weights import Component, Tensor
from pali.config import MT5Config, ViTConfig

CONFIG, TOKENIZER, PREPROCESSOR = "config.json", "spiece.model", "preprocessor_config.json"

TOKENIZER_CONFIG = "tokenizer_config.json"

_TOKENIZER = {
    "tokenizer_class": "T5Tokenizer",
    # The sentinels are in the file; `transformers` would add a hundred more after them.
    "extra_ids": 0,
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
}
"""What AutoTokenizer needs beside the SentencePiece model."""

_WHOLE = {kind: f"{kind}_vision_model" for kind in ("siglip", "siglip2", "clip")}
"""Models of pictures and text by `model_type`, and what their picture half is."""


def is_folder(folder: Path) -> bool:
    """Whether it has a config.json in which a `model_type` is said."""
    path = folder / CONFIG
    return path.is_file() and "model_type" in _json(path)


def read(folder: Path) -> Component:
    """A folder of Hugging Face's as a component; nothing is read yet but configs and indices.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: another architecture, or a damaged file.
      ModuleNotFoundError: the weights are torch's, and torch is not installed.
    """
    said = _json(folder / CONFIG)
    kind = said.get("model_type")
    known = [*huggingface_t5.DEFAULTS, *_WHOLE, *huggingface_vit.DEFAULTS]
    if kind not in known:
        raise ValueError(
            f"{folder / CONFIG} is of model_type {kind!r}, which is neither half of a PaLI; known: "
            f"{', '.join(known)}"
        )
    found, place = open_folder(folder)
    licence = _licence(folder / "README.md")
    named = said.get("architectures")
    name = named[0] if isinstance(named, list) and named else kind
    origin = f"{name} in {folder / place}"
    if kind in huggingface_t5.DEFAULTS:
        component = _language(folder, said, found, origin)
    else:
        component = _vision(folder, said, found, origin)
    return dataclasses.replace(component, licence=licence)


def _language(
    folder: Path, said: dict[str, Any], found: dict[str, Tensor], origin: str
) -> Component:
    embedding = "shared.weight"
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        if embedding not in found and name in found:  # One of three names of the same array.
            found = found | {embedding: found[name]}
    config = huggingface_t5.config(said, found, str(folder / CONFIG))
    spiece = folder / TOKENIZER
    rules = huggingface_t5.rules(config)
    return Component(
        config,
        _renamed(rules, found, huggingface_t5.UNUSED),
        origin,
        spelled=spelled(rules),
        tokenizer=spiece if spiece.is_file() else None,
        sentinels=huggingface_t5.SENTINELS[said["model_type"]],
    )


def _vision(folder: Path, said: dict[str, Any], found: dict[str, Tensor], origin: str) -> Component:
    kind, prefix = said["model_type"], ""
    if kind in _WHOLE:
        kind = _WHOLE[kind]
        half = said.get("vision_config", {})
        if not isinstance(half, dict):
            raise ValueError(f"{folder / CONFIG} has vision_config {half!r}; it must be an object")
        said = half | {"model_type": kind}
    for start in ("vision_model.", "vit."):
        if any(name.startswith(start) for name in found):
            prefix = start
    own = {n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)}
    if prefix == "vit.":  # the classifier stands beside it
        own |= {n: t for n, t in found.items() if n.startswith("classifier.")}
    config = huggingface_vit.config(said, own, str(folder / CONFIG))
    if (folder / PREPROCESSOR).is_file():
        path = folder / PREPROCESSOR
        pixels = huggingface_pixels.read(_json(path), kind, str(path))
        config = dataclasses.replace(config, pixels=pixels)
    rules = huggingface_vit.rules(kind, config)
    tensors = _renamed(rules, own, huggingface_vit.UNUSED)
    beside = tuple(sorted(set(found) - {prefix + name for name in own} - set(own)))
    # Without the prefix, which stands before every one.
    return Component(config, tensors, origin, unused=beside, spelled=spelled(rules))


def _renamed(
    rules: Sequence[Rule], found: Mapping[str, Tensor], unused: Collection[str]
) -> dict[str, Tensor]:
    """What the rules make, and what none of them knows under its own name, to be complained of.

    A name of pali's there, which has slashes, is none: it must not stand in for what is made.
    """
    covered = {name for rule in rules for name in rule.theirs}
    unknown = {n: t for n, t in found.items() if n not in covered and n not in unused}
    told = {f"{name} of the file" if "/" in name else name: t for name, t in unknown.items()}
    return imported(rules, found) | told


def write_language(
    folder: Path, config: MT5Config, tensors: Mapping[str, Tensor], tokenizer: bytes
) -> None:
    """A folder that MT5ForConditionalGeneration, or UMT5's, reads with `from_pretrained`.

    Args:
      folder: an empty one.
      config: of the language half.
      tensors: its arrays by name, layers separate; written as they are.
      tokenizer: the SentencePiece model.
    """
    _write(folder, huggingface_t5.fields(config), exported(huggingface_t5.rules(config), tensors))
    (folder / TOKENIZER).write_bytes(tokenizer)
    _dump(folder / TOKENIZER_CONFIG, _TOKENIZER)


def write_vision(folder: Path, config: ViTConfig, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """A folder that SiglipVisionModel, ViTModel or CLIPVisionModel reads.

    Returns:
      Names of arrays that are left out: of the three, only ViT can have a classifier.

    Raises:
      ValueError: there is no class in `transformers` for such a ViT.
    """
    said = huggingface_vit.fields(config)
    classifier = said["model_type"] == "vit"
    left = tuple(n for n in tensors if n.startswith("head/") and not classifier)
    rules = huggingface_vit.rules(said["model_type"], config)
    arrays = exported(rules, {n: t for n, t in tensors.items() if n not in left})
    if config.num_classes and classifier:
        outside = "classifier."
        arrays = {n if n.startswith(outside) else f"vit.{n}": a for n, a in arrays.items()}
    _write(folder, said, arrays)
    _dump(folder / PREPROCESSOR, huggingface_pixels.preprocessor(config, said["model_type"]))
    return left


def _licence(card: Path) -> str:
    """What a model card says in the YAML that it begins with."""
    if not card.is_file():
        return ""
    start, header, *_ = [*card.read_text(encoding="utf-8", errors="replace").split("---", 2), ""]
    match = re.search(r"^license:\s*(\S+)\s*$", header, re.MULTILINE)
    return match[1] if match and not start.strip() else ""


def _write(folder: Path, said: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    dtype = next(iter(tensors.values())).dtype
    _dump(folder / CONFIG, said | {"dtype": str(dtype)})
    save(folder, tensors, {"format": "pt"})


def _dump(path: Path, said: dict[str, Any]) -> None:
    path.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}, which says what its weights are; it lies beside "
            "them where they came from."
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged, it is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise ValueError(f"{path} holds a {type(said).__name__}, not an object")
    return said
