# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters to start a run from: those of other models, and random ones for what they lack.

`Config.init` names the sources: public weights of a ViT and of an mT5 (whatever `pali convert`
reads), then workdirs and model folders of pali. Each is read array by array into the place where it
is wanted; nothing is made at random that is not kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from pali.checkpoints import components, merge, positions, pretrained
from pali.checkpoints.pretrained import Source
from pali.checkpoints.store import FOLDER, CheckpointStore
from pali.checkpoints.weights import Component, Tensor
from pali.config import MT5Config, PaLIConfig, ViTConfig, from_json
from pali.models.layers import ADAPTER
from pali.models.pali import init_params
from pali.types import AUXILIARY, Params

HEADS = ("vit/MAPHead_0/", "vit/pre_logits/", "vit/head/")
"""What only classification reads: it may be in the model and not in a public ViT, or the other way
round."""

FREE = (
    "image_size",
    "cut_rest",
    "class_token_visual",
    "pool",
    "pre_logits",
    "num_classes",
    "dropout",
    "dtype",
    "scan",
    "remat",
)
"""Fields in which a model may differ from the public weights that it starts from."""


def random_params(config: PaLIConfig, seed: int, leave: Iterable[str] = ()) -> Params:
    """Freshly initialised parameters, a pure function of the seed, but for the names in `leave`.

    Those are not even computed. NumPy arrays.
    """
    left = frozenset(leave)

    def wanted(key: Any) -> dict[str, Any]:
        flat = merge.flatten(init_params(config, key))
        return {name: leaf for name, leaf in flat.items() if name not in left}

    # By the host: a device may have room for its share of a model, and not for all of it.
    with jax.default_device(_host()):
        made = jax.jit(wanted)(jax.random.key(seed))
    return merge.unflatten({name: np.asarray(leaf) for name, leaf in made.items()})


class Taken(NamedTuple):
    """What a source has for a model; nothing is read yet."""

    tensors: dict[str, Tensor]
    """By name with separate layers, from the whole model's top: `vit/…`."""
    resampled: tuple[tuple[int, int], tuple[int, int]] | None
    """Rows and columns of the ViT's patches in the source and in the model, where they differ."""
    sources: tuple[Source, ...] = ()
    """What it is, and under which licence, where it says so."""

    @property
    def count(self) -> int:
        """Numbers in it."""
        return sum(tensor.size for tensor in self.tensors.values())


def take_half(source: str | os.PathLike, part: str, config: PaLIConfig) -> Taken:
    """A ViT ("vit") or an mT5 ("mt5") from public weights.

    Raises:
      FileNotFoundError, ModuleNotFoundError: see `components.open_source`.
      ValueError: it is no such half, or one that computes otherwise than the model's config says.
      MismatchError: arrays are missing, unexpected or of another shape; lists every one.
    """
    component = components.open_source(source)
    if component.part not in (part, "pali"):
        field = {"vit": "init.vision", "mt5": "init.language"}[part]
        raise ValueError(f"{field} is {os.fspath(source)!r}, which holds {component.origin}")
    theirs = components.half(component, part)
    _check_alike(theirs, getattr(config, part), component, part)
    prefix = f"{part}/" if component.part == "pali" else ""
    tensors = {
        f"{part}/{name.removeprefix(prefix)}": tensor
        for name, tensor in component.tensors.items()
        if name.startswith(prefix)
    }
    expected = {
        name: leaf
        for name, leaf in pretrained.expected_arrays(config).items()
        if name.startswith(f"{part}/")
    }
    tensors = {n: t for n, t in tensors.items() if n in expected or not n.startswith(HEADS)}
    resampled = None
    if isinstance(theirs, ViTConfig):
        tensors, resampled = _on_grid(tensors, theirs, config)
    wanted = {n: x for n, x in expected.items() if n in tensors or not n.startswith(HEADS)}
    spelled = components.spelling(component, "" if prefix else f"{part}/")
    merge.check_shapes(tensors, wanted, component.origin, spelled)
    return Taken(tensors, resampled, (Source(component.part, component.public, component.licence),))


