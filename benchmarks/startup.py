# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""From a fresh process to the first caption: ours and transformers on torch, in turns.

    python benchmarks/startup.py

ViT-B/16 at 224 and mT5-small with a vocabulary of 250,112, random weights in bfloat16 on disk, in
the page cache; one picture from its PNG file, a prompt, an answer of 16 tokens. Counted is the
process from its start to its end, interpreter and imports included, the median of some turns.

    pali cold     nothing is compiled yet: the folder of compiled programs is empty
    pali warm     every later start
    hf            both models by from_pretrained, `generate` under bfloat16

The peer reads the picture by PIL and the prompt by sentencepiece, from a model of mT5's size, as
ours does: the least that any processor of transformers spends on these.

What is left of ours when compiled and traced programs are read from disk: imports 0.6 s, the
tokenizer 0.2 s, programs into memory 0.3 s, and the answer itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import engines
import numpy as np

KINDS = ("pali cold", "pali warm", "hf")
TOKENS = 16
PROMPT = "Generate the alt_text in EN at 0:"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vision", default="vit-b/16")
    parser.add_argument("--language", default="mt5-small")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--run", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        kind, folder = arguments.run
        {"write": write, "pali": ours, "hf": theirs}[kind](arguments, Path(folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        engines.write_apart(folder)
        start("pali", folder, f"{folder}/compiled")  # Fills the cache, and the page cache.
        start("hf", folder, "")
        walls: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for turn in range(arguments.turns):
            walls["pali cold"].append(start("pali", folder, f"{folder}/empty{turn}"))
            walls["pali warm"].append(start("pali", folder, f"{folder}/compiled"))
            walls["hf"].append(start("hf", folder, ""))
    print("| start | s | of the peer's |\n|---|---|---|")
    for kind, found in walls.items():
        ratio = statistics.median(found) / statistics.median(walls["hf"])
        print(f"| {kind} | {statistics.median(found):.2f} | {ratio:.2f} |")


def start(kind: str, folder: str, compiled: str) -> float:
    """Seconds that a process takes, from its start to its end."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": compiled}
    begin = time.perf_counter()
    command = [sys.executable, *sys.argv, "--run", kind, folder]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def ours(arguments: argparse.Namespace, folder: Path) -> None:
    """As a user has it."""
    del arguments
    import pali

    model = pali.load(folder / "pali")
    print(model.generate(folder / "picture.png", PROMPT, max_length=TOKENS))


def theirs(arguments: argparse.Namespace, folder: Path) -> None:
    """The peer."""
    del arguments
    engines.quiet()
    import sentencepiece
    import torch
    import transformers
    from PIL import Image

    half = {"dtype": torch.bfloat16}
    vit = transformers.SiglipVisionModel.from_pretrained(folder / "vision", **half).eval()
    mt5 = transformers.MT5ForConditionalGeneration.from_pretrained(folder / "language", **half)
    projection = torch.from_numpy(np.load(folder / "kernel.npy")).to(torch.bfloat16)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    prompt = [*tokenizer.encode(PROMPT), tokenizer.eos_id()]
    picture = np.asarray(Image.open(folder / "picture.png").convert("RGB").resize((224, 224)))
    with torch.inference_mode():
        pixels = torch.from_numpy(picture.transpose(2, 0, 1)[None] / 127.5 - 1).to(torch.bfloat16)
        seen = vit(pixel_values=pixels).last_hidden_state @ projection
        texts = mt5.get_input_embeddings()(torch.tensor([prompt]))
        both = torch.cat([seen, texts], 1)
        print(mt5.eval().generate(inputs_embeds=both, max_new_tokens=TOKENS, do_sample=False))


def write(arguments: argparse.Namespace, folder: Path) -> None:
    """The weights for both, in bfloat16, the picture and the tokenizer."""
    import transformers
    from PIL import Image

    from pali.checkpoints import pretrained

    config = engines.presets_of(arguments.vision, arguments.language, "bfloat16")
    engines.write(config, folder, endless=True)
    params = engines.read_params(config, folder)
    spiece = folder / "spiece.model"
    spiece.write_bytes(tokenizer(config.mt5.vocab_size))
    pretrained.save_model(folder / "pali", config, params, spiece, pretrained.Metadata())
    for half in ("language", "vision"):
        kind: Any = (
            transformers.MT5ForConditionalGeneration
            if half == "language"
            else transformers.SiglipVisionModel
        )
        kind.from_pretrained(folder / half).bfloat16().save_pretrained(folder / half)
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")


def tokenizer(size: int) -> bytes:
    """The embedded sentencepiece model with words added until it has `size` pieces, less padding.

    mT5's has 250,100 pieces for 250,112 rows of the table.
    """
    from sentencepiece import sentencepiece_model_pb2 as protos

    from pali.checkpoints import pretrained

    path = pretrained.EMBEDDED / pretrained.TOKENIZER
    model = protos.ModelProto.FromString(path.read_bytes())
    pieces = list(model.pieces)
    ends = [piece for piece in pieces if piece.piece.startswith("<extra_id_")]
    del model.pieces[len(pieces) - len(ends) :]
    for number in range(size - 12 - len(pieces)):
        model.pieces.add(piece=f"▁w{number}", score=-20.0 - number * 1e-5)
    model.pieces.extend(ends)
    return model.SerializeToString()


if __name__ == "__main__":
    main()
