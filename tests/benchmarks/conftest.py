# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of benchmarks share: raw files of a split, and a run of `pali score`."""

import json

import pytest

from pali.cli import main
from tests.benchmarks.layouts import LAYOUTS, write


@pytest.fixture
def raw(tmp_path):
    """Writes the raw files of a split; returns their folder."""

    def written(benchmark, split, files=None):
        folder = tmp_path / "raw" / benchmark / split
        layouts = LAYOUTS[benchmark]
        write(folder, files or layouts.get(split) or next(iter(layouts.values())))
        return folder

    return written


@pytest.fixture
def run(raw, tmp_path, capsys):
    """Scores answers {id: prediction}, or rows or text as they stand; the result, or the error."""

    def scored(benchmark, split, answers, *options, references=None):
        said = tmp_path / "said.jsonl"
        if isinstance(answers, dict):
            rows = [{"id": key, "prediction": value} for key, value in answers.items()]
            answers = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        elif isinstance(answers, list):
            answers = json.dumps(answers)
        said.write_text(answers, encoding="utf-8")
        words = ["score", benchmark, "--split", split, "--predictions", str(said), "--json"]
        folder = references or raw(benchmark, split)
        status = main([*words, "--references", str(folder), *options])
        out, err = capsys.readouterr()
        return json.loads(out) if status == 0 and out.startswith("{") else out + err

    return scored
