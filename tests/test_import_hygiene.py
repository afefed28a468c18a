# SPDX-FileCopyrightText: The pali authors
# SPDX-License-Identifier: Apache-2.0
"""What a command or a library call brings into memory: nothing heavy that it does not need.

Each test runs a fresh interpreter, because this one has imported everything already.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pali.cli import COMMANDS

ROOT = Path(__file__).parents[1]
EXTRAS = [
    "apache_beam",
    "tensorflow",
    "tensorflow_text",
    "tensorflow_datasets",
    "pyarrow",
    "datasets",
    "seqio",
    "clu",
    "torch",
    "transformers",
]
HEAVY = [*EXTRAS, "jax", "jaxlib", "flax", "optax", "orbax", "grain", "scipy", "tyro"]


def python(code: str, **environment: str) -> str:
    """Runs a program and returns what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def imported_by(code: str, forbidden: list[str]) -> list[str]:
    """Which of the forbidden packages are in memory after the program ran."""
    report = f"import json, sys; print(json.dumps([n for n in {forbidden!r} if n in sys.modules]))"
    return json.loads(python(f"{textwrap.dedent(code)}\n{report}").splitlines()[-1])


def modules(folder: str = "") -> list[str]:
    """Names of the modules of pali below a folder, those that need an extra as a whole left out."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "pali" / folder).rglob("*.py"))
        if path.stem not in ("seqio_bridge", "beam", "__main__")
    ]


def test_the_check_itself_sees_an_import():
    assert imported_by("import jax", HEAVY) != []


def test_import_pali_is_light():
    assert imported_by("import pali", [*HEAVY, "numpy", "PIL", "sentencepiece"]) == []


@pytest.mark.parametrize("name", ["config", "languages", "prompts", "cli", "tasks"])
def test_names_and_settings_are_light(name):
    assert imported_by(f"import pali.{name}", HEAVY) == []


def test_metrics_are_plain_python():
    names = [*modules("metrics"), *modules("benchmarks")]
    imports = "\n".join(f"import {name}" for name in names)
    assert imported_by(imports, HEAVY) == []


def test_scoring_brings_no_model_and_no_data_set(tmp_path):
    (tmp_path / "refs.jsonl").write_text('{"id": 1, "references": ["a dog"]}\n')
    (tmp_path / "said.jsonl").write_text('{"id": 1, "prediction": "a dog"}\n')
    rows = '[{"question_id": 1, "image_id": "a", "question": "?", "answers": ["a dog", "dog"]}]'
    (tmp_path / "questions.json").write_text(f'{{"data": {rows}}}')
    program = f"""
        from pali.cli import main
        for metric in ("cider", "bleu", "rouge_l", "vqa_accuracy", "anls", "cer", "exact_match"):
            files = ["--references", {str(tmp_path / "refs.jsonl")!r}]
            files += ["--predictions", {str(tmp_path / "said.jsonl")!r}]
            assert main(["score", "--metric", metric, *files]) == 0
        files = ["--references", {str(tmp_path / "questions.json")!r}]
        files += ["--predictions", {str(tmp_path / "said.jsonl")!r}]
        assert main(["score", "textvqa", *files]) == 0
    """
    assert imported_by(program, HEAVY) == []


def test_comparing_evaluations_brings_no_model_and_no_data_set(tmp_path):
    line = {"id": "t/0", "task": "t", "split": "test", "version": "1", "lang": "en", "group": "g"}
    line |= {"image_key": "g", "references": ["a dog"], "prediction": "a dog"}
    own = "exact_match|bench:{}|split:test|var:nfkc-space|tok:none|n:1|spec:1.1"
    score = {"benchmark": "t", "split": "test", "metric": "exact_match", "variant": "nfkc-space"}
    score |= {"signature": own.format("t"), "system": "model", "n": 1, "score": 100.0}
    official = {"benchmark": "b", "split": "test", "task": "t", "metric": "exact_match"}
    official |= {"scores": {"exact_match": 1.0}, "signatures": {"exact_match": own.format("b")}}
    official |= {"score": 1.0, "items": "items.jsonl"}
    results = {"scores": [score | {"per_language": {"en": 100.0}}], "official": [official]}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "metrics.json").write_text(json.dumps(results))
    (tmp_path / "items.jsonl").write_text('{"id": 0, "part": "", "group": "g", "score": 1.0}\n')
    program = f"""
        from pali.cli import main
        assert main(["evaluate", "--compare", {str(tmp_path)!r}, {str(tmp_path)!r}]) == 0
    """
    assert imported_by(program, HEAVY) == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_is_light(command):
    program = f"""
        from pali.cli import main
        try:
            main(["{command}", "--help"])
        except SystemExit as exit:
            assert exit.code == 0
    """
    assert imported_by(program, [name for name in HEAVY if name != "tyro"]) == []


def test_no_module_of_the_core_brings_an_extra():
    # The one file that may is pali/data/seqio_bridge.py, and it must not be reached from others.
    imports = "\n".join(f"import {name}" for name in modules())
    assert imported_by(imports, EXTRAS) == []


def test_every_module_imports_where_no_extra_is_installed():
    names = modules()
    refused = [*EXTRAS, "py3langid", "pycocotools", "pycocoevalcap", "resvg_py"]
    refused += ["jieba", "janome", "pythainlp"]
    refused += ["beartype", "hypothesis", "pytest"]
    program = f"""
        import importlib, sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {refused!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Refuse())
        for name in {names!r}:
            importlib.import_module(name)
        print(len({names!r}), "imported")
    """
    assert f"{len(names)} imported" in python(program)


def test_the_embedded_model_captions_without_any_extra():
    program = """
        import glob, os
        import pali
        from pali.checkpoints.pretrained import EMBEDDED
        pictures = sorted(glob.glob(os.path.join(EMBEDDED, "**", "*.png"), recursive=True))
        model = pali.load()
        captions = model.caption(pictures[0], langs=["sw", "hi"])
    """
    assert imported_by(program, EXTRAS) == []