def take_model(source: str | os.PathLike, config: PaLIConfig) -> Taken:
    """Whatever a workdir or a model folder of pali has.

    It may hold a part of the model only, as the ViT of a first stage does, or fewer layers. What an
    objective learned beside a model is left there.

    Raises:
      FileNotFoundError: `source` is neither a workdir with a checkpoint nor a model folder.
      ValueError: it is the workdir of a run that trained adapters, whose checkpoints hold no model.
      MismatchError: it holds a path that the model lacks or has in another shape; lists every one.
    """
    tensors, vit, sources = _load(source)
    tensors, resampled = _on_grid(tensors, vit, config)
    expected = pretrained.expected_arrays(config)
    wanted = {name: leaf for name, leaf in expected.items() if name in tensors}
    merge.check_shapes(tensors, wanted, f"{os.fspath(source)}, named in init.models")
    return Taken(tensors, resampled, sources)


def initial_params(config: PaLIConfig, seed: int, tensors: Mapping[str, Tensor]) -> Params:
    """All parameters of a model: those given, the others random by the seed. NumPy arrays."""
    flat = merge.flatten(pretrained.expected_params(config))
    layers = {name: merge.separate(name, leaf.shape) for name, leaf in flat.items()}
    whole = {name for name, own in layers.items() if all(layer in tensors for layer in own)}
    made = merge.flatten(random_params(config, seed, leave=whole))
    for name, own in layers.items():
        given = {layer: i for layer, i in own.items() if layer in tensors}
        if not given:
            continue
        array = np.empty(flat[name].shape, flat[name].dtype)
        if name not in whole:  # a stack of which some layers are random
            array[...] = made[name]
        merge.read_into(array, given, tensors, "a source of init")
        made[name] = array
    return merge.unflatten({name: made[name] for name in flat})


def _host() -> Any:
    """The CPU, or None where JAX_PLATFORMS leaves it out."""
    with contextlib.suppress(RuntimeError):
        return jax.local_devices(backend="cpu")[0]
    return None


def _on_grid(
    tensors: dict[str, Tensor], vit: ViTConfig, config: PaLIConfig
) -> tuple[dict[str, Tensor], tuple[tuple[int, int], tuple[int, int]] | None]:
    there, here = vit.grid, config.vit.grid
    differ = "vit/pos_embedding" in tensors and there != here
    return positions.on_grid(tensors, here, there), (there, here) if differ else None


def _check_alike(theirs: ViTConfig | MT5Config, ours: Any, component: Component, part: str) -> None:
    """Fields that no shape betrays: activations, norms, preprocessing."""
    sizes = {f.name for f in dataclasses.fields(theirs)} - {*FREE}
    wrong = [n for n in sorted(sizes) if getattr(theirs, n) != getattr(ours, n)]
    if wrong:
        listed = "; ".join(f"{n} {getattr(theirs, n)!r}, not {getattr(ours, n)!r}" for n in wrong)
        raise ValueError(
            f"{component.origin} has {listed} as model.{part} says: give the config the model that "
            "these weights are of"
        )


def _load(source: str | os.PathLike) -> tuple[dict[str, Tensor], ViTConfig, tuple[Source, ...]]:
    if (Path(source) / FOLDER).is_dir():
        with CheckpointStore(source, read_only=True) as store:
            params, note = store.restore_params()
        flat = merge.flatten(params)
        if any(name.endswith(ADAPTER) for name in flat):
            raise ValueError(
                f"the checkpoints in {os.fspath(source)}, named in init.models, hold adapters and "
                f"not what they adapt: name {Path(source) / 'model'}, where both are merged"
            )
        vit = from_json(ViTConfig, json.dumps(note["config"]["model"]["vit"]))
        auxiliary = f"{AUXILIARY}/"
        return {n: Tensor.of(a) for n, a in flat.items() if not n.startswith(auxiliary)}, vit, ()
    folder = Path(source)
    if os.fspath(source) == "embedded" and not folder.exists():
        folder = pretrained.EMBEDDED
    model = pretrained.open_model(folder)
    assert isinstance(model.config, PaLIConfig)
    metadata, _ = pretrained.about(folder)
    return dict(model.tensors), model.config.vit, metadata.sources
