# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What benchmarks against a peer share: engines that take turns, and one model for all of them.

An engine is a process of its own with all cores. It does what a line on its stdin tells it and
answers with a line of JSON, so that engines can take turns and whatever else the machine does meets
them alike. The weights are random, written once as transformers stores them; ours are read from the
same files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def parse(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace, str, str], None]
) -> argparse.Namespace:
    """The arguments of a benchmark; in the process of one of its engines, `work` and no return."""
    parser.add_argument("--run", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        work(arguments, *arguments.run)
        raise SystemExit
    return arguments


class Engine:
    """The process that runs this very script again, with `--run NAME FOLDER` at its end."""

    def __init__(self, name: str, folder: str):
        self._process = subprocess.Popen(
            [sys.executable, *sys.argv, "--run", name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, task: Any = None) -> dict[str, Any]:
        """What it answers to a task.

        Raises:
          SystemExit: it stopped.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit("an engine stopped; its error is above")

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


def measure(
    names: Sequence[str], cases: Sequence[str], turns: int
) -> Iterator[tuple[str, dict[str, list[dict[str, Any]]]]]:
    """For each case what each engine answered, turn by turn; the first turn is to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        write_apart(folder)
        started = {name: Engine(name, folder) for name in names}
        try:
            for case in cases:
                found: dict[str, list[dict[str, Any]]] = {name: [] for name in started}
                for _ in range(1 + turns):
                    for name, engine in started.items():
                        found[name].append(engine.ask(case))
                yield case, found
        finally:
            for engine in started.values():
                engine.close()


def median(steps: Sequence[dict[str, Any]], key: str) -> float:
    """Of all turns but the first."""
    return statistics.median(step[key] for step in steps[1:])


def write_apart(folder: str) -> None:
    """Has the weights written by a process of its own, whose memory goes with it."""
    subprocess.run([sys.executable, *sys.argv, "--run", "write", folder], check=True)


def quiet() -> None:
    """Keeps transformers from talking, and JAX from taking the GPU's memory from the others."""
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    os.environ |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def tasks() -> Iterable[Any]:
    """In an engine: what it is asked to do, one after the other."""
    return map(json.loads, sys.stdin)


def answer(found: dict[str, Any]) -> None:
    """In an engine: the answer to the last task."""
    print(json.dumps(found), flush=True)


def presets_of(
    vision: str, language: str, dtype: str = "float32", vocabulary: int | None = None
) -> Any:
    """The PaLI of two presets, a ViT and an mT5, without dropout; ours alone, no torch."""
    import dataclasses

    from pali.config import PixelConfig
    from pali.models import presets

    config = presets.pali(f"{vision}+{language}")
    vit = dataclasses.replace(config.vit, dtype=dtype, pixels=PixelConfig(resample="bicubic"))
    rows = vocabulary or config.mt5.vocab_size
    mt5 = dataclasses.replace(config.mt5, dtype=dtype, vocab_size=rows, dropout=0.0)
    return dataclasses.replace(config, vit=vit, mt5=mt5)


def read_params(config: Any, folder: Path) -> Any:
    """Our parameters of what `write` wrote."""
    import jax

    from pali.checkpoints import initial

    tensors = dict(initial.take_half(folder / "language", "mt5", config).tensors)
    tensors |= initial.take_half(folder / "vision", "vit", config).tensors
    params = initial.initial_params(config, 0, tensors)
    params["projection"] = {"kernel": np.load(folder / "kernel.npy")}
    params["projection"]["bias"] = np.zeros(config.mt5.width, np.float32)
    return jax.device_put(params)


def params_of(config: Any, folder: Path, chosen: str) -> tuple[Any, Any]:
    """Our configuration and parameters as `pali.load(precision=chosen)` would have them."""
    import jax

    from pali import precision
    from pali.checkpoints import merge

    config = precision.configured(config, chosen, divided=False)
    read = merge.flatten(read_params(config, folder))
    wanted = merge.flatten(precision.stored(config, merge.unflatten(read)))
    cast = {name: np.asarray(x).astype(wanted[name].dtype) for name, x in read.items()}
    return config, jax.device_put(precision.laid_out(merge.unflatten(cast), chosen))


def write(config: Any, folder: Path, endless: bool = False) -> None:
    """Random weights of both halves, as transformers stores them, and of the map between them.

    Args:
      config: our configuration.
      folder: gets vision/, language/ and kernel.npy.
      endless: the end token is never the likeliest one.
    """
    import torch
    import transformers

    torch.manual_seed(0)
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
    head = 0.05 * torch.randn(mt5.vocab_size, mt5.width)
    if endless:
        head[:2] = 0
    model.lm_head.weight = torch.nn.Parameter(head)
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


def timed(run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What `run` returns, and its "wall" and "cpu" seconds (those of all threads)."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    return found, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
