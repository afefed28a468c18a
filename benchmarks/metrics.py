# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""How long the metrics on captions take, beside pycocoevalcap in the same run.

    pip install 'open-pali[metrics]'
    python benchmarks/metrics.py [--pictures 5000] [--repeats 3]

Made-up captions of 6 to 14 words, five references for each picture; words are drawn as in a
language, few of them often. Both sides get the same tokens, and their scores must agree. Of several
repeats, which alternate, the quickest counts. Of the metrics the seconds are those of the
processor, which do not depend on what else the machine does; the tokenizers are compared by the
clock, on the captions as they are written: Stanford's needs Java, and runs on several cores.

Two cores of an AMD EPYC, pycocoevalcap 1.2, Java 17; the machine had other work as well:

    metric     pali   pycocoevalcap   ratio   difference
    cider      1.66            2.30    0.72      1.7e-18
    bleu       0.58            0.64    0.91      0.0e+00
    rouge_l    0.03            0.45    0.06      0.0e+00
    tokens     0.28            0.67    0.41   0 of 30,000 captions differ
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pali.metrics import ptb, ptb_java
from pali.metrics.bleu import bleu
from pali.metrics.cider import cider
from pali.metrics.rouge_l import rouge_l

REFERENCES = 5


def main() -> None:
    """Draws the captions, times both sides, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `is` with a literal, in its own sources.
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge

    captions = draw(arguments.pictures * (REFERENCES + 1))
    tokens = ptb.tokenize(captions)
    starts = range(0, arguments.pictures * REFERENCES, REFERENCES)
    targets = [tokens[start : start + REFERENCES] for start in starts]
    said = tokens[arguments.pictures * REFERENCES :]
    known, answers = dict(enumerate(targets)), {i: [text] for i, text in enumerate(said)}
    rows: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        (
            "cider",
            lambda: cider(targets, said)["cider"],
            lambda: Cider().compute_score(known, answers)[0],
        ),
        (
            "bleu",
            lambda: bleu(targets, said)["bleu_4"],
            lambda: Bleu().compute_score(known, answers, verbose=0)[0][3],
        ),
        (
            "rouge_l",
            lambda: rouge_l(targets, said)["rouge_l"],
            lambda: Rouge().compute_score(known, answers)[0],
        ),
    ]
    print(f"{arguments.pictures:,} pictures, {REFERENCES} references each; seconds")
    print("metric     pali   pycocoevalcap   ratio   difference")
    for name, ours, theirs in rows:
        seconds, scores = alternate(ours, theirs, arguments.repeats)
        print(
            f"{name:<8} {seconds[0]:6.2f} {seconds[1]:15.2f} {seconds[0] / seconds[1]:7.2f}"
            f" {abs(scores[0] - scores[1]):12.1e}"
        )
    if ptb_java.missing() is None:
        ptb.tokenize(["once"])  # Its tables are made on first use.
        seconds, found = alternate(
            lambda: ptb.tokenize(captions),
            lambda: ptb_java.tokenize(captions),
            1,
            time.perf_counter,
        )
        differing = sum(a != b for a, b in zip(*found, strict=True))
        print(
            f"tokens   {seconds[0]:6.2f} {seconds[1]:15.2f} {seconds[0] / seconds[1]:7.2f}"
            f"   {differing:,} of {len(captions):,} captions differ"
        )


def draw(count: int) -> list[str]:
    """Captions of words that are as unequal as those of a language."""
    rng = np.random.default_rng(0)
    letters = "abcdefghijklmnopqrst"
    words = np.array([f"w{a}{b}{c}" for a in letters for b in letters for c in letters])
    shares = 1 / np.arange(1, len(words) + 1)
    lengths = rng.integers(6, 15, count)
    drawn = rng.choice(words, lengths.sum(), p=shares / shares.sum())
    parts = np.split(drawn, np.cumsum(lengths)[:-1])
    return [" ".join(part).capitalize() + "." for part in parts]


def alternate(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    repeats: int,
    clock: Callable[[], float] = time.process_time,
) -> tuple[list[float], list[Any]]:
    """The quickest of several runs of each, and what they returned."""
    best, results = [float("inf")] * 2, [None] * 2
    for _ in range(repeats):
        for i, function in enumerate((ours, theirs)):
            start = clock()
            results[i] = function()
            best[i] = min(best[i], clock() - start)
    return best, results


if __name__ == "__main__":
    main()
