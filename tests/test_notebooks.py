# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""The notebooks run from top to bottom, and are committed as such a run leaves them.

What they print is not compared: it changes with the embedded model.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_BYTES = 200_000

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# Folders that every machine has somewhere else.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(?:home|root|Users|tmp|private|var|usr|opt|mnt|work|content)/|\b[A-Z]:\\"
)


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """tools/run_notebooks.py, with Jupyter's settings and traces of its runs kept in `folder`."""
    places = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "run_notebooks.py"), *map(str, words)],
        cwd=folder,
        env={**os.environ, **{name: str(folder / name) for name in places}},
        capture_output=True,
        text=True,
        check=False,
    )


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell says and what it printed; pictures left out."""
    found = [cell.source]
    for output in cell.get("outputs", []):
        found.append(output.get("text", ""))
        found += [text for kind, text in output.get("data", {}).items() if kind != "image/png"]
    return found


def check_outputs(notebook: nbformat.NotebookNode) -> None:
    """Every cell ran, in order, and left nothing behind that is of this run or machine alone."""
    nbformat.validate(notebook)
    assert notebook.metadata == METADATA
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/png" in o.get("data", {}) for cell in cells for o in cell.outputs)
    for cell in notebook.cells:
        assert cell.metadata == {}, cell.id
        for text in texts(cell):
            assert not MACHINE_PATH.search(text), f"{cell.id}: {text}"
            assert str(ROOT) not in text, f"{cell.id}: {text}"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", cell.id
            assert output.get("name") != "stderr", f"{cell.id}: {output.text}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_in_a_fresh_kernel(path, tmp_path):
    done = run(tmp_path, path, "--to", tmp_path)
    assert done.returncode == 0, done.stderr
    fresh = nbformat.read(tmp_path / path.name, as_version=4)
    check_outputs(fresh)
    committed = nbformat.read(path, as_version=4)
    assert [cell.source for cell in fresh.cells] == [cell.source for cell in committed.cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_its_outputs_and_small(path):
    assert path.stat().st_size < MAX_BYTES
    check_outputs(nbformat.read(path, as_version=4))


def test_a_cell_that_fails_is_an_error_and_saves_nothing(tmp_path):
    path = tmp_path / "fails.ipynb"
    cells = [nbformat.v4.new_code_cell("1 / 0", id="divide")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    before = path.read_bytes()
    done = run(tmp_path, path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert path.read_bytes() == before


def test_the_kernel_imports_this_checkout(tmp_path):
    path = tmp_path / "where.ipynb"
    cells = [nbformat.v4.new_code_cell("import pali\nprint(pali.__file__)", id="where")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert run(tmp_path, path).returncode == 0
    (cell,) = nbformat.read(path, as_version=4).cells
    assert cell.outputs[0].text.strip() == str(ROOT / "pali" / "__init__.py")


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=lambda words: words[0])
def test_the_cells_are_linted_as_the_code_is(command):
    words = [sys.executable, "-m", "ruff", *command, "--no-cache", *map(str, NOTEBOOKS)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
