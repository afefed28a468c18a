# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks of answering one after the other and writes benchmarks/RESULTS.md.

    python benchmarks/results.py                all of them: about an hour on an idle machine
    python benchmarks/results.py decode vit     these alone; what others have said stays

Each table stands under the command that made it, with the machine, the versions and the day.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
RUNS = {
    "vit": ["vit.py"],
    "vit so400m": ["vit.py", "--vision", "siglip-so400m/14-224"],
    "decode": ["decode.py"],
    "decode base": [
        *("decode.py", "--language", "mt5-base", "--turns", "2"),
        *("--engines", "pali float32", "pali bfloat16", "pali int8"),
        *("hf float32", "hf bfloat16", "hf bfloat16 eager", "hf bfloat16 compiled"),
        *("--cases", "greedy 1", "greedy 8", "greedy 36", "languages 36"),
    ],
    "startup": ["startup.py"],
    "catalogue": ["catalogue.py", "--pictures", "100000", "--langs", "en"],
    "agreement": ["agreement.py"],
    "agreement of random weights": ["agreement.py", "--random", "vit-b/16+mt5-small"],
}
PACKAGES = ("jax", "jaxlib", "flax", "torch", "transformers")
BEGINNING = "# What answering costs\n\nWritten by `python benchmarks/results.py`.\n"


def main() -> None:
    """Runs them; a table is written as soon as it is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}")
    chosen = parser.parse_args().names or list(RUNS)
    if unknown := set(chosen) - set(RUNS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}")
    for name in chosen:
        command = ["python", f"benchmarks/{RUNS[name][0]}", *RUNS[name][1:]]
        print(shlex.join(command), file=sys.stderr)
        made = subprocess.run(
            [sys.executable, str(HERE / RUNS[name][0]), *RUNS[name][1:]],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        write(name, f"`{shlex.join(command)}`, {environment()}\n\n{made.strip()}\n")


def write(name: str, text: str) -> None:
    """Puts a section in its place, or in the place of the one before."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = dict(re.findall(r"^## (.+)\n\n((?:.|\n)*?)(?=^## |\Z)", old, re.MULTILINE))
    sections[name] = text
    parts = [f"## {known}\n\n{sections[known].strip()}\n" for known in RUNS if known in sections]
    RESULTS.write_text("\n".join([BEGINNING, *parts]), encoding="utf-8")


def environment() -> str:
    """The machine, the versions and the day."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    day = datetime.datetime.now(datetime.UTC).date()
    model = cpu[1] if cpu else platform.machine()
    return (
        f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, {versions}, {day}"
    )


if __name__ == "__main__":
    main()
