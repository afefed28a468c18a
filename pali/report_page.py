# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""An evaluation as one web page: bars for each language, and predictions with their pictures.

    page(results, examples)   report.html, from what metrics.json holds and pali/best_and_worst.py

Every score record of the model has its bars, whatever its metric. The page stands alone
(pali/web_page.py), and it stays small: a split has at most 2 x COUNT pictures, of SIDE pixels
(pali/best_and_worst.py), and texts of CHARACTERS. Whatever comes from the data is escaped.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from pali import report, summary
from pali.best_and_worst import BestAndWorst, Judged, Picture
from pali.boxes import in_whole, parse_boxes
from pali.data.benchmarks import BENCHMARKS
from pali.data.skipping import REASONS
from pali.drawing import draw_boxes
from pali.languages import LANGUAGES
from pali.metrics.records import Line, Record
from pali.web_page import TAIL, data_uri, head

CHARACTERS = 500
"""Of a text; what is longer is cut."""

REFERENCES = 5
"""References of an example; how many more there are is said."""

_STYLE = """\
:root { --bar: #1c6cb5; --track: #e4e7eb; --line: #c4c9d0; --soft: #4d545e }
@media (prefers-color-scheme: dark) {
 :root { --bar: #62a8e8; --track: #30353c; --line: #4a515b; --soft: #b3bac4 }
}
body { max-width: 72rem; margin: auto; padding: 1rem; overflow-wrap: anywhere }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem }
h3 { margin: 2.5rem 0 .5rem }
h4 { margin: 1.25rem 0 .25rem }
p { max-width: 50rem; margin: .5rem 0 }
.soft, dt, figcaption { color: var(--soft); font-size: .875rem }
code { font-size: .8125rem }
.wide { overflow-x: auto; overflow-wrap: normal }
table { border-collapse: collapse; margin: .5rem 0; font-size: .875rem }
th, td { padding: .25rem 1rem .25rem 0; text-align: start; border-bottom: 1px solid var(--line) }
th.n, td.n { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap }
[scope=row] { font-weight: normal; padding-inline-start: 1rem }
[scope=rowgroup] { padding-top: .75rem }
summary { cursor: pointer; padding: .25rem 0 }
.bars { list-style: none; padding: 0; margin: .5rem 0; columns: 20rem; column-gap: 2rem }
.bars li { display: grid; grid-template-columns: 8.5rem 1fr 3.5rem; gap: .5rem;
 align-items: center; break-inside: avoid; line-height: 1.375rem; font-size: .875rem }
.bars b { font-weight: normal; text-align: end; font-variant-numeric: tabular-nums }
.track { background: var(--track); height: .75rem }
.bar { display: block; background: var(--bar); height: 100% }
.examples { list-style: none; padding: 0; margin: .5rem 0; display: grid; gap: 1rem;
 grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }
.examples > li { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem }
h5 { margin: 0 0 .5rem; font-size: 1rem }
figure { margin: 0 }
img { display: block; max-width: 100%; height: auto }
.none { border: 1px dashed var(--line); padding: .5rem; font-size: .875rem }
dl { margin: .5rem 0 0 }
dd { margin: 0 0 .375rem; white-space: pre-wrap }
dd ul { margin: 0; padding-inline-start: 1.25rem }
.about { display: grid; grid-template-columns: max-content 1fr; gap: .125rem 1rem }
.about dd { margin: 0 }
"""

_NOTES = """\
<p>Scores are macro averages over languages, in per cent; intervals are 95 %, by bootstrap over
what the pictures show. <b>majority</b>, <b>shuffled</b> and <b>baseline</b> are controls: the
answer that is most often right, the model’s own answers to other pictures, and the ViT’s
classifier. report.md beside this page has the same as tables, and says what each metric means;
every number is in metrics.json, every prediction in predictions.jsonl.</p>
"""


