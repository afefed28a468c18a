# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Memory of the loss over mT5's 250,112 tokens and of the optimizer's update, ours and the plain.

    python benchmarks/loss_memory.py [--batches 8 64] [--plan]

"plan" is what XLA sets aside on a CPU beside arguments and results for one compiled program, which
does not depend on the machine's load; "measured" is how far a process's own memory (RssAnon) rose
above what its arguments take while it ran, so with the results; --plan leaves that out. The width
is mT5-small's, 512, with 32 target positions.

XLA of jaxlib 0.10.2, GiB with the gradients to states and head, planned and measured (the results,
0.48, are in it):

    batch  dtype         plain       parts 1       parts 8
        8  float32    0.48  0.96   0.24  0.72   0.24  0.72
        8  bfloat16   0.48  0.98   0.48  0.98   0.48  0.98
       64  float32    3.82  4.30   3.82  4.42   0.72  1.36
       64  bfloat16   3.82  4.33   3.82  4.33   1.08  1.63

Of batch 8 all logits are 0.24 GiB, and `vocabulary_loss.parts` makes one part. Of batch 64 they are
1.91 GiB, held twice by the plain loss; in 8 parts, 0.24 and one gradient of the head (0.48), which
Eigen cannot add to in place. In bfloat16 a CPU keeps a float32 copy of the head as well.

The update of mT5-small's parameters (embedding, head and stacked layers, 0.3 billion numbers, whose
float32 are 1.12 GiB), parameters and state donated, which alias their results in full:

    optax.adafactor     plan 2.24    aliased 1.12    measured 2.72
    pali.adafactor      plan 0.01    aliased 1.12    measured 0.01
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from own_memory import Peak

WIDTH, TARGETS, VOCABULARY = 512, 32, 250_112


def main() -> None:
    """Prints both tables, each number from a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--plan", action="store_true", help="run nothing, compile only")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(memory(*program(*json.loads(arguments.one)), run=not arguments.plan)))
        return
    print("loss over 250,112 tokens, and its gradients")
    for batch in arguments.batches:
        for dtype in ("float32", "bfloat16"):
            for chunks in (0, 1, 8):
                name = f"parts {chunks}" if chunks else "plain"
                report(f"  batch {batch:3}  {dtype:8}  {name}", ["loss", batch, dtype, chunks])
    print("update of mT5-small")
    for name in ("optax", "pali"):
        report(f"  {name}.adafactor", ["update", name])


def report(title: str, case: list) -> None:
    """One line: GiB that XLA plans, and that were measured."""
    command = [sys.executable, __file__, "--one", json.dumps(case)]
    command += ["--plan"] * ("--plan" in sys.argv)
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    numbers = "  ".join(f"{name} {value / 2**30:6.2f}" for name, value in found.items())
    print(f"{title:<36}{numbers}", flush=True)


def program(kind: str, *case: Any) -> tuple[Callable[..., Any], tuple, tuple[int, ...]]:
    """A function, the shapes of its arguments, and which of these are donated."""
    return loss(*case) if kind == "loss" else update(*case)


def loss(batch: int, dtype: str, chunks: int) -> tuple[Callable[..., Any], tuple, tuple[int, ...]]:
    """The loss and its gradients to states and head; 0 chunks are the plain one."""
    import jax

    from pali import losses
    from pali.models.layers import project
    from pali.vocabulary_loss import vocabulary_loss

    def plain(states: Any, kernel: Any, targets: Any, weights: Any) -> Any:
        each = losses.cross_entropy(project(states, kernel, dtype), targets, z_loss=1e-4)
        return (each * weights).sum()

    def ours(*given: Any) -> Any:
        return vocabulary_loss(*given, dtype=dtype, chunks=chunks, z_loss=1e-4).loss

    positions = (batch, TARGETS)
    shapes = (
        jax.ShapeDtypeStruct((*positions, WIDTH), dtype),
        jax.ShapeDtypeStruct((WIDTH, VOCABULARY), "float32"),
        jax.ShapeDtypeStruct(positions, "int32"),
        jax.ShapeDtypeStruct(positions, "float32"),
    )
    return jax.value_and_grad(ours if chunks else plain, argnums=(0, 1)), shapes, ()


def update(name: str) -> tuple[Callable[..., Any], tuple, tuple[int, ...]]:
    """One step of Adafactor on all parameters of mT5-small."""
    import jax
    import optax

    from pali import adafactor
    from pali.checkpoints import pretrained
    from pali.models import presets

    params = pretrained.expected_params(presets.pali("siglip-b/16-224+mt5-small"))["mt5"]
    if name == "pali":
        init = adafactor.init
        step = functools.partial(adafactor.apply, rate=jax.numpy.float32(0.01))
    else:
        rule = optax.adafactor(0.01)
        init = rule.init

        def step(grads: Any, state: Any, params: Any) -> Any:
            updates, state = rule.update(grads, state, params)
            return optax.apply_updates(params, updates), state

    return step, (params, jax.eval_shape(init, params), params), (1, 2)


def memory(
    function: Callable[..., Any], shapes: tuple, donated: tuple[int, ...], *, run: bool
) -> dict[str, int]:
    """Bytes: planned beside arguments and results, and measured beside the arguments."""
    import jax
    import jax.numpy as jnp

    compiled = jax.jit(function, donate_argnums=donated).lower(*shapes).compile()
    plan: Any = compiled.memory_analysis()
    found = {"plan": plan.temp_size_in_bytes, "aliased": plan.alias_size_in_bytes}
    if run:
        full = functools.partial(jax.tree.map, lambda x: jnp.full(x.shape, 0.01, x.dtype))
        arguments = jax.block_until_ready(full(shapes))
        with Peak() as peak:
            jax.block_until_ready(compiled(*arguments))
        found["measured"] = peak.most - peak.before
    return found


if __name__ == "__main__":
    main()
