# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How much of a device's arithmetic a step uses: model FLOPs utilisation (MFU).

Counted are the matrix products and convolutions of the loss and its gradient, as JAX derives them
(PaLM, arXiv 2204.02311, appendix B): what is frozen is counted forward alone, cached visual tokens
not at all, and what `remat` computes a second time not either. Two operations for each
multiplication with its addition.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

from pali import objectives, optim
from pali.config import Config
from pali.types import Batch, Params

PEAKS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v6": 918e12,
}
"""Dense bfloat16 operations per second of one device, as their makers state them, by the beginning
of JAX's `device_kind`; the longest that fits counts."""


def of_step(
    config: Config, trained: Params, frozen: Params, parts: Sequence[Batch]
) -> float | None:
    """Which share of one second of all devices' peak a training step takes; None if not known.

    Args:
      config: the experiment.
      trained, frozen: its parameters.
      parts: a whole batch.
    """
    kind = jax.devices()[0].device_kind
    if (rate := peak(kind)) is None:
        return None
    plain = without_remat(config)
    objective = objectives.of(plain)

    def loss(trained: Params, frozen: Params, parts: Sequence[Batch]) -> Any:
        return objectives.minimised(plain, objective(optim.join(trained, frozen), parts, None))

    return count(jax.grad(loss), trained, frozen, parts) / (rate * jax.device_count())


def peak(device_kind: str) -> float | None:
    """Operations per second of such a device; None where it is not known."""
    found = [name for name in PEAKS if device_kind.startswith(name)]
    return PEAKS[max(found, key=len)] if found else None


def without_remat(config: Config) -> Config:
    """The same experiment, nothing of it computed twice."""
    model = config.model
    vit, mt5 = (dataclasses.replace(half, remat="none") for half in (model.vit, model.mt5))
    return dataclasses.replace(config, model=dataclasses.replace(model, vit=vit, mt5=mt5))


def count(function: Callable[..., Any], *arguments: Any) -> float:
    """Operations of a function's matrix products and convolutions, nothing computed.

    Args:
      function: of arrays; may hold derivatives and scans.
      arguments: arrays, or their shapes and dtypes.
    """
    return _of(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of(jaxpr: core.Jaxpr) -> float:
    total = 0.0
    for equation in _read(jaxpr):
        name, parameters = equation.primitive.name, equation.params
        sizes: list[tuple[int, ...]] = [getattr(v.aval, "shape", ()) for v in equation.invars]
        if name == "dot_general":
            (summed, _), _ = parameters["dimension_numbers"]
            total += 2 * _outputs(equation) * math.prod(sizes[0][axis] for axis in summed)
        elif name == "conv_general_dilated":
            features = sizes[1][parameters["dimension_numbers"].rhs_spec[0]]
            total += 2 * _outputs(equation) * math.prod(sizes[1]) / features
        else:
            times = parameters["length"] if name == "scan" else 1
            inner = [_of(part) for part in _inner(parameters)]
            # Of the branches of a condition one is taken.
            total += times * (max(inner, default=0.0) if name == "cond" else sum(inner))
    return total


def _read(jaxpr: core.Jaxpr) -> list[core.JaxprEqn]:
    """The equations of whose results something becomes; XLA leaves out the others as well."""
    wanted = {id(variable) for variable in jaxpr.outvars}
    found = []
    for equation in reversed(jaxpr.eqns):
        if any(id(variable) in wanted for variable in equation.outvars):
            wanted |= {id(variable) for variable in equation.invars}
            found.append(equation)
    return found


def _outputs(equation: core.JaxprEqn) -> int:
    return math.prod(getattr(equation.outvars[0].aval, "shape", ()))


def _inner(parameters: dict[str, Any]) -> list[core.Jaxpr]:
    """The programs inside an equation."""
    found = []
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else [value]:
            if isinstance(part, core.ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, core.Jaxpr):
                found.append(part)
    return found
