# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""One direction of imports, one home for TensorFlow, and nothing imported that is not declared."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room may import what stands in its own row or above, and nothing below.
LAYERS = [
    [
        "config",
        "config_json",
        "mesh_config",
        "processes",
        "remat",
        "types",
        "languages",
        "prompts",
        "boxes",
        "metrics",
        "tokenizer",
        "image",
        "web_page",
    ],
    ["asking", "benchmarks", "constraints", "drawing", "sheet", "shortlist"],
    ["models", "compilation_cache", "few_at_once", "kept"],
    ["losses", "vocabulary_loss", "decoding"],
    [
        "optim",
        "lora",
        "adafactor",
        "checkpoints",
        "sharding",
        "narrowing",
        "precision",
        "generation",
        "ranking",
        "choosing",
        "ensuring",
        "detecting",
        "attention",
        "attention_page",
    ],
    ["looking", "activations"],
    ["data", "tasks"],
    ["objectives"],
    ["gradients", "memory"],
    [
        "train",
        "training",
        "evaluate",
        "official",
        "official_comparison",
        "best_and_worst",
        "predict",
        "report",
        "report_page",
        "summary",
        "comparison",
        "finished",
    ],
    ["beam", "cli", "commands", "__init__", "__main__"],
]
LAYER = {room: i for i, row in enumerate(LAYERS) for room in row}

BRIDGE = "pali/data/seqio_bridge.py"
BEAM = "pali/beam.py"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "pali").rglob("*.py"))
TASKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tasks").glob("*.py"))
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").glob("*.py"))


def imports(file: str) -> dict[str, list[int]]:
    """Every module that a file imports, at the top or inside a function: {name: lines}."""
    found: dict[str, list[int]] = {}
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: write the whole name, not `from .`"
            assert node.module
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            found.setdefault(name, []).append(node.lineno)
    return found


def room(file: str) -> str:
    """`pali/models/vit.py` -> `models`, `pali/config.py` -> `config`."""
    return Path(file).parts[1].removesuffix(".py")


def rooms_imported(file: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, lines in imports(file).items():
        package, *rest = name.split(".")
        if package == "pali" and rest and rest[0] in LAYER:
            found.setdefault(rest[0], []).extend(lines)
    return found


@pytest.mark.parametrize("file", FILES)
def test_imports_go_one_way(file):
    assert room(file) in LAYER, f"{file} is new: give it a place in LAYERS"
    wrong = [
        f"{file}:{line} imports pali.{other}, which stands below it"
        for other, lines in rooms_imported(file).items()
        for line in lines
        if LAYER[other] > LAYER[room(file)]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_names_nothing_that_is_gone():
    assert set(LAYER) == {room(file) for file in FILES}


@pytest.mark.parametrize("file", TASKS)
def test_task_files_need_nothing_above_the_data(file):
    wrong = [other for other in rooms_imported(file) if LAYER[other] > LAYER["data"]]
    assert not wrong, f"{file} imports pali.{wrong}"


@pytest.mark.parametrize("file", CONFIGS)
def test_a_config_can_be_read_alone(file):
    wrong = [
        name
        for name in imports(file)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not name.startswith(("pali.config.", "pali.languages.", "pali.models.presets."))
    ]
    assert not wrong, f"{file} imports {wrong}: a config is data, and imports no other config"


@pytest.mark.parametrize("file", [file for file in FILES if file != BRIDGE])
def test_tensorflow_has_one_home(file):
    used = {name.split(".")[0] for name in imports(file)} & {
        "tensorflow",
        "seqio",
        "tensorflow_text",
    }
    assert not used, f"{file} imports {used}: only {BRIDGE} does"


@pytest.mark.parametrize("file", [file for file in FILES if file != BEAM])
def test_beam_has_one_home(file):
    assert "apache_beam" not in {name.split(".")[0] for name in imports(file)}


@pytest.mark.parametrize("file", FILES)
def test_torch_and_transformers_stay_in_the_tests(file):
    used = {name.split(".")[0] for name in imports(file)} & {"torch", "transformers"}
    if file == "pali/checkpoints/containers.py":  # reads torch's own files, when there are any
        assert used == {"torch"}
        assert not top_level(file, "torch")
    else:
        assert not used, f"{file} imports {used}"


def test_every_import_is_declared():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]

    def names(requirements):
        return {re.split(r"[^\w.-]", text)[0].lower().replace("_", "-") for text in requirements}

    core = names(project["dependencies"])
    extras = project["optional-dependencies"]
    # SeqIO brings TensorFlow.
    more = {"tensorflow"}.union(
        *(names(extras[name]) for name in ("beam", "check", "hf", "metrics", "train"))
    )
    # Beam may be absent where the tests run: it asks for older versions of what others need.
    owners = {"apache_beam": ["apache-beam"], **importlib.metadata.packages_distributions()}
    for file in FILES + TASKS:
        for name, lines in imports(file).items():
            package = name.split(".")[0]
            if package in sys.stdlib_module_names or package == "pali":
                continue
            sources = {owner.lower().replace("_", "-") for owner in owners.get(package, ())}
            allowed = (
                core
                if file in FILES and file not in (BRIDGE, BEAM) and top_level(file, name)
                else core | more
            )
            assert sources & allowed, (
                f"{file}:{lines[0]} imports {package} (from {sources or 'nowhere'}), which "
                f"pyproject.toml does not declare: {sorted(allowed)}"
            )


def top_level(file: str, name: str) -> bool:
    """Whether importing the file imports that module, rather than calling a function of it."""
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import) and name in [alias.name for alias in node.names]:
            return True
        if isinstance(node, ast.ImportFrom) and name.startswith(f"{node.module}."):
            return True
    return False


@pytest.mark.parametrize("file", FILES + TASKS + CONFIGS)
def test_a_file_is_one_concept_and_says_its_licence(file):
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 500, f"{file} has {len(lines)} lines: which two concepts live in it?"
    assert lines[:2] == [
        "# SPDX-FileCopyrightText: The pali authors",
        "# SPDX-License-Identifier: Apache-2.0",
    ], file
