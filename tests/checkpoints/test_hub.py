# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Repositories of a hub, by the real huggingface_hub over HTTP, from a server on this machine."""

import contextlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub
import pytest

from pali.checkpoints.hub import check_name, locate, upload
from pali.cli import main
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


@pytest.fixture
def speak_to(tmp_path, monkeypatch):
    """Sets the address of the hub, which the client read when it was imported, and a cache."""
    constants = huggingface_hub.constants
    files = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)

    def set_to(address, offline=False):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}{files}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)

    return set_to


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own
def test_repositories_are_downloaded_converted_uploaded_and_kept(
    folders, speak_to, tmp_path, capsys
):
    names = ["acme/siglip", "acme/mt5"]
    repositories = {name: folders / name.split("/")[1] for name in names}
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    with serve(repositories) as hub:
        speak_to(hub.address)
        assert main(["convert", *names, first, "--push-to-hub", "acme/pali"]) == 0
        assert f"uploaded    {hub.address}/acme/pali" in capsys.readouterr().out
        assert not any("pytorch_model.bin" in request for request in hub.requests)
    written = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert hub.uploaded == written
    # Without a network, from the cache.
    speak_to(hub.address, offline=True)
    assert main(["convert", *names, second]) == 0
    for name, content in written.items():
        assert (tmp_path / "second" / name).read_bytes() == content


def test_what_cannot_be_downloaded_is_said_in_a_sentence(folders, speak_to, tmp_path, capsys):
    with serve({}) as hub:
        speak_to(hub.address)
        assert main(["convert", "acme/no", str(folders / "mt5"), str(tmp_path / "pali")]) == 2
        error = capsys.readouterr().err
        assert "there is no folder 'acme/no', and the repository" in error
        assert "Is the name right? One that is private needs `hf auth login`" in error
        assert f"{hub.address}/api/models/acme/no" in error
    speak_to(hub.address, offline=True)
    assert main(["show", "--model", "acme/no"]) == 2
    error = capsys.readouterr().err
    assert "offline mode is enabled" in error
    assert "Is there a network? Otherwise download it elsewhere" in error


def test_a_gated_repository_says_where_access_is_asked_for(folders, speak_to):
    address = "https://huggingface.co/acme/siglip"
    words = f"Access to model acme/siglip is restricted. Visit {address} to ask for access."
    with serve({"acme/siglip": folders / "siglip"}, gated=words) as hub:
        speak_to(hub.address)
        with pytest.raises(FileNotFoundError) as error:
            locate("acme/siglip")
    assert words.rstrip(".") in str(error.value)  # it comes last, after 200 letters of others
    assert "Ask for access on its page, then log in with `hf auth login`" in str(error.value)


def test_the_reason_behind_an_error_is_said(tmp_path, monkeypatch):
    def fail(*args, **more):
        raise RuntimeError("Error while uploading 'a'") from OSError("no room for a")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", fail)
    with pytest.raises(ConnectionError, match=r"uploading 'a': no room for a\)\. The folder"):
        upload(tmp_path, "me/pali")


def test_a_page_in_the_place_of_an_answer_is_cut(monkeypatch):
    def fail(*args):
        raise OSError("<html>" * 1000)

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", fail)
    with pytest.raises(FileNotFoundError, match="<html> …") as error:
        locate("acme/siglip")
    assert len(str(error.value)) < 2000


def test_a_path_is_never_looked_for_on_a_hub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # an import of it would fail
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert str(locate("a/b")) == "a/b"
    for name in ("/a/c", "./a", "c", "a/b/c", "../a"):
        assert str(locate(name)) == name.removeprefix("./")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'open-pali\[hf\]'"):
        locate("a/c")


@pytest.mark.parametrize("name", ["pali", "me/pali", "me/pali-2.0_b", "x" * 96])
def test_names_of_repositories_are_known(name):
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "a b", "me/pa--li", "me/..", "../me", "/me", "me/pali.git", "x" * 97, "é"]
)
def test_a_name_that_no_repository_has_is_refused_before_anything_is_done(name, tmp_path):
    with pytest.raises(
        ValueError, match=r"hub has no repositories of such names .*; give one such"
    ):
        check_name(name)
    with pytest.raises(ValueError, match="hub has no repositories of such names"):
        upload(tmp_path, name)


def test_to_upload_without_the_client_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", None)
    for call in (lambda: check_name("me/pali"), lambda: upload(tmp_path, "me/pali")):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'open-pali\[hf\]'"):
            call()


@contextlib.contextmanager
def refusing(status):
    """A hub that answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "The hub refuses it."),
        (401, "Log in with `hf auth login`, or set HF_TOKEN"),
        (403, "Log in with `hf auth login`, or set HF_TOKEN"),
        (500, "The hub is in trouble: try later."),
    ],
)
def test_an_upload_that_is_refused_says_why(status, message, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with refusing(status) as address:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        with pytest.raises(ConnectionError) as error:
            upload(tmp_path, "me/pali")
    said = str(error.value)
    assert f"{tmp_path} could not be uploaded to me/pali (" in said
    assert message in said
    assert said.endswith(
        f"The folder itself is whole: `hf upload me/pali {tmp_path}` sends it again."
    )


@pytest.mark.parametrize("offline", [False, True])
def test_an_upload_without_a_network_says_so(offline, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(ConnectionError, match="The hub cannot be reached: is there a net") as error:
        upload(tmp_path, "me/pali")
    assert ("offline mode is enabled" in str(error.value)) == offline
    assert "Log in" not in str(error.value)
