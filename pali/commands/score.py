# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali score`: anyone's predictions to a number; neither JAX nor a model is needed."""

from __future__ import annotations

import argparse
import json
import sys

from pali.commands import CommandError, Once

NAMES = (
    *("cider", "bleu", "rouge_l", "vqa_accuracy", "vizwiz_accuracy", "textvqa_accuracy"),
    *("anls", "relaxed_accuracy", "cer", "wer", "exact_match"),
)
"""Those of pali/metrics/scoring.py, which --help need not import; a test compares them."""

SUMMARY = """Scores predictions of any model by an official metric.

References are lines of JSON such as {"id": 7, "references": ["a dog", "one dog"]}, predictions such
as {"id": 7, "prediction": "a dog"}. The score is on the scale of the official script: CIDEr 1.419
and not 141.9, accuracies from 0 to 1. Beside it stands its signature, which says what was measured
and how."""

EXAMPLE = """examples:
  pali score --metric cider --references refs.jsonl --predictions preds.jsonl
  pali score --metric anls --variant paper --references refs.jsonl --predictions preds.jsonl --json

docs/benchmarks.md has the formula, the source and the variants of each metric."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali score`."""
    parser.add_argument(
        "--metric",
        required=True,
        action=Once,
        metavar="NAME",
        help=", ".join(NAMES),
    )
    parser.add_argument(
        "--references", required=True, action=Once, metavar="FILE", help="the right answers, JSONL"
    )
    parser.add_argument(
        "--predictions", required=True, action=Once, metavar="FILE", help="what was said, JSONL"
    )
    parser.add_argument(
        "--variant", action=Once, help="another variant of the metric; a wrong one lists them"
    )
    parser.add_argument(
        "--tokenizer",
        action=Once,
        choices=["ptb", "ptb-java", "ptb-py", "none"],
        help="of cider, bleu and rouge_l. ptb (default): Stanford's by Java if pycocoevalcap is "
        "installed, else pali's own port of it; none: the text is tokens with spaces already",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="score what both files have; the result is marked, for it is no official one",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object: score, per_item, signature, notes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Reads, scores and prints."""
    from pali.metrics import pairs, scoring

    if arguments.metric not in scoring.METRICS:
        raise CommandError(f"no metric {arguments.metric!r}; there are {', '.join(NAMES)}")
    try:
        read = pairs.read_pairs(arguments.references, arguments.predictions, arguments.partial)
        result = scoring.score(read, arguments.metric, arguments.variant, arguments.tokenizer)
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be read: {error.strerror}") from error
    except (ValueError, RuntimeError) as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        found = {
            "metric": arguments.metric,
            "score": result.score,
            "scores": result.scores,
            "signature": str(result.signature),
            "official": not result.signature.partial,
            "n": result.signature.items,
            "notes": result.notes,
            "per_item": result.per_item,
        }
        print(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    for note in result.notes:
        print(f"pali score: {note}", file=sys.stderr)
    for name, value in result.scores.items():
        print(f"{name} {value:.4f}")
    print(result.signature)
    if result.signature.partial:
        print("This is a part of the items, and no official score.")
    return 0
