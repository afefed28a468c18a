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

"of matmul" is the share of the machine's own rate of matrix products (2048 x 2048, by the engine's
library in the engine's precision, in the same process) that the operations of the step make up:
those of the loss and its gradient by pali/training/flops.py, nothing counted twice.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from own_memory import Peak

ENGINES = ("pali float32", "pali bfloat16", "hf float32", "torch bfloat16", "torch compiled")
PEER = {"pali float32": "hf float32", "pali bfloat16": "torch bfloat16"}
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2, "compiled": 1e-2}
RATE = 1e-3
WATCHED = 1
"""The step whose memory is measured; it is not timed."""
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
    parser.add_argument("--run", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        work(arguments, *arguments.run)
        return
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, whose memory goes with it.
        subprocess.run([*command(), "--run", "write", folder], check=True)
        compare(arguments, folder)


def compare(arguments: argparse.Namespace, folder: str) -> None:
    """Runs the engines by turns, and prints what was measured."""
    workers = {}
    for name in arguments.engines:
        workers[name] = subprocess.Popen(
            [*command(), "--run", name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    steps: dict[str, list[dict]] = {name: [] for name in workers}
    try:
        ready = {name: json.loads(ask(worker)) for name, worker in workers.items()}
        for turn in range(1 + arguments.turns):
            for name, worker in workers.items():
                steps[name] += (json.loads(ask(worker)) for _ in range(TURN))
                walls = " ".join(f"{step['wall']:.1f}" for step in steps[name][-TURN:])
                print(f"turn {turn}: {name} {walls} s", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
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


def command() -> list[str]:
    """This script again, with its own arguments."""
    return [sys.executable, *sys.argv]


def ask(worker: subprocess.Popen) -> str:
    """What a worker says next, once it is told to go on."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    while line := worker.stdout.readline():
        if line.startswith("{"):
            return line
    raise SystemExit("an engine stopped; its error is above")


def work(arguments: argparse.Namespace, engine: str, folder: str) -> None:
    """One engine: a line of JSON for each line that it reads."""
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if engine == "write":
        write(arguments, Path(folder))
        return
    make = pali_step if engine.startswith("pali") else torch_step
    sys.stdin.readline()
    step, matmul, peak_of = make(arguments, Path(folder), engine)
    said = {"rate": matmul(), "operations": operations(arguments)}
    print(json.dumps(said), flush=True)
    for turn, _ in enumerate(sys.stdin):
        # Whoever watches takes time from what is watched, so of one step each.
        with Peak() if turn == WATCHED else contextlib.nullcontext() as peak:
            wall, cpu = time.perf_counter(), time.process_time()
            loss = step()
            found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        found |= {"loss": float(loss), "peak": peak_of() or (peak.most if peak else 0)}
        print(json.dumps(found), flush=True)


def presets_of(arguments: argparse.Namespace, dtype: str = "float32") -> Any:
    """The PaLI that is trained."""
    import dataclasses

    from pali.config import PixelConfig
    from pali.models import presets

    config = presets.pali(f"{arguments.vision}+{arguments.language}")
    vit = dataclasses.replace(config.vit, dtype=dtype, pixels=PixelConfig(resample="bicubic"))
    rows = arguments.vocabulary or config.mt5.vocab_size
    mt5 = dataclasses.replace(config.mt5, dtype=dtype, vocab_size=rows, dropout=0.0)
    return dataclasses.replace(config, vit=vit, mt5=mt5)


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
    from pali.checkpoints import initial

    dtype = engine.split()[1]
    config = experiment(arguments, dtype)
    tensors = dict(initial.take_half(folder / "language", "mt5", config.model).tensors)
    tensors |= initial.take_half(folder / "vision", "vit", config.model).tensors
    params = initial.initial_params(config.model, 0, tensors)
    params["projection"] = {"kernel": jnp.asarray(np.load(folder / "kernel.npy"))}
    params["projection"]["bias"] = jnp.zeros(config.model.mt5.width)
    trained, frozen = optim.partition(params, config.optim.freeze)
    update = optim.optimizer(config.optim, config.steps)
    run = train.jitted(functools.partial(train.train_step, objectives.of(config), update, config))
    state, parts = train.first_state(update, trained), features(batch_of(arguments))
    del params, trained, tensors

    def step() -> float:
        nonlocal state
        state, sums = run(state, frozen, parts)
        return jax.block_until_ready(sums["loss"]) / sums["count"]

    def matmul() -> float:
        x = jnp.ones((2048, 2048), dtype)
        product = jax.jit(lambda x: jnp.matmul(x, x, preferred_element_type=jnp.float32))
        return rate_of(lambda: jax.block_until_ready(product(x)))

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
        x = torch.ones(2048, 2048, device=device, dtype=torch.bfloat16 if half else torch.float32)

        def product() -> None:
            x @ x
            if device == "cuda":
                torch.cuda.synchronize()

        return rate_of(product)

    def peak() -> int:
        return torch.cuda.max_memory_allocated() if device == "cuda" else 0

    return step, matmul, peak


def rate_of(product: Callable[[], Any]) -> float:
    """Operations per second of a product of two matrices of 2048 x 2048, at best."""
    product()
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(seconds)


def write(arguments: argparse.Namespace, folder: Path) -> None:
    """Random weights of both halves, as transformers stores them, and of the map between them."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = presets_of(arguments)
    vit, mt5 = config.vit, config.mt5
    language = transformers.MT5Config(
        vocab_size=mt5.vocab_size,
        d_model=mt5.width,
        d_kv=mt5.head_dim,
        d_ff=mt5.mlp_dim,
        num_heads=mt5.num_heads,
        num_layers=mt5.encoder_layers,
        num_decoder_layers=mt5.decoder_layers,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    model = transformers.MT5ForConditionalGeneration(language)
    model.lm_head.weight = torch.nn.Parameter(0.05 * torch.randn(mt5.vocab_size, mt5.width))
    model.save_pretrained(folder / "language")
    vision = transformers.SiglipVisionConfig(
        hidden_size=vit.width,
        intermediate_size=vit.mlp_dim,
        num_hidden_layers=vit.depth,
        num_attention_heads=vit.num_heads,
        image_size=vit.image_shape[0],
        patch_size=vit.patch_size,
    )
    transformers.SiglipVisionModel(vision).save_pretrained(folder / "vision")
    kernel = np.random.default_rng(1).normal(0, vit.width**-0.5, (vit.width, mt5.width))
    np.save(folder / "kernel.npy", kernel.astype(np.float32))


if __name__ == "__main__":
    main()
