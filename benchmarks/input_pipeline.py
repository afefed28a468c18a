# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Our input pipeline beside SeqIO's own: pictures per second, memory, and a late start.

    python benchmarks/input_pipeline.py speed    the same JPEG and PNG files through both engines
    python benchmarks/input_pipeline.py resume   a first batch far from the beginning, of 16 tasks
    python benchmarks/input_pipeline.py memory   own memory over 20,000 batches

`speed` writes 640 x 480 pictures (scenes of the demo corpus, enlarged, with noise) once as
TFRecords and once as array records. SeqIO reads them by `seqio.get_dataset` with `tf.io` decoding,
`tf.image.resize(antialias=True)` and its own tokenizer, shuffled, with AUTOTUNE; pali reads them as
training does, with as many threads as there are cores. Each runs in a process of its own, and
processor time counts all its threads. Records are read from the page cache.

Two cores of an AMD EPYC (Zen 5), beside other work, so pictures per second of processor time alone
are to be compared; Pillow 13, TensorFlow 2.21:

    format  pixels   pali   SeqIO   ratio   peak GB, pali and SeqIO
    JPEG       224    365     299    1.22   0.26   1.23
    JPEG       588    220     109    2.03   0.43   2.34
    PNG        224    156     160    0.98   0.25   1.28
    PNG        588    122      76    1.60   0.44   2.44

Of the 5.2 ms that a PNG takes to become 224 pixels, Pillow's decoder has 4.1, and most of that is
the inflating of the file; resizing has 1.1.

`resume`: the first batch of a run takes 0.05 s at step 0, 0.10 s at step 1,000,000 and 0.12 s at
step 1,000,000,000. `memory`: 259 MB after 2,000 batches and after 20,000.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from own_memory import own_memory

PICTURES, BATCH, WARM, TIMED = 512, 32, 8, 48
SIZES, FORMATS, ENGINES = (224, 588), ("JPEG", "PNG"), ("pali", "seqio")
LENGTHS = {"inputs": 32, "targets": 32}


