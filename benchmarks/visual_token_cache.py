# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A training step on cached visual tokens beside one that runs the frozen ViT on the pictures.

    python benchmarks/visual_token_cache.py [--dtype bfloat16] [--batch 8] [--to table.md]
    python benchmarks/visual_token_cache.py --tiny    whether it runs; its numbers say nothing

ViT-B/16 at 224 pixels and mT5-small with its 250,112 tokens, Adafactor, 32 + 32 text tokens, random
weights. The mixture is captioning in 35 languages, a task for each, of the same JPEG files of
640 x 480; texts are random tokens. Both sides read it as training does: one decodes pictures while
the step runs, the other reads tokens. They take turns, one step each, on one and the same state, so
that whatever else the machine does meets both alike; counted is the median of wall time and of
processor time, waiting for the batch in it. Before that the losses of both on the same batches are
compared.

"step" is the ratio of these. "once in L languages" is that of a whole pass over the pictures, each
asked about in L languages, in which the cache is filled first; its cost is measured on these
pictures, compilation and the reading of every record counted.

Measured on two cores of an AMD EPYC (Zen 5, AVX-512), idle, jax 0.10.2, tokens kept as bfloat16:

                                          float32                  bfloat16
                                          pixels   cached  ratio   pixels   cached  ratio
    step, s                                4.589    2.793   1.64    3.096    2.726   1.14
    filling the cache, s a picture                  0.263                    0.129
    once in 1 language, filling counted                     0.94                     0.82
    once in 35 languages, filling counted                   1.61                     1.12
    first loss, off by                            4.5e-07                  -7.4e-05

In bfloat16 the ViT is so fast on this processor that less is there to be saved.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from pali import objectives, optim, train
from pali.config import Config, DataConfig, MT5Config, OptimConfig, PaLIConfig, ViTConfig
from pali.data import pipeline
from pali.data.converter import EncoderDecoderFeatures
from pali.data.inputs import with_cached_tokens
from pali.data.preprocessors import DecodePicture
from pali.languages import COCO_35L
from pali.models import presets

INPUTS, TARGETS, WARM = 32, 32, 2
TINY = PaLIConfig(ViTConfig(16, 2, 32, 2, 16, 32), MT5Config(512, 16, 32, 2, 8, 1, 1))


@dataclass(frozen=True)
class Captions:
    """A caption of random tokens of each picture in one language."""

    lang: str
    files: tuple[bytes, ...] = field(repr=False)
    vocabulary: int

    def __len__(self) -> int:
        """Pictures."""
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """image, lang, inputs, targets."""
        generator = np.random.default_rng([COCO_35L.index(self.lang), index])
        texts = generator.integers(2, self.vocabulary, (2, INPUTS), np.int32)
        return {
            "image": self.files[index],
            "lang": self.lang,
            "inputs": texts[0],
            "targets": texts[1][:TARGETS],
        }


