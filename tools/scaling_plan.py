# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The arithmetic behind docs/scaling.md: what a training step of PaLI-17B asks of many chips.

    python tools/scaling_plan.py

prints the tables of that page; tests/test_scaling_plan.py holds them against it. Nothing here was
measured: memory is pali/memory.py, operations and bytes are counted from the shapes of the model,
and times follow from the rates in CHIP, which are published, and from EFFICIENCY.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from pali import memory, sharding
from pali.checkpoints.pretrained import expected_arrays
from pali.config import PaLIConfig
from pali.memory import Work
from pali.mesh_config import MeshConfig
from pali.models import presets

PHASE_1 = Work(batch_size=4096, inputs_length=64, targets_length=64)
"""The first phase, at 224 pixels beside a frozen ViT; the paper does not say how long texts are."""

MESHES = (MeshConfig(1, 256, 1), MeshConfig(1, 64, 4), MeshConfig(2, 256, 2), MeshConfig(4, 64, 4))
"""256 chips and 1,024, in two ways each. 256 is the most by which ViT-e can be divided along its
width of 1,792."""

FULL, HALF = 4, 2
"""Bytes of a number in float32 and in bfloat16."""


@dataclass(frozen=True)
class Chip:
    """What is published of it."""

    name: str
    gib: float
    flops: float
    """Operations in a second, bfloat16."""
    link: float
    """Bytes in a second that a ring along one axis of the torus moves through a chip, both
    directions together."""


CHIP = Chip("TPU v4", 32, 275e12, 90e9)
"""Memory and operations: cloud.google.com/tpu/docs/v4. Links: "How to Scale Your Model", part 2
(jax-ml.github.io/scaling-book), 45 GB/s each way."""

EFFICIENCY = 0.55
"""Share of its peak that a chip is taken to reach while it multiplies: what ViT-22B reached as a
whole on TPU v4 (arXiv 2302.05442), so rather little for matrix products alone."""


@dataclass(frozen=True)
class Collective:
    """One kind of exchange in a step."""

    what: str
    kind: str
    axis: str
    times: int
    """In one step."""
    bytes: float
    """That one chip sends in a step."""
    hidden: bool
    """Whether it can run beside the products: it waits for nothing that is just being computed."""


def operations(config: PaLIConfig, work: Work) -> dict[str, float]:
    """Multiplications and additions of one example, by part: two for each weight and position.

    The ViT forwards alone. Of what is trained the backward pass costs twice the forward one, and
    layers are computed once more (remat), as are the logits of a loss in chunks.
    """
    vit, mt5 = config.vit, config.mt5
    seen, asked, said = vit.num_visual_tokens, work.inputs_length, work.targets_length
    source, joined = seen + asked, mt5.num_heads * mt5.head_dim
    weights = {"vit": 0, "encoder": 0, "decoder": 0, "cross": 0}
    for name, leaf in expected_arrays(config).items():
        if not name.endswith("kernel") or "logits_dense" in name:
            continue
        if name.startswith("vit/") and "MAPHead" not in name:
            weights["vit"] += leaf.size
        elif "encoder_decoder_attention/key" in name or "encoder_decoder_attention/value" in name:
            weights["cross"] += leaf.size
        elif name.startswith("mt5/"):
            weights[name.split("/")[1]] += leaf.size
    look = 2 * weights["vit"] * seen + 4 * vit.depth * seen**2 * vit.width
    read = 2 * weights["encoder"] * source + 4 * mt5.encoder_layers * source**2 * joined
    read += 2 * vit.width * mt5.width * seen
    write = 2 * (weights["decoder"] * said + weights["cross"] * source)
    write += 4 * mt5.decoder_layers * said * (said + source) * joined
    head = 2 * mt5.width * mt5.vocab_size * said
    return {"ViT": look, "encoder": 4 * read, "decoder": 4 * write, "logits": 4 * head}


