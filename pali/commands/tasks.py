# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali tasks`: what is registered, what an example looks like, what a mixture draws, and records.

Examples are the first that training would draw, in its order. Tables: pali/commands/task_tables.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np

from pali.commands import (
    CommandError,
    Once,
    import_seqio_bridge,
    missing_extra,
    read_image_size,
    task_tables,
)
from pali.commands.rows import printable
from pali.config import DataConfig, PixelConfig

if TYPE_CHECKING:
    from pali.data.pipeline import Example, Mixture
    from pali.sheet import Shown

SUMMARY = (
    """The registered SeqIO tasks and mixtures; with NAME, one of them and some of its examples."""
)

EXAMPLE = """examples:
  pali tasks
  pali tasks demo_detection --examples 16 --sheet sheet.html
  pali tasks --mixture pali_pretrain_demo --count 20000
  pali tasks my_task --module path/to/my_task.py --write records/my_task"""

EXAMPLES = 4
"""Shown when nothing else is asked for."""

LENGTHS = (DataConfig.inputs_length, DataConfig.targets_length)
"""Tokens at which training cuts prompts and answers, if its config does not say."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali tasks`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a task or a mixture")
    parser.add_argument(
        "--mixture", action=Once, metavar="NAME", help="the same, for whoever likes an option"
    )
    parser.add_argument("--split", default="train", help="default: %(default)s")
    parser.add_argument(
        "--examples",
        type=int,
        metavar="N",
        help=f"show so many, and the batch that they make (default: {EXAMPLES}; with --count 0)",
    )
    parser.add_argument(
        "--count",
        type=int,
        metavar="N",
        help="draw so many as training would, without pictures: measured against declared rates, "
        "tokens by script",
    )
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="of `pali train`: its mixture, task modules, prompts and lengths, if not given",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order (default: %(default)s)")
    for name, what, default in zip(
        ("inputs", "targets"), ("prompts", "answers"), LENGTHS, strict=True
    ):
        parser.add_argument(
            f"--{name}-length",
            type=int,
            metavar="N",
            help=f"tokens at which {what} are cut (default: the config's, or {default})",
        )
    parser.add_argument(
        "--sheet",
        metavar="FILE",
        help="write the pictures of the examples there, with boxes: .png, or .html with the texts",
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
        help="the model's, one side or height x width (default: the task's)",
    )
    for name in ("resample", "fit"):
        parser.add_argument(
            f"--{name}",
            choices=get_args(get_type_hints(PixelConfig)[name]),
            help="for picture files: the model's (default: "
            f"{getattr(PixelConfig, name)}; with neither --resample nor --fit the task's)",
        )
    parser.add_argument("--tokenizer", metavar="FILE", help="the model's (default: the task's)")
    parser.add_argument(
        "--no-pictures",
        action="store_true",
        help="of --write: for training on cached visual tokens",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the registry, or one task or mixture."""
    size = read_image_size(arguments.image_size)
    prompts = _follow_config(arguments)
    name, examples = _checked(arguments)
    seqio_bridge = import_seqio_bridge()
    try:
        if name is None:
            print(task_tables.registry(seqio_bridge.registered(arguments.module)))
            return 0
        from pali.data.pipeline import fit_to_model

        told = {name: getattr(arguments, name) for name in ("resample", "fit")}
        pixels = {name: value for name, value in told.items() if value}
        mixture = fit_to_model(
            seqio_bridge.read_mixture(name, arguments.split, arguments.module),
            image_size=size,
            pixels=PixelConfig(**pixels) if pixels else None,
            tokenizer=arguments.tokenizer,
            prompts=prompts,
        )
        lengths = arguments.inputs_length, arguments.targets_length
        print(f"{name}, split {arguments.split}")
        if arguments.count:
            _print_counted(mixture, arguments, lengths)
        else:
            print(task_tables.tasks_of(mixture))
        if examples:
            _print_examples(mixture, arguments, examples, lengths)
        if arguments.write:
            from pali.data.records import write_records

            write_records(
                mixture,
                arguments.write,
                arguments.split,
                name=name,
                pictures=not arguments.no_pictures,
            )
            print(f"\n{arguments.write}/{arguments.split} has the records: --data.records")
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    return 0


