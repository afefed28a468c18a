# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A training step of ours beside the same step in torch, one after the other in one run.

    python benchmarks/train_step.py                              mT5-small, cached visual tokens
    python benchmarks/train_step.py --pixels                     the frozen ViT in every step
    python benchmarks/train_step.py --vision vit-G/14 --language mt5-large --batch 128 --pixels

The engines:

    pali float32, pali bfloat16   `pali.train.train_step` with Adafactor, as `pali train` runs it
    hf float32                    MT5ForConditionalGeneration, eager, transformers' Adafactor
    torch bfloat16                the same under autocast, with torch.optim.Adafactor
    torch compiled                the same through torch.compile

All start from the same weights, written by transformers and read by pali, and see the same batch:
random visual tokens (or pictures), prompts and targets without padding, no dropout. The first loss
of each is compared before any time is: in float32 they agree to 1e-4, in bfloat16 to 1 %. Each
engine is a process with all cores; they take turns, some steps each, so that whatever else the
machine does meets them alike. Counted is the median step: wall time, and processor time of all
threads. The first step of a turn is not: a virtual machine gives the memory that a process freed
back to its host while the others run, and fetching it again is nothing that training meets. "peak"
is the highest own memory during one of those; on a GPU that of its allocator.

"of matmul" is the share of the machine's own rate of matrix products (2048 x 2048, on a GPU 8192 x
8192, by the engine's library in the engine's precision, in the same process) that the operations of
the step make up: those of the loss and its gradient by pali/training/flops.py, nothing counted
twice. "time / peer" and "peak / peer" are of hf float32 and torch bfloat16.

Measured on two cores of an AMD EPYC (Zen 5, AVX-512), idle, jax 0.10.2, torch 2.13.0, transformers
5.23.0; the first losses agree (float32 13.03636 both, bfloat16 13.03333 and 13.03619):

    engine           step s  processor s  examples/s  of matmul  peak GB  time / peer  peak / peer
    pali float32       2.87         5.20        2.79      41.0%     4.55         0.53         0.96
    pali bfloat16      2.38         4.15        3.36      29.0%     4.23         0.58         1.04
    hf float32         5.45        10.30        1.47      53.0%     4.74
    torch bfloat16     4.12         7.37        1.94      16.2%     4.08
    torch compiled     3.67         6.62        2.18      16.0%     4.42

So 1.9 times as fast in float32, and in bfloat16 1.7 times as the eager peer and 1.5 times as the
compiled one; its peak there is 4 % above the eager peer's.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engines
import numpy as np
from own_memory import Peak

ENGINES = ("pali float32", "pali bfloat16", "hf float32", "torch bfloat16", "torch compiled")
PEER = {"pali float32": "hf float32", "pali bfloat16": "torch bfloat16"}
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2, "compiled": 1e-2}
RATE = 1e-3
WATCHED = 1
"""The step whose memory is measured; it is not timed."""
SIDES = {"cpu": 2048, "cuda": 8192}
"""Of the matrices whose product is timed: large enough that starting it takes no time."""
TURN = 3
"""Steps of one engine before the next has its turn; the first is not timed."""


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vision", default="vit-b/16", help="a ViT preset: tokens and their width")
    parser.add_argument("--language", default="mt5-small", help="an mT5 preset")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--inputs", type=int, default=32, help="tokens of a prompt")
    parser.add_argument("--targets", type=int, default=32, help="tokens of an answer")
    parser.add_argument("--pixels", action="store_true", help="run the frozen ViT in each step")
    parser.add_argument("--turns", type=int, default=4, help="whose steps are timed, after one")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--vocabulary", type=int, default=None, help="smaller, to try this script")
    arguments = engines.parse(parser, work)
    with tempfile.TemporaryDirectory() as folder:
        engines.write_apart(folder)
        compare(arguments, folder)


