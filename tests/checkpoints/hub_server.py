# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A small hub on this machine: folders as repositories, over the HTTP that huggingface_hub speaks.

with serve({"acme/mt5": folder}) as hub:
    hub.address, hub.requests, hub.uploaded
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    repositories: dict[str, Path]
    gated: str = ""
    """What is answered to whoever wants a file, if nobody may have it."""
    address: str = ""
    requests: list[str] = field(default_factory=list)
    uploaded: dict[str, bytes] = field(default_factory=dict)
    """By path in the repository, what a commit put there."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """By sha256, what was uploaded ahead of a commit."""


@contextlib.contextmanager
def serve(repositories: dict[str, Path], gated: str = "") -> Iterator[Hub]:
    hub = Hub(repositories, gated)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
            return self._info(match[1])
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
            return self._tree(match[1])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._file(match[1], match[2])
        return self._json({"error": "not found"}, 404)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append(f"POST {self.path}")
        if self.path == "/api/repos/create":
            said = json.loads(body)
            name = "/".join(filter(None, (said.get("organization"), said["name"])))
            return self._json({"url": f"{self.hub.address}/{name}", "name": name})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            made = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs"
                    if f["path"].endswith((".safetensors", ".model"))
                    else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            return self._json({"files": made})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": o["oid"],
                    "size": o["size"],
                    "actions": {"upload": {"href": f"{self.hub.address}/blob/{o['oid']}"}},
                }
                for o in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if "/commit/" in self.path:
            return self._commit(body)
        return self._json({"error": "not found"}, 404)

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.blobs[hashlib.sha256(content).hexdigest()] = content
        self._json({})

    def log_message(self, *args):
        pass

    def _commit(self, body):
        for line in body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "file":
                self.hub.uploaded[value["path"]] = base64.b64decode(value["content"])
            elif said["key"] == "lfsFile":
                self.hub.uploaded[value["path"]] = self.hub.blobs[value["oid"]]
        name = self.path.split("/api/models/")[1].split("/commit/")[0]
        address = f"{self.hub.address}/{name}/commit/{COMMIT}"
        self._json({"success": True, "commitOid": COMMIT, "commitUrl": address})

    def _info(self, name):
        folder = self.hub.repositories.get(name)
        if folder is None:
            return self._json({"error": "Repository not found"}, 404, "RepoNotFound")
        files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
        return self._json({"id": name, "sha": COMMIT, "siblings": files, "private": False})

    def _tree(self, name):
        folder = self.hub.repositories.get(name)
        if folder is None:
            return self._json({"error": "Repository not found"}, 404, "RepoNotFound")
        files = [
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": COMMIT}
            for path in sorted(folder.iterdir())
        ]
        return self._json(files)

    def _file(self, name, file):
        if self.hub.gated:
            return self._json({"error": self.hub.gated}, 403, "GatedRepo")
        path = self.hub.repositories[name] / file
        if not path.is_file():
            return self._json({"error": "Entry not found"}, 404, "EntryNotFound")
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
        return None

    def _json(self, said, status=200, error=None):
        content = json.dumps(said).encode()
        self.send_response(status)
        if error:
            self.send_header("X-Error-Code", error)
            self.send_header("X-Error-Message", said["error"])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
