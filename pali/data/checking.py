# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong, doubtful or unusual in a data set, found in one pass over its records.

In:  rows (pali/data/checked_rows.py), a tokenizer, perhaps a detector of languages.
Out: `Check.report()`: plain numbers and examples, which is what the JSON file holds.

Of a record that has been seen only 64-bit numbers stay (pali/data/duplicates.py): about 40 bytes of
a record and 150 of a different picture. A check that is interrupted reports what it has seen.
"""

from __future__ import annotations

import itertools
import os
import unicodedata
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pali.data.checked_rows import Row, Rows
from pali.data.duplicates import fingerprint, near, normal_text, repeats
from pali.data.picture_facts import UNUSUAL, Facts, find_facts
from pali.data.skipping import REASONS, skipped
from pali.languages import resolve
from pali.metrics.text_language import Detector, wrong_script
from pali.tokenizer import Tokenizer

DOUBTS: dict[str, str] = {
    "repeated_row": "the same text of the same picture again, but for case and punctuation",
    "repeated_id": "an id that another record has",
    "same_picture": "a file that is, byte for byte, that of another name",
    "near_picture": "a picture that looks like another one",
    "small_picture": "a picture with a side below 16 pixels",
    "wrong_script": "a text in another script than its language's",
    "other_language": "a text that reads as another language",
    "damaged_text": "a text with control characters, or with � where a character was lost",
    "long_text": "a text of more than 10,000 characters",
    "cut_inputs": "a prompt that is longer than the model reads",
    "cut_targets": "a text that is longer than the model writes",
    "bytes": "a language that the tokenizer spells in bytes, more than 1 piece in 10",
    "unknown": "a language whose pieces the tokenizer does not know, more than 1 in 100",
}
"""What training would use, and should perhaps not. Of the last two languages are counted."""

NOTES: dict[str, str] = {
    **{name: f"a picture that {what}" for name, what in UNUSUAL.items()},
    "line_separator": "a text with a line separator of Unicode in it; used as it is",
    "repeated_text": "a text that another picture has in the same language",
}
"""What is used, and no mistake."""

MIN_SIDE = 16
MAX_CHARACTERS = 10_000
READ = 100_000
"""Characters at a text's beginning that are looked at; of a longer one its length is counted, and
that it repeats another."""
MAX_BYTES, MAX_UNKNOWN = 0.1, 0.01
"""Shares of a language's pieces beyond which its spelling is doubtful."""
MIN_PIECES = 100
"""Of fewer pieces no share is judged."""
DETECTED = 20_000
"""The detector reads so many texts of each language: it takes half a millisecond for one."""

NO_LANGUAGE = "–"


@dataclass
class Language:
    """What is counted for the texts of one language."""

    rows: int = 0
    read: int = 0
    """Texts that were given to the detector."""
    other: Counter[str] = field(default_factory=Counter)
    """Languages that texts are in instead."""
    wrong_script: int = 0
    characters: Counter[int] = field(default_factory=Counter)
    """Length -> texts; likewise `pieces`."""
    pieces: Counter[int] = field(default_factory=Counter)
    spelled: int = 0
    """Characters that the pieces spell: of long texts the beginning."""
    unknown: int = 0
    bytes: int = 0


@dataclass
class Limits:
    """How many pieces a model reads and writes, eos included; None for no limit."""

    inputs: int | None = None
    targets: int | None = None


