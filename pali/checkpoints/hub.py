# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""A local path, or a repository of the Hugging Face hub brought to this machine.

Downloads go through `huggingface_hub`, with its progress bars, cache and environment variables
(HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN). It comes with the extra `open-pali[hf]`.
"""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path
from typing import Any

from pali.checkpoints.containers import FLAX, SAFETENSORS, TORCH
from pali.shortlist import FILE

_WEIGHTS = (SAFETENSORS, TORCH, FLAX)
"""What is downloaded of a repository that has the same weights several times: the first of them."""

_BESIDE = ("config.json", "preprocessor_config.json", "spiece.model", FILE, "README.md")


_LONGEST = 1500
"""Letters of an error that are shown; huggingface_hub's own sentences are far shorter."""


def _names(weights: str) -> tuple[str, str, str]:
    """What a file of weights is called, whole or in shards with an index."""
    stem, suffix = weights.split(".")
    return weights, f"{weights}.index.json", f"{stem}-*-of-*.{suffix}"


def locate(source: str | os.PathLike[str]) -> Path:
    """The path itself where there is such a file or folder; else the repository of that name.

    Raises:
      FileNotFoundError: it is neither; the message says what was tried.
      ModuleNotFoundError: it may be a repository, and huggingface_hub is not installed.
    """
    path = Path(source)
    name = os.fspath(source)
    if not name:
        raise FileNotFoundError("a path is empty: perhaps a variable of your shell is not set")
    if path.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        return path
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"there is no folder {name!r}. To download the repository of that name from the "
            "Hugging Face hub: pip install 'open-pali[hf]'"
        ) from None
    return Path(_download(huggingface_hub, name))


def check_name(name: str) -> None:
    """Raises where the hub can have no repository of that name; asks nobody.

    Raises:
      ValueError: it cannot.
      ModuleNotFoundError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub.utils import HFValidationError, validate_repo_id
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "uploading needs huggingface_hub: pip install 'open-pali[hf]'"
        ) from None
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(
            f"the Hugging Face hub has no repositories of such names as {name!r} "
            f"({_said(error)}); give one such as my-name/my-pali"
        ) from None


def upload(folder: Path, name: str) -> str:
    """Puts a model folder into a repository of the hub, made if there is none; returns its address.

    Raises:
      ValueError: the hub can have no repository of that name.
      ModuleNotFoundError: huggingface_hub is not installed.
      ConnectionError: the hub cannot be reached, or refuses; the message says which.
    """
    check_name(name)
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        repository = api.create_repo(name, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository.repo_id)
    except Exception as error:  # requests', httpx's and the hub's own have no common ancestor
        raise ConnectionError(
            f"{folder} could not be uploaded to {name} ({_said(error)}).{_remedy(error)} The "
            f"folder itself is whole: `hf upload {name} {folder}` sends it again."
        ) from error
    return str(repository)


def _remedy(error: Exception) -> str:
    """What to do about an upload that failed."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if status in (401, 403) or "LocalTokenNotFoundError" in kinds:
        return " Log in with `hf auth login`, or set HF_TOKEN to a token that may write there."
    # requests', httpx's, and Python's own, of which the hub's for HF_HUB_OFFLINE is one.
    if not status and kinds & {"ConnectionError", "TransportError", "Timeout", "TimeoutError"}:
        return " The hub cannot be reached: is there a network?"
    if status >= 500:
        return " The hub is in trouble: try later."
    return " The hub refuses it." if status else ""


def _way_in(error: Exception) -> str:
    """What to do about a download that failed."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return (
            "Ask for access on its page, then log in with `hf auth login`, or set HF_TOKEN to a "
            "token of whoever was let in."
        )
    if "RepositoryNotFoundError" in kinds:
        return "Is the name right? One that is private needs `hf auth login`, or HF_TOKEN."
    return "Is there a network? Otherwise download it elsewhere and give its folder."


def _download(hub: Any, name: str) -> str:
    from huggingface_hub.utils import HFValidationError

    try:
        files = hub.HfApi().list_repo_files(name)
        wanted = [file for file in files if file in _BESIDE]
        for weights in _WEIGHTS:
            found = [f for f in files if any(fnmatch.fnmatch(f, p) for p in _names(weights))]
            if found:
                wanted += found
                break
        return hub.snapshot_download(name, allow_patterns=wanted)
    except HFValidationError as error:
        raise FileNotFoundError(f"there is no folder {name!r}: {error}") from None
    except Exception as error:  # see above
        if folder := _kept(hub, name):
            return folder
        raise FileNotFoundError(
            f"there is no folder {name!r}, and the repository of that name could not be "
            f"downloaded from the Hugging Face hub ({_said(error)}). {_way_in(error)}"
        ) from error


def _kept(hub: Any, name: str) -> str | None:
    """What was downloaded once, read without a network; None where that is not whole."""
    for weights in _WEIGHTS:
        try:
            wanted = [*_BESIDE, *_names(weights)]
            folder = hub.snapshot_download(name, local_files_only=True, allow_patterns=wanted)
        except Exception:  # Not there, or not whole.
            continue
        if any(any(Path(folder).glob(pattern)) for pattern in _names(weights)):
            return folder
    return None


def _said(error: Exception) -> str:
    """All that the hub says: the address of a licence, or whom to ask, comes last.

    A proxy may answer with a page instead, which is cut.
    """
    why: BaseException | None = error
    told = []
    while why is not None:  # "Error while uploading" is followed by the reason in its cause.
        text = " ".join(str(why).split()).rstrip(".") or type(why).__name__
        if not any(text in other for other in told):
            told.append(text)
        why = why.__cause__
    text = ": ".join(told)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
