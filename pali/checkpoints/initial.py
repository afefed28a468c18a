# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters to start a run from: random ones, and over them those that another run learned."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pali.checkpoints import merge, positions, pretrained
from pali.checkpoints.store import FOLDER, CheckpointStore
from pali.config import PaLIConfig, ViTConfig, from_json
from pali.models.pali import init_params
from pali.types import AUXILIARY, Params


def random_params(config: PaLIConfig, seed: int) -> Params:
    """Freshly initialised parameters, a pure function of the seed."""
    return jax.jit(init_params, static_argnums=0)(config, jax.random.key(seed))


class Taken(NamedTuple):
    """What `take_over` returns."""

    params: Params
    count: int
    """How many numbers of them were replaced."""
    resampled: tuple[tuple[int, int], tuple[int, int]] | None
    """Rows and columns of the ViT's patches in the source and in the model, where they differ."""


def take_over(params: Params, source: str | os.PathLike, config: PaLIConfig) -> Taken:
    """Replaces parameters by those of the same paths in a workdir or a model folder.

    The source may hold a part of the model only, as the ViT of a first stage does. Layers may be
    stacked on one side and separate on the other. Positions of a ViT for another resolution are
    resampled to the model's (pali/checkpoints/positions.py).

    Args:
      params: nested dict of arrays, the model's or a part of them.
      source: where the others are.
      config: the model's.

    Raises:
      FileNotFoundError: `source` is neither a workdir with a checkpoint nor a model folder.
      MismatchError: it holds a path that the model lacks or has in another shape; lists every one.
    """
    found, there = _load(source)
    loaded = merge.flatten(merge.unstack_layers(found))
    loaded = {name: leaf for name, leaf in loaded.items() if not name.startswith(f"{AUXILIARY}/")}
    flat = merge.flatten(merge.unstack_layers(params))
    expected = {name: leaf for name, leaf in flat.items() if name in loaded}
    name, resampled = "vit/pos_embedding", None
    here = config.vit.grid
    if name in expected and there != here:
        loaded[name], resampled = positions.resample(loaded[name], here, there), (there, here)
    try:
        flat |= merge.fit_names(loaded, expected)
    except merge.MismatchError as error:
        raise error.about(
            f"These are the weights of {os.fspath(source)}, named in init_from."
        ) from None
    fitted = merge.fit(merge.unflatten(flat), params)
    count = sum(np.size(leaf) for leaf in expected.values())
    return Taken(jax.tree.map(jnp.asarray, fitted), count, resampled)


def _load(source: str | os.PathLike) -> tuple[Params, tuple[int, int]]:
    """The parameters, and the grid of the ViT's patches."""
    if (Path(source) / FOLDER).is_dir():
        with CheckpointStore(source, read_only=True) as store:
            params, note = store.restore_params()
        return params, from_json(ViTConfig, json.dumps(note["config"]["model"]["vit"])).grid
    model = pretrained.load_model(source)
    return model.params, model.config.vit.grid