def main() -> None:
    """Prints the table, and writes it where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--kept", choices=("bfloat16", "int8"), default="bfloat16")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--to", type=Path, help="a Markdown file")
    given = parser.parse_args()
    model = TINY if given.tiny else presets.pali("siglip-b/16-224+mt5-small")
    vit = dataclasses.replace(model.vit, dtype=given.dtype)
    mt5 = dataclasses.replace(model.mt5, dtype=given.dtype)
    with tempfile.TemporaryDirectory() as folder:
        config = Config(
            PaLIConfig(vit, mt5),
            DataConfig("35 languages", visual_token_cache=folder, visual_token_dtype=given.kept),
            OptimConfig("adafactor", 1e-3, 0, "constant", clip_norm=None, freeze=("vit/.*",)),
        )
        table = measure(config, given.batch, given.pictures, given.steps)
    title = f"{jax.devices()[0].device_kind}, {given.dtype}, batch {given.batch}"
    text = f"{title}, tokens kept as {given.kept}\n\n{table}\n"
    print(text)
    if given.to:
        given.to.write_text(text, encoding="utf-8")


def measure(config: Config, batch: int, pictures: int, steps: int) -> str:
    """The table."""
    vit, mt5 = config.model.vit, config.model.mt5
    files = tuple(jpeg(number) for number in range(pictures))
    decode = DecodePicture(vit.image_size, vit.pixels)
    pixels = [
        (pipeline.Task(lang, Captions(lang, files, mt5.vocab_size), (decode,)), 1.0)
        for lang in COCO_35L
    ]
    params = jax.device_put(train.start_from(config)[0])
    start = time.perf_counter()
    cached = with_cached_tokens(config, pixels, params)
    fill = (time.perf_counter() - start) / pictures

    shape = (vit.num_visual_tokens, vit.width)
    streams = {
        name: pipeline.iterate(
            pipeline.batch_dataset(
                pipeline.mixture_dataset(mixture, 0),
                EncoderDecoderFeatures(INPUTS, TARGETS, vit.image_size, tokens),
                batch,
            )
        )
        for name, mixture, tokens in (("pixels", pixels, None), ("cached", cached, shape))
    }
    step, state, compare = program(config, params)
    first = {name: next(stream) for name, stream in streams.items()}
    off = compare(first["cached"]) / compare(first["pixels"]) - 1

    wall: dict[str, list[float]] = {name: [] for name in streams}
    processor: dict[str, list[float]] = {name: [] for name in streams}
    for turn in range(WARM + steps):
        for name, stream in streams.items():
            began, busy = time.perf_counter(), time.process_time()
            state = step(state, next(stream))
            if turn >= WARM:
                wall[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - busy)
    for stream in streams.values():
        stream.close()
    seconds = {name: statistics.median(times) for name, times in wall.items()}
    busy = {name: statistics.median(times) for name, times in processor.items()}
    each = {name: value / batch for name, value in seconds.items()}

    def whole(languages: int) -> float:
        return languages * each["pixels"] / (languages * each["cached"] + fill)

    lines = [
        "| | pixels | cached | ratio |",
        "|---|---|---|---|",
        f"| step, s | {seconds['pixels']:.3f} | {seconds['cached']:.3f} "
        f"| {seconds['pixels'] / seconds['cached']:.2f} |",
        f"| step, processor s | {busy['pixels']:.3f} | {busy['cached']:.3f} "
        f"| {busy['pixels'] / busy['cached']:.2f} |",
        f"| filling the cache, s a picture | | {fill:.3f} | |",
        *(f"| once in {n} languages, filling counted | | | {whole(n):.2f} |" for n in (1, 35)),
        f"| first loss, off by | | {off:.1e} | |",
    ]
    return "\n".join(lines)


def program(
    config: Config, params: dict[str, Any]
) -> tuple[Callable[[Any, Any], Any], Any, Callable[[Any], float]]:
    """A step of training, the state before the first, and the loss of a batch there."""
    objective = objectives.of(config)
    trained, frozen = optim.partition(params, config.optim.freeze)
    update = optim.optimizer(config.optim, config.steps)
    run = train.jitted(functools.partial(train.train_step, objective, update, config))
    loss = jax.jit(lambda trained, batch: objective(optim.join(trained, frozen), [batch], None))

    def step(state: Any, batch: Any) -> Any:
        del batch["skipped"]
        state, sums = run(state, frozen, [batch])
        jax.block_until_ready(sums)
        return state

    def compare(batch: Any) -> float:
        own = {name: value for name, value in batch.items() if name != "skipped"}
        return float(loss(trained, own)["loss"])

    state = train.first_state(update, jax.tree.map(jax.numpy.array, trained))
    return step, state, compare


def jpeg(number: int) -> bytes:
    """A file of 640 x 480 pixels with large and small detail."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (15, 20, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC))
    noise = generator.normal(0, 12, (480, 640, 1))
    file = io.BytesIO()
    Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
