# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Penn Treebank tokens by Stanford's own PTBTokenizer, where Java and its jar are installed.

The jar (CoreNLP 3.4.1, GPL-3) is not part of pali: it comes with `pip install pycocoevalcap`, whose
wrapper is not used: after a caption with U+2028 in it, where Java ends a line, it gives every one
to the wrong picture. Here each caption is one line first, and their number is
checked afterwards.

In:  captions as people or models write them.
Out: the same lower-cased, tokens apart by one space, punctuation removed as coco-caption does.
"""

import functools
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pali.metrics.ptb import DROPPED, LINE_BREAKS

VERSION = "3.4.1"
_JAR = f"stanford-corenlp-{VERSION}.jar"
_MAIN = "edu.stanford.nlp.process.PTBTokenizer"


@functools.cache
def missing() -> str | None:
    """What is missing on this machine and how to get it, or None: `tokenize` can be used."""
    if shutil.which("java") is None:
        return "there is no `java` on the PATH: install a Java runtime (8 or newer)"
    if _jar() is None:
        return f"{_JAR} is not here: pip install pycocoevalcap"
    return None


@functools.cache
def _jar() -> Path | None:
    package = importlib.util.find_spec("pycocoevalcap")
    for folder in (package.submodule_search_locations or ()) if package else ():
        if (path := Path(folder).resolve() / "tokenizer" / _JAR).is_file():
            return path
    return None


def tokenize(captions: Sequence[str]) -> list[str]:
    """Each caption as its tokens, one space between them; an empty one may be left.

    Raises:
      RuntimeError: Java or the jar is missing, or the tokenizer failed.
    """
    if missing() is not None:
        raise RuntimeError(f"Stanford's tokenizer cannot run: {missing()}")
    if not captions:
        return []
    lines = [LINE_BREAKS.sub(" ", caption) for caption in captions]
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "captions.txt"
        # A lone surrogate, half of an emoji, is no character and would stop the writing.
        text.write_bytes(("\n".join(lines) + "\n").encode("utf-8", "replace"))
        # The encodings are Java's defaults since 18, and Latin-1 before in some locales.
        options = ["-preserveLines", "-lowerCase", "-encoding", "utf-8"]
        run = subprocess.run(
            ["java", "-Dfile.encoding=UTF-8", "-cp", str(_jar()), _MAIN, *options, str(text)],
            capture_output=True,
            check=False,
        )
    if run.returncode:
        said = run.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeError(f"Stanford's tokenizer failed: {said[-1] if said else 'without a word'}")
    found = run.stdout.decode("utf-8").split("\n")[:-1]
    if len(found) != len(lines):
        raise RuntimeError(
            f"Stanford's tokenizer made {len(found)} lines of {len(lines)} captions; "
            "use --tokenizer ptb-py, and please report the captions"
        )
    return [" ".join(t for t in line.rstrip().split(" ") if t not in DROPPED) for line in found]
