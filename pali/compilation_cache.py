# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled programs kept on disk, so that the second start of a command does not compile again.

The folder is $JAX_COMPILATION_CACHE_DIR where that is set, else $XDG_CACHE_HOME/pali/xla, else
~/.cache/pali/xla. It can be deleted at any time. JAX is imported by `enable` alone.
"""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """Where compiled programs are kept; it need not exist yet."""
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "pali" / "xla"


def usable() -> bool:
    """Whether `folder` exists, or could be made, and can be written to."""
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK | os.X_OK)


def enable() -> bool:
    """Turns the cache on for this process; a cache that was configured before is left as it is.

    Returns:
      Whether programs will be kept. Where the folder cannot be written they are compiled anew at
      every start, which `pali doctor` reports; it is no reason to stop or to warn every time.
    """
    import jax

    # JAX takes the folder of its own variable, but not what is worth keeping in it.
    if jax.config.values["jax_compilation_cache_dir"] not in (None, str(folder())):
        return True
    if not usable():
        return False
    jax.config.update("jax_compilation_cache_dir", str(folder()))
    # Everything is worth keeping here: a start runs a handful of programs, each once.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return True
