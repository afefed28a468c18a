# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""mT5 and umT5 of T5X: a folder `checkpoint_1000000` <-> pali's names (docs/checkpoints.md).

The names of T5X's tree `target` are pali's, but for two things, in which its two layouts differ.
`t5x/examples/t5` has separate layers, one relative bias for each stack of them, attention kernels
that are matrices [D, N·H] and [N·H, D]. `t5x/examples/scalable_t5`, which umT5 is made with, has a
relative bias in each layer, attention kernels [D, N, H] and [N, H, D], and layers that are stacked
as a rule: `encoder/encoder/…` and `decoder/decoder/…`, or `…/layers/…`. Their layer is axis 1, the
default of T5X's `param_scan_axis`, unless the shape of a norm says that it is axis 0.

How the arrays lie in files is in t5x_files.py. Optimizer slots are left alone.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import flax.serialization
import numpy as np

from pali.checkpoints import folders, merge, pretrained, t5x_files, weights
from pali.checkpoints.weights import Component, Tensor
from pali.config import MT5Config, PaLIConfig, from_json, to_json

CONFIG = "pali_config.json"
"""What `write` puts beside a whole PaLI: shapes do not tell all of a ViT. T5X passes over it."""

_EMBEDDING = "token_embedder/embedding"
_END = f"/{_EMBEDDING}"
_LANGUAGE = ("token_embedder", "encoder", "decoder")
_SLOTS = {"state", "param_states", "opt_state"}

_MOST = 2**31
"""No axis of a matrix is as long; JAX counts in 32 bits."""


def read(folder: str | os.PathLike) -> Component:
    """Looks at a checkpoint of T5X; arrays are read when they are asked for.

    Args:
      folder: `checkpoint_<step>`, or the folder of a run that holds one such.

    Returns:
      The language half, an `MT5Config`; the whole PaLI, if `write` wrote one. Names in `target`
      that belong to neither are in `unused`. Shapes do not tell the activation of the MLP, which
      is taken to be mT5's, nor the distance of the last relative bucket, taken to be 128.

    Raises:
      FileNotFoundError: there is no such folder, or no checkpoint of T5X in it, or a part of it is
        missing.
      ValueError: it is damaged, or the model in it is none that pali knows, such as T5 v1.0.
    """
    folder = t5x_files.find(Path(folder))
    arrays = t5x_files.open_all(folder)
    target = _target(folder, arrays)
    language, others = {}, {}
    for whole_name, open_it in arrays.items():
        if whole_name.startswith(target):
            name = whole_name.removeprefix(target)
            (language if name.split("/")[0] in _LANGUAGE else others)[name] = open_it
    _check_architecture(folder, language)
    separate = _separate(folder, {name: open_it() for name, open_it in language.items()})
    tensors = {name: _as_matrix(name, tensor) for name, tensor in separate.items()}
    config, origin = _config(folder, tensors), f"T5X checkpoint {folder}"
    _check_heads(folder, separate, config)
    if not (folder / CONFIG).is_file():
        return Component(config, tensors, origin, unused=tuple(sorted(others)))
    whole = {f"mt5/{name}": tensor for name, tensor in tensors.items()}
    whole |= {name: open_it() for name, open_it in others.items()}
    return Component(_whole_config(folder / CONFIG), whole, origin)


def write(
    folder: str | os.PathLike,
    config: MT5Config | PaLIConfig,
    tensors: Mapping[str, Tensor],
    step: int = 0,
) -> Path:
    """Writes a checkpoint that T5X loads, in its older format; it appears whole or not at all.

    An mT5 is laid out as `t5x/examples/t5` has it, a umT5 (`relative_bias="layer"`) as
    `t5x/examples/scalable_t5` does with `scan_layers=False`. Of a PaLI the language half lies at
    the top of `target`, where T5X looks for it; `vit` and `projection` lie beside it. There are no
    optimizer slots: T5X starts them anew (`fallback_to_scratch=True`).

    Args:
      folder: of the run; `checkpoint_<step>` comes to be in it.
      config: the configuration that `tensors` belong to.
      tensors: by name with separate layers, in float32 or bfloat16, which is kept; read one after
        the other.
      step: how long the model was trained, for T5X.

    Returns:
      The folder `checkpoint_<step>`.

    Raises:
      FileExistsError: there is one already.
      MismatchError: `tensors` are not those of `config`; nothing is written.
      OSError: a file cannot be written, the disk being full perhaps; nothing is left.
    """
    final = Path(os.path.abspath(folder)) / f"checkpoint_{step}"
    merge.check_shapes(tensors, pretrained.expected_arrays(config))
    mt5 = config.mt5 if isinstance(config, PaLIConfig) else config
    specs = {}
    with folders.made(final) as unfinished:
        for name, tensor in tensors.items():
            name, array = name.removeprefix("mt5/"), tensor.read()
            if mt5.relative_bias == "layer":
                array = _with_heads(mt5, name, array)
            specs[name] = t5x_files.store(unfinished, f"target/{name}", array)
        state = {"step": np.asarray(step, np.int32)}  # T5X stumbles over empty param_states
        tree = {"version": 3, "optimizer": {"state": state, "target": merge.unflatten(specs)}}
        (unfinished / t5x_files.INDEX).write_bytes(flax.serialization.msgpack_serialize(tree))
        if isinstance(config, PaLIConfig):
            (unfinished / CONFIG).write_text(to_json(config), encoding="utf-8")
    return final


def is_folder(folder: Path) -> bool:
    """Whether there is a checkpoint of T5X in it."""
    return t5x_files.is_checkpoint(folder) or any(
        map(t5x_files.is_checkpoint, folder.glob("checkpoint_*"))
    )


