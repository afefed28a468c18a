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

_WEIGHTS = (SAFETENSORS, TORCH, FLAX)
"""What is downloaded of a repository that has the same weights several times: the first of them."""

_BESIDE = ("config.json", "preprocessor_config.json", "spiece.model", "README.md")


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
            f"({_short(error).rstrip('.')}); give one such as my-name/my-pali"
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
            f"{folder} could not be uploaded to {name} ({_short(error)}). {_remedy(error)} The "
            f"folder itself is whole: `hf upload {name} {folder}` sends it again."
        ) from error
    return str(repository)


def _remedy(error: Exception) -> str:
    """What to do about an upload that failed."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if status in (401, 403) or "LocalTokenNotFoundError" in kinds:
        return "Log in with `hf auth login`, or set HF_TOKEN to a token that may write there."
    # requests', httpx's, and Python's own, of which the hub's for HF_HUB_OFFLINE is one.
    if not status and kinds & {"ConnectionError", "TransportError", "Timeout", "TimeoutError"}:
        return "The hub cannot be reached: is there a network?"
    return "The hub is in trouble: try later." if status >= 500 else "The hub refuses it."


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
            f"downloaded from the Hugging Face hub ({_short(error)}). Is the name right, is there "
            "a network? Otherwise download it elsewhere and give its folder."
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


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
