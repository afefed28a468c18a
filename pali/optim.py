# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The update rule: OptimConfig -> `Update`, and the split into trained and frozen parameters.

Parameters are told apart by their paths with separate layers (`mt5/encoder/layers_3/…`), whatever
form they have in memory. What is frozen never enters the gradient or the optimizer, so it costs no
memory there and cannot change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import optax
from optax import contrib

from pali import adafactor
from pali.checkpoints import merge
from pali.config import OptimConfig
from pali.models.layers import ADAPTER
from pali.types import Params


def partition(params: Params, freeze: tuple[str, ...]) -> tuple[Params, Params]:
    """Splits a tree of parameters into (trained, frozen) by regular expressions on whole paths.

    Adapters (pali/lora.py) are never frozen: they are there to be trained.

    Raises:
      ValueError: a pattern is no regular expression, matches no path, or only some layers of a
        stack, which in memory are one array; the message names it. Or nothing is left to train.
    """
    flat = merge.flatten(params)
    freezable = {name: leaf for name, leaf in flat.items() if not name.endswith(ADAPTER)}
    frozen_names = {
        name
        for pattern in freeze
        for name in matching(freezable, pattern, "freeze", "vit/.* freezes the ViT")
    }
    trained = {name: leaf for name, leaf in flat.items() if name not in frozen_names}
    if not trained:
        raise ValueError(f"freeze {', '.join(map(repr, freeze))} leaves nothing to train")
    frozen = {name: leaf for name, leaf in flat.items() if name in frozen_names}
    return merge.unflatten(trained), merge.unflatten(frozen)


def matching(flat: Mapping[str, Any], pattern: str, what: str, example: str) -> set[str]:
    """Names of the parameters whose path, with separate layers, a regular expression matches whole.

    Args:
      flat: parameters by their names in memory, layers stacked or apart.
      pattern: the regular expression.
      what: what it is for, and `example` one that is right: for errors.

    Raises:
      ValueError: it is no regular expression, matches nothing, or only some layers of a stack.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{what} pattern {pattern!r} is no regular expression: {error}") from None
    found = set()
    for name, leaf in flat.items():
        layers = list(merge.separate(name, jnp.shape(leaf)))
        matched = [layer for layer in layers if regex.fullmatch(layer)]
        if matched and len(matched) < len(layers):
            raise ValueError(
                f"{what} pattern {pattern!r} matches {matched[0]!r} but not every layer of its "
                f"stack; set scan=False in the model's config to {what} single layers"
            )
        if matched:
            found.add(name)
    if not found:
        raise ValueError(
            f"{what} pattern {pattern!r} matches no parameter; paths look like "
            f"{', '.join(list(flat)[:3])}, and a pattern must match the whole path ({example})"
        )
    return found


def join(trained: Params, frozen: Params) -> Params:
    """The inverse of `partition`."""
    return merge.unflatten(merge.flatten(trained) | merge.flatten(frozen))


def schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: a linear warm-up to the peak, then the configured decay."""
    peak, warmup = config.learning_rate, min(config.warmup_steps, steps)
    decays = {
        "cosine": optax.cosine_decay_schedule(peak, max(steps - warmup, 1)),
        "linear": optax.linear_schedule(peak, 0.0, max(steps - warmup, 1)),
        # Continuous at the end of the warm-up: peak * sqrt(warmup / step).
        # t < 0 is asked for as well, during the warm-up, and then not used.
        "rsqrt": lambda t: peak * jnp.sqrt(max(warmup, 1) / (jnp.maximum(t, 0) + max(warmup, 1))),
        "constant": optax.constant_schedule(peak),
    }
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, max(warmup, 1)), decays[config.schedule]], [warmup]
    )


class Update(NamedTuple):
    """An update rule: two functions, both for a compiled step that donates state and parameters."""

    init: Callable[[Params], Any]
    """Trained parameters -> state of the optimizer."""
    apply: Callable[[Params, Any, Params], tuple[Params, Any]]
    """(gradients, state, parameters) -> (parameters, state)."""


def optimizer(config: OptimConfig, steps: int) -> Update:
    """The configured update for a tree of trained parameters."""
    rate = schedule(config, steps)
    clip = optax.identity()
    if config.clip_norm is not None:
        clip = optax.clip_by_global_norm(config.clip_norm)
    if config.name != "adafactor":
        return _from_optax(optax.chain(clip, _optax_rule(config, rate)))

    def apply(grads: Params, state: adafactor.State, params: Params) -> tuple[Params, Any]:
        clipped = cast("Params", clip.update(grads, clip.init(params))[0])
        return adafactor.apply(clipped, state, params, jnp.asarray(rate(state["step"])))

    return Update(adafactor.init, apply)


def _from_optax(rule: optax.GradientTransformation) -> Update:
    def apply(grads: Params, state: Any, params: Params) -> tuple[Params, Any]:
        updates, state = rule.update(grads, state, params)
        return cast("Params", optax.apply_updates(params, updates)), state

    return Update(rule.init, apply)


def _optax_rule(config: OptimConfig, rate: optax.Schedule) -> optax.GradientTransformation:
    """AdamW or Muon; weight decay on matrices only, of Muon on those it orthogonalises itself."""
    if config.name == "adamw":
        return optax.adamw(
            rate, config.b1, config.b2, weight_decay=config.weight_decay, mask=_is_matrix
        )
    return contrib.muon(
        rate,
        adam_b1=config.b1,
        adam_b2=config.b2,
        weight_decay=config.weight_decay,
        # What it leaves to Adam does not decay: there is no mask that would spare the norms.
        muon_weight_dimension_numbers=cast("Any", _hidden_matrices),
        # Updates of the size that AdamW's have, so that one learning rate serves both halves
        # (Liu et al. 2025, "Muon is scalable for LLM training", arXiv 2502.16982).
        consistent_rms=0.2,
    )


def _is_matrix(params: Params) -> Params:
    """True for kernels and tables, False for biases, norms' scales and probes."""
    return merge.unflatten(
        {name: name.endswith(("kernel", "embedding")) for name in merge.flatten(params)}
    )


def _hidden_matrices(params: Params) -> Params:
    """Which axes of each kernel between hidden layers are its input and output; None for the rest.

    Muon is for matrices between hidden activations. Embeddings, the first layer on pixels and the
    output heads are updated by Adam, as its authors advise. A leading layer axis is a batch of
    matrices, each orthogonalised apart.
    """
    outer = ("embedding/kernel", "head/kernel", "logits_dense/kernel")
    dimensions = {}
    for name, leaf in merge.flatten(params).items():
        dimensions[name] = None
        if name.endswith("kernel") and not name.endswith(outer):
            stacked = merge.layer_axes(name, leaf.shape)
            axes = tuple(range(stacked, leaf.ndim))
            inputs = len(axes) - 1 if name.endswith("out/kernel") else 1
            dimensions[name] = contrib.MuonDimensionNumbers(axes[:inputs], axes[inputs:])
    return merge.unflatten(dimensions)