class Check:
    """Counts while rows are added."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        detector: Detector | None = None,
        limits: Limits = Limits(),  # noqa: B008, it is only read
        examples: int = 5,
    ):
        """`examples`: how many records are kept to be shown, of each thing found."""
        self._tokenizer, self._detector, self._limits = tokenizer, detector, limits
        self._keep = examples
        self.skipped: Counter[str] = Counter()
        self.doubtful: Counter[str] = Counter()
        self.noted: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[list[Row], str]]] = {}
        """Thing found -> (rows, what to say of them)."""
        self._languages: dict[str, Language] = {}
        self._rows = 0
        self._inputs: Counter[int] = Counter()
        # Of every row its number, and one for the whole of it, its text and language, its id.
        self._numbers = array("Q")
        self._whole, self._texts, self._ids = array("Q"), array("Q"), array("Q")
        # Of every different picture, in the order of their first rows.
        self._pictures: dict[int, int] = {}
        self._broken: dict[int, Exception] = {}
        self._digests, self._looks, self._first = array("Q"), array("Q"), array("Q")
        self._heights: Counter[int] = Counter()
        self._widths: Counter[int] = Counter()

    def knows(self, key: str) -> bool:
        """Whether the facts of a picture need not be found any more."""
        return fingerprint(key) in self._pictures

    def add(self, row: Row, facts: Facts | None) -> None:
        """Counts one row; `facts` of its picture, None where it has none or it is known."""
        self._rows += 1
        self._numbers.append(row.number)
        place = None
        if facts is not None:
            place = self._add_picture(row, facts)
        elif row.key is not None:
            place = self._pictures.get(fingerprint(row.key))
        # Pictures come first, as in most tasks: of two reasons training meets theirs.
        error = row.error if place is None else self._broken.get(place, row.error)
        if error is not None:
            reason = skipped(error)["skipped"]
            self.skipped[reason] += 1
            self._show(reason, row, str(error))
        self._ids.append(fingerprint(row.id) if row.id is not None else 0)
        text = whole = 0
        if row.text is not None and row.error is None:
            lang = self._language(row)
            self._add_text(row, lang)
            # Slow, in a text of megabytes; no two of them differ in case alone.
            said = normal_text(row.text) if len(row.text) <= READ else row.text
            text = fingerprint(f"{lang}\0{said}")
            # A prompt may ask for several things of one picture.
            whole = fingerprint(f"{row.key}\0{row.inputs}\0{text}") if row.key else 0
        self._texts.append(text)
        self._whole.append(whole)

    def report(self, rows: Rows, *, complete: bool = True) -> dict[str, Any]:
        """Everything found, in plain values; finds the repetitions first.

        Args:
          rows: those that were added, to show some of them again.
          complete: whether they all were.
        """
        self._find_repetitions(rows)
        languages = {}
        for lang in sorted(self._languages, key=lambda lang: (lang == NO_LANGUAGE, lang)):
            languages[lang] = self._told(lang)
        return {
            "format_version": 1,
            "source": rows.name,
            "complete": complete,
            "rows": self._rows,
            "usable": self._rows - self.skipped.total(),
            "skipped": {name: self.skipped[name] for name in REASONS if self.skipped[name]},
            "doubtful": {name: self.doubtful[name] for name in DOUBTS if self.doubtful[name]},
            "noted": {name: self.noted[name] for name in NOTES if self.noted[name]},
            "pictures": {
                "names": len(self._pictures),
                "broken": len(self._broken),
                "height": quantiles(self._heights),
                "width": quantiles(self._widths),
            },
            "limits": {"inputs": self._limits.inputs, "targets": self._limits.targets},
            "inputs": quantiles(self._inputs),
            "detector": self._detector.name if self._detector else None,
            "languages": languages,
            "examples": {
                kind: [
                    {
                        "said": said,
                        "rows": [
                            {
                                "where": row.where,
                                "picture": row.key,
                                "lang": row.lang,
                                "text": row.text,
                            }
                            for row in shown
                        ],
                    }
                    for shown, said in found
                ]
                for kind, found in self.examples.items()
            },
        }

    def _add_picture(self, row: Row, facts: Facts) -> int:
        place = len(self._pictures)
        # Pictures without a name are different ones.
        self._pictures[fingerprint(row.key) if row.key is not None else -1 - place] = place
        self._first.append(row.number)
        self._digests.append(facts.digest)
        self._looks.append(facts.look)
        if facts.error is not None:
            self._broken[place] = facts.error
            return place
        self._heights[facts.height] += 1
        self._widths[facts.width] += 1
        for name in facts.unusual:
            self.noted[name] += 1
            self._show(name, row, "")
        if min(facts.height, facts.width) < MIN_SIDE:
            self._doubt("small_picture", row, f"{facts.height} x {facts.width} pixels")
        return place

    def _language(self, row: Row) -> str:
        """Its code; what pali has no name for stays as it is."""
        if row.lang is None:
            return NO_LANGUAGE
        try:
            return resolve(row.lang)
        except ValueError:
            return row.lang[:40]

    def _add_text(self, row: Row, lang: str) -> None:
        text, length = (row.text or "")[:READ], len(row.text or "")
        counts = self._languages.setdefault(lang, Language())
        counts.rows += 1
        counts.characters[length] += 1
        counts.spelled += len(text)
        tokens = self._tokenizer.encode(text)
        counts.pieces[len(tokens)] += 1
        unknown, by_byte = self._tokenizer.unspelled(tokens)
        counts.unknown += unknown
        counts.bytes += by_byte
        if row.inputs is not None:
            read = len(self._tokenizer.encode(row.inputs[:READ]))
            self._inputs[read] += 1
            self._compare("cut_inputs", row, read, self._limits.inputs)
        self._compare("cut_targets", row, len(tokens), self._limits.targets)
        if length > MAX_CHARACTERS:
            self._doubt("long_text", row, f"{length:,} characters")
        if damage := sorted(c for c in set(text) if _is_damage(c)):
            codes = ", ".join(f"U+{ord(c):04X}" for c in damage[:5])
            self._doubt("damaged_text", row, codes)
        if "\u2028" in text or "\u2029" in text:
            self.noted["line_separator"] += 1
            self._show("line_separator", row, "")
        if lang != NO_LANGUAGE:
            self._judge_language(row, text, lang, counts)

    def _judge_language(self, row: Row, text: str, lang: str, counts: Language) -> None:
        if wrong_script(text, lang):
            counts.wrong_script += 1
            self._doubt("wrong_script", row, f"declared as {lang}")
        elif self._detector and counts.read < DETECTED:
            counts.read += 1
            if other := self._detector.other_language(text, lang):
                counts.other[other] += 1
                self._doubt("other_language", row, f"declared as {lang}, reads as {other}")

    def _compare(self, kind: str, row: Row, pieces: int, limit: int | None) -> None:
        if limit is not None and pieces + 1 > limit:
            self._doubt(kind, row, f"{pieces + 1} pieces with the end, {limit} are kept")

    def _doubt(self, kind: str, row: Row, said: str) -> None:
        self.doubtful[kind] += 1
        self._show(kind, row, said)

    def _show(self, kind: str, row: Row, said: str) -> None:
        found = self.examples.setdefault(kind, [])
        if len(found) < self._keep:
            found.append(([row], said))

    def _find_repetitions(self, rows: Rows) -> None:
        digests = np.array(self._digests, np.uint64)
        looks = np.array(self._looks, np.uint64)
        first = np.array(self._first, np.int64)
        texts = np.array(self._texts, np.uint64)
        whole = repeats(np.array(self._whole, np.uint64))
        for group in whole:  # Of one picture it is no other picture's.
            texts[group[1:]] = 0
        same = repeats(digests)
        for group in same:  # Equal files look alike; that has been said then.
            looks[group[1:]] = 0
        number = np.array(self._numbers, np.int64)
        ids = repeats(np.array(self._ids, np.uint64))
        found: dict[str, tuple[Counter[str], list[np.ndarray]]] = {
            "repeated_row": (self.doubtful, [number[group] for group in whole]),
            "repeated_id": (self.doubtful, [number[group] for group in ids]),
            "same_picture": (self.doubtful, [first[group] for group in same]),
            "near_picture": (self.doubtful, [first[group] for group in near(looks)]),
            "repeated_text": (self.noted, [number[group] for group in repeats(texts)]),
        }
        shown = {kind: groups[: self._keep] for kind, (_, groups) in found.items()}
        numbers = {int(n) for groups in shown.values() for group in groups for n in group[:3]}
        again = {row.number: row for row in rows.at(sorted(numbers))}
        for kind, (counter, groups) in found.items():
            if groups:
                counter[kind] = sum(len(group) - 1 for group in groups)
                self.examples[kind] = [
                    ([again[int(n)] for n in group[:3]], f"{len(group):,} of them")
                    for group in shown[kind]
                ]

    def _told(self, lang: str) -> dict[str, Any]:
        counts = self._languages[lang]
        pieces = sum(length * n for length, n in counts.pieces.items())
        byte_share, unknown_share = counts.bytes / max(pieces, 1), counts.unknown / max(pieces, 1)
        for kind, share, limit in (
            ("bytes", byte_share, MAX_BYTES),
            ("unknown", unknown_share, MAX_UNKNOWN),
        ):
            if share > limit and pieces >= MIN_PIECES:
                self.doubtful[kind] += 1
                self.examples.setdefault(kind, []).append(([], f"{lang}: {share:.1%}"))
        return {
            "rows": counts.rows,
            "wrong_script": counts.wrong_script,
            "read": counts.read,
            "other_language": dict(counts.other.most_common()),
            "characters": quantiles(counts.characters),
            "pieces": quantiles(counts.pieces),
            "pieces_per_character": round(pieces / max(counts.spelled, 1), 4),
            "unknown_share": round(unknown_share, 5),
            "byte_share": round(byte_share, 5),
        }


def run(rows: Iterable[Row], check: Check) -> Iterator[Row]:
    """Adds every row to the check and passes it on; pictures are read in threads, a little ahead.

    A picture that several rows show is read once.
    """
    ahead = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=ahead) as threads:
        waiting: deque[tuple[Row, Future[Facts] | None]] = deque()
        under_way: set[str] = set()

        def take() -> Row:
            row, facts = waiting.popleft()
            check.add(row, facts.result() if facts else None)
            under_way.discard(row.key or "")
            return row

        try:
            for row in itertools.chain(rows, itertools.repeat(None, 1)):
                if row is not None:
                    facts, key = None, row.key
                    known = key is not None and (key in under_way or check.knows(key))
                    if row.picture is not None and not known:
                        facts = threads.submit(find_facts, row.picture)
                        under_way.add(key or "")
                    waiting.append((row, facts))
                while waiting and (row is None or len(waiting) > 4 * ahead):
                    yield take()
        finally:  # After Ctrl-C nothing that has not begun should begin.
            threads.shutdown(wait=False, cancel_futures=True)


def quantiles(counts: Counter[int]) -> dict[str, int | float] | None:
    """Smallest, median, mean, 95 % and largest of numbers given as number -> how often."""
    total = counts.total()
    if not total:
        return None
    values = sorted(counts)
    below = list(itertools.accumulate(counts[value] for value in values))
    middle, most = (
        next(v for v, n in zip(values, below, strict=True) if n >= share * total)
        for share in (0.5, 0.95)
    )
    mean = sum(value * n for value, n in counts.items()) / total
    return {
        "min": values[0],
        "median": middle,
        "mean": round(mean, 2),
        "p95": most,
        "max": values[-1],
    }


def _is_damage(character: str) -> bool:
    if character == "\ufffd":
        return True
    return character not in "\n\t\r" and unicodedata.category(character) == "Cc"
