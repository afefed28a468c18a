# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Trees of weights: nested dicts <-> `a/b/c` names, separate <-> stacked layers, and `fit`.

A stack of layers has two forms. *Separate*: one subtree for each layer, `encoder/layers_0/…`,
`encoder/layers_1/…` (in the ViT `Transformer/encoderblock_0/…`); these are the names that people
and files see. *Stacked*: one subtree `encoder/layers/…` whose arrays carry the layers as axis 0,
which is what `nn.scan` wants in memory. What stands beside the layers, such as
`encoder/relpos_bias`, is the same in both.

Everything here takes NumPy arrays, `jax.Array` and `jax.ShapeDtypeStruct` alike, and returns the
kind it was given.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from pali.checkpoints.weights import Tensor

STACKS = ("layers", "encoderblock")
"""Subtrees that hold a stack of layers: mT5's as T5X calls them, the ViT's as big_vision does."""

_LAYER = re.compile(rf"(?<![^/])({'|'.join(STACKS)})_(\d+)(?=/)")
_STACK = re.compile(rf"(?<![^/])({'|'.join(STACKS)})(?=/)")


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Turns nested dicts into one dict of `a/b/c` names; empty dicts leave no trace."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}/{name}": leaf for name, leaf in flatten(value).items()})
        else:
            flat[str(key)] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns a dict of `a/b/c` names into nested dicts.

    Raises:
      ValueError: a name is both a leaf and a folder of others (`a` and `a/b`).
    """
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *folders, last = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise ValueError(f"{name!r} lies below {folder!r}, which is itself an array.")
        if last in node:
            raise ValueError(f"{name!r} is both an array and a folder of other arrays.")
        node[last] = leaf
    return tree


def fingerprint(tree: Mapping[str, Any]) -> str:
    """A hash of names, types, shapes and values; separate and stacked layers give the same."""
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten(unstack_layers(tree)).items()):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def stack_layers(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Gathers `layers_0/…`, `layers_1/…` into `layers/…`, the layers becoming axis 0.

    Raises:
      ValueError: the layers of a stack are not numbered from 0 without gaps, do not hold the same
        names, or differ in shape.
    """
    stacked: dict[str, Any] = {}
    layers: dict[tuple[str, str], dict[int, Any]] = {}
    for name, leaf in flatten(tree).items():
        if match := _LAYER.search(name):
            layers.setdefault((name[: match.end(1)], name[match.end() :]), {})[int(match[2])] = leaf
        else:
            stacked[name] = leaf
    depths: dict[str, int] = {}
    for (stack, rest), by_number in layers.items():
        name = stack + rest
        depth = depths.setdefault(stack, len(by_number))
        if name in stacked or sorted(by_number) != list(range(depth)):
            raise ValueError(
                f"{name!r} needs one array for each of the layers 0 to {depth - 1} of {stack!r}, "
                f"got {'a stacked one and ' * (name in stacked)}layers {sorted(by_number)}."
            )
        leaves = [by_number[i] for i in range(depth)]
        if len({np.shape(leaf) for leaf in leaves}) > 1:
            raise ValueError(f"{name!r} differs in shape: {[np.shape(leaf) for leaf in leaves]}.")
        stacked[name] = _stack(leaves, leaves[0].dtype)
    return unflatten(stacked)


