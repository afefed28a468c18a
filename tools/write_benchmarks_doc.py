# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/benchmarks.md from pali/benchmarks; a test compares them.

python tools/write_benchmarks_doc.py
"""

from pathlib import Path

from pali.benchmarks.listing import markdown

BEGIN, END = "<!-- written by tools/write_benchmarks_doc.py -->\n", "<!-- end -->\n"

if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "benchmarks.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + markdown() + END + after, encoding="utf-8")