def page(results: dict[str, Any], examples: Sequence[BestAndWorst]) -> str:
    """The whole page.

    Args:
      results: what metrics.json holds.
      examples: of each task and split that is to show some.
    """
    scores = results["scores"]
    tasks = list(dict.fromkeys(record["benchmark"] for record in scores))
    parts = [
        head("Evaluation", _STYLE),
        "<header>\n<h1>Evaluation</h1>\n",
        _about(results),
        "</header>\n<main>\n",
        _summary(scores, tasks) if scores else "",
        _official(results["official"]),
    ]
    for number, task in enumerate(tasks):
        own = [record for record in scores if record["benchmark"] == task]
        parts.append(_task(number, task, own, [e for e in examples if e.task == task]))
    return "".join([*parts, "<h2>What the numbers mean</h2>\n", _NOTES, "</main>\n", TAIL])


def _about(results: dict[str, Any]) -> str:
    model = results["model"]
    limit = results["limit"]
    facts = {
        "model": model["folder"],
        "fingerprint": model["fingerprint"],
        "pali": results["pali"],
        "examples": f"at most {limit:,} of each split and language" if limit else "all",
    }
    for split, counts in results["skipped"].items():
        listed = "; ".join(f"{REASONS[reason]}: {count:,}" for reason, count in counts.items())
        facts[f"left out of {split}"] = listed
    return f'<dl class="about">\n{_described(facts.items())}</dl>\n'