def unstack_layers(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Splits `layers/…` into `layers_0/…`, `layers_1/…`: the inverse of `stack_layers`."""
    return unflatten(
        {
            layer: _get(leaf, i)
            for name, leaf in flatten(tree).items()
            for layer, i in separate(name, np.shape(leaf)).items()
        }
    )


def layer_axes(name: str, shape: Sequence[int]) -> int:
    """How many axes of an array stand for layers: 1, the first, of a stack; 0 of all others."""
    return int(bool(shape) and _STACK.search(name) is not None)


def separate(name: str, shape: Sequence[int]) -> dict[str, int | None]:
    """Names under which people and files know one array, with the index of each in axis 0.

    >>> separate("encoder/layers/mlp/wo/kernel", (2, 8, 4))
    {'encoder/layers_0/mlp/wo/kernel': 0, 'encoder/layers_1/mlp/wo/kernel': 1}
    >>> separate("encoder/encoder_norm/scale", (4,))
    {'encoder/encoder_norm/scale': None}
    """
    match = _STACK.search(name)
    if match is None or not shape:
        return {name: None}
    return {f"{name[: match.end()]}_{i}{name[match.end() :]}": i for i in range(shape[0])}


class MismatchError(ValueError):
    """Weights do not fit the tree they are meant for; the message lists every path.

    Attributes:
      missing: {name: expected shape} of what the weights lack.
      unexpected: {name: found shape} of what nothing asked for.
      wrong_shape: {name: (found shape, expected shape)}.
    """

    def __init__(
        self,
        missing: Mapping[str, tuple[int, ...]],
        unexpected: Mapping[str, tuple[int, ...]],
        wrong_shape: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
        spelled: Mapping[str, str] | None = None,
    ):
        """Keeps the three lists and writes them out, the likely fix last.

        `spelled` says what the weights' own file calls what has a name here.
        """
        self.missing = dict(missing)
        self.unexpected = dict(unexpected)
        self.wrong_shape = dict(wrong_shape)
        lists = (self.missing, self.unexpected, self.wrong_shape)
        super().__init__(_report(*lists, spelled or {}))

    def about(self, what: str) -> MismatchError:
        """The same error with one more line: whose weights these are."""
        self.args = (f"{self}\n{what}",)
        return self


def fit(loaded: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Brings loaded weights into the structure of the expected tree.

    Args:
      loaded: nested dict of arrays; each stack of layers separate or stacked.
      expected: nested dict of arrays or `ShapeDtypeStruct`; each stack separate or stacked.

    Returns:
      A nested dict with the structure, shapes and dtypes of `expected` and the values of `loaded`.

    Raises:
      MismatchError: lists every missing, unexpected and wrong-shaped path with both shapes.
    """
    return unflatten(fit_names(flatten(loaded), flatten(expected)))


def fill(found: Mapping[str, Tensor], expected: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Reads arrays, one after the other, into the structure of the expected tree.

    Args:
      found: by `a/b/c` names with separate layers.
      expected: nested dict of `ShapeDtypeStruct`; each stack separate or stacked.
      where: what they are read from, for errors.

    Returns:
      A nested dict of NumPy arrays: what the file holds just as it is wanted is only mapped, and
      read-only. Memory never holds more than them and one array besides.

    Raises:
      MismatchError: lists every missing, unexpected and wrong-shaped path with both shapes.
      ValueError: an array holds infinite numbers or NaN; the message names it.
    """
    flat = flatten(expected)
    check_shapes(found, flat)
    filled = {}
    for name, target in flat.items():
        if name in found:
            filled[name] = found[name].read_finite(name, where).astype(target.dtype, copy=False)
            continue
        filled[name] = np.empty(target.shape, target.dtype)
        read_into(filled[name], separate(name, target.shape), found, where)
    return unflatten(filled)


def read_into(
    array: np.ndarray, layers: Mapping[str, int | None], found: Mapping[str, Tensor], where: str
) -> None:
    """Reads layers, one after the other, into their places of an array (see `separate`).

    Raises:
      ValueError: one holds infinite numbers or NaN; the message names it, and `where` it is from.
    """
    for layer, i in layers.items():
        array[... if i is None else i] = found[layer].read_finite(layer, where)


def fit_names(loaded: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """`fit` on dicts of `a/b/c` names, where a name may also lead through a list or a tuple."""
    check_shapes(loaded, expected)
    source = {
        layer: (name, i)
        for name, leaf in loaded.items()
        for layer, i in separate(name, np.shape(leaf)).items()
    }
    fitted = {}
    for name, target in expected.items():
        if name in loaded:
            leaf = loaded[name]
        elif name in source:
            stack, i = source[name]
            leaf = _get(loaded[stack], i)
        else:
            layers = [loaded[layer] for layer in separate(name, np.shape(target))]
            leaf = _stack(layers, target.dtype)
        fitted[name] = _cast(leaf, target.dtype)
    return fitted


def check_shapes(
    found: Mapping[str, Any],
    expected: Mapping[str, Any],
    whose: str = "",
    spelled: Mapping[str, str] | None = None,
) -> None:
    """Compares two dicts of names and arrays, each with its layers separate or stacked.

    Args:
      found: by name.
      expected: by name.
      whose: weights the found ones are, for the message.
      spelled: {name: what the file of the found ones calls it, or should}, for the message.

    Raises:
      MismatchError: with every name that is missing, unexpected or of another shape, and `whose`
        weights the found ones are.
    """
    found, expected = _separate_shapes(found), _separate_shapes(expected)
    missing = {name: shape for name, shape in expected.items() if name not in found}
    unexpected = {name: shape for name, shape in found.items() if name not in expected}
    wrong = {
        name: (found[name], shape)
        for name, shape in expected.items()
        if name in found and found[name] != shape
    }
    if missing or unexpected or wrong:
        error = MismatchError(missing, unexpected, wrong, spelled)
        raise error.about(f"These are the weights of {whose}.") if whose else error


def _separate_shapes(arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        layer: np.shape(leaf) if i is None else np.shape(leaf)[1:]
        for name, leaf in arrays.items()
        for layer, i in separate(name, np.shape(leaf)).items()
    }


def _stack(layers: Sequence[Any], dtype: Any) -> Any:
    first, depth = layers[0], len(layers)
    if isinstance(first, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((depth, *first.shape), dtype)
    if isinstance(first, jax.Array):
        return jnp.stack(layers).astype(dtype)
    stacked = np.empty((depth, *np.shape(first)), dtype)
    for i, layer in enumerate(layers):  # casts while copying: never two copies of a large stack
        stacked[i] = layer
    return stacked


def _get(leaf: Any, i: int | None) -> Any:
    if i is None:
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
    return leaf[i]


def _cast(leaf: Any, dtype: Any) -> Any:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(leaf.shape, dtype)
    return leaf if leaf.dtype == dtype else leaf.astype(dtype)


def _report(missing: Mapping, unexpected: Mapping, wrong: Mapping, spelled: Mapping) -> str:
    def there(name: str) -> str:
        return f" ({spelled[name]} there)" if spelled.get(name, name) != name else ""

    lines = [
        f"The weights do not fit the model: {len(missing)} missing, {len(unexpected)} unexpected, "
        f"{len(wrong)} of another shape."
    ]
    if missing:
        lines.append("Missing (the model expects them, the weights lack them):")
        lines += [f"  {n}: expected {shape}{there(n)}" for n, shape in sorted(missing.items())]
    if unexpected:
        lines.append("Unexpected (the weights hold them, the model has no place for them):")
        lines += [
            f"  {spelled.get(n, n)}: found {shape}" for n, shape in sorted(unexpected.items())
        ]
    if wrong:
        lines.append("Of another shape:")
        lines += [
            f"  {n}: found {a}, expected {b}{there(n)}" for n, (a, b) in sorted(wrong.items())
        ]
    lines += [f"Likely fix: {fix}" for fix in _likely_fixes(missing, unexpected, wrong, spelled)]
    return "\n".join(lines)


def _likely_fixes(
    missing: Mapping, unexpected: Mapping, wrong: Mapping, spelled: Mapping
) -> list[str]:
    fixes = [*_wrapping(missing, unexpected), *_sizes(wrong)]
    # An array of the last layer under another name is no layer too few.
    near = [] if fixes else list(_near_names(missing, unexpected, spelled))
    fixes += near or _depths(missing, unexpected)
    if not fixes and wrong:
        fixes = ["these are weights of another model size: compare the two configurations."]
    return fixes or ["these are weights of another architecture, or a part of them was left out."]


def _wrapping(missing: Mapping, unexpected: Mapping) -> Iterator[str]:
    for outer, inner in ((unexpected, missing), (missing, unexpected)):
        folders = {name.split("/")[0] for name in outer}
        if inner and len(folders) == 1 and {name.split("/", 1)[-1] for name in outer} == set(inner):
            (folder,) = folders
            if outer is unexpected:
                yield f"the weights are wrapped in {folder!r}: pass tree[{folder!r}]."
            else:
                yield f"these are the weights of {folder!r} alone: pass {{{folder!r}: tree}}."


def _sizes(wrong: Mapping) -> Iterator[str]:
    for name, (found, expected) in wrong.items():
        if name.endswith("token_embedder/embedding"):
            yield (
                f"another vocabulary: the weights have {found[0]} pieces, the model "
                f"{expected[0]}. Set vocab_size, and use the tokenizer the weights came with."
            )
        if name.endswith("pos_embedding") and found[-1] == expected[-1]:
            yield (
                f"another resolution: the weights have {found[-2]} positions, the model "
                f"{expected[-2]}. Set image_size and patch_size as they were in training."
            )


def _depths(missing: Mapping, unexpected: Mapping) -> Iterator[str]:
    for stack in sorted(_stack_names(missing) | _stack_names(unexpected)):
        more, fewer = _layer_numbers(stack, unexpected), _layer_numbers(stack, missing)
        if more and not fewer and min(more) > 0:
            yield f"{stack}: {max(more) + 1} layers in the weights, {min(more)} in the model."
        if fewer and not more and min(fewer) > 0:
            yield f"{stack}: {min(fewer)} layers in the weights, {max(fewer) + 1} in the model."


def _near_names(missing: Mapping, unexpected: Mapping, spelled: Mapping) -> Iterator[str]:
    for name, shape in sorted(missing.items()):
        there = spelled.get(name, name)
        alike = [
            spelled.get(other, other)
            for other, found in unexpected.items()
            # Another library may keep the same numbers transposed.
            if (found == shape if there == name else math.prod(found) == math.prod(shape))
        ]
        if near := difflib.get_close_matches(there, alike, n=1, cutoff=0.8):
            own = "" if there == name else f", which should be {there!r} there"
            yield f"{near[0]!r} may be what the model calls {name!r}{own}."


def _stack_names(names: Iterable[str]) -> set[str]:
    return {name[: match.end(1)] for name in names if (match := _LAYER.search(name))}


def _layer_numbers(stack: str, names: Iterable[str]) -> set[int]:
    pattern = re.compile(rf"{re.escape(stack)}_(\d+)/")
    return {int(match[1]) for name in names if (match := pattern.match(name))}
