# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Score records as tables: Markdown for report.md, and the same rows on a terminal.

In:  what metrics.json holds (pali/evaluate.py), and the lines of predictions.jsonl.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from pali import summary
from pali.data.benchmarks import BENCHMARKS, Benchmark
from pali.languages import LANGUAGES
from pali.metrics.records import Line, Record

COLUMNS = (
    *("split", "metric", "model", "95 %", "baseline", "lead"),
    *("majority", "shuffled", "chance", "n"),
)
_BY_LANGUAGE = "{} by language (model)"
EXAMPLES = 24
"""Predictions that the report shows, drawn by hash."""

_NOTES = """\
Macro averages over languages, 0 to 100; 95 % intervals by bootstrap over what the pictures show.

- **baseline**: what the ViT's own classifier answers. **lead**: model minus baseline, interval from
  paired draws.
- **majority**: the one answer that is most often right, given to all pictures of a language.
- **shuffled**: the model's own answers to other pictures of the same split and language; of any
  language where one has a single picture.
- **exact match** (`nfkc-space`): equal to a reference after NFKC and single spaces; case counts.
- **chrF** (`chrF2|nc:6|nw:0|space:no|nfkc`): corpus chrF of each language, as sacrebleu.
- **character errors** (`levenshtein|nfkc`): edits per character of the reference, summed over each
  language; lower is better (↓).
- **box recall**, **box precision** (`iou-0.5-greedy`): shares of the objects found and of the boxes
  that found one, at an overlap of half or more. **unparsed answers**: those with a piece that is no
  box; lower is better (↓).
- **right script** (`most-letters`): most letters belong to the language's script.
- **wrong language** (`script|py3langid@…`; `script`, where no detector is installed): answers that
  are shown to be in another language than asked for, by their letters or, from 20 letters on, by
  the detector; lower is better (↓). `n` is how many could be judged: those that have a letter.
- **choice**: the right one among the answers to several pictures of the same split and language,
  drawn by hash, by log-likelihood; **chance** is what a guess earns. **less prior**
  (`sum-minus-prior`, the headline): less the candidate's mean over the other pictures, so that a
  name which is likely whatever the picture shows gains nothing; **plain** (`sum`): as it is, summed
  over the tokens. Ties share the point.
- **ViT top-1**: accuracy of the ViT's own classifier on these pictures.
"""


def rows(scores: Sequence[Record]) -> list[list[str]]:
    """One row for each split, metric and variant, its systems side by side; cells of COLUMNS."""
    table: dict[tuple[str, str, str], dict[str, Record]] = {}
    for record in scores:
        key = (record["split"], record["metric"], record["variant"])
        table.setdefault(key, {})[record["system"]] = record
    result = []
    for (split, metric, variant), systems in table.items():
        some = next(iter(systems.values()))
        result.append(
            [
                split,
                summary.name(metric, variant),
                number(systems.get("model")),
                interval(systems.get("model")),
                number(systems.get("baseline")),
                _lead(systems.get("baseline")),
                number(systems.get("majority")),
                number(systems.get("shuffled")),
                f"{some['chance']:.1f}" if "chance" in some else "",
                f"{some.get('judged', some['n']):,}",
            ]
        )
    return result


def show(results: dict[str, Any], console: Console) -> None:
    """Prints all scores of one task, or the summary of several, for 80 columns."""
    scores = results["scores"]
    benchmarks = _by_benchmark(scores)
    if len(benchmarks) == 1:
        console.print(_table(*benchmarks.items()))
    elif scores:
        for line in summary.lines(scores):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for text, languages in summary.reached(scores):
        more = "; report.md lists them" if languages else ""
        console.print(f"{text}{more}", markup=False, highlight=False)
    for text in summary.wrong_languages(scores):
        console.print(text, markup=False, highlight=False)


def _table(benchmark: tuple[str, Sequence[Record]]) -> Table:
    """Without the intervals, and without columns that would be empty."""
    name, scores = benchmark
    title = f"{name}, {_about(scores)}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.pad_edge = False
    body = rows(scores)
    shown = [
        i
        for i, column in enumerate(COLUMNS)
        if column not in ("95 %", "lead") and any(row[i] for row in body)
    ]
    for i in shown:
        table.add_column(COLUMNS[i], justify="left" if i < 2 else "right", no_wrap=True)
    last = None
    for row in body:
        table.add_row("" if row[0] == last else row[0], *(row[i] for i in shown[1:]))
        last = row[0]
    return table


