# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks as tables: for a terminal, and for docs/benchmarks.md."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from pali.benchmarks.benchmark import Benchmark, Split
from pali.benchmarks.registry import FAMILIES
from pali.languages import MC4_101, XM3600

_SHOWN = 4
"""So many files, or splits that differ in their language alone, are named."""


def records() -> list[dict[str, Any]]:
    """Every benchmark with its splits, files, score and licence, as JSON has it."""
    return [
        {
            "benchmark": benchmark.name,
            "title": benchmark.title,
            "family": family,
            "metric": benchmark.scorer.metric,
            "variants": list(benchmark.scorer.variants),
            "splits": {
                name: {"files": list(split.files), "items": split.size, "hidden": split.hidden}
                for name, split in benchmark.splits.items()
            },
            "submission": benchmark.submission.where if benchmark.submission else None,
            "licence": benchmark.licence,
            "published": benchmark.documented,
        }
        for family, benchmarks in FAMILIES.items()
        for benchmark in benchmarks
    ]


def lines() -> list[str]:
    """What a terminal shows."""
    said = []
    for family, benchmarks in FAMILIES.items():
        said.append(f"{family}:")
        for benchmark in benchmarks:
            scorer = benchmark.scorer
            score = f"{scorer.metric}, {scorer.variants[0]}"
            said.append(f"  {benchmark.name:<16}{benchmark.title}; {score}")
            said += [f"      {names}: {files}" for names, files in splits(benchmark)]
    return said


def splits(benchmark: Benchmark) -> list[tuple[str, str]]:
    """Names of splits, and their files; languages of one kind are told together."""
    grouped: dict[Any, list[str]] = {}
    for name, split in benchmark.splits.items():
        base, _, lang = name.partition("-")
        of_languages = lang in (*MC4_101, *XM3600)
        grouped.setdefault(
            (base, "languages") if of_languages else (split.files, split.hidden), []
        ).append(name)
    return [
        (_names(names), _files([benchmark.splits[name] for name in names]))
        for names in grouped.values()
    ]


def markdown() -> str:
    """The tables of docs/benchmarks.md."""
    every = [benchmark for family in FAMILIES.values() for benchmark in family]
    rows = ["| benchmark | splits: files | score | server | licence |", "|---|---|---|---|---|"]
    for benchmark in every:
        files = "<br>".join(f"{names}: {files}" for names, files in splits(benchmark))
        server = benchmark.submission.where if benchmark.submission else "none"
        scorer = benchmark.scorer
        score = f"`{scorer.metric}`: {', '.join(f'`{v}`' for v in scorer.variants)}"
        title = f"`{benchmark.name}`<br>{benchmark.title}"
        files = files.replace("*", r"\*")
        cells = (title, files, score, server, f"{benchmark.licence}<br>{benchmark.documented}")
        rows.append("| " + " | ".join(cells) + " |")
    rows += ["", "| benchmark | published numbers | what differs, and why |", "|---|---|---|"]
    for benchmark in every:
        if benchmark.anchors or benchmark.differs:
            rows.append(f"| `{benchmark.name}` | {_numbers(benchmark)} | {benchmark.differs} |")
    return "\n".join(rows) + "\n"


def _numbers(benchmark: Benchmark) -> str:
    """The published numbers; what they are of stands once below those that have it in common."""
    said = []
    for (what, source), alike in groupby(benchmark.anchors, lambda a: (a.what, a.source)):
        said += [f"{anchor.system}: {anchor.score}" for anchor in alike]
        said.append(f"{what}; {source}")
    return "<br>".join(said)


def _names(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= _SHOWN else f"{names[0]} … {names[-1]}"


def _files(alike: list[Split]) -> str:
    """The files of splits that are told together."""
    files = list(alike[0].files)
    if len(files) > _SHOWN + 1:
        files = [files[0], f"… ({len(files)} files)"]
    said = ", ".join(files)
    if len({split.files for split in alike}) > 1:
        said = f"that of the language, such as {said}"
    return said + ("; answers at the server" if alike[0].hidden else "")