def useful(config: PaLIConfig, work: Work) -> float:
    """Operations of one example without what is computed again: those that MFU counts."""
    found = operations(config, work)
    return found["ViT"] + 0.75 * (found["encoder"] + found["decoder"] + found["logits"])


def collectives(config: PaLIConfig, mesh: MeshConfig, work: Work) -> list[Collective]:
    """What the chips exchange in one step, in rings: a chip sends (n - 1)/n of what it has at last.

    Weights are gathered in bfloat16, since they are cast before; sums over `model` and gradients
    travel in float32, in which products accumulate: so XLA's partitioner has it. A layer of the
    encoder is summed over `model` twice forwards, once when it is computed again (nobody reads its
    last sum) and twice backwards; one of the decoder three, two and three times, and its gradient
    to the source once. That takes a compiler that adds the gradients to queries, keys and values,
    and those to the two halves of the MLP, before it sums them: XLA's does for GPUs
    (xla_gpu_enable_reassociation_for_converted_ar), and not for CPUs.
    """
    vit, mt5 = config.vit, config.mt5
    rows = work.batch_size // mesh.shares
    flat = expected_arrays(config)
    axes = {name: sharding.axes_of(name) for name in flat}
    divided = {name: leaf.size for name, leaf in flat.items() if "fsdp" in axes[name]}
    embedding = "mt5/token_embedder/embedding"
    frozen = sum(n for name, n in divided.items() if name.startswith("vit/")) / mesh.model
    trained = sum(n for name, n in divided.items() if not name.startswith("vit/")) / mesh.model
    matrices = trained - divided[embedding] / mesh.model
    ring = {axis: (size - 1) / size for axis, size in vars(mesh).items()}
    source = vit.num_visual_tokens + work.inputs_length
    sums = 5 * mt5.encoder_layers * source
    sums += mt5.decoder_layers * (8 * work.targets_length + source)
    texts = work.inputs_length + work.targets_length
    seen = 2 * vit.depth * vit.num_visual_tokens * vit.width
    found = [
        Collective(
            "weights of the ViT",
            "all-gather",
            "fsdp",
            vit.depth,
            HALF * frozen * ring["fsdp"],
            True,
        ),
        Collective(
            "weights of the language half, three times",
            "all-gather",
            "fsdp",
            3 * (mt5.encoder_layers + mt5.decoder_layers + 2),
            3 * HALF * matrices * ring["fsdp"],
            True,
        ),
        Collective(
            "gradients",
            "reduce-scatter",
            "fsdp",
            mt5.encoder_layers + mt5.decoder_layers + 2,
            FULL * matrices * ring["fsdp"],
            True,
        ),
        Collective(
            "gradients of each part",
            "all-reduce",
            "data",
            mt5.encoder_layers + mt5.decoder_layers + 3,
            2 * FULL * trained / mesh.fsdp * ring["data"],
            True,
        ),
        Collective(
            "embedded texts, and back",
            "all-to-all",
            "fsdp",
            4,
            2 * HALF * rows * texts * mt5.width * ring["fsdp"],
            False,
        ),
        Collective(
            "sums in the ViT",
            "all-reduce",
            "model",
            2 * vit.depth,
            2 * FULL * rows * seen * ring["model"],
            False,
        ),
        Collective(
            "sums in the language half",
            "all-reduce",
            "model",
            5 * mt5.encoder_layers + 9 * mt5.decoder_layers,
            2 * FULL * rows * sums * mt5.width * ring["model"],
            False,
        ),
    ]
    return [entry for entry in found if entry.bytes]


@dataclass(frozen=True)
class Step:
    """Seconds of one step."""

    products: float
    hidden: float
    """Exchanges that may run beside the products."""
    waited: float
    """Exchanges that nothing runs beside."""

    @property
    def total(self) -> float:
        """Whichever of the first two is longer, and the last."""
        return max(self.products, self.hidden) + self.waited


