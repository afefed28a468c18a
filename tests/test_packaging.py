# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a stranger installs: the wheel, what is in it, what it asks for, and that it runs."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pali

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path = ROOT, path: Path | None = None) -> str:
    """Runs a command with nothing but `path` added to Python's own; returns what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu"}
        | ({"PYTHONPATH": str(path)} if path else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from this checkout without a network."""
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder where the wheel is installed, its dependencies left to the surrounding Python."""
    place = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", place, wheel)
    return place


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A working directory whose own tasks/ and configs/ must not get in the way."""
    for folder in ("tasks", "configs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("raise SystemExit('the wrong folder')")
        (tmp_path / folder / "demo_captions.py").write_text("raise SystemExit('the wrong file')")
    return tmp_path


@pytest.fixture(scope="module")
def contents(wheel) -> set[str]:
    """Names of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module_task_and_config(contents):
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pali").rglob("*.py")}
    wanted |= {f"pali/tasks/{path.name}" for path in (ROOT / "tasks").glob("*.py")}
    wanted |= {f"pali/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    assert wanted - contents == set()


def test_the_wheel_carries_the_embedded_model_and_its_pictures(contents):
    folder = ROOT / "pali" / "embedded"
    wanted = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "spiece.model", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert wanted - contents == set()


def test_the_wheel_carries_nothing_else(contents):
    strange = {name for name in contents if not name.startswith(("pali/", "open_pali-"))}
    strange |= {name for name in contents if name.endswith(".pyc") or "/__pycache__/" in name}
    assert strange == set()


def test_the_wheel_brings_its_licences(contents):
    licences = {name.split("/")[-1] for name in contents if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_metadata_says_who_it_is(wheel):
    said = metadata(wheel)
    assert said["Name"] == "open-pali"
    assert said["Version"] == pali.__version__
    assert said["License-Expression"] == "Apache-2.0"
    assert f"version: {pali.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_core_asks_for_neither_tensorflow_nor_torch(wheel):
    required = [Requirement(text) for text in metadata(wheel).get_all("Requires-Dist")]
    core = {canonicalize_name(one.name) for one in required if not one.marker}
    assert "jax" in core
    assert (
        core & {"tensorflow", "tensorflow-text", "seqio", "torch", "transformers", "clu"} == set()
    )


def test_the_constraints_pin_every_dependency_to_a_version_that_is_allowed():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    del extras["beam"]  # Needs an environment of its own, as pyproject.toml says.
    asked = [Requirement(text) for text in sum(extras.values(), project["dependencies"])]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for one in asked:
        assert one.specifier.contains(pins[canonicalize_name(one.name)]), one
    assert pins["torch"] == "2.13.0"


def test_the_source_distribution_can_build_and_test_everything(tmp_path):
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"Makefile", "constraints.txt", "data/demo/concepts.jsonl", "tests/conftest.py"} <= names
    assert {f"tasks/{path.name}" for path in (ROOT / "tasks").glob("*.py")} <= names
    assert not [name for name in names if name.startswith((".venv", "runs", ".git/"))]


def test_the_installed_package_runs_from_another_directory(site, elsewhere):
    program = "import pali; print(pali.__file__)"
    assert run(sys.executable, "-c", program, cwd=elsewhere, path=site).startswith(str(site))
    assert "caption" in run(sys.executable, "-m", "pali", "--help", cwd=elsewhere, path=site)
    script = (site / "bin" / "pali").read_text()
    assert "from pali.cli import main" in script


def test_the_installed_model_captions(site, elsewhere):
    picture = next((site / "pali" / "embedded" / "examples").glob("*.png"))
    command = (
        sys.executable,
        "-m",
        "pali",
        "caption",
        picture,
        "--langs",
        "sw,th",
        "--format",
        "jsonl",
    )
    rows = run(*command, cwd=elsewhere, path=site).splitlines()
    assert len(rows) == 2
    assert re.search("[\u0e00-\u0e7f]", rows[1]), "the Thai caption is written in Thai"


@pytest.mark.parametrize("installed", [True, False], ids=["wheel", "checkout"])
def test_task_files_have_one_name_wherever_they_lie(site, elsewhere, installed):
    program = """
        import importlib.util
        import pali.tasks
        print(importlib.util.find_spec("pali.tasks.demo_captions").origin, *pali.tasks.available())
    """
    program = "\n".join(line.strip() for line in program.splitlines())
    path = site if installed else ROOT
    origin, *available = run(sys.executable, "-c", program, cwd=elsewhere, path=path).split()
    home = site / "pali" / "tasks" if installed else ROOT / "tasks"
    assert Path(origin) == home / "demo_captions.py"
    assert available == sorted(path.stem for path in (ROOT / "tasks").glob("*.py"))
