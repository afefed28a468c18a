# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Rules between pali's parameters and those of another library, read forwards and backwards.

A rule says which arrays there make which arrays here, and how: a linear map is transposed, three
kernels lie in one array. Its names may hold `{}`, which stands for the number of a layer. One table
of rules thus imports and exports, and what goes out comes back bit by bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pali.checkpoints.weights import Tensor

Arrays = tuple[Any, ...]


class Rule(NamedTuple):
    """Arrays `theirs` <-> arrays `ours`."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    read: Callable[..., Arrays]
    """From theirs to ours; it takes NumPy's arrays and JAX's, which tell shapes without numbers."""
    write: Callable[..., Arrays]
    """From ours to theirs, likewise."""


def same(ours: str, theirs: str) -> Rule:
    """The very array."""
    return Rule((ours,), (theirs,), lambda x: (x,), lambda x: (x,))


def transposed(ours: str, theirs: str) -> Rule:
    """A matrix, or torch's [out in] against [in out]."""
    return Rule((ours,), (theirs,), lambda x: (x.T,), lambda x: (x.T,))


def linear(ours: str, theirs: str, *, bias: bool = True) -> list[Rule]:
    """torch's Linear <-> `kernel` and `bias`."""
    rules = [transposed(f"{ours}/kernel", f"{theirs}.weight")]
    return [*rules, same(f"{ours}/bias", f"{theirs}.bias")] if bias else rules


def norm(ours: str, theirs: str, *, bias: bool = True) -> list[Rule]:
    """torch's LayerNorm, or T5's without a bias <-> `scale` and `bias`."""
    rules = [same(f"{ours}/scale", f"{theirs}.weight")]
    return [*rules, same(f"{ours}/bias", f"{theirs}.bias")] if bias else rules


def into_heads(ours: str, theirs: str, heads: int, *, bias: bool = True) -> list[Rule]:
    """torch's Linear [N·H D] <-> kernel [D N H] and bias [N H]."""

    def read(x: Any) -> Arrays:
        return (x.T.reshape(x.shape[1], heads, -1),)

    def write(x: Any) -> Arrays:
        return (x.reshape(x.shape[0], -1).T,)

    rules = [Rule((f"{ours}/kernel",), (f"{theirs}.weight",), read, write)]
    if bias:
        rules.append(
            Rule(
                (f"{ours}/bias",),
                (f"{theirs}.bias",),
                lambda x: (x.reshape(heads, -1),),
                lambda x: (x.reshape(-1),),
            )
        )
    return rules


def from_heads(ours: str, theirs: str, heads: int) -> list[Rule]:
    """torch's Linear [D N·H] <-> kernel [N H D]; and its bias."""

    def read(x: Any) -> Arrays:
        return (x.T.reshape(heads, -1, x.shape[0]),)

    def write(x: Any) -> Arrays:
        return (x.reshape(-1, x.shape[-1]).T,)

    kernel = Rule((f"{ours}/kernel",), (f"{theirs}.weight",), read, write)
    return [kernel, same(f"{ours}/bias", f"{theirs}.bias")]


def joined_heads(ours: Sequence[str], theirs: str, heads: int) -> list[Rule]:
    """torch's MultiheadAttention, queries, keys and values in one array <-> one kernel for each."""

    def read_kernel(x: Any) -> Arrays:
        parts = x.reshape(3, -1, x.shape[1])
        return tuple(parts[i].T.reshape(x.shape[1], heads, -1) for i in range(3))

    def write_kernel(*kernels: Any) -> Arrays:
        return (joined([k.reshape(k.shape[0], -1).T for k in kernels]),)

    def read_bias(x: Any) -> Arrays:
        parts = x.reshape(3, heads, -1)
        return tuple(parts[i] for i in range(3))

    def write_bias(*biases: Any) -> Arrays:
        return (joined([b.reshape(-1) for b in biases]),)

    return [
        Rule(tuple(f"{o}/kernel" for o in ours), (f"{theirs}_weight",), read_kernel, write_kernel),
        Rule(tuple(f"{o}/bias" for o in ours), (f"{theirs}_bias",), read_bias, write_bias),
    ]


def joined(arrays: Sequence[Any], axis: int = 0) -> Any:
    """Concatenated, by NumPy or in what JAX traces."""
    module = np if isinstance(arrays[0], np.ndarray) else jnp
    return module.concatenate(arrays, axis)


def convolution(ours: str, theirs: str) -> Rule:
    """torch's [out in h w] <-> [h w in out]."""
    return Rule(
        (ours,),
        (theirs,),
        lambda x: (x.transpose(2, 3, 1, 0),),
        lambda x: (x.transpose(3, 2, 0, 1),),
    )


def layers(rules: Sequence[Rule], count: int) -> Iterator[Rule]:
    """The rules once for each layer, its number in the place of `{}`."""
    for rule in rules:
        for i in range(count):
            ours = tuple(name.format(i) for name in rule.ours)
            theirs = tuple(name.format(i) for name in rule.theirs)
            yield rule._replace(ours=ours, theirs=theirs)


def spelled(rules: Sequence[Rule]) -> dict[str, str]:
    """What the other library calls what we name so; several arrays are joined by "and"."""
    return {name: " and ".join(rule.theirs) for rule in rules for name in rule.ours}


def imported(rules: Sequence[Rule], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for what is found there; a rule of which an array is missing is left out.

    Raises:
      ValueError: an array cannot be brought into the form it should have.
    """
    return dict(_applied([(r.theirs, r.ours, r.read) for r in rules], found))


def exported(rules: Sequence[Rule], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their names for our arrays.

    Raises:
      ValueError: an array of ours has no rule.
    """
    known = {name for rule in rules for name in rule.ours}
    if left := sorted(set(tensors) - known):
        raise ValueError(f"the other format has no place for {', '.join(left[:5])}")
    return dict(_applied([(r.ours, r.theirs, r.write) for r in rules], tensors))


def _applied(
    changes: Sequence[tuple[tuple[str, ...], tuple[str, ...], Callable[..., Arrays]]],
    found: Mapping[str, Tensor],
) -> Iterator[tuple[str, Tensor]]:
    shapes_of = functools.cache(_shapes)
    for before, after, change in changes:
        if not all(name in found for name in before):
            continue
        sources = [found[name] for name in before]
        try:
            shapes = shapes_of(change, tuple(source.shape for source in sources))
        except (TypeError, ValueError) as error:
            listed = (f"{n} {s.shape}" for n, s in zip(before, sources, strict=True))
            raise ValueError(
                f"{', '.join(listed)} cannot become {', '.join(after)} ({error}): config.json and "
                "the weights are of different models"
            ) from None
        for place, (name, shape) in enumerate(zip(after, shapes, strict=True)):
            yield name, Tensor(shape, sources[0].dtype, _reader(change, sources, place))


def _reader(
    change: Callable[..., Arrays], sources: Sequence[Tensor], place: int
) -> Callable[[], np.ndarray]:
    return lambda: np.asarray(change(*(source.read() for source in sources))[place])


def _shapes(
    change: Callable[..., Arrays], shapes: tuple[tuple[int, ...], ...]
) -> list[tuple[int, ...]]:
    arrays = (jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes)
    return [made.shape for made in jax.eval_shape(change, *arrays)]
