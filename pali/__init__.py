# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""PaLI in JAX: pictures and text in, text out, in a hundred languages.

>>> import pali
>>> model = pali.load()
>>> model.caption("dog.png", langs=["sw", "hi"])

Importing this imports nothing heavy: JAX comes with the first `load`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pali.config import Precision
    from pali.mesh_config import MeshConfig
    from pali.predict import Model

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    mesh: MeshConfig | None = None,
    precision: Precision | None = None,
) -> Model:
    """The model in the folder `path`, ready to caption; by default the one that comes with pali.

    Args:
      path: may also be a repository on the Hugging Face hub, "organisation/name", which is
        downloaded once.
      mesh: the devices that a model too large for one is divided among, as in
        `pali.mesh_config.MeshConfig(fsdp=8)`; by default it lies on one.
      precision: "float32", "bfloat16" or "int8" (pali/precision.py); by default what the folder
        says.

    Raises:
      FileNotFoundError: the folder is not a model; the message says what it lacks.
      ValueError: a file of it is damaged, the weights do not fit its configuration, or
        the mesh not the devices or the model, or there is no such precision.
      ModuleNotFoundError: a repository, and huggingface_hub is not installed.
    """
    from pali.predict import load_model

    return load_model(path, mesh, precision)