def markdown(results: dict[str, Any], lines: Sequence[Line]) -> str:
    """The whole report."""
    model = results["model"]
    limited = f", at most {results['limit']} examples of each language" if results["limit"] else ""
    parts = [
        "# Evaluation",
        f"Model `{model['folder']}` (fingerprint `{model['fingerprint']}`), pali "
        f"{results['pali']}{limited}. Every score with its per-language values: metrics.json.",
    ]
    benchmarks = _by_benchmark(results["scores"])
    if results["scores"]:  # None where a server has all the references.
        parts += ["## Summary", _summary_table(results["scores"]), *_reached(results["scores"])]
    for name, scores in benchmarks.items():
        benchmark = BENCHMARKS.get(name)
        parts += [f"## {name}", _about(scores) + _asked(benchmark) + "."]
        parts.append(markdown_table(COLUMNS, rows(scores)))
        known = benchmark.splits if benchmark else {}
        splits = [s for s in dict.fromkeys(record["split"] for record in scores) if s in known]
        if splits:
            parts.append("\n".join(f"- `{split}`: {known[split]}" for split in splits))
        parts += [f"### {_BY_LANGUAGE.format(name)}", _language_table(scores)]
        own = [line for line in lines if line["task"] == name]
        parts += ["### Predictions, drawn by hash", _examples(own)]
        parts += [f"### Signatures of {name}", _signatures(scores)]
    parts += ["## What the numbers mean", _NOTES.rstrip()]
    return "\n\n".join(parts) + "\n"


def _summary_table(scores: Sequence[Record]) -> str:
    """Each task leads to its section, its number of languages to the scores of each of them."""
    body = []
    for task, *cells, languages in summary.rows(scores):
        by_language = _anchor(_BY_LANGUAGE.format(task))
        body.append(
            [f"[{task}](#{_anchor(task)})", *cells, f"[{languages}](#{by_language})"],
        )
    return markdown_table(summary.COLUMNS, body)


def _reached(scores: Sequence[Record]) -> list[str]:
    found = [
        f"{text}{': ' if languages else ''}{', '.join(languages)}."
        for text, languages in summary.reached(scores)
    ]
    return found + [f"{text[0].upper()}{text[1:]}." for text in summary.wrong_languages(scores)]


def _anchor(heading: str) -> str:
    """What Markdown's readers call a heading."""
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in "_- ")
    return kept.replace(" ", "-")


def _asked(benchmark: Benchmark | None) -> str:
    """What the model is compared with beyond the controls of every task."""
    if benchmark is None:
        return ""
    text = f"; baseline: {benchmark.baseline.name}" if benchmark.baseline else ""
    return text + (f"; up to {benchmark.choices} choices" if benchmark.choices else "")


def _by_benchmark(scores: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in scores:
        found.setdefault(record["benchmark"], []).append(record)
    return found


def _about(scores: Sequence[Record]) -> str:
    languages = max(record["languages"] for record in scores)
    plural = "languages" if languages != 1 else "language"
    return f"benchmark version {scores[0]['version']}, {languages} {plural}"


def _language_table(scores: Sequence[Record]) -> str:
    kept = [r for r in scores if r["system"] == "model" and r["variant"] != "sum"]
    header = [f"{r['split']}: {summary.name(r['metric'], r['variant'])}" for r in kept]
    languages = sorted({lang for record in kept for lang in record["per_language"]})
    body = []
    for lang in languages:
        title = f"{lang} {LANGUAGES[lang].name}" if lang in LANGUAGES else lang
        cells = [record["per_language"].get(lang) for record in kept]
        body.append([title, *("" if cell is None else f"{cell:.1f}" for cell in cells)])
    return markdown_table(["language", *header], body)


def _signatures(scores: Sequence[Record]) -> str:
    """What each score is a score of; a system is not a part of it."""
    return "\n".join(f"- `{text}`" for text in dict.fromkeys(r["signature"] for r in scores))


def _examples(lines: Sequence[Line]) -> str:
    drawn = sorted(lines, key=lambda line: hashlib.sha256(line["id"].encode()).digest())[:EXAMPLES]
    body = [
        [
            *(line["split"], line["image_key"], line["lang"], line["prediction"]),
            *(" / ".join(line["references"]), line.get("baseline", "")),
        ]
        for line in sorted(drawn, key=lambda line: line["id"])
    ]
    return markdown_table(
        ["split", "picture", "language", "prediction", "reference", "baseline"], body
    )


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table in GitHub's Markdown, whatever its cells contain."""

    def line(cells: Iterable[str]) -> str:
        # A bar would end the cell, a line break the row.
        return "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in cells) + " |"

    return "\n".join([line(header), line("---" for _ in header), *map(line, body)])


def number(record: Record | None) -> str:
    """The score, "" of none."""
    return "" if record is None else f"{record['score']:.1f}"


def _lead(record: Record | None) -> str:
    if record is None or "lead" not in record:
        return ""
    low, high = record["lead"]["interval"]
    return f"{record['lead']['score']:+.1f} ({low:+.1f} to {high:+.1f})"


def interval(record: Record | None) -> str:
    """Its 95 % interval, "" where it has none."""
    if record is None or "interval" not in record:
        return ""
    low, high = record["interval"]
    return f"{low:.1f}–{high:.1f}"
