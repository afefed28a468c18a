# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters to start a run from: random ones, and over them those that another run learned."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from pali.checkpoints import merge, positions, pretrained
from pali.checkpoints.store import FOLDER, CheckpointStore
from pali.config import PaLIConfig
from pali.models.pali import init_params
from pali.types import AUXILIARY, Params


def random_params(config: PaLIConfig, seed: int) -> Params:
    """Freshly initialised parameters, a pure function of the seed."""
    return jax.jit(init_params, static_argnums=0)(config, jax.random.key(seed))


def take_over(params: Params, source: str | os.PathLike) -> tuple[Params, int]:
    """Replaces parameters by those of the same paths in a workdir or a model folder.

    The source may hold a part of the model only, as the ViT of a first stage does. Layers may be
    stacked on one side and separate on the other. Positions of a ViT for another resolution are
    resampled to the model's (pali/checkpoints/positions.py).

    Returns:
      The parameters, and how many numbers of them were replaced.

    Raises:
      FileNotFoundError: `source` is neither a workdir with a checkpoint nor a model folder.
      MismatchError: it holds a path that the model lacks or has in another shape; lists every one.
    """
    loaded = merge.flatten(merge.unstack_layers(_load(source)))
    loaded = {name: leaf for name, leaf in loaded.items() if not name.startswith(AUXILIARY)}
    flat = merge.flatten(merge.unstack_layers(params))
    expected = {name: leaf for name, leaf in flat.items() if name in loaded}
    name = "vit/pos_embedding"
    if name in expected and np.shape(expected[name])[1] != np.shape(loaded[name])[1]:
        loaded[name] = positions.resample(loaded[name], np.shape(expected[name])[1])
    try:
        flat |= merge.fit_names(loaded, expected)
    except merge.MismatchError as error:
        raise error.about(
            f"These are the weights of {os.fspath(source)}, named in init_from."
        ) from None
    fitted = merge.fit(merge.unflatten(flat), params)
    return jax.tree.map(jnp.asarray, fitted), sum(np.size(leaf) for leaf in expected.values())


def _load(source: str | os.PathLike) -> Params:
    if (Path(source) / FOLDER).is_dir():
        with CheckpointStore(source, read_only=True) as store:
            return store.restore_params()[0]
    return pretrained.load_model(source).params
