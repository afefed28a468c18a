# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali convert`: weights of others into a model folder, and a model into folders of others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, read_image_size, result_console

if TYPE_CHECKING:
    from pali.checkpoints.components import Joined

SUMMARY = """Weights in and out: a ViT and an mT5 become a PaLI, or a PaLI what others read.

SOURCE is a folder of Hugging Face's (MT5, UMT5, T5 v1.1; ViT, SigLIP, CLIP), the name of such a
repository on the hub, a T5X checkpoint, a big_vision .npz or a model folder of pali. Give one with
a ViT and one with an mT5, or one that is whole."""

EXAMPLE = """examples:
  pali convert google/siglip-so400m-patch14-224 google/mt5-base my_pali
  pali convert vit.npz mt5_base/checkpoint_1000000 my_pali --tokenizer spiece.model
  pali convert my_pali my_pali_448 --image-size 448
  pali convert runs/demo/model exported --to huggingface"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali convert`."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="one or two")
    parser.add_argument("dest", metavar="DEST", help="the folder to write, which must not exist")
    parser.add_argument(
        "--to",
        choices=("pali", "huggingface", "t5x"),
        default="pali",
        help="format of DEST: a model folder (default); folders language and vision for "
        "transformers; a T5X checkpoint",
    )
    parser.add_argument(
        "--image-size",
        metavar="N|HxW",
        help="pixels of the pictures; positions are resampled (default: the ViT's own)",
    )
    parser.add_argument(
        "--class-token-visual",
        action="store_true",
        help="let the class token of a ViT that has one (ViT, CLIP) be a visual token, too",
    )
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="a SentencePiece model (default: the one beside the mT5)",
    )
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        help="of the arrays in the files (default: bfloat16; float32 for other formats)",
    )
    parser.add_argument(
        "--compute",
        choices=("bfloat16", "float32"),
        help="of matrix products when the model runs (default: bfloat16, or what the PaLI had)",
    )
    parser.add_argument(
        "--push-to-hub", metavar="NAME", help="then upload DEST to this repository of the hub"
    )


def run(arguments: argparse.Namespace) -> int:
    """Reads the sources, writes DEST, and says what is in it."""
    from pali.checkpoints import components, convert, folders, hub

    if "" in (arguments.dest, arguments.tokenizer):
        raise CommandError("a path is empty: perhaps a variable of your shell is not set")
    dest, tokenizer = Path(arguments.dest), arguments.tokenizer
    if tokenizer is not None and not Path(tokenizer).is_file():
        raise CommandError(f"there is no tokenizer {tokenizer}")
    push = arguments.push_to_hub
    if push is not None and arguments.to != "pali":
        raise CommandError("--push-to-hub uploads a model folder of pali; leave --to away")
    size = read_image_size(arguments.image_size)
    try:
        folders.check(dest)  # Before gigabytes are downloaded for it.
        if push is not None:
            hub.check_name(push)
        joined = components.join(
            [components.open_source(source) for source in arguments.sources],
            image_size=size,
            class_token_visual=arguments.class_token_visual,
            tokenizer=tokenizer,
        )
        with _progress(joined) as progress:
            left = joined.unused
            if arguments.to == "pali":
                dtype = arguments.dtype or "bfloat16"
                compute = arguments.compute
                convert.write_pali(joined, dest, dtype=dtype, compute=compute, progress=progress)
            else:
                write = {"huggingface": convert.write_huggingface, "t5x": convert.write_t5x}
                dtype = arguments.dtype or "float32"
                left += write[arguments.to](joined, dest, dtype=dtype, progress=progress)
    except OSError as error:  # A bare one, of a full disk, says nothing of where.
        bare = error.errno is not None and error.filename is None
        raise CommandError(f"{dest}: {error.strerror}" if bare else str(error)) from None
    except (ValueError, ModuleNotFoundError) as error:
        raise CommandError(str(error)) from None
    _report(joined, dest, arguments.to, left)
    if push is not None:
        try:
            address = hub.upload(dest, push)
        except (OSError, ValueError, ModuleNotFoundError) as error:
            raise CommandError(str(error)) from None
        print(f"uploaded    {address}")
    return 0


def _progress(joined: Joined) -> Any:
    """A bar of the arrays written; nothing outside a terminal."""
    import contextlib

    from rich.console import Console
    from rich.progress import Progress

    @contextlib.contextmanager
    def shown() -> Any:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("converting", total=len(joined.tensors))
            yield lambda name: bar.advance(task)

    return shown()


def _report(joined: Joined, dest: Path, to: str, left: tuple[str, ...]) -> None:
    console = result_console(sys.stdout)
    for source in joined.sources:
        licence = f" ({source.licence})" if source.licence else ""
        name = {"vit": "vision", "mt5": "language", "pali": "model"}[source.part]
        console.print(f"{name:<12}{source.origin}{licence}", markup=False, soft_wrap=True)
    if left:
        listed = ", ".join(left[:3]) + (", …" if len(left) > 3 else "")
        console.print(f"left out    {len(left)} arrays: {listed}", markup=False)
    if joined.fresh and to == "pali":
        console.print("random      the projection between them: train before you ask it anything")
    total = sum(tensor.size for name, tensor in joined.tensors.items() if name not in left)
    console.print(f"written     {dest}, {total:,} parameters", markup=False, soft_wrap=True)
