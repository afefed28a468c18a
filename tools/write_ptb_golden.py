# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/ptb.json: what Stanford's PTBTokenizer 3.4.1 makes of the texts in that file.

    pip install pycocoevalcap      # and a Java runtime
    python tools/write_ptb_golden.py "a further text" ...

Texts given on the command line are added. They are invented; punctuation is removed afterwards as
coco-caption does.
"""

import json
import sys
from pathlib import Path

from pali.metrics import ptb_java

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "ptb.json"


def main() -> None:
    """Asks about every text and writes the answers."""
    texts = list(json.loads(GOLDEN.read_text("utf-8"))["texts"]) if GOLDEN.is_file() else []
    texts = list(dict.fromkeys(texts + sys.argv[1:]))
    # A line between two texts, so that none sees the beginning of the next.
    lines = [line for text in texts for line in (text, "then")]
    answers = ptb_java.tokenize(lines)[::2]
    golden = {"tokenizer": f"stanford-corenlp {ptb_java.VERSION}, -preserveLines -lowerCase"}
    golden |= {"texts": dict(zip(texts, answers, strict=True))}
    GOLDEN.write_text(json.dumps(golden, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
