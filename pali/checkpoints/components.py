# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Any source of weights -> Component, and several components -> one PaLI.

a pali model folder · a folder of Hugging Face's, or its repository · a T5X checkpoint ·
a big_vision .npz
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pali.checkpoints import big_vision, huggingface, merge, positions, pretrained, t5x
from pali.checkpoints.hub import locate
from pali.checkpoints.huggingface_t5 import SENTINELS
from pali.checkpoints.pretrained import TOKENIZER, Metadata, Source
from pali.checkpoints.weights import Component, Tensor, listed, not_found
from pali.config import PaLIConfig
from pali.tokenizer import Tokenizer, piece_count, with_sentinels

VOCABULARY_STEP = 128
"""Embeddings have more rows than a vocabulary has ids, up to a multiple of this."""


def open_source(source: str | os.PathLike[str]) -> Component:
    """The component that a path or a repository of the hub holds.

    Raises:
      FileNotFoundError: there is no such thing, or a file of it is missing.
      ValueError: it is of no known format, or damaged.
      ModuleNotFoundError: its format needs a package that is not installed.
    """
    path = locate(source)
    if not path.exists():
        raise not_found(source)
    try:
        component = _open(path)
    except merge.MismatchError:
        raise
    except ValueError as error:
        told = str(path) in str(error)
        raise error if told else ValueError(f"{path}: {error}") from None
    except _SURPRISES as error:
        reason = " ".join(str(error).split())[:500]
        raise ValueError(
            f"{path} holds something that no model has there ({type(error).__name__}: {reason}): "
            "it is damaged, or of another kind than its names say. Copy or download it again."
        ) from error
    # A file says of its sources what is true elsewhere, too: no folders of this machine.
    name = path.name if path == Path(source) else os.fspath(source)
    return replace(component, public=component.origin.replace(os.fspath(path), name))


_SURPRISES = (
    *(TypeError, KeyError, IndexError, AttributeError, AssertionError, ArithmeticError),
    *(RecursionError, MemoryError),
)
"""What code meets where the fields of somebody else's file are of types that nobody thought of."""


def _open(path: Path) -> Component:
    if path.suffix == ".npz":
        return big_vision.read(path)
    if pretrained.is_folder(path):
        return pretrained.open_model(path)
    if huggingface.is_folder(path):
        return huggingface.read(path)
    if t5x.is_folder(path):
        component = t5x.read(path)
        beside = (folder / TOKENIZER for folder in (path, path.parent))
        return replace(component, tokenizer=next((p for p in beside if p.is_file()), None))
    inside = listed(p.name for p in path.iterdir()) if path.is_dir() else "a file"
    raise ValueError(
        f"{path} is of no format that pali knows. It reads a model folder of pali, a folder of "
        "Hugging Face's (config.json with a model_type), a T5X checkpoint, or a big_vision .npz; "
        f"found: {inside}."
    )


@dataclasses.dataclass(frozen=True)
class Joined:
    """A whole PaLI from its components, not read yet."""

    config: PaLIConfig
    tensors: dict[str, Tensor]
    """By name with separate layers: `vit/…`, `mt5/…`, `projection/…`."""
    fresh: tuple[str, ...]
    """Of these names, those that no source had, and that are random: the projection."""
    tokenizer: bytes
    """The SentencePiece model, its sentinels inside."""
    tokenizer_path: Path | None
    """The file with just this content; None where the sentinels had to be put in."""
    sources: tuple[Source, ...]
    """Where the parts come from."""
    metadata: Metadata
    """What a source that was whole says of itself."""
    card: str
    """Its model card; empty where there is none."""
    unused: tuple[str, ...]
    """Names in the sources that are no part of a PaLI."""