def main() -> None:
    """Prints one of the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "resume", "memory"))
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        engine, kind, size, folder = arguments.run
        print(json.dumps(measure(engine, Path(folder), kind, int(size))))
        return
    {"speed": speed, "resume": resume, "memory": memory}[arguments.what]()


def speed() -> None:
    """pali and SeqIO on the same pictures."""
    print(
        "format  px   engine  pictures/s  per core-second  peak GB   pali / seqio (per core-second)"
    )
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for kind, size in itertools.product(FORMATS, SIZES):
            found = {}
            for engine in ENGINES:
                words = [sys.executable, __file__, "speed", "--run", engine, kind, str(size)]
                quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
                done = subprocess.run(
                    [*words, folder], env=quiet, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
                found[engine] = json.loads(done.stdout)
            ratio = found["pali"]["core"] / found["seqio"]["core"]
            for engine, f in found.items():
                last = f"   {ratio:.2f}" if engine == ENGINES[-1] else ""
                print(
                    f"{kind:<7} {size:<4} {engine:<6} {f['wall']:11.0f} {f['core']:16.0f} "
                    f"{f['peak'] / 1e9:8.2f}{last}"
                )


def measure(engine: str, folder: Path, kind: str, size: int) -> dict[str, float]:
    """Pictures per second of time and of processor time, and the highest own memory."""
    batches = {"pali": pali_batches, "seqio": seqio_batches}[engine](folder, kind, size)
    for _ in range(WARM):
        next(batches)
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(TIMED):
        batch = next(batches)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    assert batch["image"].shape == (BATCH, size, size, 3), batch["image"].shape
    pictures = BATCH * TIMED
    return {"wall": pictures / clock, "core": pictures / processor, "peak": own_memory("VmHWM")}


def pali_batches(folder: Path, kind: str, size: int) -> Iterator[Any]:
    """As training reads them."""
    from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
    from pali.data import pipeline
    from pali.data.converter import EncoderDecoderFeatures
    from pali.data.preprocessors import DecodePicture, TextToText, Tokenize
    from pali.data.records import RecordFile

    task = pipeline.Task(
        "pictures",
        RecordFile(str(folder / f"{kind}.array_record")),
        (
            DecodePicture(size),
            TextToText("caption", "name"),
            Tokenize(str(EMBEDDED / TOKENIZER)),
        ),
    )
    convert = EncoderDecoderFeatures(LENGTHS["inputs"], LENGTHS["targets"], (size, size), None)
    examples = pipeline.mixture_dataset([(task, 1.0)], 0)
    batches = pipeline.batch_dataset(examples, convert, BATCH)
    return iter(pipeline.iterate(batches, threads=os.cpu_count() or 1))


def seqio_batches(folder: Path, kind: str, size: int) -> Iterator[Any]:
    """As a T5X user would write it."""
    import functools

    import seqio
    import tensorflow as tf

    from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
    from pali.data.seqio_bridge import pali_features

    def decode(example: dict[str, Any]) -> dict[str, Any]:
        image = tf.io.decode_image(example["image"], channels=3, expand_animations=False)
        image = tf.image.resize(image, (size, size), antialias=True)
        image = tf.saturate_cast(tf.round(image), tf.uint8)
        prompt = "Generate the alt_text in EN at 0: <extra_id_0>"
        return {"image": image, "inputs": prompt, "targets": example["name"]}

    decoded = seqio.map_over_dataset(decode)
    features = pali_features(str(EMBEDDED / TOKENIZER))
    features = {key: features[key] for key in ("image", "inputs", "targets")}
    texts = {key: features[key] for key in LENGTHS}
    text = tf.io.FixedLenFeature([], tf.string)
    seqio.TaskRegistry.add(
        "pictures",
        source=seqio.TFExampleDataSource(
            {"train": str(folder / f"{kind}.tfrecord")}, {"image": text, "name": text}
        ),
        preprocessors=[
            decoded,
            functools.partial(
                seqio.preprocessors.tokenize, output_features=texts, copy_pretokenized=False
            ),
            functools.partial(seqio.preprocessors.append_eos, output_features=texts),
        ],
        output_features=features,
    )
    dataset = seqio.get_dataset(
        "pictures",
        task_feature_lengths={"image": size, **LENGTHS},
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        feature_converter=seqio.PassThroughFeatureConverter(),
    )
    shapes = {"image": [size, size, 3], **{key: [n] for key, n in LENGTHS.items()}}
    dataset = dataset.padded_batch(BATCH, shapes, drop_remainder=True)
    return dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def write(folder: Path) -> None:
    """The same pictures as TFRecords and as array records."""
    import numpy as np
    import tensorflow as tf
    from array_record.python.array_record_module import ArrayRecordWriter
    from PIL import Image

    from pali.data.records import pack
    from pali.data.scenes import describe, render_scene

    generator = np.random.default_rng(0)
    for kind in FORMATS:
        ours = ArrayRecordWriter(str(folder / f"{kind}.array_record"), "group_size:1,zstd:1")
        with tf.io.TFRecordWriter(str(folder / f"{kind}.tfrecord")) as theirs:
            for number in range(PICTURES):
                scene = render_scene(describe("train", number), 96)
                large = np.asarray(Image.fromarray(scene).resize((640, 480)), np.float32)
                noisy = large + generator.normal(0, 6, large.shape)
                file = io.BytesIO()
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, kind, quality=90)
                picture, name = file.getvalue(), "a few things, some of them animals"
                record = {"image_key": str(number), "lang": "en", "image": picture, "name": name}
                ours.write(pack(record))
                values = {"image": picture, "name": name.encode()}
                feature = {
                    key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                    for key, value in values.items()
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                theirs.write(example.SerializeToString())
        ours.close()


def resume() -> None:
    """Seconds from an open mixture of 16 tasks to its first batch."""
    from pali.data import pipeline

    batches = sixteen_tasks()
    print("first step      seconds to the first batch")
    for step in (0, 0, 1_000, 1_000_000, 1_000_000_000):
        start = time.perf_counter()
        iterator = pipeline.iterate(batches, step)
        next(iterator)
        print(f"{step:<15,} {time.perf_counter() - start:.3f}")
        iterator.close()


def memory() -> None:
    """Own memory while 20,000 batches are read."""
    from pali.data import pipeline

    iterator = pipeline.iterate(sixteen_tasks())
    print("batches   own memory, MB")
    for batch in range(20_001):
        next(iterator)
        if batch % 2_000 == 0:
            print(f"{batch:<9,} {own_memory() / 1e6:.0f}", flush=True)
    iterator.close()


def sixteen_tasks() -> Any:
    """Batches of 16 of a mixture of the demo corpus: 16 languages at rates far apart."""
    from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
    from pali.data import pipeline
    from pali.data.converter import EncoderDecoderFeatures
    from pali.data.preprocessors import RenderPicture, TextToText, Tokenize
    from pali.data.sources import DemoTexts
    from pali.languages import resolve_many

    functions: tuple[Callable[[Any], Any], ...] = (
        RenderPicture(72),
        TextToText("caption", "name"),
        Tokenize(str(EMBEDDED / TOKENIZER)),
    )
    mixture = [
        (pipeline.Task(lang, DemoTexts("train", (lang,), 32), functions), 1000.0 / (i + 1) ** 1.5)
        for i, lang in enumerate(resolve_many("xm3600")[:16])
    ]
    examples = pipeline.mixture_dataset(mixture, 0)
    convert = EncoderDecoderFeatures(LENGTHS["inputs"], LENGTHS["targets"], (72, 72), None)
    return pipeline.batch_dataset(examples, convert, 16)


if __name__ == "__main__":
    main()
