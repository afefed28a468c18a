# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of ours beside those of transformers on torch, from the same weights, in one run.

    python benchmarks/decode.py                                    ViT-B/16 and mT5-small
    python benchmarks/decode.py --vision siglip-so400m/14-224 --language mt5-base

The cases, with prompts of 16 tokens and answers of 32:

    greedy B, beam B    B visual-token sequences -> B answers; beams of 4
    languages B         one picture, from its pixels, and B prompts about it: ours looks once, the
                        peer is given the picture B times, as its batched call wants it

Engines are processes that take turns, one call each, with all cores; the first call of a case is
not timed, and counted is the median. In float32 the answers must be the same, id by id, before
anything is said of time; of the others "agree" is the share of tokens before the first difference.
The weights are random, so that in low precision answers part at once where two of 250,112 logits
are nearly equal; what low precision does to trained weights is measured by benchmarks/agreement.py.
The peer is `MT5ForConditionalGeneration.generate` with its key-value cache. "hf bfloat16" is
attention by sdpa, "eager" is without; "static" has a cache of fixed size, and "compiled" this and
torch.compile. "ours / best" is how many times as fast ours is as the fastest of all these.
"shortlist" writes with 16,384 of the tokens alone, so its answers are others. The end token is
never the likeliest, so that all write 32 tokens.

Of the goals for mT5-small RESULTS.md reaches those of batch 8 and 36 with the whole head (1.0) and
of beams against "hf float32" (2), and misses, beside the fastest setting of the peer:

    1.3 at batch 1      a step takes 17.6 ms, of which the head 14.3, as long as in float32: the
                        product unpacks bfloat16 as slowly as float32 is read
    2.5 in int8 there   the head takes 7.2 of 9.8 ms; encoding, once, 28
    2 with shortlist    at 8 it is reached. At 36 a third of the bfloat16 time is the encoder's,
                        which no shortlist shortens; a step takes 67 ms, of which the head 46
    2 in 36 languages   1.8: it looks once, but reads 36 prompts behind the picture as the peer
                        does, and that is most of the work, the more so in mT5-base, whose eager
                        encoder is faster than ours: 0.9 at greedy 36
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

OURS = ("pali float32", "pali bfloat16", "pali int8", "pali bfloat16 shortlist")
PEERS = (
    "hf float32",
    "hf bfloat16",
    "hf bfloat16 eager",
    "hf bfloat16 static",
    "hf bfloat16 compiled",
)
HEAD = """\
| case | engine | s | processor s | tokens/s | agree | ours / best |
|---|---|---|---|---|---|---|"""
CASES = ("greedy 1", "greedy 8", "greedy 36", "beam 1", "beam 8", "languages 36")


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vision", default="vit-b/16")
    parser.add_argument("--language", default="mt5-small")
    parser.add_argument("--inputs", type=int, default=16, help="tokens of a prompt")
    parser.add_argument("--targets", type=int, default=32, help="tokens of an answer")
    parser.add_argument("--turns", type=int, default=3, help="that are timed, after one")
    parser.add_argument("--engines", nargs="+", default=[*OURS, *PEERS])
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    parser.add_argument("--vocabulary", type=int, default=None, help="smaller, to try this script")
    arguments = engines.parse(parser, work)
    print(HEAD, flush=True)
    measured = engines.measure(arguments.engines, arguments.cases, arguments.turns)
    for case, found in measured:
        show(case, found)


def show(case: str, found: dict[str, list[dict]]) -> None:
    """The rows of one case.

    Raises:
      SystemExit: the engines in float32 do not agree, so no time of theirs can be compared.
    """
    ids = {name: np.array(steps[0]["ids"]) for name, steps in found.items()}
    right = ids.get("hf float32", next(iter(ids.values())))
    times = {
        name: [engines.median(steps, key) for key in ("wall", "cpu")]
        for name, steps in found.items()
    }
    best = min((wall for name, (wall, _) in times.items() if name in PEERS), default=None)
    for name, (wall, cpu) in times.items():
        same = np.logical_and.accumulate(ids[name] == right, axis=1).mean()
        if name.endswith("float32") and same < 1:
            raise SystemExit(f"{name} answers otherwise than hf float32: {same:.1%} agree")
        ratio = f"{best / wall:.2f}" if best and name in OURS else ""
        rate = right.size / wall
        print(f"| {case} | {name} | {wall:.3f} | {cpu:.3f} | {rate:.0f} | {same:.0%} | {ratio} |")
    sys.stdout.flush()