def step(config: PaLIConfig, mesh: MeshConfig, work: Work, chip: Chip = CHIP) -> Step:
    """How long one step takes at the stated rates."""
    found = collectives(config, mesh, work)
    each = sum(operations(config, work).values()) * work.batch_size / mesh.devices
    return Step(
        each / (chip.flops * EFFICIENCY),
        sum(entry.bytes for entry in found if entry.hidden) / chip.link,
        sum(entry.bytes for entry in found if not entry.hidden) / chip.link,
    )


def tables(config: PaLIConfig, work: Work = PHASE_1) -> list[str]:
    """The tables of the page, in Markdown."""
    plans = [memory.training(memory.pretraining(config, work, "full"), mesh) for mesh in MESHES]
    names = [f"{m.devices:,}: {m.data} x {m.fsdp} x {m.model}" for m in MESHES]
    columns = "|--:" * len(MESHES) + "|"
    lines = [_row("GiB on each chip", names), f"|---{columns}"]
    for row in plans[0].rows:
        if any(plan.rows[row] for plan in plans):
            lines.append(_row(row, (f"{plan.rows[row] / 2**30:.2f}" for plan in plans)))
    lines.append(_row("one layer at work", (f"{plan.at_work / 2**30:.2f}" for plan in plans)))
    totals = [plan.total / 2**30 for plan in plans]
    lines.append(_row(f"**total** of {CHIP.gib:g}", (f"**{total:.2f}**" for total in totals)))

    lines += ["", "| Tera-operations of one example | forwards, backwards, again |", "|---|--:|"]
    found = operations(config, work)
    lines += [_row(name, [f"{count / 1e12:.2f}"]) for name, count in found.items()]
    lines.append(_row("**all**", [f"**{sum(found.values()) / 1e12:.2f}**"]))
    lines.append(_row("without what remat computes again", [f"{useful(config, work) / 1e12:.2f}"]))

    lines += ["", _row("GB that a chip sends in a step", ["how, along", "times", *names])]
    lines.append(f"|---|---|--:{columns}")
    entries = [{entry.what: entry for entry in collectives(config, m, work)} for m in MESHES]
    for what in dict.fromkeys(name for every in entries for name in every):
        own = [every.get(what) for every in entries]
        one = next(entry for entry in own if entry)
        sent = (f"{entry.bytes / 1e9:.2f}" if entry else "–" for entry in own)
        lines.append(_row(what, [f"{one.kind}, `{one.axis}`", f"{one.times}", *sent]))

    lines += ["", _row("Seconds of a step", names), f"|---{columns}"]
    steps = [step(config, mesh, work) for mesh in MESHES]
    named = {
        "products": [s.products for s in steps],
        "exchanges that can run beside them": [s.hidden for s in steps],
        "exchanges that are waited for": [s.waited for s in steps],
        "**a step**": [s.total for s in steps],
    }
    lines += [_row(name, (f"{value:.2f}" for value in values)) for name, values in named.items()]
    wanted = useful(config, work) * work.batch_size
    shares = (
        wanted / (mesh.devices * CHIP.flops * s.total)
        for mesh, s in zip(MESHES, steps, strict=True)
    )
    lines.append(_row("MFU", (f"{share:.0%}" for share in shares)))
    days = (s.total * 1.566e9 / work.batch_size / 86400 for s in steps)
    lines.append(_row("days for 1.566 billion examples", (f"{value:.1f}" for value in days)))
    return lines


def _row(name: str, cells: Iterable[str]) -> str:
    return " | ".join([f"| {name}", *cells]) + " |"


def main() -> None:
    """Prints the tables."""
    config = presets.pali("pali-17b")
    vit = dataclasses.replace(config.vit, dtype="bfloat16")
    mt5 = dataclasses.replace(config.mt5, dtype="bfloat16")
    print("\n".join(tables(PaLIConfig(vit, mt5))))


if __name__ == "__main__":
    main()