def _target(folder: Path, names: Collection[str]) -> str:
    """What stands before the names of the parameters: `target/`, or `optimizer/target/`."""
    ends = (name.removesuffix(_EMBEDDING) for name in names if f"/{name}".endswith(_END))
    places = [place for place in ends if not _SLOTS & set(place.split("/"))]
    if not places:
        raise ValueError(
            f"{folder} holds no encoder-decoder of T5X: no array is named …/{_EMBEDDING}. It holds "
            f"{weights.listed(names)}."
        )
    return min(places, key=len)


def _check_architecture(folder: Path, names: Collection[str]) -> None:
    """Raises on the models that T5X has besides."""
    wrong = [f"it has {name}, not wi_0 and wi_1" for name in names if name.endswith("/wi/kernel")]
    del wrong[1:]
    if "decoder/logits_dense/kernel" not in names:
        wrong.append("it lacks decoder/logits_dense/kernel, so the embedding table is its head too")
    if wrong:
        raise ValueError(
            f"{folder} is another model than mT5: {'; '.join(wrong)}. pali's language half has a "
            "gated MLP and an output head of its own, as mT5, umT5 and T5 v1.1 do and T5 v1.0 does "
            "not: give a checkpoint of one of those."
        )


def _separate(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under pali's names, the layers separate."""
    pairs = ((re.sub(r"^(encoder|decoder)/\1/", r"\1/layers/", n), t) for n, t in tensors.items())
    named = weights.by_name(pairs, f"{folder}")
    _, width = _matrix(folder, named, _EMBEDDING)
    scales = [t.shape for n, t in named.items() if n.endswith("/layers/pre_mlp_layer_norm/scale")]
    axis = 0 if scales and all(shape[:1] != (width,) for shape in scales) else 1
    return weights.separate_layers(named, axis, f"{folder}")


def _check_heads(folder: Path, tensors: Mapping[str, Tensor], config: MT5Config) -> None:
    """Raises where the heads of a kernel are not those of the relative positions.

    As a matrix one that has 4 heads of 8 is like one that has 8 heads of 4.
    """
    heads = (config.num_heads, config.head_dim)
    for name, tensor in tensors.items():
        if len(tensor.shape) == 3 and "attention/" in name:
            found = tensor.shape[:2] if name.endswith("/out/kernel") else tensor.shape[1:]
            if found != heads:
                raise ValueError(
                    f"{folder}: {name} has shape {tensor.shape}, which is {found[0]} heads of "
                    f"{found[1]}, and the table of relative positions is for {heads[0]} heads, of "
                    f"{heads[1]}: they come from different models. Copy or download it again."
                )


def _as_matrix(name: str, tensor: Tensor) -> Tensor:
    if len(tensor.shape) != 3 or "attention/" not in name:
        return tensor
    a, b, c = tensor.shape
    shape = (a * b, c) if name.endswith("/out/kernel") else (a, b * c)
    return tensor.then(shape, lambda array: array.reshape(shape))


def _with_heads(config: MT5Config, name: str, array: np.ndarray) -> np.ndarray:
    heads = (config.num_heads, config.head_dim)
    match = re.search(r"attention/(query|key|value|out)/kernel$", name)
    if match is None:
        return array
    return array.reshape(*heads, -1) if match[1] == "out" else array.reshape(-1, *heads)


def _matrix(folder: Path, tensors: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """Rows and columns of what has to be a matrix."""
    shape = tensors[name].shape if name in tensors else None
    if shape is None or len(shape) != 2 or not all(0 < size < _MOST for size in shape):
        found = "not there" if shape is None else shape
        raise ValueError(f"{folder} is no mT5: {name} is {found}; a matrix is expected.")
    rows, columns = shape
    return rows, columns


def _whole_config(path: Path) -> PaLIConfig:
    try:
        return from_json(PaLIConfig, path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged, it does not describe a PaLI ({error}). Copy or download it again; "
            "without it the language half alone is read."
        ) from error


def _config(folder: Path, tensors: Mapping[str, Tensor]) -> MT5Config:
    """What names and shapes tell."""
    shape = functools.partial(_matrix, folder, tensors)

    def depth(stack: str) -> int:
        matches = (re.match(rf"{stack}/layers_(\d+)/", name) for name in tensors)
        return len({match[1] for match in matches if match})

    tables = {stack: f"{stack}/relpos_bias/rel_embedding" for stack in ("encoder", "decoder")}
    shared = [table in tensors for table in tables.values()]
    if any(shared) and not all(shared):
        raise ValueError(
            f"{folder}: only one of {', '.join(tables.values())} is there; pali knows one relative "
            "bias for each stack, or one for each layer of both."
        )
    table = tables["encoder"] if all(shared) else "encoder/layers_0/relpos_bias/rel_embedding"
    heads, buckets = shape(table)
    vocabulary, width = shape(_EMBEDDING)
    _, joined = shape("encoder/layers_0/attention/query/kernel")
    if joined % heads:
        raise ValueError(
            f"{folder}: {table} has {heads} heads, which do not divide the {joined} columns of the "
            "attention kernels."
        )
    _, mlp_dim = shape("encoder/layers_0/mlp/wi_0/kernel")
    try:
        return MT5Config(
            vocab_size=vocabulary,
            width=width,
            mlp_dim=mlp_dim,
            num_heads=heads,
            head_dim=joined // heads,
            encoder_layers=depth("encoder"),
            decoder_layers=depth("decoder"),
            relative_buckets=buckets,
            relative_bias="stack" if all(shared) else "layer",
        )
    except ValueError as error:
        raise ValueError(f"{folder} is no mT5 that pali knows: {error}") from error
