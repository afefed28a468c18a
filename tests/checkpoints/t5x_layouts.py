# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Small models in every layout of T5X, and its older files, written without pali.

Arrays are random and nowhere zero. `model` draws one; `separate` and `scanned` lay it out.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.serialization
import numpy as np
import tensorstore as ts

# Every size is another number, and heads * head_dim is not the width.
E, H, K, M, V = 6, 2, 5, 7, 11
LAYERS = {"encoder": 2, "decoder": 3}
ATTENTIONS = {
    "encoder": ["attention"],
    "decoder": ["self_attention", "encoder_decoder_attention"],
}
NORMS = {
    "encoder": ["pre_attention_layer_norm", "pre_mlp_layer_norm"],
    "decoder": [
        *("pre_self_attention_layer_norm", "pre_cross_attention_layer_norm"),
        "pre_mlp_layer_norm",
    ],
}


def drawer(dtype: Any = np.float32):
    rng = np.random.default_rng(0)
    return lambda *shape: rng.normal(size=shape).astype(dtype)


def layer(stack, draw, per_layer_bias):
    """The arrays of one layer, attention kernels by heads, as `scalable_t5` has them."""
    arrays = {f"{norm}/scale": draw(E) for norm in NORMS[stack]}
    for attention in ATTENTIONS[stack]:
        for name in ("query", "key", "value"):
            arrays[f"{attention}/{name}/kernel"] = draw(E, H, K)
        arrays[f"{attention}/out/kernel"] = draw(H, K, E)
    arrays |= {f"mlp/{name}/kernel": draw(E, M) for name in ("wi_0", "wi_1")}
    arrays["mlp/wo/kernel"] = draw(M, E)
    if per_layer_bias:
        arrays["relpos_bias/rel_embedding"] = draw(H, 32)
    return arrays


def model(per_layer_bias=False, dtype: Any = np.float32):
    """(arrays outside the layers, layers of each stack)."""
    draw = drawer(dtype)
    outside = {
        "token_embedder/embedding": draw(V, E),
        "encoder/encoder_norm/scale": draw(E),
        "decoder/decoder_norm/scale": draw(E),
        "decoder/logits_dense/kernel": draw(E, V),
    }
    if not per_layer_bias:
        outside |= {f"{stack}/relpos_bias/rel_embedding": draw(H, 32) for stack in LAYERS}
    layers = {s: [layer(s, draw, per_layer_bias) for _ in range(n)] for s, n in LAYERS.items()}
    return outside, layers


def matrix(name, array):
    """An attention kernel as `examples/t5`, and pali, have it."""
    if array.ndim < 3:
        return array
    return array.reshape(H * K, E) if name.endswith("out/kernel") else array.reshape(E, H * K)


def separate(outside, layers, change=matrix):
    """Unscanned; with `change=matrix` that is pali's layout, too."""
    named = dict(outside)
    for stack, arrays in layers.items():
        for number, of_layer in enumerate(arrays):
            for name, array in of_layer.items():
                named[f"{stack}/layers_{number}/{name}"] = change(name, array)
    return named


def scanned(outside, layers, axis=1, stacks=("encoder/encoder", "decoder/decoder")):
    named = dict(outside)
    for stack, where in zip(layers, stacks, strict=True):
        for name in layers[stack][0]:
            arrays = [of_layer[name] for of_layer in layers[stack]]
            named[f"{where}/{name}"] = np.stack(arrays, axis=axis)
    return named


def nested(named):
    tree = {}
    for name, leaf in named.items():
        *folders, last = name.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), folders, tree)[last] = leaf
    return tree


def store_zarr(folder, name, array):
    """Writes one array as T5X does and returns the spec that it notes."""
    path = f"{name.replace('/', '.')}/"
    rows = max(1, array.shape[0] // 2)  # several chunks, the last one not full
    metadata = {
        "shape": list(array.shape),
        "chunks": [rows, *array.shape[1:]],
        "compressor": {"id": "gzip", "level": 1},
    }
    spec = {"driver": "zarr", "dtype": array.dtype.name, "metadata": metadata}
    place = {"driver": "file", "path": f"{folder}/{path}", "file_io_sync": False}
    ts.open({**spec, "kvstore": place}, create=True).result().write(array).result()
    return {**spec, "kvstore": {"driver": "file", "path": path}}


def note(folder, specs, slots=None):
    """The msgpack file of a legacy checkpoint."""
    state = {"step": np.int32(7)} | ({"param_states": slots} if slots else {})
    tree = {"version": 3, "optimizer": {"state": state, "target": nested(specs)}}
    (folder / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(tree))


def legacy(folder, named):
    folder.mkdir(parents=True)
    note(folder, {name: store_zarr(folder, f"target/{name}", a) for name, a in named.items()})
    return folder


def assert_holds(component, config, expected):
    """Configuration, names, shapes, types and every bit of every array."""
    assert component.config == config
    assert component.tensors.keys() == expected.keys()
    for name, tensor in component.tensors.items():
        wanted = expected[name]
        assert tensor.shape == wanted.shape, name
        assert tensor.dtype == wanted.dtype, name
        for _ in range(2):  # it can be read again
            got = tensor.read()
            assert got.dtype == wanted.dtype, name
            assert got.shape == wanted.shape, name
            assert got.tobytes() == wanted.tobytes(), name


def chunks(folder, name):
    array = folder / f"target.{name.replace('/', '.')}"
    return sorted(path for path in array.iterdir() if path.name != ".zarray")
