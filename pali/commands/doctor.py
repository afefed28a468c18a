# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""`pali doctor`: what is installed, what is missing, and the command that fixes each.

What should be installed is read from the metadata of the installed distribution, so that it cannot
differ from pyproject.toml. Exit status 1 when something that every user needs does not work.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pali
from pali import compilation_cache
from pali.commands import install_command

SUMMARY = "What is installed and what is missing, with the command that fixes it."

EXAMPLE = """example:
  pali doctor"""

DISTRIBUTION = "open-pali"

_KNOWN_TO_FAIL = {
    (
        "tensorflow-text",
        "2.21.0",
    ): "its tokenizers are broken: pip install 'tensorflow-text!=2.21.0'",
    (
        "sentencepiece",
        "0.2.3",
    ): "SeqIO cannot be imported with it: pip install 'sentencepiece<0.2.3'",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`pali doctor` has no options."""


def run(arguments: argparse.Namespace) -> int:
    """Prints the report, the problems and their fixes last."""
    problems: list[str] = []
    for section in (_machine, _jax, _packages, _model, _cache, _namesakes):
        for line in section(problems):
            print(line)
    if not problems:
        print("Everything that captioning needs is there.")
        return 0
    print(f"\n{len(problems)} to fix:")
    for problem in problems:
        print(f"- {problem}")
    return 1


def _machine(problems: list[str]) -> Iterator[str]:
    yield f"pali        {pali.__version__} in {Path(pali.__file__).parent}"
    yield f"Python      {platform.python_version()} in {sys.prefix}"
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {size / 2**30:.0f} GiB of memory"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"machine     {platform.platform()}, {cores} core{'s' * (cores != 1)}{memory}"


def _jax(problems: list[str]) -> Iterator[str]:
    try:
        jax = importlib.import_module("jax")
        devices = jax.devices()
    except Exception as error:  # A broken installation fails in its own way: show how.
        problems.append(f"JAX does not start ({error}): pip install --upgrade jax jaxlib")
        return
    kinds = ", ".join(dict.fromkeys(device.device_kind for device in devices))
    yield f"devices     {len(devices)} x {kinds} ({jax.default_backend()})"
    if jax.default_backend() == "cpu" and os.path.exists("/dev/nvidia0"):
        problems.append("an NVIDIA GPU is here, JAX cannot use it: pip install 'jax[cuda13]'")


def _packages(problems: list[str]) -> Iterator[str]:
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        problems.append(f"{DISTRIBUTION} is not installed, only on the path: {install_command('')}")
        return
    for extra, names in by_extra(requirements).items():
        versions = {name: installed(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        fix = install_command(extra)
        there = [f"{name} {version}" for name, version in versions.items() if version]
        yield f"{extra or 'core':<12}{', '.join(there) or 'nothing'}"
        if missing:
            yield f"            missing: {', '.join(missing)}   ({fix})"
        if missing and not extra:
            problems.append(f"{', '.join(missing)} missing: {fix}")
        for name, version in versions.items():
            if reason := _KNOWN_TO_FAIL.get((name, version or "")):
                problems.append(f"{name} {version}: {reason}")


def by_extra(requirements: list[str]) -> dict[str, list[str]]:
    """Names of the required distributions by extra, "" for what everybody gets.

    >>> by_extra(["jax>=0.6", "seqio; extra == 'train'", "open-pali[train]; extra == 'test'"])
    {'': ['jax'], 'train': ['seqio']}
    """
    groups: dict[str, list[str]] = {"": []}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
        if name and name[0].lower() != DISTRIBUTION:
            names = groups.setdefault(extra[1] if extra else "", [])
            if name[0] not in names:
                names.append(name[0])
    return groups


def installed(name: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _model(problems: list[str]) -> Iterator[str]:
    folder = Path(pali.__file__).parent / "embedded"
    weights = folder / "model.safetensors"
    if weights.is_file():
        yield f"model       {folder} ({weights.stat().st_size / 1e6:.1f} MB)"
    else:
        problems.append(f"the embedded model is missing in {folder}: give --model, or reinstall")


def _cache(problems: list[str]) -> Iterator[str]:
    folder = compilation_cache.folder()
    if compilation_cache.usable():
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        yield f"cache       {folder} ({size / 1e6:.1f} MB of compiled programs; may be deleted)"
    else:
        yield f"cache       {folder} cannot be written: every start compiles anew"
        yield "            set XDG_CACHE_HOME to a folder of yours"


def _namesakes(problems: list[str]) -> Iterator[str]:
    """PyPI has another distribution that is imported as `pali`; together they overwrite files."""
    others = set(metadata.packages_distributions().get("pali", ())) - {DISTRIBUTION}
    for other in sorted(others):
        yield f"namesake    {other} {installed(other)} is imported as `pali` too"
        problems.append(
            f"the distribution {other!r} takes the same import name: pip uninstall {other}, "
            f"then pip install --force-reinstall --no-deps {DISTRIBUTION}"
        )