def join(
    components: Sequence[Component],
    *,
    image_size: int | tuple[int, int] | None = None,
    class_token_visual: bool = False,
    tokenizer: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Joined:
    """One PaLI from a ViT and an mT5, or from one that is whole.

    Args:
      components: of which exactly one has a ViT and exactly one an mT5.
      image_size: of the pictures, where it is to be another than the ViT's; positions are
        resampled.
      class_token_visual: make the class token of a ViT that has one the first visual token.
      tokenizer: a SentencePiece model, where none lies beside the language half.
      seed: of what is random.

    Raises:
      ValueError: a half is missing or there twice; or tokenizer and embedding do not fit.
      MismatchError: a component's arrays are not those of its config; lists every one.
    """
    vision, language = _one(components, "vit"), _one(components, "mt5")
    config = PaLIConfig(half(vision, "vit"), half(language, "mt5"))
    tensors: dict[str, Tensor] = {}
    spelled: dict[str, str] = {}
    for component in dict.fromkeys([vision, language]):
        part = "" if component.part == "pali" else f"{component.part}/"
        tensors |= {part + name: tensor for name, tensor in component.tensors.items()}
        spelled |= spelling(component, part)
    if class_token_visual:
        config = replace(config, vit=replace(config.vit, class_token_visual=True))
    if image_size not in (None, config.vit.image_size):
        before = config.vit.grid
        config = replace(config, vit=replace(config.vit, image_size=image_size, cut_rest=False))
        tensors = positions.on_grid(tensors, config.vit.grid, before)
    expected = pretrained.expected_arrays(config)
    fresh = () if vision is language else tuple(n for n in expected if n.startswith("projection/"))
    tensors |= {name: _random(expected[name].shape, seed) for name in fresh}
    given = list(dict.fromkeys([vision, language]))
    merge.check_shapes(tensors, expected, " and ".join(c.origin for c in given), spelled)
    content = vocabulary(language, tokenizer, config.mt5.vocab_size)
    path = _tokenizer_path(language, tokenizer)
    metadata, card = pretrained.Metadata(), ""
    if vision is language and vision.folder is not None:
        metadata, card = pretrained.about(vision.folder)
    return Joined(
        config,
        {name: tensors[name] for name in expected},
        fresh,
        content,
        path if path.read_bytes() == content else None,
        metadata.sources or tuple(Source(c.part, c.public, c.licence) for c in given),
        metadata,
        card,
        vision.unused if vision is language else vision.unused + language.unused,
    )


def _one(components: Sequence[Component], part: str) -> Component:
    found = [c for c in components if c.part in (part, "pali")]
    if len(found) == 1:
        return found[0]
    what = {"vit": "a ViT", "mt5": "an mT5"}[part]
    given = ", ".join(c.origin for c in components) or "nothing"
    raise ValueError(
        f"a PaLI needs one source with {what}, and {len(found) or 'none'} of those given has one: "
        f"{given}"
    )


def spelling(component: Component, prefix: str) -> dict[str, str]:
    """What the file calls each array, by its name with the prefix; see `merge.check_shapes`."""
    own = {name: name for name in component.tensors if component.spelled}
    return {prefix + name: there for name, there in {**own, **component.spelled}.items()}


def half(component: Component, part: str) -> Any:
    """The ViTConfig ("vit") or MT5Config ("mt5") of a component that has one."""
    config = component.config
    return getattr(config, part) if isinstance(config, PaLIConfig) else config


def _random(shape: tuple[int, ...], seed: int) -> Tensor:
    """As the model itself initialises a projection: a kernel, or a bias of zeros."""

    def make() -> np.ndarray:
        if len(shape) == 1:
            return np.zeros(shape, np.float32)
        return np.asarray(jax.nn.initializers.lecun_normal()(jax.random.key(seed), shape))

    return Tensor(shape, np.dtype(np.float32), make)


def vocabulary(language: Component, tokenizer: str | os.PathLike[str] | None, rows: int) -> bytes:
    """The content of a tokenizer's file, its sentinels inside, checked against the embedding.

    Args:
      language: the component with the mT5.
      tokenizer: a path; None is the model beside it.
      rows: of the embedding.

    Raises:
      ValueError: there is none, or it is another model's; the message has both numbers.
    """
    path = _tokenizer_path(language, tokenizer)
    content = path.read_bytes()
    counts = {language.sentinels, *SENTINELS.values()}
    for count in sorted(counts, key=lambda count: count != language.sentinels):
        # A checkpoint of T5X does not say how many were appended: what fits the embedding.
        filled = with_sentinels(content, count, str(path))
        if 0 <= rows - piece_count(filled) < VOCABULARY_STEP:
            content = filled
            break
    pieces = Tokenizer.from_bytes(content, str(path)).vocab_size
    if not 0 <= rows - pieces < VOCABULARY_STEP:
        raise ValueError(
            f"{path} has {pieces:,} pieces, sentinels counted, and the embedding of "
            f"{language.origin} {rows:,} rows, where it should have that number rounded up to a "
            f"multiple of {VOCABULARY_STEP}: this is the tokenizer of another model"
        )
    return content


def _tokenizer_path(language: Component, tokenizer: str | os.PathLike[str] | None) -> Path:
    path = language.tokenizer if tokenizer is None else Path(tokenizer)
    if path is None:
        raise ValueError(
            f"{language.origin} has no spiece.model beside it; give the SentencePiece model that "
            "it was trained with as the tokenizer"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no tokenizer {path}")
    return path
