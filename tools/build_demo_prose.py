# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Write the running text of data/demo: the paragraphs of this project's own documents.

    python tools/build_demo_prose.py

Of README.md, CONTRIBUTING.md, docs/*.md and the README files below, each paragraph and each item of
a list becomes one line of prose.<split>.jsonl: {"text": …, "lang": "en", "source": …}. Headings,
tables, code and pictures are left out; of links and quoted code the words stay. A paragraph is in
"validation" if its hash says so.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
SHORTEST = 80  # characters; what is shorter is no running text
VALIDATION = 0.1  # share of the paragraphs


def documents() -> list[pathlib.Path]:
    """The documents, in the order of their names."""
    named = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "pali/embedded/README.md")]
    return sorted([*named, *(ROOT / "docs").rglob("*.md"), *(ROOT / "tasks").glob("*.md")])


def paragraphs(markdown: str) -> Iterator[str]:
    """The running text of a page, without its marks."""
    markdown = re.sub(r"^---\n.*?^---\n", "", markdown, count=1, flags=re.S | re.M)
    markdown = re.sub(r"^( *)```.*?^\1```$", "", markdown, flags=re.S | re.M)
    for block in re.split(r"\n\s*\n|\n(?= *(?:[-*]|\d+\.) )", markdown):
        lines = block.strip().split("\n")
        if lines[0].startswith(("#", "|", "<", "![", "[![")):
            continue
        text = " ".join(line.strip() for line in lines)
        text = re.sub(r"^(?:[-*]|\d+\.) ", "", text)
        text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
        text = re.sub(r"\*\*|`", "", text)
        # A sentinel in the text would be taken for one of those that stand for a masked span.
        if len(text) >= SHORTEST and "<extra_id_" not in text:
            yield text


def split_of(text: str) -> str:
    """By the first eight bytes of its hash, as a fraction."""
    digest = hashlib.sha256(text.encode()).digest()[:8]
    return "validation" if int.from_bytes(digest) / 2**64 < VALIDATION else "train"


def main() -> None:
    """Writes both splits."""
    found: dict[str, dict[str, str]] = {"train": {}, "validation": {}}
    for path in documents():
        for text in paragraphs(path.read_text(encoding="utf-8")):
            found[split_of(text)].setdefault(text, path.relative_to(ROOT).as_posix())
    for split, texts in found.items():
        lines = (
            json.dumps({"text": text, "lang": "en", "source": source}, ensure_ascii=False) + "\n"
            for text, source in texts.items()
        )
        path = ROOT / "data" / "demo" / f"prose.{split}.jsonl"
        path.write_text("".join(lines), encoding="utf-8")
        words = sum(len(text.split()) for text in texts)
        print(f"{path.relative_to(ROOT)}: {len(texts)} paragraphs, {words:,} words")


if __name__ == "__main__":
    main()