def compare(arguments: argparse.Namespace, folder: str) -> None:
    """Runs the engines by turns, and prints what was measured."""
    workers = {name: engines.Engine(name, folder) for name in arguments.engines}
    steps: dict[str, list[dict]] = {name: [] for name in workers}
    try:
        ready = {name: worker.ask() for name, worker in workers.items()}
        for turn in range(1 + arguments.turns):
            for name, worker in workers.items():
                steps[name] += (worker.ask() for _ in range(TURN))
                walls = " ".join(f"{step['wall']:.1f}" for step in steps[name][-TURN:])
                print(f"turn {turn}: {name} {walls} s", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.close()
    first = {name: found[0]["loss"] for name, found in steps.items()}
    check(first)
    print(
        "engine           step s  processor s  examples/s  of matmul  peak GB  compile s  "
        "time / peer  peak / peer"
    )
    medians = {}
    for name, found in steps.items():
        timed = [step for turn, step in enumerate(found[TURN:]) if turn % TURN]
        medians[name] = {key: statistics.median(step[key] for step in timed) for key in timed[0]}
        medians[name]["peak"] = found[WATCHED]["peak"]
    for name, found in medians.items():
        share = ready[name]["operations"] / found["wall"] / ready[name]["rate"]
        peer = medians.get(PEER.get(name, ""))
        ratios = (
            peer and f"{found['wall'] / peer['wall']:11.2f} {found['peak'] / peer['peak']:12.2f}"
        )
        print(
            f"{name:<15} {found['wall']:7.2f} {found['cpu']:12.2f} "
            f"{arguments.batch / found['wall']:11.2f} {share:10.1%} {found['peak'] / 1e9:8.2f} "
            f"{steps[name][0]['wall']:10.1f}  {ratios or ''}"
        )


def check(first: dict[str, float]) -> None:
    """Whether all engines compute the same.

    Raises:
      SystemExit: they do not, so no time of theirs can be compared.
    """
    expected = first.get("hf float32", next(iter(first.values())))
    print("first loss: " + ", ".join(f"{name} {loss:.5f}" for name, loss in first.items()))
    for name, loss in first.items():
        if abs(loss - expected) > TOLERANCE[name.split()[1]] * abs(expected):
            raise SystemExit(f"the first loss of {name} is {loss:.5f}, not {expected:.5f}")


def work(arguments: argparse.Namespace, engine: str, folder: str) -> None:
    """One engine: a line of JSON for each line that it reads."""
    engines.quiet()
    if engine == "write":
        engines.write(presets_of(arguments), Path(folder))
        return
    make = pali_step if engine.startswith("pali") else torch_step
    asked = engines.tasks()
    next(asked)
    step, matmul, peak_of = make(arguments, Path(folder), engine)
    engines.answer({"rate": matmul(), "operations": operations(arguments)})
    for turn, _ in enumerate(asked):
        # Whoever watches takes time from what is watched, so of one step each.
        with Peak() if turn == WATCHED else contextlib.nullcontext() as peak:
            loss, found = engines.timed(step)
        found |= {"loss": float(loss), "peak": peak_of() or (peak.most if peak else 0)}
        engines.answer(found)


def presets_of(arguments: argparse.Namespace, dtype: str = "float32") -> Any:
    """The PaLI that is trained."""
    names = (arguments.vision, arguments.language)
    return engines.presets_of(*names, dtype, arguments.vocabulary)


def batch_of(arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """The same for every engine."""
    config, rng = presets_of(arguments), np.random.default_rng(0)
    vit, rows, words = config.vit, arguments.batch, config.mt5.vocab_size
    inputs, targets = (
        rng.integers(2, words, (rows, length), np.int32)
        for length in (arguments.inputs, arguments.targets)
    )
    found = {"inputs": inputs, "targets": targets}
    if arguments.pixels:
        side = vit.image_shape[0]
        return found | {"image": rng.integers(0, 256, (rows, side, side, 3), np.uint8)}
    shape = (rows, vit.num_visual_tokens, vit.width)
    return found | {"visual_tokens": rng.normal(size=shape).astype(np.float32)}


def experiment(arguments: argparse.Namespace, dtype: str) -> Any:
    """The run whose steps are timed: all but the ViT is trained."""
    from pali.config import Config, DataConfig, OptimConfig

    optim = OptimConfig(
        "adafactor", RATE, warmup_steps=0, schedule="constant", clip_norm=None, freeze=("vit/.*",)
    )
    data = DataConfig("none", batch_size=arguments.batch)
    return Config(presets_of(arguments, dtype), data, optim, z_loss=0.0, label_smoothing=0.0)


def operations(arguments: argparse.Namespace) -> float:
    """Floating-point operations of a step."""
    import jax

    from pali import objectives, optim
    from pali.checkpoints import pretrained
    from pali.training import flops

    config = experiment(arguments, "float32")
    params = pretrained.expected_params(config.model)
    trained, frozen = optim.partition(params, config.optim.freeze)
    objective = objectives.of(config)

    def loss(trained: Any, frozen: Any, parts: Any) -> Any:
        return objectives.minimised(config, objective(optim.join(trained, frozen), parts, None))

    parts = jax.eval_shape(lambda: features(batch_of(arguments)))
    return flops.count(jax.grad(loss), trained, frozen, parts)


def features(batch: dict[str, np.ndarray]) -> tuple[dict[str, Any]]:
    """As pali's converter makes them."""
    import jax.numpy as jnp

    targets = batch["targets"]
    rest = {key: jnp.asarray(batch[key]) for key in ("image", "visual_tokens") if key in batch}
    return (
        {
            **rest,
            "image_mask": jnp.ones(len(targets), bool),
            "encoder_input_tokens": jnp.asarray(batch["inputs"]),
            "decoder_input_tokens": jnp.asarray(np.pad(targets, ((0, 0), (1, 0)))[:, :-1]),
            "decoder_target_tokens": jnp.asarray(targets),
            "decoder_loss_weights": jnp.ones(targets.shape, jnp.float32),
            "label": jnp.full(len(targets), -1, jnp.int32),
        },
    )


def pali_step(arguments: argparse.Namespace, folder: Path, engine: str) -> tuple[Callable, ...]:
    """Ours, with donated state."""
    import jax
    import jax.numpy as jnp

    from pali import objectives, optim, train

    dtype = engine.split()[1]
    config = experiment(arguments, dtype)
    params = engines.read_params(config.model, folder)
    trained, frozen = optim.partition(params, config.optim.freeze)
    update = optim.optimizer(config.optim, config.steps)
    run = train.jitted(functools.partial(train.train_step, objectives.of(config), update, config))
    state, parts = train.first_state(update, trained), features(batch_of(arguments))
    del params, trained

    def step() -> float:
        nonlocal state
        state, sums = run(state, frozen, parts)
        return jax.block_until_ready(sums["loss"]) / sums["count"]

    def matmul() -> float:
        side = SIDES["cpu" if jax.default_backend() == "cpu" else "cuda"]
        x = jnp.ones((side, side), dtype)
        product = jax.jit(lambda x: jnp.matmul(x, x, preferred_element_type=jnp.float32))
        return rate_of(lambda: jax.block_until_ready(product(x)), side)

    def peak() -> int:
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)

    return step, matmul, peak


def torch_step(arguments: argparse.Namespace, folder: Path, engine: str) -> tuple[Callable, ...]:
    """The peer: the same sizes, weights and loss."""
    import torch
    import transformers
    from transformers.optimization import Adafactor

    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = engine != "hf float32"
    model = transformers.MT5ForConditionalGeneration.from_pretrained(folder / "language")
    model = model.float().to(device).train()
    projection = torch.from_numpy(np.load(folder / "kernel.npy")).to(device).requires_grad_()
    bias = torch.zeros(projection.shape[1], device=device, requires_grad=True)
    vit = transformers.SiglipVisionModel.from_pretrained(folder / "vision").to(device).eval()
    batch = {key: torch.from_numpy(x).to(device) for key, x in batch_of(arguments).items()}
    inputs, targets = batch["inputs"].long(), batch["targets"].long()
    parameters = [*model.parameters(), projection, bias]
    if half:
        optimizer = torch.optim.Adafactor(parameters, lr=RATE)
    else:
        optimizer = Adafactor(parameters, lr=RATE, relative_step=False, scale_parameter=True)

    def seen() -> Any:
        if "image" not in batch:
            return batch["visual_tokens"]
        with torch.no_grad():
            pixels = batch["image"].permute(0, 3, 1, 2).float() / 127.5 - 1
            return vit(pixel_values=pixels).last_hidden_state

    def loss_of() -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            texts = model.get_input_embeddings()(inputs)
            both = torch.cat([seen() @ projection + bias, texts], 1)
            return model(inputs_embeds=both, labels=targets).loss

    run = torch.compile(loss_of) if engine == "torch compiled" else loss_of

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = run()
        loss.backward()
        optimizer.step()
        return loss.item()

    def matmul() -> float:
        side, dtype = SIDES[device], torch.bfloat16 if half else torch.float32
        x = torch.ones(side, side, device=device, dtype=dtype)

        def product() -> None:
            x @ x
            if device == "cuda":
                torch.cuda.synchronize()

        return rate_of(product, side)

    def peak() -> int:
        return torch.cuda.max_memory_allocated() if device == "cuda" else 0

    return step, matmul, peak


def rate_of(product: Callable[[], Any], side: int) -> float:
    """Operations per second of a product of two square matrices, at best."""
    product()
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


if __name__ == "__main__":
    main()
