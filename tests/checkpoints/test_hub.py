# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Repositories of a hub, by the real huggingface_hub over HTTP, from a server on this machine."""

import os
import subprocess
import sys

import pytest

import pali
from pali.checkpoints.hub import locate
from tests.checkpoints import foreign
from tests.checkpoints.hub_server import serve


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repositories")
    foreign.vision("siglip-vision").save_pretrained(folder / "siglip")
    foreign.language("mt5").save_pretrained(folder / "mt5", max_shard_size="30KB")
    (folder / "mt5" / "pytorch_model.bin").write_bytes(b"the same again, not to be downloaded")
    foreign.tokenizer(folder / "mt5" / "spiece.model", pieces=300)
    return folder


def run(address, home, *arguments, **more):
    """`pali` in a process of its own: huggingface_hub reads its settings when it is imported."""
    settings = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_ETAG_TIMEOUT": "2",
        **more,
    }
    command = [sys.executable, "-m", "pali", *map(str, arguments)]
    return subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, timeout=300, check=False
    )


def test_repositories_are_downloaded_converted_uploaded_and_kept(folders, tmp_path):
    names = ["acme/siglip", "acme/mt5"]
    repositories = {name: folders / name.split("/")[1] for name in names}
    home = tmp_path / "home"
    with serve(repositories) as hub:
        done = run(
            *(hub.address, home, "convert", *names, tmp_path / "first"),
            *("--push-to-hub", "acme/pali"),
            HF_TOKEN="hf_test",
        )
        assert done.returncode == 0, done.stderr
        assert f"uploaded    {hub.address}/acme/pali" in done.stdout
        assert not any("pytorch_model.bin" in request for request in hub.requests)
    written = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert hub.uploaded == written
    assert isinstance(pali.load(tmp_path / "first").config.vit.width, int)
    # Without a network, from the cache.
    done = run(hub.address, home, "convert", *names, tmp_path / "second", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    for name, content in written.items():
        assert (tmp_path / "second" / name).read_bytes() == content


def test_what_cannot_be_downloaded_is_said_in_a_sentence(folders, tmp_path):
    with serve({}) as hub:
        done = run(hub.address, tmp_path, "convert", "acme/no", folders / "mt5", tmp_path / "pali")
        assert done.returncode == 2
        assert "there is no folder 'acme/no', and the repository" in done.stderr
    offline = run(hub.address, tmp_path, "show", "--model", "acme/no", HF_HUB_OFFLINE="1")
    assert offline.returncode == 2
    assert "is there a network? Otherwise download it elsewhere" in offline.stderr
    assert "Traceback" not in done.stderr + offline.stderr


def test_a_path_is_never_looked_for_on_a_hub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # an import of it would fail
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert str(locate("a/b")) == "a/b"
    for name in ("/a/c", "./a", "c", "a/b/c", "../a"):
        assert str(locate(name)) == name.removeprefix("./")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'open-pali\[hf\]'"):
        locate("a/c")