def _described(facts: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<dt>{_escape(name)}</dt><dd>{_escape(said)}</dd>\n" for name, said in facts)


def _summary(scores: Sequence[Record], tasks: Sequence[str]) -> str:
    """The table of the terminal; each task leads to its section."""
    body: dict[str, list[list[str]]] = {}
    for task, *cells in summary.rows(scores):
        link = f'<a href="#task{tasks.index(task)}">{_escape(task)}</a>'
        body.setdefault(link, []).append([_escape(cell) for cell in cells])
    reached = [
        f"<p>{_escape(text)}{': ' if found else ''}{_escape(', '.join(found))}.</p>\n"
        for text, found in summary.reached(scores)
    ]
    arrows = any("↓" in cell for rows in body.values() for row in rows for cell in row)
    note = f'<p class="soft">{summary.LOWER_NOTE}</p>\n' if arrows else ""
    table = _table("Summary", summary.COLUMNS[1:], body, 2)
    return "".join(['<h2 id="summary">Summary</h2>\n', table, note, *reached])


def _official(handed_in: Sequence[dict[str, Any]]) -> str:
    if not handed_in:
        return ""
    body = []
    for record in handed_in:
        score = f"{record['metric']} {record['score']:.4f}" if "score" in record else "not scored"
        if not record["official"]:
            score += ", of a part of the items: no official score"
        signature = f"<code>{_escape(record.get('signature', record.get('error', '')))}</code>"
        cells = map(_escape, (record["benchmark"], record["split"], score))
        body.append([*cells, signature, _escape(record["file"])])
    columns = ("benchmark", "split", "score", "signature", "file")
    table = _table("Official scores", columns, {"": body}, len(columns))
    return f"<h2>Official scores</h2>\n<p>On the official scale of each benchmark.</p>\n{table}"


def _table(
    name: str, columns: Sequence[str], body: Mapping[str, Sequence[Sequence[str]]], words: int
) -> str:
    """A table without empty columns, that scrolls sideways where it is too wide.

    Args:
      name: what it is called.
      columns: their headings.
      body: heading of a group of rows, or "" -> its rows. Cells and headings are HTML; the first
        cell is the heading of its row.
      words: so many columns hold words, the others numbers.
    """
    every = [row for rows in body.values() for row in rows]
    kept = [i for i in range(len(columns)) if not every or any(row[i] for row in every)]
    kinds = ["" if i < words else ' class="n"' for i in range(len(columns))]
    heads = "".join(f'<th scope="col"{kinds[i]}>{columns[i]}</th>' for i in kept)
    groups = []
    for group, rows in body.items():
        over = f'<tr><th scope="rowgroup" colspan="{len(kept)}">{group}</th></tr>\n'
        groups.append("<tbody>\n" + (over if group else ""))
        for row in rows:
            rest = "".join(f"<td{kinds[i]}>{row[i]}</td>" for i in kept[1:])
            groups.append(f'<tr><th scope="row">{row[0]}</th>{rest}</tr>\n')
        groups.append("</tbody>\n")
    label = f'role="region" aria-label="{_escape(name)}" tabindex="0"'
    return (
        f'<div class="wide" {label}><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"{''.join(groups)}</table></div>\n"
    )


def _task(number: int, task: str, scores: Sequence[Record], examples: list[BestAndWorst]) -> str:
    benchmark = BENCHMARKS.get(task)
    said = benchmark.splits if benchmark else {}
    body: dict[str, list[list[str]]] = {}
    for split, *cells in report.rows(scores):
        body.setdefault(_escape(split), []).append([_escape(cell) for cell in cells])
    parts = [
        f'<section id="task{number}">\n<h2>{_escape(task)}</h2>\n',
        f"<p>Benchmark version {_escape(scores[0]['version'])}. "
        '<a href="#summary">Back to the summary</a></p>\n',
        _table(f"Scores of {task}", report.COLUMNS[1:], body, 1),
    ]
    for split in dict.fromkeys(record["split"] for record in scores):
        about = f'<p class="soft">{_escape(said[split])}</p>\n' if split in said else ""
        parts.append(f"<section>\n<h3>{_escape(task)}: {_escape(split)}</h3>\n{about}")
        own = [r for r in scores if (r["split"], r["system"]) == (split, "model")]
        parts += [_charts(own), *(_ends(e) for e in examples if e.split == split), "</section>\n"]
    return "".join([*parts, "</section>\n"])


def _charts(scores: Sequence[Record]) -> str:
    """Bars of every metric: those of the first are seen, the others can be opened."""
    parts = []
    for place, record in enumerate(scores):
        name = _escape(summary.name(record["metric"], record["variant"]))
        text = f"{name}: {report.number(record)}"
        if found := report.interval(record):
            text += f" (95 %: {found})"
        if not place:
            parts.append(f"<h4>{text}</h4>\n{_bars(record)}")
            continue
        parts.append(f"<details>\n<summary>{text}</summary>\n{_bars(record)}</details>\n")
    return "".join(parts)


def _bars(record: Record) -> str:
    """One bar for each language, the best first."""
    values = record["per_language"]
    lower = record["metric"] in summary.LOWER
    order = sorted(values, key=lambda code: (values[code] if lower else -values[code], code))
    end = scale(record)
    bars = "".join(_bar(code, values[code], end) for code in order)
    about = f"{record['n']:,} examples; bars end at {end:,.5g}"
    return (
        f'<ul class="bars">\n{bars}</ul>\n'
        f'<p class="soft">{about}. <code>{_escape(record["signature"])}</code></p>\n'
    )


def scale(record: Record) -> float:
    """The score of a bar of full length.

    100 or more where scores are in per cent; of a metric that pali does not know its largest.
    """
    largest = max(record["per_language"].values(), default=0.0)
    known = (record["metric"], record["variant"]) in summary.NAMES
    return max(largest, 100.0) if known or largest <= 0 else largest


def _bar(code: str, value: float, end: float) -> str:
    name = f"{_escape(LANGUAGES[code].name)} " if code in LANGUAGES else ""
    shown = f'{name}<span class="soft">{_escape(code)}</span>' if code else "all"
    width = 100 * min(max(value / end, 0), 1)
    return (
        f'<li><span>{shown}</span><span class="track" aria-hidden="true">'
        f'<span class="bar" style="width:{width:.3f}%"></span></span><b>{value:.1f}</b></li>\n'
    )


def _ends(found: BestAndWorst) -> str:
    better = ", of which less is better" if found.lower else ""
    order = f"{_escape(found.metric)} of each prediction{better}"
    then = "" if found.metric == "chrF" else " then by its chrF,"
    parts = [f'<p class="soft">Ranked by the {order};{then} then by a hash of its id.</p>\n']
    for name, end in (("Best", found.best), ("Worst", found.worst)):
        if end:
            items = "".join(f"<li>{_example(judged, found.metric)}</li>\n" for judged in end)
            title = f"<h4>{name} {len(end)} of {found.count:,}</h4>\n"
            parts.append(f'{title}<ul class="examples">\n{items}</ul>\n')
    return "".join(parts)


def _example(judged: Judged, metric: str) -> str:
    line = judged.line
    code = line["lang"]
    benchmark = BENCHMARKS.get(line["task"])
    answered = "en" if benchmark is not None and benchmark.english else code
    scores = {metric: f"{judged.score:.4g}", "chrF": f"{judged.chrf:.1f}"}
    scores["log p"] = f"{line['log_prob']:.2f}"
    told = "\n".join(f"{name} {value}" for name, value in scores.items())
    rows = [("prompt", _text(line["prompt"])), ("answer", _text(line["prediction"], answered))]
    if "chosen" in line:
        rows.append(("chosen class", _text(line["chosen"])))
    if "baseline" in line:
        rows.append(("baseline", _text(line["baseline"], answered)))
    rows += [("references", _references(line, answered)), ("scores", f"<dd>{_escape(told)}</dd>")]
    listed = "".join(f"<dt>{name}</dt>{said}\n" for name, said in rows)
    name = LANGUAGES[code].name if code in LANGUAGES else code
    title = f"<h5>{_escape(name)}</h5>\n" if name else ""
    return f"{title}{_figure(judged)}<dl>\n{listed}</dl>"


def _references(line: Line, code: str) -> str:
    """Those that most people gave first."""
    counts = Counter(line["references"]).most_common()
    if len(counts) == 1:
        return _text(counts[0][0], code)
    items = "".join(
        f'<li dir="auto"{_lang(code)}>{_said(text)}{f" ×{count}" if count > 1 else ""}</li>'
        for text, count in counts[:REFERENCES]
    )
    more = len(counts) - REFERENCES
    return f"<dd><ul>{items}{f'<li>and {more:,} more</li>' if more > 0 else ''}</ul></dd>"


def _text(text: str, code: str = "") -> str:
    return f'<dd dir="auto"{_lang(code)}>{_said(text)}</dd>'


def _lang(code: str) -> str:
    return f' lang="{_escape(code)}"' if code else ""


def _said(text: str) -> str:
    if not text.strip():
        return "<i>nothing</i>"
    if len(text) > CHARACTERS:
        text = f"{text[:CHARACTERS]}… ({len(text):,} characters)"
    return _escape(text)


def _figure(judged: Judged) -> str:
    picture = judged.picture
    if picture is None:
        return ""
    if isinstance(picture, str):
        return f'<p class="none">The picture cannot be had any more: {_said(picture)}</p>\n'
    image, boxes = _with_boxes(picture, judged.line["prediction"])
    key = judged.line["image_key"]
    name = Path(key).name if Path(key).is_absolute() else key
    caption = f"<figcaption>boxes: the answer’s, {boxes}</figcaption>" if boxes else ""
    return (
        f'<figure><img alt="picture {_escape(name)}" width="{image.width}" '
        f'height="{image.height}" src="{data_uri(image, "webp", quality=80)}">{caption}</figure>\n'
    )


def _with_boxes(picture: Picture, answer: str) -> tuple[Image.Image, int]:
    """The picture with the boxes of the answer, and how many these are."""
    boxes, unparsed = parse_boxes(answer)
    if unparsed:  # An answer with anything else in it is another kind of text.
        boxes = []
    drawn = draw_boxes(picture.pixels, in_whole(boxes, picture.region))
    return Image.fromarray(drawn), len(boxes)


def _escape(text: str) -> str:
    # What UTF-8 cannot write, as half characters in a file's name, is written as its code.
    return html.escape(text.encode("utf-8", "backslashreplace").decode())
