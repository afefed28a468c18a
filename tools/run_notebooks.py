# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Run the notebooks from top to bottom and save them with what they print.

    python tools/run_notebooks.py                              # all of notebooks/, in place
    python tools/run_notebooks.py notebooks/01_caption.ipynb --to elsewhere/

Each runs in a fresh kernel of the Python that runs this, in the folder of the notebook, on the
`pali` of this checkout. What would differ between two runs or two machines is not saved: times
and versions.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]

MINUTES = 15
"""Longest time for one cell: the first that runs a model also compiles it."""


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new run.

    Raises:
      CellExecutionError: a cell failed; the message shows it and the traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=60 * MINUTES,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # It warns of its own way to talk to us.
        record_timing=False,
        coalesce_streams=True,  # Else printed lines are saved in pieces, as they happened to come.
        resources={"metadata": {"path": str(path.parent)}},
    )
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    here = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "JAX_PLATFORMS": "cpu"}
    client.execute(env=os.environ | here)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
    return notebook


def main() -> int:
    """Runs and writes; 1 when a cell failed, and then that notebook is left as it was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write there, not in place")
    arguments = parser.parse_args()
    for path in arguments.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            notebook = run(path.resolve())
        except CellExecutionError as error:
            print(f"{path}:\n{error}", file=sys.stderr)
            return 1
        nbformat.write(notebook, (arguments.to or path.parent) / path.name)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
