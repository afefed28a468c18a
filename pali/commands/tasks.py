# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali tasks`: what is registered, what an example looks like, and tokenised records to train on.

Examples are the first that training would draw, in its order, before they are tokenised.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

import numpy as np

from pali.boxes import parse_boxes
from pali.commands import CommandError, import_seqio_bridge, missing_extra, read_image_size
from pali.config import PixelConfig

if TYPE_CHECKING:
    from pali.data.pipeline import Example, Mixture
    from pali.data.seqio_bridge import Registered

SUMMARY = (
    """The registered SeqIO tasks and mixtures; with NAME, one of them and some of its examples."""
)

EXAMPLE = """examples:
  pali tasks
  pali tasks demo_captions --examples 16 --sheet sheet.png
  pali tasks my_task --module path/to/my_task.py --write records/my_task"""


SHEET_SIDE = 192
"""Pictures on a sheet are enlarged up to about so many pixels."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali tasks`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a task or a mixture")
    parser.add_argument("--split", default="train", help="default: %(default)s")
    parser.add_argument("--examples", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the order (default: %(default)s)")
    parser.add_argument(
        "--sheet", metavar="PNG", help="write the pictures of the examples there, with boxes"
    )
    parser.add_argument(
        "--module", action="append", default=[], help="a task file of your own; may be repeated"
    )
    parser.add_argument(
        "--write", metavar="FOLDER", help="write the split as tokenised records (data.records)"
    )
    parser.add_argument(
        "--image-size",
        metavar="N|HxW",
        help="of --write: the model's, one side or height x width (default: the task's)",
    )
    for name in ("resample", "fit"):
        parser.add_argument(
            f"--{name}",
            choices=get_args(get_type_hints(PixelConfig)[name]),
            help="of --write, for picture files: the model's (default: "
            f"{getattr(PixelConfig, name)}; with neither --resample nor --fit the task's)",
        )
    parser.add_argument(
        "--tokenizer", metavar="FILE", help="of --write: the model's (default: the task's)"
    )
    parser.add_argument(
        "--no-pictures",
        action="store_true",
        help="of --write: for training on cached visual tokens",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the registry, or one task or mixture."""
    if arguments.name is None and (arguments.write or arguments.sheet):
        raise CommandError("--write and --sheet need the NAME of a task or a mixture")
    size = read_image_size(arguments.image_size)
    if arguments.examples < 0 or (arguments.sheet and not arguments.examples):
        raise CommandError(f"--examples is {arguments.examples}; give at least 1")
    if arguments.sheet and os.path.exists(arguments.sheet):
        raise CommandError(f"{arguments.sheet} is there already; give another --sheet")
    seqio_bridge = import_seqio_bridge()
    try:
        if arguments.name is None:
            _print_registry(seqio_bridge.registered(arguments.module))
            return 0
        mixture = seqio_bridge.read_mixture(arguments.name, arguments.split, arguments.module)
        _print_mixture(mixture, arguments)
        drawn = draw(mixture, arguments.seed, arguments.examples)
        for number, (task, example) in enumerate(drawn, start=1):
            print(f"\n{number}  {task}\n{describe(example)}")
        _write_sheet(arguments.sheet, [example for _, example in drawn])
        if arguments.write:
            from pali.data.pipeline import fit_to_model
            from pali.data.records import write_records

            told = {name: getattr(arguments, name) for name in ("resample", "fit")}
            pixels = {name: value for name, value in told.items() if value}
            write_records(
                fit_to_model(
                    mixture,
                    image_size=size,
                    pixels=PixelConfig(**pixels) if pixels else None,
                    tokenizer=arguments.tokenizer,
                ),
                arguments.write,
                arguments.split,
                name=arguments.name,
                pictures=not arguments.no_pictures,
            )
            print(f"\n{arguments.write}/{arguments.split} has the records: --data.records")
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    return 0


def draw(mixture: Mixture, seed: int, count: int) -> list[tuple[str, Example]]:
    """The first `count` (task name, example) that training would draw, texts still as text."""
    from pali.data import pipeline
    from pali.data.mixing import Interleaved

    untokenised = [
        dataclasses.replace(
            task, functions=tuple(f for f in task.functions if not hasattr(f, "tokenizer"))
        )
        for task, _ in mixture
    ]
    examples = [pipeline.Drawn(task, seed) for task in untokenised]
    places = Interleaved(tuple(float(rate) for _, rate in mixture))
    found = (places[i] for i in range(min(count, sum(len(task.source) for task, _ in mixture))))
    return [(mixture[task][0].name, examples[task][place]) for task, place in found]


def describe(example: Example) -> str:
    """The prompt and the answer of an example, or its fields where it has none."""
    if "skipped" in example:
        return f"   skipped ({example['skipped']}): {example['error']}"
    if "inputs" in example:
        return f"   prompt  {example['inputs']}\n   answer  {example['targets']}"
    fields = {key: value for key, value in example.items() if isinstance(value, str | int)}
    return "\n".join(f"   {key:<7} {value}" for key, value in fields.items())


def contact_sheet(images: Sequence[np.ndarray], columns: int = 8) -> np.ndarray:
    """Pictures u8[h w 3] of one size in rows, white between them: u8[H W 3]."""
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * (height + 4) + 4, columns * (width + 4) + 4, 3), 255, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = 4 + row * (height + 4), 4 + column * (width + 4)
        sheet[top : top + height, left : left + width] = image
    return sheet


def with_boxes(example: Example) -> np.ndarray:
    """The picture of an example, enlarged to be seen well, with the boxes that its answer names."""
    from pali.drawing import draw_boxes

    image = example["image"]
    times = max(1, SHEET_SIDE // min(image.shape[:2]))
    boxes, unparsed = parse_boxes(example.get("targets", ""))
    enlarged = image.repeat(times, axis=0).repeat(times, axis=1)
    # An answer with anything else in it is another kind of text.
    return draw_boxes(enlarged, [] if unparsed else boxes)


def _write_sheet(path: str | None, examples: Sequence[Example]) -> None:
    if path is None:
        return
    images = [with_boxes(example) for example in examples if "image" in example]
    if not images:
        raise CommandError("these examples have no pictures: leave --sheet out")
    from PIL import Image

    Image.fromarray(contact_sheet(images)).save(path, "PNG")
    print(f"\n{Path(path)} shows the {len(images)} pictures, row by row")


def _print_registry(registered: Registered) -> None:
    for name, splits in registered.tasks.items():
        sizes = ", ".join(
            f"{split} {'?' if size is None else format(size, ',')}"
            for split, size in splits.items()
        )
        print(f"{name:<24}{sizes}")
    for name, rates in registered.mixtures.items():
        total = sum(rates.values())
        shares = ", ".join(f"{task} {rate / total:.1%}" for task, rate in rates.items())
        print(f"{name:<24}mixture of {shares}")


def _print_mixture(mixture: Mixture, arguments: argparse.Namespace) -> None:
    total = sum(rate for _, rate in mixture)
    print(f"{arguments.name}, split {arguments.split}")
    for task, rate in mixture:
        share = f"   {rate / total:6.1%} of the examples" if len(mixture) > 1 else ""
        print(f"  {task.name:<22}{len(task.source):>12,} records{share}")
        for function in task.functions:
            print(f"      {function}")
