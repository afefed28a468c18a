# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What takes long to trace, kept for the next start beside the compiled programs.

JAX keeps the programs that it compiled (pali/compilation_cache.py), but to know which one is wanted
it traces the function anew in every process, about half a second for each stack of layers. Here the
traced program, StableHLO, is kept too, under a digest of all that it follows from: pali's own
source, the versions and settings of JAX, the static arguments, and the shapes and types of the
others. So nothing can be out of date; what is never asked for again can be deleted with the rest of
the folder.

Programs are kept on a single CPU alone: there a start counts in seconds, and a program does not
depend on a mesh. What is only found out by tracing, shapes and numbers, is kept everywhere.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
from jax import export

_PACKAGE = Path(__file__).parent


def traced(static: int) -> Callable[[Callable[..., Any]], Any]:
    """As `jax.jit` with that many static arguments first, but a trace is used by later processes.

    Arguments are given by position. A NamedTuple that the function returns has to be known to
    `jax.export.register_namedtuple_serialization`.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def call(*args: Any) -> Any:
            if not _one_cpu() or _folder() is None:
                return function(*args)
            leaves, tree = jax.tree.flatten(args[static:])

            def flat(*leaves: Any) -> Any:
                return function(*args[:static], *jax.tree.unflatten(tree, leaves))

            def make() -> bytes:
                like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
                return bytes(export.export(jax.jit(flat))(*like).serialize())

            facts = [function.__qualname__, *args[:static], tree, *map(jax.typeof, leaves)]
            return export.deserialize(bytearray(_kept(facts, make))).call(*leaves)

        return jax.jit(call, static_argnums=tuple(range(static)))

    return decorate


def shapes(make: Callable[[Any], dict[str, jax.ShapeDtypeStruct]], config: Any) -> dict[str, Any]:
    """What `make` finds out of a configuration by tracing: {name: shape and dtype}."""

    def written(config: Any) -> dict[str, Any]:
        return {name: [x.shape, x.dtype.name] for name, x in make(config).items()}

    found = _numbers(make, written, config)
    return {
        name: jax.ShapeDtypeStruct(tuple(shape), dtype) for name, (shape, dtype) in found.items()
    }


def numbers(make: Callable[..., Any], *args: Any) -> Any:
    """What `make` finds out of its arguments by tracing, as JSON has it: a tuple is a list.

    The arguments have to be told apart by their text; sets are put in order first.
    """
    return _numbers(make, make, *args)


def _numbers(named: Callable[..., Any], make: Callable[..., Any], *args: Any) -> Any:
    def written() -> bytes:
        return json.dumps(make(*args)).encode()

    facts = [sorted(arg) if isinstance(arg, frozenset) else arg for arg in args]
    facts = [named.__module__, named.__qualname__, *facts]
    return json.loads(written() if _folder() is None else _kept(facts, written))


def _kept(facts: list[Any], make: Callable[[], bytes]) -> bytes:
    """What `make` made when it was called for these facts first."""
    folder = cast("Path", _folder())
    said = "\n".join([_source(), _settings(), *map(str, facts)])
    path = folder / f"pali-{hashlib.sha256(said.encode()).hexdigest()}-traced"
    with contextlib.suppress(OSError):
        check, found = (kept := path.read_bytes())[:32], kept[32:]
        if hashlib.sha256(found).digest() == check:
            return found
    made = make()
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(hashlib.sha256(made).digest() + made)
        unfinished.replace(path)
    except OSError:  # A folder that is full or gone costs the next start its time, nothing else.
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return made


def _one_cpu() -> bool:
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def _folder() -> Path | None:
    """Where compiled programs are kept, if they are."""
    place = jax.config.values["jax_compilation_cache_dir"]
    return Path(place) if place is not None and Path(place).is_dir() else None


@functools.cache
def _source() -> str:
    """A digest of pali's source."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _settings() -> str:
    """Versions, and the settings of JAX that say how to compute."""
    values = sorted(jax.config.values.items())
    found = [item for item in values if "cache" not in item[0]]
    return str((_versions(), jax.default_backend(), found))


@functools.cache
def _versions() -> list[str]:
    return [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")]
