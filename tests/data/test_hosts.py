# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Hosts as they really are: processes of their own, which see the same seed and nothing else."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import pali

STEPS = range(3)

# Prints, for each step, the hash of each row of this host's part of the batch.
HOST = """
    import hashlib, json, sys
    from pali.checkpoints.pretrained import EMBEDDED, TOKENIZER
    from pali.data.converter import EncoderDecoderFeatures
    from pali.data.pipeline import Task, batch_dataset, iterate, mixture_dataset
    from pali.data.preprocessors import (
        CutList, DecodePicture, RenderPicture, RenderScene, SomeOf, TextToText, Tokenize
    )
    from pali.data.scene_sources import SceneObjects
    from pali.data.sources import DemoTexts, JsonLines
    from pali.data.text_sources import DemoFlagNames

    if __name__ == "__main__":
        host, hosts, start, stop, threads, folder = sys.argv[1:]
        tokenize = Tokenize(str(EMBEDDED / TOKENIZER))
        keywords = SomeOf("keywords", 4, "some"), CutList("some")
        mixture = [
            (Task("captions", DemoTexts("train", ("sw", "ja")), (
                RenderPicture(16), TextToText("caption", "name"), tokenize)), 1000.0),
            (Task("split", DemoTexts("train", ("fr",), needs="two keywords"), (
                RenderPicture(16), *keywords, TextToText("split_caption", "after"), tokenize)),
                300.0),
            (Task("flags", DemoFlagNames("train"), (
                RenderPicture(16), TextToText("caption", "name"), tokenize)), 100.0),
            (Task("boxes", SceneObjects("train", 50, 8, "detect"), (
                RenderScene(16), TextToText("detect", "answer"), tokenize)), 16.0),
            (Task("own", JsonLines(f"{folder}/own.jsonl", folder), (
                DecodePicture(16), TextToText("caption", "name"), tokenize)), 500.0),
        ]
        convert = EncoderDecoderFeatures(24, 40, (16, 16), None)
        shares = tuple(map(int, host.split("+"))), int(hosts)
        batches = batch_dataset(mixture_dataset(mixture, 7), convert, 24, shares)
        iterator = iterate(batches, int(start), threads=int(threads))
        for step in range(int(start), int(stop)):
            batch = next(iterator)
            rows = [
                b"".join(batch[key][row].tobytes() for key in sorted(batch))
                for row in range(len(batch["skipped"]))
            ]
            print(json.dumps([hashlib.sha256(row).hexdigest() for row in rows]))
        iterator.close()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What a host sees: run(shares, of, start, stop, threads) -> {step: hashes of its rows}."""
    folder = tmp_path_factory.mktemp("hosts")
    # Every row of these is unusable: their places must be the same everywhere, too.
    rows = [{"image": "nowhere.png", "lang": "en", "name": "x"}, {"image": None}, []]
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    script = folder / "host.py"
    script.write_text(textwrap.dedent(HOST))
    root = str(pathlib.Path(pali.__file__).parents[1])

    def start(*arguments):
        words = [sys.executable, str(script), *map(str, arguments), str(folder)]
        done = subprocess.run(
            words, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        first = arguments[2]
        return {first + i: json.loads(line) for i, line in enumerate(done.stdout.splitlines())}

    return start


def hashes(rows):
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def test_batches_are_the_same_on_one_two_and_four_hosts_and_after_restarts(run):
    alone = run(0, 1, STEPS.start, STEPS.stop, 3)
    assert sorted(alone) == list(STEPS)
    assert len({hashes(rows) for rows in alone.values()}) == len(STEPS)
    # The first of two runs through; the second is ended after a step, and started again twice.
    first = run(0, 2, STEPS.start, STEPS.stop, 1)
    second = run(1, 2, 0, 1, 0) | run(1, 2, 1, 2, 2) | run(1, 2, 2, 3, 1)
    # The shares of one host need not lie side by side.
    last = STEPS.stop - 1
    apart, between = (run(shares, 4, last, STEPS.stop, 2)[last] for shares in ("0+3", "1+2"))
    for step in STEPS:
        assert hashes(first[step] + second[step]) == hashes(alone[step])
    assert hashes(apart[:6] + between + apart[6:]) == hashes(alone[last])
