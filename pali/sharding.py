# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Where every array of a run lies when there are several devices: one mesh, one table of rules.

The mesh has three axes (`pali.mesh_config.MeshConfig`):

    data    divides the batch
    fsdp    divides the batch, and every matrix along the width of the model: each device keeps a
            part, and the whole is gathered for the layer in hand (arXiv 2004.13336, 1910.02054)
    model   divides heads, MLPs and the vocabulary, and with them the matrices (arXiv 1909.08053)

RULES says for each parameter, by its path with separate layers (`mt5/encoder/layers_3/…`), along
which axis of the mesh each of its dimensions is divided; the layer axis of a stack never is. They
are those of T5X with `embed` along `fsdp`, and vocabulary, MLP and heads along `model`
(t5x/partitioning.py, `standard_logical_axis_rules`). What the optimizer keeps of a parameter is
divided as the parameter is. GSPMD (arXiv 2105.04663) works out the rest, helped by what the models
say of activations (`pali.models.layers.divide`), which hold inside `jax.set_mesh`:

    mesh = make_mesh(MeshConfig(fsdp=8))
    params = distribute(params, shardings(mesh, params))
    with jax.set_mesh(mesh):
        loss, grads = jax.jit(jax.value_and_grad(loss_fn))(params, global_batch(batch, mesh))

Several processes run the same program; each feeds the rows that its own devices hold
(`process_shares`, `global_batch`), which is up to the mesh, not to the rank.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from pali.checkpoints import merge
from pali.mesh_config import MeshConfig, divisors_near
from pali.models.layers import BATCH

AXES = ("data", "fsdp", "model")

Axes = tuple[str | None, ...]
"""For each dimension the axis of the mesh that divides it, or None; () is whole on every device."""

RULES: tuple[tuple[str, Axes], ...] = (
    # Matrices, kept apart along the width; queries, keys and values [D N H] or [D N·H].
    (r"vit/.*/(query|key|value)/kernel", ("fsdp", "model", None)),
    (r"vit/.*/MultiHeadDotProductAttention_0/out/kernel", ("model", None, "fsdp")),
    (r"vit/.*/MlpBlock_0/Dense_0/kernel", ("fsdp", "model")),
    (r"vit/.*/MlpBlock_0/Dense_1/kernel", ("model", "fsdp")),
    (r"mt5/.*/(query|key|value|wi_0|wi_1)/kernel", ("fsdp", "model")),
    (r"mt5/.*/(out|wo)/kernel", ("model", "fsdp")),
    # Their updates of low rank [D r] [r F]: as they are, but for the rank.
    (r"mt5/.*/(query|key|value|wi_0|wi_1)/lora_a", ("fsdp", None)),
    (r"mt5/.*/(query|key|value|wi_0|wi_1)/lora_b", (None, "model")),
    (r"mt5/.*/(out|wo)/lora_a", ("model", None)),
    (r"mt5/.*/(out|wo)/lora_b", (None, "fsdp")),
    (r"mt5/token_embedder/embedding", ("model", "fsdp")),
    (r"mt5/decoder/logits_dense/kernel", ("fsdp", "model")),
    (r"projection/kernel", ("fsdp", "model")),
    # What has heads or vocabulary and is no matrix between layers.
    (r"mt5/.*/relpos_bias/rel_embedding", ("model", None)),
    (r"auxiliary/patches/head/kernel", ("model", "fsdp")),
    # The two ends of the ViT: pixels and classes come in numbers that nothing divides.
    (r"vit/embedding/kernel", (None, None, None, "fsdp")),
    (r"vit/(pre_logits|head)/kernel", ("fsdp", None)),
    # Small: whole on every device.
    (r".*/(scale|bias)", ()),
    (r"vit/(cls|pos_embedding|MAPHead_0/probe)", ()),
    (r"auxiliary/temperature", ()),
)


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over `devices`, by default all of every process, neighbours along `model` first.

    Raises:
      ValueError: the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    config = config.over(len(devices))
    shape = tuple(getattr(config, axis) for axis in AXES)
    return jax.make_mesh(shape, AXES, (AxisType.Auto,) * len(AXES), devices=devices)


def mesh_config(mesh: Mesh) -> MeshConfig:
    """The sizes of a mesh's axes."""
    return MeshConfig(**{axis: mesh.shape[axis] for axis in AXES})


