# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A catalogue of pictures through the real `pali caption`: pictures a second, and memory over time.

    python benchmarks/catalogue.py [--pictures 100000] [--langs en] [--model FOLDER]

Makes 256 different JPEGs of 320x240 pixels and links them under as many names as pictures are asked
for, in a CSV file; a hundredth of them are broken. Then starts the command in a process of its own,
as a user would, and looks ten times at how many pictures it has done and how much memory is its own
(RssAnon; the peak of all has the files of libraries and weights besides). "since" is the rate since
the line before, the start of the process left out. Memory is constant where the last lines say what
the first ones do, give or take what one batch needs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from own_memory import own_memory
from PIL import Image, ImageDraw

DIFFERENT = 256


def main() -> None:
    """Makes the pictures, runs the command, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--langs", default="en")
    parser.add_argument("--model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, arguments.pictures)
        words = [sys.executable, "-m", "pali", "caption", "catalogue.csv"]
        words += ["--langs", arguments.langs, "--output", "captions.jsonl"]
        words += ["--model", os.path.abspath(arguments.model)] if arguments.model else []
        watch(words, folder, arguments.pictures)


def make(folder: Path, pictures: int) -> None:
    """The pictures, and the list that names them."""
    (folder / "pictures").mkdir()
    draw = np.random.default_rng(0)
    originals = []
    for number in range(min(DIFFERENT, pictures)):
        colours = [tuple(colour) for colour in draw.integers(0, 256, (3, 3)).tolist()]
        image = Image.new("RGB", (320, 240), colours[0])
        canvas = ImageDraw.Draw(image)
        canvas.ellipse((40, 30, 40 + int(draw.integers(60, 240)), 200), fill=colours[1])
        canvas.rectangle((200, 100, 300, 100 + int(draw.integers(20, 120))), fill=colours[2])
        originals.append(folder / f"{number}.jpg")
        image.save(originals[-1])
    broken = folder / "broken.jpg"
    broken.write_bytes(originals[0].read_bytes()[:600])
    with (folder / "catalogue.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "image"])
        for number in range(pictures):
            # Folders of a thousand: file systems dislike more.
            path = folder / "pictures" / str(number // 1000) / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            os.link(broken if number % 100 == 99 else originals[number % len(originals)], path)
            writer.writerow([number, path.relative_to(folder)])


def watch(words: list[str], folder: Path, pictures: int) -> None:
    """Runs the command in the folder, and prints a line at each tenth of the pictures."""
    began = time.monotonic()
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True)
    print("| pictures | s | pictures/s since | captions/s since | own MB | peak MB of all |")
    print("|---|---|---|---|---|---|", flush=True)
    seen = (0, 0, 0.0)
    most, tenth = 0, 1
    while process.poll() is None:
        time.sleep(0.1)
        now = time.monotonic() - began
        try:
            own, peak = own_memory(process=process.pid), own_memory("VmHWM", process.pid)
        except OSError:  # It has ended.
            break
        most = max(most, own)
        done, rows = progress(folder / "captions.jsonl")
        if done * 10 >= tenth * pictures or (done and not seen[0]):
            rates = [(a - b) / (now - seen[2]) for a, b in zip((done, rows), seen, strict=False)]
            shown = [f"{rate:.0f}" if seen[0] else "" for rate in rates]
            print(
                f"| {done:,} | {now:.0f} | {shown[0]} | {shown[1]} | {own / 1e6:.0f} | "
                f"{peak / 1e6:.0f} |",
                flush=True,
            )
            seen, tenth = (done, rows, now), done * 10 // pictures + 1
    _, said = process.communicate()
    print(f"\n{time.monotonic() - began:.0f} s in all; at most {most / 1e6:.0f} MB of its own\n")
    print("".join(f"- {line}\n" for line in said.splitlines() if " left" not in line), end="")


def progress(output: Path) -> tuple[int, int]:
    """Pictures and captions done, from the last whole line beside the output."""
    try:
        lines = output.with_name(output.name + ".resume").read_text().splitlines(keepends=True)
    except OSError:
        return 0, 0
    marks = [line for line in lines[1:] if line.endswith("\n")]
    last = json.loads(marks[-1]) if marks else {"pictures": 0, "rows": 0}
    return last["pictures"], last["rows"]


if __name__ == "__main__":
    main()