def work(arguments: argparse.Namespace, engine: str, folder: str) -> None:
    """One engine."""
    engines.quiet()
    dtype = "bfloat16" if "bfloat16" in engine else "float32"
    config = engines.presets_of(arguments.vision, arguments.language, dtype, arguments.vocabulary)
    if engine == "write":
        engines.write(config, Path(folder), endless=True)
        return
    make = ours if engine.startswith("pali") else theirs
    run = make(arguments, config, Path(folder), engine)
    for case in engines.tasks():
        kind, count = case.split()
        call = functools.partial(run, kind, *inputs(arguments, config, int(count)))
        ids, found = engines.timed(call)
        engines.answer(found | {"ids": np.asarray(ids).tolist()})


def inputs(arguments: argparse.Namespace, config: Any, count: int) -> tuple[np.ndarray, ...]:
    """One picture, visual tokens, prompts: the same for every engine."""
    rng = np.random.default_rng(count)
    vit = config.vit
    side = vit.image_shape[0]
    picture = rng.integers(0, 256, (1, side, side, 3), np.uint8)
    visual = rng.normal(size=(count, vit.num_visual_tokens, vit.width)).astype(np.float32)
    prompts = rng.integers(2, config.mt5.vocab_size, (count, arguments.inputs), np.int32)
    return picture, visual, prompts


def ours(arguments: argparse.Namespace, config: Any, folder: Path, engine: str) -> Callable:
    """What `pali.load` makes of the weights, and how it then answers."""
    from pali import generation, looking

    config, params = engines.params_of(config, folder, engine.split()[1])
    listed = engine.endswith("shortlist")

    def run(kind: str, picture: np.ndarray, visual: np.ndarray, prompts: np.ndarray) -> Any:
        count, narrowed = len(prompts), None
        if listed:  # As every call does it: the columns are taken out of the head anew.
            narrowed = shortlist(config, params).batch(["xx"] * count)
        if kind == "languages":
            visual = np.repeat(looking.see(config, params, picture), count, axis=0)
        chosen = generation.Decoding(method="beam" if kind == "beam" else "greedy")
        found = generation.answer(
            config,
            chosen,
            arguments.targets,
            params,
            visual,
            np.ones(count, bool),
            prompts,
            np.uint32(0),
            np.arange(count, dtype=np.uint32),
            None,
            None,
            narrowed,
        )
        return np.asarray(found.tokens[:, 0])

    return run


def shortlist(config: Any, params: Any) -> Any:
    """16,384 columns of the head."""
    from pali import narrowing

    words = config.mt5.vocab_size
    mask = np.zeros(words, bool)
    mask[np.random.default_rng(0).permutation(words)[:16_383]] = True
    mask[0] = True
    return narrowing.share(params["mt5"]["decoder"]["logits_dense"], words, {"xx": mask})


def theirs(arguments: argparse.Namespace, config: Any, folder: Path, engine: str) -> Callable:
    """The peer, with the map from visual tokens to its width that it lacks."""
    import torch
    import transformers

    dtype = torch.bfloat16 if "bfloat16" in engine else torch.float32
    attention = "eager" if "eager" in engine else None
    model = transformers.MT5ForConditionalGeneration.from_pretrained(
        folder / "language", dtype=dtype, attn_implementation=attention
    ).eval()
    vit = transformers.SiglipVisionModel.from_pretrained(folder / "vision", dtype=dtype).eval()
    projection = torch.from_numpy(np.load(folder / "kernel.npy")).to(dtype)
    cache = {"cache_implementation": "static"} if engine.endswith(("static", "compiled")) else {}
    if engine.endswith("compiled"):
        model.forward = torch.compile(model.forward)

    @torch.inference_mode()
    def run(kind: str, picture: np.ndarray, visual: np.ndarray, prompts: np.ndarray) -> Any:
        if kind == "languages":
            pixels = np.repeat(picture, len(prompts), axis=0)
            pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1
            seen = vit(pixel_values=pixels).last_hidden_state
        else:
            seen = torch.from_numpy(visual).to(dtype)
        texts = model.get_input_embeddings()(torch.from_numpy(prompts).long())
        both = torch.cat([seen @ projection, texts], 1)
        found = model.generate(
            inputs_embeds=both,
            attention_mask=torch.ones(both.shape[:2], dtype=torch.long),
            max_new_tokens=arguments.targets,
            do_sample=False,
            num_beams=4 if kind == "beam" else 1,
            **cache,
        )
        return found[:, 1:].numpy()

    return run


if __name__ == "__main__":
    main()
