# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali score`: anyone's predictions to a number; neither JAX nor a model is needed."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from pali.commands import CommandError, Once

if TYPE_CHECKING:
    from pali.benchmarks.benchmark import Benchmark

NAMES = (
    *("cider", "bleu", "rouge_l", "vqa_accuracy", "vizwiz_accuracy", "textvqa_accuracy"),
    *("anls", "relaxed_accuracy", "cer", "wer", "exact_match"),
)
"""Those of pali/metrics/scoring.py, which --help need not import; a test compares them."""

SUMMARY = """Scores predictions of any model, on a public benchmark or by any official metric.

A benchmark is read from the files that its publisher hands out: give their folder, or the one file
of the split. Predictions are lines of JSON such as {"id": 7, "prediction": "a dog"}, or the file
that the benchmark's server takes. With --metric references are lines of JSON such as {"id": 7,
"references": ["a dog", "one dog"]}. The score is on the scale of the official script: CIDEr 1.419
and not 141.9, accuracies from 0 to 1. Beside it stands its signature, which says what was measured
and how."""

EXAMPLE = """examples:
  pali score --list
  pali score vqav2 --references raw/vqav2 --predictions preds.jsonl
  pali score xm3600 --split test-sw --references captions.jsonl --predictions preds.jsonl --json
  pali score vqav2 --split test --references raw --predictions preds.jsonl --submission out.json
  pali score --metric cider --references refs.jsonl --predictions preds.jsonl

docs/benchmarks.md has the files of each benchmark, formula and variants of each metric."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pali score`."""
    parser.add_argument("benchmark", nargs="?", metavar="BENCHMARK", help="one that --list names")
    parser.add_argument("--metric", action=Once, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--list", action="store_true", help="the benchmarks: splits, files, score, what is written"
    )
    parser.add_argument(
        "--references",
        action=Once,
        metavar="DIR_OR_FILE",
        help="raw files of the benchmark; with --metric the right answers, JSONL",
    )
    parser.add_argument(
        "--predictions", action=Once, metavar="FILE", help="what was said: JSONL, or a submission"
    )
    parser.add_argument("--split", action=Once, help="of the benchmark; --list has them")
    parser.add_argument(
        "--variant", action=Once, help="another variant of the metric; a wrong one lists them"
    )
    parser.add_argument(
        "--tokenizer",
        action=Once,
        choices=["ptb", "ptb-java", "ptb-py", "none"],
        help="of captions. ptb (default): Stanford's by Java if pycocoevalcap is "
        "installed, else pali's own port of it; none: the text is tokens with spaces already",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="score what both files have; the result is marked, for it is no official one",
    )
    parser.add_argument(
        "--submission",
        action=Once,
        metavar="FILE",
        help="write what the benchmark's server takes, and score nothing",
    )
    parser.add_argument(
        "--check-tokenizer",
        action="store_true",
        help="of xm3600: how near our segmenters come to the released tokens, by language",
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object: score, per_item, signature, notes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Reads, scores and prints."""
    if arguments.list:
        return _list(arguments.json)
    if (arguments.benchmark is None) == (arguments.metric is None):
        raise CommandError("name a benchmark, or a metric with --metric; --list has the benchmarks")
    _refuse_what_is_ignored(arguments)
    if arguments.check_tokenizer:
        arguments.predictions = arguments.predictions or arguments.references
    for name in ("references", "predictions"):
        if getattr(arguments, name) is None:
            raise CommandError(f"--{name} is missing: which file is it?")
    try:
        found = _benchmark(arguments) if arguments.metric is None else _metric(arguments)
    except OSError as error:
        said = f"cannot be read: {error.strerror}" if error.strerror else str(error)
        raise CommandError(f"{error.filename} {said}" if error.filename else said) from error
    except ModuleNotFoundError as error:
        raise CommandError(str(error)) from error
    except (ValueError, RuntimeError) as error:
        raise CommandError(str(error)) from error
    if found is None:
        return 0
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    _tell(found)
    return 0


def _refuse_what_is_ignored(arguments: argparse.Namespace) -> None:
    """Raises CommandError for options that the others leave no use for."""
    scoring = ("variant", "tokenizer", "partial")
    if arguments.metric is not None:
        names, why = ("split", "submission", "check_tokenizer"), "is of a benchmark, not a metric"
    elif arguments.check_tokenizer:
        names, why = (*scoring, "predictions", "submission"), "is of no use to --check-tokenizer"
    elif arguments.submission is not None:
        names, why = scoring, "is of a score; --submission writes a file, unscored"
    else:
        return
    for name in names:
        if getattr(arguments, name) not in (None, False):
            raise CommandError(f"--{name.replace('_', '-')} {why}: leave it out")


def _metric(arguments: argparse.Namespace) -> dict[str, Any]:
    from pali.metrics import pairs, scoring

    if arguments.metric not in scoring.METRICS:
        raise CommandError(f"no metric {arguments.metric!r}; there are {', '.join(NAMES)}")
    read = pairs.read_pairs(arguments.references, arguments.predictions, arguments.partial)
    result = scoring.score(read, arguments.metric, arguments.variant, arguments.tokenizer)
    return {"metric": arguments.metric, **_common(result)}


def _benchmark(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from pathlib import Path

    from pali.benchmarks import registry, score

    benchmark = registry.get(arguments.benchmark)
    references, predictions = Path(arguments.references), Path(arguments.predictions)
    if arguments.check_tokenizer:
        _check_tokenizer(arguments, benchmark)
        return None
    if arguments.submission is not None:
        _submit(arguments, benchmark)
        return None
    result = score.score_files(
        benchmark,
        references,
        predictions,
        split=arguments.split,
        variant=arguments.variant,
        tokenizer=arguments.tokenizer,
        partial=arguments.partial,
    )
    return {
        "benchmark": benchmark.name,
        "split": result.signature.split,
        "metric": result.metric,
        **_common(result),
        "signatures": result.signatures,
        "groups": result.groups,
    }


def _common(result: Any) -> dict[str, Any]:
    return {
        "score": result.score,
        "scores": result.scores,
        "signature": str(result.signature),
        "official": not result.signature.partial,
        "n": result.signature.items,
        "notes": result.notes,
        "per_item": result.per_item,
    }


def _submit(arguments: argparse.Namespace, benchmark: Benchmark) -> None:
    from pathlib import Path

    from pali.benchmarks import predictions, score

    items = benchmark.items(Path(arguments.references), arguments.split)
    rows = predictions.read_predictions(Path(arguments.predictions), benchmark, items)
    said = score.answers_of(rows, items)
    path = Path(arguments.submission)
    for name in ("references", "predictions"):
        if path.exists() and path.samefile(getattr(arguments, name)):
            raise CommandError(f"--submission {path} is the file of --{name}: name another")
    try:
        predictions.write_submission(path, benchmark, items, said)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error
    assert benchmark.submission is not None  # Else nothing could be written.
    print(f"{len(items):,} answers for {benchmark.submission.where}: {arguments.submission}")


def _check_tokenizer(arguments: argparse.Namespace, benchmark: Benchmark) -> None:
    from pathlib import Path

    from pali.benchmarks import protocols

    items = benchmark.items(Path(arguments.references), arguments.split)
    if any("tokenized" not in item.facts for item in items):
        raise CommandError(f"{benchmark.name} has no released tokens; xm3600 has")
    found = protocols.agreement(items)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for lang, share in sorted(found.items(), key=lambda pair: pair[1]):
        print(f"{lang:<4} {share:.4f}")


def _list(as_json: bool) -> int:
    from pali.benchmarks import listing

    if as_json:
        print(json.dumps(listing.records(), indent=1, ensure_ascii=False))
        return 0
    print("\n".join(listing.lines()))
    print("Licences, sizes, and where the files are published: --json, or docs/benchmarks.md")
    return 0


def _tell(found: dict[str, Any]) -> None:
    for note in found["notes"]:
        print(f"pali score: {note}", file=sys.stderr)
    # Scores that are measured differently have their own beside them.
    signatures = found.get("signatures", {})
    beside = signatures if len(signatures) > 1 else {}
    for name, value in found["scores"].items():
        print(f"{name} {value:.4f}", *([beside[name]] if beside else []))
    for group, scores in found.get("groups", {}).items():
        print(f"  {group}", *(f"{name} {value:.4f}" for name, value in scores.items()))
    if not beside:
        print(found["signature"])
    if not found["official"]:
        print("This is a part of the items, and no official score.")
