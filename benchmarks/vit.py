# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures through our ViT beside the same through transformers on torch, in one run.

    python benchmarks/vit.py                             ViT-B/16 at 224
    python benchmarks/vit.py --vision siglip-so400m/14-224

From pixels to visual tokens, in batches of 1 and 8. The peer is `SiglipVisionModel` with sdpa; its
best is torch.compile with frozen weights in bfloat16. Engines are processes that take turns, with
all cores; counted is the median. Before that the visual tokens are compared: in float32 they agree
to 1e-3, in bfloat16 "off" says by how much they differ on average, as a share of their size.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engines
import numpy as np

OURS = ("pali float32", "pali bfloat16", "pali int8")
PEERS = ("hf float32", "hf bfloat16", "hf bfloat16 compiled")
HEAD = """\
| pictures | engine | s | processor s | pictures/s | off | ours / hf bfloat16 | ours / compiled |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vision", default="vit-b/16")
    parser.add_argument("--turns", type=int, default=5, help="that are timed, after one")
    parser.add_argument("--engines", nargs="+", default=[*OURS, *PEERS])
    parser.add_argument("--batches", nargs="+", default=["1", "8"])
    arguments = engines.parse(parser, work)
    print(HEAD, flush=True)
    measured = engines.measure(arguments.engines, arguments.batches, arguments.turns)
    for batch, found in measured:
        show(batch, found)


def show(batch: str, found: dict[str, list[dict]]) -> None:
    """The rows of one batch size.

    Raises:
      SystemExit: in float32 the visual tokens are not the peer's, so no time can be compared.
    """
    seen = {name: np.array(steps[0]["tokens"]) for name, steps in found.items()}
    right = seen.get("hf float32", next(iter(seen.values())))
    walls = {name: engines.median(steps, "wall") for name, steps in found.items()}
    for name, wall in walls.items():
        off = np.abs(seen[name] - right).mean() / np.abs(right).mean()
        if name.endswith("float32") and off > 1e-3:
            raise SystemExit(f"{name} sees otherwise than hf float32: off by {off:.2%}")
        ratios = [
            f"{walls[peer] / wall:.2f}" if name in OURS and peer in walls else ""
            for peer in PEERS[1:]
        ]
        print(
            f"| {batch} | {name} | {wall:.3f} | {engines.median(found[name], 'cpu'):.3f} | "
            f"{int(batch) / wall:.2f} | {off:.2%} | {' | '.join(ratios)} |"
        )
    sys.stdout.flush()


def work(arguments: argparse.Namespace, engine: str, folder: str) -> None:
    """One engine."""
    engines.quiet()
    config = engines.presets_of(arguments.vision, "mt5-small", vocabulary=256)
    if engine == "write":
        engines.write(config, Path(folder))
        return
    look = (ours if engine.startswith("pali") else theirs)(config, Path(folder), engine)
    side = config.vit.image_shape[0]
    for batch in engines.tasks():
        pixels = np.random.default_rng(0).integers(0, 256, (int(batch), side, side, 3), np.uint8)
        tokens, found = engines.timed(functools.partial(look, pixels))
        engines.answer(found | {"tokens": tokens[:, ::16, ::16].tolist()})


def ours(config: Any, folder: Path, engine: str) -> Callable[[np.ndarray], np.ndarray]:
    """As `model.look` does it."""
    from pali import looking

    config, params = engines.params_of(config, folder, engine.split()[1])
    return lambda pixels: np.asarray(looking.see(config, params, pixels), np.float32)


def theirs(config: Any, folder: Path, engine: str) -> Callable[[np.ndarray], np.ndarray]:
    """The peer."""
    import torch
    import transformers

    del config
    dtype = torch.bfloat16 if "bfloat16" in engine else torch.float32
    vit = transformers.SiglipVisionModel.from_pretrained(folder / "vision", dtype=dtype).eval()
    if engine.endswith("compiled"):
        import torch._inductor.config

        torch._inductor.config.freezing = True
        vit = torch.compile(vit)

    def look(pixels: np.ndarray) -> np.ndarray:
        # Not inference_mode: inductor freezes under no_grad alone.
        with torch.no_grad():
            values = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1
            return vit(pixel_values=values).last_hidden_state.float().numpy()

    return look


if __name__ == "__main__":
    main()