def _follow_config(arguments: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """Fills in what was not given, from --config or by default; the prompts in other words."""
    data = None
    if arguments.config:
        from pali.commands.train import find_config, load_config

        data = load_config(*find_config(arguments.config)).data
        arguments.module = [*data.task_modules, *arguments.module]
        if not (arguments.name or arguments.mixture):
            arguments.mixture = data.mixture
    for option, default in zip(("inputs_length", "targets_length"), LENGTHS, strict=True):
        if getattr(arguments, option) is None:
            setattr(arguments, option, getattr(data, option, default))
    return data.prompts if data else ()


def _checked(arguments: argparse.Namespace) -> tuple[str | None, int]:
    """The name that was given, and how many examples are to be shown; else a CommandError."""
    name = arguments.name or arguments.mixture
    if arguments.name and arguments.mixture:
        raise CommandError(f"NAME is {arguments.name} and --mixture is {name}; give one of them")
    wanted = [option for option in ("write", "sheet", "count") if getattr(arguments, option)]
    if name is None and wanted:
        raise CommandError(f"--{wanted[0]} needs the NAME of a task or a mixture")
    examples = arguments.examples
    if examples is None:
        examples = 0 if arguments.count is not None else EXAMPLES
    if examples < 0 or (arguments.sheet and not examples):
        raise CommandError(f"--examples is {examples}; give at least 1")
    for option in ("count", "inputs_length", "targets_length"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise CommandError(f"--{option.replace('_', '-')} is {value}; give at least 1")
    if arguments.sheet:
        from pali.sheet import check_kind

        try:
            check_kind(Path(arguments.sheet))
        except ValueError as error:
            raise CommandError(f"--sheet: {error}") from None
        if os.path.exists(arguments.sheet):
            raise CommandError(f"{arguments.sheet} is there already; give another --sheet")
    return name, examples


def _print_counted(
    mixture: Mixture, arguments: argparse.Namespace, lengths: tuple[int, int]
) -> None:
    from pali.data import counting

    found = counting.count(
        mixture, arguments.seed, arguments.count, lengths, lambda places: _watched(places)
    )
    print(f"the first {found.examples:,} examples that training draws (--seed {arguments.seed})\n")
    print(task_tables.counted(found, lengths))
    if warning := task_tables.cut_warning(found, lengths):
        print(f"pali tasks: {warning}", file=sys.stderr)


def _print_examples(
    mixture: Mixture, arguments: argparse.Namespace, count: int, lengths: tuple[int, int]
) -> None:
    drawn = draw(mixture, arguments.seed, count)
    for number, (task, example) in enumerate(drawn, start=1):
        print(f"\n{number}  {task}\n{describe(example, lengths)}")
    tokenizers = [getattr(f, "tokenizer", None) for task, _ in mixture for f in task.functions]
    print(batch([example for _, example in drawn], lengths, next(filter(None, tokenizers), None)))
    if arguments.sheet:
        from pali.sheet import write_sheet

        shown = [_shown(task, example) for task, example in drawn if "skipped" not in example]
        title = f"{arguments.name or arguments.mixture}, split {arguments.split}"
        pictures = write_sheet(Path(arguments.sheet), title, shown)
        print(f"\n{arguments.sheet} shows the {pictures} pictures, row by row")
        if left := len(drawn) - len(shown):
            print(f"{left} of the {len(drawn)} examples cannot be used, and are not on it")


def draw(mixture: Mixture, seed: int, count: int) -> list[tuple[str, Example]]:
    """The first `count` (task name, example) that training would draw; see `KeepTexts`."""
    from pali.data import pipeline
    from pali.data.mixing import Interleaved

    tasks = [
        dataclasses.replace(
            task,
            functions=tuple(KeepTexts(f) if hasattr(f, "tokenizer") else f for f in task.functions),
        )
        for task, _ in mixture
    ]
    examples = [pipeline.Drawn(task, seed) for task in tasks]
    places = Interleaved(tuple(float(rate) for _, rate in mixture))
    found = (places[i] for i in range(min(count, sum(len(task.source) for task, _ in mixture))))
    return [(mixture[task][0].name, examples[task][place]) for task, place in found]


@dataclasses.dataclass(frozen=True)
class KeepTexts:
    """A function that makes tokens, after which "inputs_text" and "targets_text" are still texts.

    Where the function itself made the text, as span corruption does, they are its tokens decoded.
    """

    function: Any

    def __call__(self, example: Example) -> Example:
        """Adds both."""
        from pali.tokenizer import load_tokenizer

        after = self.function(example)
        tokenizer = load_tokenizer(self.function.tokenizer)
        texts = {
            f"{key}_text": example[key]
            if isinstance(example.get(key), str)
            else tokenizer.decode(after[key].tolist())
            for key in ("inputs", "targets")
            if key in after
        }
        return after | texts


def describe(example: Example, lengths: tuple[int, int] = LENGTHS) -> str:
    """Prompt, answer and their tokens, or the fields of an example that has none."""
    if "skipped" in example:
        return f"   skipped ({example['skipped']}): {printable(example['error'])}"
    if "inputs" not in example:
        fields = {key: value for key, value in example.items() if isinstance(value, str | int)}
        return "\n".join(f"   {key:<7} {printable(str(value))}" for key, value in fields.items())
    prompt, answer = map(printable, _texts(example))
    lines = [f"   prompt  {prompt}", f"   answer  {answer}"]
    if isinstance(example["inputs"], np.ndarray):
        said = (
            f"{len(example[key])} of the {name}{f', cut at {limit}' * (len(example[key]) > limit)}"
            for key, name, limit in zip(
                ("inputs", "targets"), ("prompt", "answer"), lengths, strict=True
            )
        )
        lines.append(f"   tokens  {'; '.join(said)}")
    return "\n".join(lines)


def batch(examples: Sequence[Example], lengths: tuple[int, int], tokenizer: str | None) -> str:
    """What the converter makes of examples: names, types and shapes, and one row decoded."""
    from pali.data.converter import ClassificationFeatures, EncoderDecoderFeatures
    from pali.tasks import DEMO_IMAGE_SIZE
    from pali.tokenizer import load_tokenizer

    used = [example for example in examples if "skipped" not in example]
    shapes = {example["image"].shape for example in used if "image" in example}
    if len(shapes) > 1:
        return "\nno batch: the pictures have several sizes; give the model's --image-size"
    if not used or any(isinstance(example.get("inputs"), str) for example in used):
        return ""  # Texts that the task leaves to whoever reads them.
    height, width, _ = shapes.pop() if shapes else (DEMO_IMAGE_SIZE, DEMO_IMAGE_SIZE, 3)
    convert = ClassificationFeatures((height, width))
    if all("inputs" in example for example in used):
        convert = EncoderDecoderFeatures(*lengths, (height, width))
    rows = [convert(example) for example in examples]
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    lines = [f"\nas a batch, prompts cut at {lengths[0]} tokens and answers at {lengths[1]}"]
    lines += [f"   {k:<24}{v.dtype!s:<9}{' x '.join(map(str, v.shape))}" for k, v in arrays.items()]
    if tokenizer and "encoder_input_tokens" in arrays:
        first = next(i for i, example in enumerate(examples) if "skipped" not in example)
        lines.append(f"row {first + 1}, decoded")
        for name in ("encoder_input_tokens", "decoder_target_tokens"):
            row = arrays[name][first]
            text = load_tokenizer(tokenizer).decode(row.tolist())
            lines.append(f"   {name:<24}{text} + {int((row == 0).sum())} of padding")
    return "\n".join(lines)


def _texts(example: Example) -> tuple[str, str]:
    """Prompt and answer as text; "" where there is none."""
    prompt, answer = (example.get(f"{key}_text", example.get(key)) for key in ("inputs", "targets"))
    return (prompt if isinstance(prompt, str) else "", answer if isinstance(answer, str) else "")


def _shown(task: str, example: Example) -> Shown:
    from pali.sheet import Shown

    lang = example.get("lang")
    return Shown(
        task, *_texts(example), example.get("image"), lang if isinstance(lang, str) else ""
    )


def _watched(places: Iterable[int]) -> Iterator[int]:
    """Passes places on; on a terminal a bar on stderr counts them."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    total = len(places) if isinstance(places, range) else None
    yield from track(
        places,
        "examples",
        total=total,
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
