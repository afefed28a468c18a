# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a check found (pali/data/checking.py), as a web page and as a table.

    page(report, examples)   one HTML file that stands alone: tables, records, small pictures
    LANGUAGE_COLUMNS, language_rows(report)   the table of languages, for the page and a terminal

Whatever comes from the data is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from pali.data.checked_rows import Row
from pali.data.checking import DOUBTS, NOTES
from pali.data.picture_facts import pixels_of
from pali.data.skipping import REASONS
from pali.image import ImageError
from pali.languages import LANGUAGES
from pali.web_page import TAIL, data_uri, head

THUMBNAIL = 96
"""Longest side of a picture on the page, in CSS pixels; its file may have twice as many."""
SHOWN_CHARACTERS = 300

LANGUAGE_COLUMNS = (
    *("language", "texts", "characters", "pieces", "longest", "pieces / character"),
    *("bytes", "unknown", "wrong script", "other language"),
)

LEVELS = (
    ("skipped", "Training skips", REASONS),
    ("doubtful", "Doubtful", DOUBTS),
    ("noted", "Used as it is", NOTES),
)
"""Key in the report, heading, what its things are."""

_STYLE = """\
body { max-width: 75rem; margin: auto; padding: 1rem }
h1, h2, td, p { overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0 }
th, td { padding: .25rem .75rem; text-align: start; vertical-align: top;
 border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
th { white-space: nowrap }
.n { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 96px; max-height: 96px; vertical-align: middle }
"""


def page(report: Mapping[str, Any], examples: Mapping[str, Sequence[tuple[list[Row], str]]]) -> str:
    """The page.

    Args:
      report: what `Check.report` returns.
      examples: `Check.examples`, whose pictures are read once more.
    """
    pictures = report["pictures"]
    parts = [
        head("Data check", _STYLE),
        f"<h1>{_escape(report['source'])}</h1>\n",
        f"<p>{report['rows']:,} records, {report['usable']:,} that training can use;"
        f" {pictures['names']:,} pictures.</p>\n",
        "" if report["complete"] else "<p><b>The check was interrupted: not all is here.</b></p>\n",
    ]
    for level, heading, meanings in LEVELS:
        found = report[level]
        if found:
            body = [
                (
                    name,
                    _escape(": ".join(filter(None, (meanings[name], of_whole(examples, name))))),
                    _number(count),
                )
                for name, count in found.items()
            ]
            parts += [f"<h2>{heading}</h2>\n", _table(("", "what", "how many"), body)]
    if report["languages"]:
        parts += ["<h2>Lengths</h2>\n", f"<p>{_escape(about_lengths(report))}</p>\n"]
        parts += ["<h2>Languages</h2>\n", f"<p>{_escape(about_languages(report))}</p>\n"]
        rows = [[_escape(cell) for cell in row] for row in language_rows(report)]
        parts.append(_table(LANGUAGE_COLUMNS, rows))
    sizes = [(side, pictures[side]) for side in ("height", "width") if pictures[side]]
    sizes += [("prompt, in pieces", report["inputs"])] if report["inputs"] else []
    if sizes:
        names = ("min", "median", "mean", "p95", "max")
        body = [(side, *(_number(of[name]) for name in names)) for side, of in sizes]
        parts += ["<h2>Sizes</h2>\n", _table(("", *names), body)]
    for _, _, meanings in LEVELS:
        for name, meaning in meanings.items():
            if shown := [example for example in examples.get(name, ()) if example[0]]:
                parts += [f"<h2>{_escape(name)}</h2>\n<p>{_escape(meaning)}</p>\n"]
                parts.append(_examples(shown))
    return "".join([*parts, TAIL])


def of_whole(examples: Mapping[str, Sequence[tuple[list[Row], str]]], name: str) -> str:
    """What was found of a language as a whole, and not of one record; else empty."""
    return ", ".join(said for rows, said in examples.get(name, ()) if not rows)


def about_lengths(report: Mapping[str, Any]) -> str:
    """Where prompts and texts are cut, and how many of them are."""
    languages = report["languages"].values()
    of_texts = max((counts["pieces"]["max"] for counts in languages), default=0)
    of_prompts = report["inputs"]["max"] if report["inputs"] else 0
    said = []
    for what, name, longest in (("prompts", "inputs", of_prompts), ("texts", "targets", of_texts)):
        limit, cut = report["limits"][name], report["doubtful"].get(f"cut_{name}", 0)
        if limit is not None and longest:
            said.append(
                f"{what} of more than {limit} pieces: {cut:,} (training cuts them with "
                f"data.{name}_length={limit}); the longest: {longest + 1:,} with its end"
            )
    return f"Lengths: {'; '.join(said) or 'compared with nothing'}."


def about_languages(report: Mapping[str, Any]) -> str:
    """By what they were judged."""
    told = (
        f"languages of one script told apart by {report['detector']}"
        if report["detector"]
        else "languages of one script not told apart (no detector is installed)"
    )
    return f"Tokenizer: {report['tokenizer']}; {told}."


def language_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """One row for each language; characters and pieces are medians, longest is in pieces."""
    rows = []
    for lang, counts in report["languages"].items():
        name = f"{lang} {LANGUAGES[lang].name}" if lang in LANGUAGES else lang
        other = ", ".join(f"{code} {n:,}" for code, n in list(counts["other_language"].items())[:3])
        rows.append(
            [
                name,
                f"{counts['rows']:,}",
                *(f"{counts[key]['median']:,}" for key in ("characters", "pieces")),
                f"{counts['pieces']['max']:,}",
                f"{counts['pieces_per_character']:.2f}",
                f"{counts['byte_share']:.1%}",
                f"{counts['unknown_share']:.1%}",
                f"{counts['wrong_script']:,}",
                other,
            ]
        )
    return rows


def _examples(found: Iterable[tuple[list[Row], str]]) -> str:
    body = []
    for rows, said in found:
        for number, row in enumerate(rows):
            text = row.text or ""
            if len(text) > SHOWN_CHARACTERS:
                text = f"{text[:SHOWN_CHARACTERS]}…"
            body.append(
                (
                    _escape(said if not number else "the same"),
                    _escape(row.where),
                    _thumbnail(row),
                    _escape(row.key or ""),
                    _escape(row.lang or ""),
                    f'<bdi lang="{_escape(row.lang or "")}">{_escape(text)}</bdi>',
                )
            )
    return _table(("", "record", "picture", "name", "language", "text"), body)


def _thumbnail(row: Row) -> str:
    if row.picture is None:
        return ""
    try:
        image = Image.fromarray(pixels_of(row.picture))
    except ImageError:
        return ""
    image.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    return f'<img alt="" src="{data_uri(image, "jpeg", quality=80)}">'


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    lines = ["".join(f"<th>{cell}</th>" for cell in header)]
    for row in body:
        lines.append(
            "".join(f'<td class="n">{c}</td>' if _is_number(c) else f"<td>{c}</td>" for c in row)
        )
    rows = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="wide"><table>\n{rows}</table></div>\n'


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() and not cell.strip("0123456789.,%")


def _number(value: int | float) -> str:
    return f"{value:,}"


def _escape(text: str) -> str:
    # What UTF-8 cannot write, as half characters in a file's name, is written as its code.
    return html.escape(text.encode("utf-8", "backslashreplace").decode())
