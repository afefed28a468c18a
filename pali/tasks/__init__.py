# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""Built-in tasks. Their files lie in the checkout's top-level tasks/, and in a wheel right here.

Either way a file is imported as `pali.tasks.<file>`, and importing it registers its SeqIO tasks.
Nothing imports them statically: a config or a command names them. Importing this package alone
imports nothing heavy.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pathlib
import pkgutil
import sys
from collections.abc import Iterable
from types import ModuleType

_checkout = pathlib.Path(__file__).resolve().parents[2]
if (_checkout / "pyproject.toml").is_file() and (_checkout / "tasks").is_dir():
    __path__.append(str(_checkout / "tasks"))

# What the demo tasks agree on; a run's config decides what it reads in the end (fit_to_model).
DEMO_IMAGE_SIZE = 72
DEMO_VIEWS = 32
DEMO_SCENES = 20_000  # for training
DEMO_TEST_SCENES = 800  # of every other split
DEMO_TOKENIZER = str(pathlib.Path(__file__).resolve().parents[1] / "embedded" / "spiece.model")


def available() -> list[str]:
    """Names of the built-in task files: `["demo_captions", …]`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(extra: Iterable[str] = ()) -> list[ModuleType]:
    """Imports the built-in task files, then `extra`; each file once, however often it is asked for.

    Args:
      extra: your own task files, as importable names ("my_package.my_tasks") or paths
        ("path/to/my_task.py").

    Raises:
      ValueError: a name cannot be found; the message says what was looked for.
    """
    modules = [importlib.import_module(f"{__name__}.{name}") for name in available()]
    return modules + [
        _load_path(name) if name.endswith(".py") else _load_name(name) for name in extra
    ]


def _load_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # The task file is there; something that it imports is not.
        near = difflib.get_close_matches(name, [f"{__name__}.{n}" for n in available()], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"no task module {name!r}: there is no {error.name!r} to import{hint} "
            "Give a name that Python can import, or the path of a file that ends in .py."
        ) from None


def _load_path(path: str) -> ModuleType:
    file = pathlib.Path(path).resolve()
    if not file.is_file():
        raise ValueError(f"no task file {path!r} (looked for {file})")
    # One name for one file, so that asking twice does not register its tasks twice.
    name = f"pali_task_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None  # It ends in .py.
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    _travel_by_value(module)
    return module


def _travel_by_value(module: ModuleType) -> None:
    # A worker process cannot import such a module by its name: its functions go along whole.
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)
