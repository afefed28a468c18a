# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A real browser for tests of pages: a headless Chromium, spoken to over a pipe.

`make test` puts one into .venv with tools/get_browser.py; else one that is on the path will do. The
protocol is that of Chrome's developer tools: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

OWN = Path(sys.prefix) / "browser" / "chromium"
LIBRARIES = OWN.parent / "lib"  # Only where the system lacks some.
NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # Which a root user has none of; the pages are our own.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
)
PATIENCE = 600
"""Seconds that a browser may be silent: whatever else the machine does, more is a hang."""

# The browser reads commands from its descriptor 3 and answers on 4.
_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """The program of a browser, or None where there is none."""
    if OWN.is_file():
        return str(OWN)
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab of a new browser; a context manager.

    `events` holds what has happened in the tab, as (method, params), in order.
    """

    def __init__(self, program: str, profile: Path):
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._last, self._session = 0, None
        read_commands, self._commands = os.pipe()
        answers, write_answers = os.pipe()
        environment = dict(os.environ)
        if program == str(OWN) and LIBRARIES.is_dir():
            environment["LD_LIBRARY_PATH"] = str(LIBRARIES)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _START, str(read_commands), str(write_answers), program),
                *(*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(read_commands, write_answers),
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_commands)
        os.close(write_answers)
        self._answers, self._received = answers, bytearray()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "CSS"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._answers)
        os.close(self._commands)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends one command and waits for its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._last:
            self.events.append((answer["method"], answer["params"]))
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def open(self, address: str) -> None:
        """Goes to a page, which is then loaded whole."""
        before = len(self.events)
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in [method for method, _ in self.events[before:]]:
            answer = self._receive()
            self.events.append((answer["method"], answer["params"]))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, which runs whatever the page allows itself."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def mouse(self, x: float, y: float, *, press: bool = False) -> None:
        """Moves the mouse to a point of the window, in CSS pixels; with `press` clicks there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if press else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, key: str) -> None:
        """Presses a key, such as "Tab" or "ArrowRight"."""
        code = {"Tab": 9, "ArrowRight": 39}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def screenshot(self) -> bytes:
        """The window as a PNG file."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert ready, f"the browser has said nothing for {PATIENCE} seconds"
            read = os.read(self._answers, 1 << 16)
            assert read, f"the browser ended with status {self._process.wait()}"
            self._received += read
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)