def axes_of(path: str) -> Axes:
    """What the table says of a parameter, by its path with separate layers.

    Raises:
      ValueError: no rule matches the path, or several do.
    """
    found = {pattern: axes for pattern, axes in RULES if re.fullmatch(pattern, path)}
    if len(found) != 1:
        which = f"{len(found)} rules match: {', '.join(found)}" if found else "no rule matches it"
        raise ValueError(
            f"how to divide parameter {path!r} is not settled: {which}. Every parameter needs "
            "exactly one in pali/sharding.py, RULES"
        )
    return next(iter(found.values()))


def specs(params: Mapping[str, Any]) -> dict[str, Any]:
    """For each parameter how the mesh divides it, as a tree of the same form.

    Args:
      params: nested dict of whatever has a shape; layers may be stacked or apart.

    Raises:
      ValueError: no rule matches a path.
    """
    return merge.unflatten({name: PartitionSpec(*axes) for name, axes in _axes(params).items()})


def shard_shapes(config: MeshConfig, params: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """{path: shape of the part that each device holds}, of a mesh that `check` lets through."""
    flat = merge.flatten(params)
    return {
        name: tuple(
            side // getattr(config, axis) if axis else side
            for side, axis in itertools.zip_longest(flat[name].shape, axes)
        )
        for name, axes in _axes(params).items()
    }


def check(config: MeshConfig, params: Mapping[str, Any]) -> None:
    """Raises before anything is compiled where an axis does not divide what it should.

    Raises:
      ValueError: with path, dimension and axis, and the nearest sizes that would do for all.
    """
    flat = merge.flatten(params)
    for axis in AXES[1:]:
        size, sides = getattr(config, axis), []
        for name, axes in _axes(params).items():
            for dimension in (i for i, own in enumerate(axes) if own == axis):
                sides.append((flat[name].shape[dimension], dimension, name))
        wrong = [found for found in sides if found[0] % size]
        if wrong:
            side, dimension, name = min(wrong)
            layer, shape = _layer(name, flat[name].shape)
            dimension -= len(flat[name].shape) - len(shape)
            fitting = divisors_near(size, math.gcd(*(side for side, _, _ in sides)))
            raise ValueError(
                f"axis {axis} is {size}, which does not divide the {side:,} of dimension "
                f"{dimension} of {layer} [{' x '.join(map(str, shape))}]; for all parameters "
                f"{' or '.join(map(str, fitting))} would do"
            )


def check_batch(config: MeshConfig, rows: int, what: str = "a batch") -> None:
    """Raises before anything is compiled where the mesh does not divide the rows of a batch.

    Raises:
      ValueError: with the next smaller and larger batch that it does divide.
    """
    if rows % config.shares:
        more = -(-rows // config.shares) * config.shares
        less = more - config.shares
        raise ValueError(
            f"{what} of {rows} cannot be divided among {config.shares} devices (data "
            f"{config.data} x fsdp {config.fsdp}); the next larger that can is {more}"
            + (f", the next smaller {less}" if less else "")
        )


def shardings(mesh: Mesh, params: Mapping[str, Any]) -> dict[str, Any]:
    """`specs` on a mesh, for `jax.device_put`, `jax.jit` and restoring checkpoints.

    Raises:
      ValueError: no rule matches a path, or an axis does not divide a dimension.
    """
    check(mesh_config(mesh), params)
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs(params), is_leaf=_is_spec)


def optimizer_shardings(
    mesh: Mesh | AbstractMesh, params: Mapping[str, Any], opt_state: Any
) -> Any:
    """The same for what an optimizer keeps: divided as the parameter that it belongs to.

    A leaf belongs to the parameter whose path is part of its own (`0/mu/mt5/…`, `mt5/…/v_row`). It
    has the parameter's shape, or lacks some of its dimensions (Adafactor's rows and columns): then
    it is divided along those that are left. What belongs to none (a count), or is one number, is
    whole on every device.

    Args:
      mesh: the mesh.
      params: the trained parameters that the state was made for.
      opt_state: any pytree of arrays or shapes; the result has its form.

    Raises:
      ValueError: a leaf belongs to a parameter and has a shape of its own.
    """
    flat = merge.flatten(params)
    owners = {tuple(name.split("/")): name for name in flat}
    axes = _axes(params)

    def place(path: Any, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        owner = _owner(name.split("/"), owners)
        if owner is None or math.prod(leaf.shape) <= 1:
            return NamedSharding(mesh, PartitionSpec())
        shape, own = flat[owner].shape, axes[owner] or (None,) * len(flat[owner].shape)
        whole = not any(own)
        for kept in itertools.combinations(range(len(shape)), len(leaf.shape)):
            if tuple(shape[i] for i in kept) == tuple(leaf.shape):
                spec = () if whole else (own[i] for i in kept)
                return NamedSharding(mesh, PartitionSpec(*spec))
        raise ValueError(
            f"the optimizer keeps {name} {list(leaf.shape)} of a parameter {list(shape)}: it can "
            "be divided only where it has dimensions of the parameter, in their order"
        )

    return jax.tree_util.tree_map_with_path(place, opt_state)


def distribute(tree: Any, placed: Any) -> Any:
    """Arrays that every process has whole -> the parts that its devices hold, nothing exchanged.

    Args:
      tree: pytree of NumPy arrays, the same in all processes: what a file or a seed gave.
      placed: a sharding for each, from `shardings` or `optimizer_shardings`.
    """

    def place(leaf: Any, where: NamedSharding) -> jax.Array:
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, where, array.__getitem__)

    return jax.tree.map(place, tree, placed)


def collect(tree: Any) -> Any:
    """Arrays of which each process has parts -> whole ones in all, as NumPy; others as they are."""

    def whole(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return leaf

    return jax.tree.map(whole, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Of every array of a batch: rows over `data` and `fsdp`, whole along `model`."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def process_shares(mesh: Mesh, process: int | None = None) -> tuple[tuple[int, ...], int]:
    """Which shares of every batch a process feeds: those whose rows its devices hold.

    A batch of B rows has n = data·fsdp shares of B/n rows. Where `model` runs across processes,
    several feed the same; on a torus of TPUs those of one process need not lie side by side.

    Args:
      mesh: the mesh.
      process: rank; by default that of the caller.

    Returns:
      (shares in ascending order, n), for `pali.data.pipeline.batch_dataset`.
    """
    process = jax.process_index() if process is None else process
    rows = mesh.devices.reshape(-1, mesh.shape["model"])
    mine = tuple(
        share for share, row in enumerate(rows) if any(d.process_index == process for d in row)
    )
    return mine, len(rows)


def global_batch(local: Any, mesh: Mesh) -> Any:
    """The arrays of this process's rows as parts of the arrays of all.

    Args:
      local: tree of arrays [rows of this process, …]: its shares one after the other.
      mesh: the mesh.

    Returns:
      The same tree of `jax.Array` [rows of all, …], each row where it is computed with.

    Raises:
      ValueError: the rows cannot be divided among the shares.
    """
    mine, shares = process_shares(mesh)
    sharding, config = batch_sharding(mesh), mesh_config(mesh)

    def place(array: Any) -> jax.Array:
        array = np.asarray(array)
        if len(array) % len(mine):
            check_batch(config, -(-len(array) * shares // len(mine)))
        shape = (len(array) // len(mine) * shares, *array.shape[1:])
        return jax.make_array_from_process_local_data(sharding, array, shape)

    return jax.tree.map(place, local)


def _axes(params: Mapping[str, Any]) -> dict[str, Axes]:
    """{path as it is in memory: axes}, a stack's layer axis in front."""
    found: dict[str, Axes] = {}
    for name, leaf in merge.flatten(params).items():
        layer, shape = _layer(name, leaf.shape)
        axes = axes_of(layer)
        found[name] = (None,) * (len(leaf.shape) - len(shape)) + axes if axes else ()
        if axes and len(axes) != len(shape):
            raise ValueError(f"{layer} has {len(shape)} dimensions, and its rule {len(axes)}")
    return found


def _layer(name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Path and shape of the first layer of a stack; of what is none, its own."""
    layer, index = next(iter(merge.separate(name, shape).items()))
    return layer, tuple(shape) if index is None else tuple(shape[1:])


def _owner(words: list[str], owners: Mapping[tuple[str, ...], str]) -> str | None:
    """The longest parameter path that stands in a row in `words`."""
    for length in range(len(words), 0, -1):
        for start in range(len(words) - length + 1):
            if (own := tuple(words[start : start + length])) in owners:
                return owners[own]
    return None


def _is_spec(leaf: Any) -> bool:
    return isinstance(leaf, PartitionSpec)
